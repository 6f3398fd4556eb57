"""The command line: one line for a mistake, before any work."""

import pytest

from maskft.cli import main


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["reproduce", "tabel3"], "table3"),
        (["reproduce", "table3", "--scale", "tony"], "tiny, small, paper"),
        (["reproduce", "table3", "--seeds", "0"], "at least 1"),
        (["train", "table7"], "table1, table2, table3"),
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


def test_status_lists_every_run_of_an_exhibit(capsys):
    assert main(["status", "figure2", "--seeds", "2"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 1 + 2 * 18 and all(line.endswith(("have", "missing", "running", "failed")) for line in lines[1:])
