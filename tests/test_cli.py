"""The command line: one line for a mistake, before any work."""

import pytest

from maskft.cli import build_parser, main
from maskft.cli.study import _exhibits
from maskft.launch import LaunchError, OutOfTime
from maskft.runs import RunStore
from maskft.scales import TINY


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["reproduce", "tabel3"], "table3"),
        (["reproduce", "table3", "--scale", "tony"], "tiny, small, paper"),
        (["reproduce", "table3", "--seeds", "0"], "at least 1"),
        (["train", "table7"], "table1, table2, table3"),
        (["train", "table1", "--executor", "pbs"], "local, slurm"),
        (["train", "table1", "--slurm", "partition=gpu"], "need --executor slurm"),
        (["train", "table1", "--executor", "slurm", "--workers", "2"], "array_parallelism"),
        (["train", "table1", "--executor", "slurm", "--slurm", "partitoin=gpu"], "did you mean partition"),
        (["train", "table1", "--executor", "slurm", "--slurm", "gpu"], "not KEY=VALUE"),
        (["status"], "--log RUN"),
        (["status", "--log", "ar"], "no log of 'ar'"),
        (["train", "table3", "--scale", "tiny:a-base"], "small:BASE"),
        (["adapt", "tiny-ar", "--to", "dllm", "--save-every", "0"], "--save-every 0: at least 1"),
        (["pretrain-tiny", "--steps", "2"], "must lie in"),
        (["pretrain-tiny", "tiny-arr"], "tiny-ar, tiny-ar-no-demask, tiny-dllm"),
    ],
)
def test_a_mistake_is_one_line_that_names_what_is_allowed(arguments, expected, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert expected in error and error.startswith("maskft: ") and error.count("\n") == 1


def test_data_that_cannot_be_downloaded_is_one_line_too(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("MASKFT_DATA", raising=False)
    monkeypatch.setenv("MASKFT_CACHE", str(tmp_path))
    monkeypatch.setattr("maskft.data.origin.BASE_URL", "http://127.0.0.1:9")  # a port where nothing answers
    assert main(["status", "table3", "--scale", "paper", "--world-seed", "7"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("maskft: cannot download") and "MASKFT_DATA" in error and error.count("\n") == 1


def test_status_lists_every_run_of_an_exhibit(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(type(TINY), "store", property(lambda self: tmp_path))
    assert main(["status", "figure2", "--seeds", "2"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 2 + 2 * 18 and all(line.endswith("missing") for line in lines[1:]) and lines[-1] == "36 missing"
    (tmp_path / ".failed").mkdir()
    (tmp_path / ".failed" / f"{lines[1].split()[0]}.txt").write_text("FloatingPointError: loss is nan")
    assert main(["status", "--log", lines[1].split()[0]]) == 0
    assert "loss is nan" in capsys.readouterr().out
    assert main(["status", "figure2"]) == 0
    assert "1 failed, 17 missing" in capsys.readouterr().out


def test_exhibits_without_a_failed_run_are_made_and_the_others_named(monkeypatch, tmp_path, capsys):
    """Of Wiki's runs one fails: Table 2 needs it, Table 1 does not; the exit code says that something is missing."""
    monkeypatch.setattr(type(TINY), "store", property(lambda self: tmp_path))

    class Finished(RunStore):
        def is_finished(self, config):
            return (config.dataset, config.paraphrases) != ("wiki", "permute_order")

    made = []

    def ensure(scale, runs, **options):
        raise LaunchError("1 run(s) failed: NaN", Finished(tmp_path).missing(runs))

    monkeypatch.setattr("maskft.study.ensure", ensure)
    monkeypatch.setattr("maskft.study.RunStore", Finished)
    monkeypatch.setattr("maskft.notebooks.run_notebook", lambda name, parameters, **_: made.append(name))
    assert main(["reproduce", "table2", "table1", "figure3"]) == 1
    assert sorted(made) == ["figure3", "table1"]
    error = capsys.readouterr().err
    assert "1 run(s) failed: NaN" in error and "not made, for want of failed runs: table2" in error


def test_where_minutes_are_over_the_exit_code_tells_it_from_failure_and_jobs_have_their_own(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(type(TINY), "store", property(lambda self: tmp_path))
    given = []

    def launch(missing, store, **options):
        given.append(options["minutes"])
        raise OutOfTime("9.5 minutes are over")

    monkeypatch.setattr("maskft.study.launch_missing", launch)
    for command in ("train", "reproduce"):
        assert main([command, "table1", "--minutes", "9.5"]) == 75
        assert capsys.readouterr().err == "maskft: 9.5 minutes are over\n"
    assert main(["train", "table1", "--minutes", "0"]) == 1 and "must be above 0" in capsys.readouterr().err
    assert main(["train", "table1", "--minutes", "9", "--executor", "slurm"]) == 1
    assert "--slurm timeout_min=N" in capsys.readouterr().err
    assert given == [9.5, 9.5]


@pytest.mark.parametrize(("arguments", "scale_alone", "on_request"), [
    (["--scale", "tiny"], False, False), (["--scale", "tiny", "--from-records"], False, True), (["--scale", "small"], True, False),
])  # fmt: skip
def test_all_leaves_out_what_a_scale_has_not_and_trains_nothing_that_is_on_request(arguments, scale_alone, on_request):
    chosen = _exhibits(build_parser().parse_args(["reproduce", "all", *arguments]))
    assert ("small_scale" in chosen, "forgetting" in chosen) == (scale_alone, on_request)
    assert {"table3", "figure2", "claims"} <= set(chosen) and len(chosen) == len(set(chosen))


def test_training_that_went_wrong_is_told_in_a_line(monkeypatch, capsys):
    def diverge(options):
        raise FloatingPointError("loss is nan at step 3; use a smaller learning rate than 1.0")

    monkeypatch.setattr("maskft.cli.bases._small_weights", diverge)
    assert main(["small-weights"]) == 1
    assert capsys.readouterr().err == "maskft: loss is nan at step 3; use a smaller learning rate than 1.0\n"
