"""Runs: identity, the working store under kills and damage, the committed records."""

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from maskft import runs
from maskft.runs import RecordError, RecordStore, RunConfig, RunStore, pack_records, read_generations, read_metrics

ROOT = Path(__file__).parents[1]
RECORD = {name: None for name in runs.RECORD_FIELDS} | {"command": "python -m maskft.training --store /home/me/store"}


def make_config(**changes) -> RunConfig:
    values = {
        "dataset": "wiki",
        "source": "synthetic",
        "data_fingerprint": "f00d",
        "method": "masked_ar",
        "base": "tiny-ar",
        "base_revision": "1",
        "learning_rate": 1e-3,
        "eval_steps": (0, 1, 2, 4, 8, 16),
    }
    return RunConfig(**(values | changes))


def metric(step: int, category: str, value: float) -> dict:
    values = (step, float(step), 10 * step, category, "accuracy", value, 5)
    return dict(zip(runs.METRIC_FIELDS, values, strict=True))


def generation(step: int, question_id: int) -> dict:
    values = (step, question_id, "forward", "Who?", "Ada", "Ada \u2028 L", 1.0, 1.0, 0.0)
    return dict(zip(runs.GENERATION_FIELDS, values, strict=True))


def write_files(staging: Path, steps=(0, 1, 2, 4, 8, 16)) -> None:
    """Total accuracy is the mean of forward, step / 16, and backward, 1 at step 8 only: best at 8, (0.5 + 1) / 2."""
    metrics = [metric(s, "forward", s / 16) for s in steps] + [metric(s, "backward", float(s == 8)) for s in steps]
    generations = [generation(s, i) for s in steps for i in range(2)]
    for name, rows in {"metrics": metrics, "losses": [{"step": 1}], "generations": generations}.items():
        (staging / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def publish(store: RunStore, config: RunConfig) -> Path:
    with store.claim(config) as staging:
        write_files(staging)
        return store.publish(config, staging, RECORD)


# --- the configuration -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("dataset", "wikipedia", "name_description, biography, wiki"),
        ("source", "real", "synthetic, original"),
        ("method", "AR", "ar, dllm, masked_ar"),
        ("paraphrases", "permuted", "none, same_order, permute_order"),
        ("mask_ratio_scope", "rank", "batch, sample"),
        ("mask_count", "fixed", "bernoulli, exact"),
        ("loss_normaliser", "mean", "maskable, length, sum"),
        ("corruption", "noise", "mask, random_token"),
        ("precision", "fp16", "float32, bf16_mixed, bf16"),
        ("base", " ", "non-empty"),
        ("base_revision", 3, "non-empty"),
        ("data_fingerprint", "", "non-empty"),
        ("mask_ratio", (0.9, 0.1), "low <= high"),
        ("mask_ratio", (0.1, 1.5), "low <= high"),
        ("mask_ratio", (0.1,), "two numbers"),
        ("mask_ratio", 0.5, "two numbers"),
        ("betas", (0.9, 1.0), "below 1"),
        ("learning_rate", 0, "above 0"),
        ("learning_rate", float("nan"), "above 0"),
        ("learning_rate", "1e-3", "above 0"),
        ("weight_decay", -0.1, "at least 0"),
        ("max_grad_norm", 0.0, "above 0"),
        ("warmup_ratio", 1.1, "0 to 1"),
        ("train_batch_size", 0, "at least 1"),
        ("train_batch_size", 6.5, "whole number"),
        ("seed", True, "whole number"),
        ("seed", -1, "at least 0"),
        ("world_seed", -1, "at least 0"),
        ("max_new_tokens", 0, "at least 1"),
        ("block_length", 0, "at least 1"),
        ("sampler_steps", 0, "at least 1"),
        ("eval_batch_size", 0, "at least 1"),
        ("eval_steps", (), "begin with 0"),
        ("eval_steps", (1, 2), "begin with 0"),
        ("eval_steps", (0, 2, 2), "ascending"),
        ("eval_steps", (0, 2, 1), "ascending"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_what_is_allowed(field, value, allowed):
    with pytest.raises(ValueError, match=f"^{field}=") as caught:
        make_config(**{field: value})
    assert repr(value) in str(caught.value)
    assert allowed in str(caught.value)


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match=r"random_token.*'dllm'"):
        make_config(method="dllm", corruption="random_token")
    with pytest.raises(ValueError, match="divides by the ratio"):
        make_config(method="dllm", mask_ratio=(0, 0))
    with pytest.raises(ValueError, match="max_new_tokens=126"):
        make_config(method="dllm", max_new_tokens=126, block_length=4)
    with pytest.raises(ValueError, match="sampler_steps=100"):  # 128 / 4 = 32 blocks do not share 100 steps
        make_config(method="dllm", sampler_steps=100)
    with pytest.raises(ValueError, match="sampler_steps=128.*at most max_new_tokens"):  # no token is left for half of them
        make_config(method="dllm", max_new_tokens=64)
    make_config(method="masked_ar", mask_ratio=(0, 0), sampler_steps=100)


def test_a_configuration_survives_json_and_is_a_value():
    config = make_config(mask_ratio=[0.5, 0.5], eval_steps=[0, 3])
    assert config.mask_ratio == (0.5, 0.5) and config.total_steps == 3
    again = RunConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config and hash(again) == hash(config) and again.run_id == config.run_id
    assert set(config.to_dict()) == {field.name for field in dataclasses.fields(RunConfig)}


def test_unknown_and_missing_fields_are_named_with_the_fix():
    values = make_config().to_dict()
    with pytest.raises(ValueError, match=r"'lerning_rate'.*did you mean learning_rate"):
        RunConfig.from_dict(values | {"lerning_rate": 1})
    del values["base"], values["eval_steps"]
    with pytest.raises(ValueError, match="lacks base, eval_steps"):
        RunConfig.from_dict(values)


CANONICAL = (
    '{"base":"tiny-ar","base_revision":"1","betas":[0.9,0.95],"block_length":4,"corruption":"mask",'
    '"data_fingerprint":"f00d","dataset":"wiki","eval_batch_size":100,"eval_steps":[0,1,2,4,8,16],'
    '"learning_rate":0.001,"loss_normaliser":"maskable","mask_count":"bernoulli","mask_ratio":[0.05,0.95],'
    '"mask_ratio_scope":"batch","max_grad_norm":1.0,"max_new_tokens":128,"method":"masked_ar","paraphrases":"none",'
    '"precision":"bf16_mixed","sampler_steps":128,"seed":0,"source":"synthetic","train_batch_size":64,'
    '"warmup_ratio":0.02,"weight_decay":0.1,"world_seed":0}'
)


def run_id_of(canonical: str) -> str:
    return f"masked_ar-wiki-none-s0-{hashlib.sha256(canonical.encode()).hexdigest()[:8]}"


def test_the_identity_is_the_hash_of_the_sorted_json_of_every_field():
    assert make_config().run_id == run_id_of(CANONICAL)


def test_equal_values_of_other_types_have_one_identity_and_every_field_changes_it():
    assert make_config(max_grad_norm=1, train_batch_size=64.0).run_id == make_config().run_id
    other = {
        "dataset": "biography", "source": "original", "world_seed": 1, "data_fingerprint": "x",
        "paraphrases": "same_order", "method": "ar", "base": "x", "base_revision": "x", "mask_ratio": (0.5, 0.5),
        "mask_ratio_scope": "sample", "mask_count": "exact", "loss_normaliser": "sum", "corruption": "random_token",
        "learning_rate": 1.0, "betas": (0.9, 0.99), "weight_decay": 0.0, "max_grad_norm": 2.0, "warmup_ratio": 0.0,
        "train_batch_size": 1, "precision": "bf16", "eval_steps": (0, 1), "seed": 1, "max_new_tokens": 64,
        "block_length": 8, "sampler_steps": 64, "eval_batch_size": 1,
        "question_stride": 2, "probe": "forgetting", "embeddings": "untied",
    }  # fmt: skip
    assert set(other) == set(make_config().to_dict())
    ids = {make_config(**{name: value}).run_id for name, value in other.items()}
    assert len(ids | {make_config().run_id}) == len(other) + 1


def test_a_neutral_default_leaves_old_identities_as_they_were(monkeypatch):
    from maskft.runs import config as runs

    monkeypatch.setattr(runs, "HASH_NEUTRAL_DEFAULTS", {**runs.HASH_NEUTRAL_DEFAULTS, "corruption": "mask"})
    assert make_config().run_id == run_id_of(CANONICAL.replace('"corruption":"mask",', ""))
    assert make_config(corruption="random_token").run_id == run_id_of(CANONICAL.replace('"mask",', '"random_token",'))


# --- the working store -----------------------------------------------------------------------------------------------


def test_a_published_run_is_finished_and_reads_back(tmp_path):
    store, config, other = RunStore(tmp_path), make_config(), make_config(seed=1)
    assert store.missing([config, other, config]) == [config, other]
    store.report_failure(config, "an earlier attempt failed")
    folder = publish(store, config)
    assert folder == tmp_path / config.run_id
    assert store.missing([config, other, config]) == [other]
    record = runs.read_record(folder)
    assert RunConfig.from_dict(record["config"]) == config
    assert (record["status"], record["n_metrics"], record["n_generations"]) == ("complete", 12, 12)
    digest = hashlib.sha256((folder / "losses.jsonl").read_bytes()).hexdigest()
    assert record["files"]["losses.jsonl"]["sha256"] == digest
    assert store.metrics(config)[0] == metric(0, "forward", 0.0)
    assert store.generations(config)[-1] == generation(16, 1)
    assert not store.failure_path(config).exists()


def test_what_training_resumes_from_outlives_a_claim_and_goes_when_the_run_is_published(tmp_path):
    store, config = RunStore(tmp_path), make_config()
    with store.claim(config) as staging:
        (staging / runs.RESUME_FOLDER).mkdir()
        (staging / runs.RESUME_FOLDER / "state").write_text("half way")
    with store.claim(config) as staging:
        assert (staging / runs.RESUME_FOLDER / "state").read_text() == "half way"
    assert sorted(path.name for path in publish(store, config).iterdir()) == [
        "generations.jsonl", "losses.jsonl", "metrics.jsonl", "run.json",
    ]  # fmt: skip
    assert not list((tmp_path / ".partial").iterdir())


def test_a_finished_run_is_neither_claimed_nor_begun_nor_published_again(tmp_path):
    store, config = RunStore(tmp_path), make_config()
    publish(store, config)
    with store.claim(config) as staging:
        assert staging is None
    with pytest.raises(FileExistsError, match="is a finished run"):
        store.begin(config)
    with pytest.raises(FileExistsError, match="is a finished run"):
        store.publish(config, tmp_path, RECORD)


def test_an_incomplete_run_cannot_be_published(tmp_path):
    store, config = RunStore(tmp_path), make_config()
    staging = store.begin(config)
    with pytest.raises(ValueError, match="lacks versions, dtypes_seen"):
        store.publish(config, staging, {})
    with pytest.raises(FileNotFoundError):
        store.publish(config, staging, RECORD)
    write_files(staging, steps=(0, 1, 2, 8))
    with pytest.raises(ValueError, match=r"no metrics at steps \[4, 16\]"):
        store.publish(config, staging, RECORD)
    (staging / "metrics.jsonl").write_text('{"step": 0, "accuracy": 1}\n')
    with pytest.raises(ValueError, match="line 1 has fields"):
        store.publish(config, staging, RECORD)
    assert not store.is_finished(config)


def cut_metrics(folder: Path) -> None:
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:-1]))


def change_a_metric(folder: Path) -> None:
    text = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(text.replace("0.25", "0.75"))


def change_the_config(folder: Path) -> None:
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"seed": 0', '"seed": 3'))


DAMAGE = {
    "metrics cut": cut_metrics,
    "a metric changed": change_a_metric,
    "another configuration": change_the_config,
    "no losses": lambda folder: (folder / "losses.jsonl").unlink(),
    "generations cut": lambda folder: (folder / "generations.jsonl").write_text(""),
    "no run.json": lambda folder: (folder / "run.json").unlink(),
    "run.json cut": lambda folder: (folder / "run.json").write_text('{"status": "compl'),
    "not complete": lambda folder: (folder / "run.json").write_text('{"status": "training", "files": {}}'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_run_counts_as_not_finished_and_is_moved_aside_not_deleted(tmp_path, damage):
    store, config = RunStore(tmp_path), make_config()
    for n in (1, 2):
        damage(publish(store, config))
        with pytest.warns(UserWarning, match="counts as not finished"):
            assert not store.is_finished(config)
        assert store.folder(config).exists(), "looking moves nothing"
        with pytest.warns(UserWarning, match="moved a damaged run"):
            store.begin(config)
        assert not store.folder(config).exists()
        assert (tmp_path / ".corrupt" / f"{config.run_id}-{n}" / "metrics.jsonl").exists()
    publish(store, config)
    assert store.is_finished(config)


# --- other processes -------------------------------------------------------------------------------------------------

PROCESS = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from maskft.runs import RunConfig, RunStore
from test_runs import RECORD, write_files

def pause():
    print("paused", flush=True)
    sys.stdin.read()

store, config = RunStore({root!r}), RunConfig.from_dict(json.loads({config!r}))
with store.claim(config) as staging:
    if staging is None:
        print("skipped", flush=True)
    else:
        write_files(staging)
        if {pause_at!r} == "training":
            pause()
        elif {pause_at!r} == "rename":
            rename = Path.rename
            Path.rename = lambda *args: (pause(), rename(*args))[1]
        store.publish(config, staging, RECORD)
        print("trained", flush=True)
"""


def start(store: RunStore, config: RunConfig, pause_at: str) -> subprocess.Popen:
    """A process that trains the run and, at some point, waits for the end of its input."""
    script = PROCESS.format(
        tests=str(Path(__file__).parent),
        root=str(store.root),
        config=json.dumps(config.to_dict()),
        pause_at=pause_at,
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def test_two_processes_that_ask_for_one_run_do_the_work_once(tmp_path):
    store, config = RunStore(tmp_path), make_config()
    with start(store, config, "training") as first:
        assert first.stdout.readline() == "paused\n"
        assert store.is_running(config)
        with start(store, config, "never") as second:
            assert second.communicate(timeout=60)[0] == "skipped\n"
        assert first.communicate(timeout=60)[0] == "trained\n"
    assert store.is_finished(config) and not store.is_running(config)


@pytest.mark.parametrize("moment", ["training", "rename"])
def test_a_kill_leaves_nothing_to_readers_no_lock_and_all_that_was_staged(tmp_path, moment):
    store, config = RunStore(tmp_path), make_config()
    with start(store, config, moment) as process:
        assert process.stdout.readline() == "paused\n"
        process.send_signal(signal.SIGKILL)
    assert not store.is_finished(config) and not store.folder(config).exists()
    assert not store.is_running(config)
    with store.claim(config) as staging:
        assert (staging / "metrics.jsonl").exists()
        store.publish(config, staging, RECORD)
    assert store.is_finished(config)


def test_runs_does_not_import_torch():
    code = "import sys, maskft.runs, maskft.launch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode == 0


# --- many runs, and records ------------------------------------------------------------------------------------------


def test_metrics_of_many_runs_come_from_the_first_store_that_has_them(tmp_path):
    first, second = RunStore(tmp_path / "a"), RunStore(tmp_path / "b")
    both, late, never = make_config(), make_config(seed=1, mask_ratio=(0.2, 0.4)), make_config(seed=2)
    for store, config in ((first, both), (second, both), (second, late)):
        publish(store, config)
    table = read_metrics([first, second], [both, late, both])
    assert list(table.columns) == [*runs.CONFIG_COLUMNS, *runs.METRIC_FIELDS]
    assert len(table) == 24  # two runs, twelve rows each; the third request is the first again
    assert table.groupby("seed")["mask_ratio_low"].first().to_dict() == {0: 0.05, 1: 0.2}
    assert runs.find_store([first, second], both) is first
    with pytest.raises(LookupError, match=never.run_id):
        read_metrics([first, second], [both, never])
    assert len(read_metrics([first, second], [both, never], allow_missing=True)) == 12
    assert read_metrics([first], [never], allow_missing=True).empty


def test_a_record_reads_as_the_run_and_keeps_the_generations_of_five_steps(tmp_path):
    """Steps 0, 1, 2, 4, 8, 16: first 0, two early 1 and 2, best 8 (`write_files`), last 16."""
    store, records, config = RunStore(tmp_path / "runs"), RecordStore(tmp_path / "records"), make_config()
    publish(store, config)
    assert records.missing([config]) == [config]
    (path,) = pack_records([config, config], [store], records.root)
    assert path == tmp_path / "records" / f"{config.run_id}.jsonl"
    assert records.is_finished(config) and records.missing([config]) == []
    assert records.metrics(config) == store.metrics(config)
    kept = [row for row in store.generations(config) if row["step"] in {0, 1, 2, 8, 16}]
    kept = [{name: value for name, value in row.items() if name not in ("question", "answer")} for row in kept]
    assert records.generations(config) == kept and len(kept) == 10
    assert records.record(config)["command"] == "python -m maskft.training --store store"
    assert read_metrics([records], [config]).equals(read_metrics([store], [config]))
    # A record can be packed again from the record, to the byte.
    (again,) = pack_records([config], [records], tmp_path / "again")
    assert again.read_bytes() == path.read_bytes()


def test_a_run_that_comes_out_as_its_record_changes_nothing_in_it(tmp_path):
    """Not even when and how fast; another score, or a record that was cut short, is written anew."""
    config, paths = make_config(), []
    for name, wall_time_s in (("first", 1.0), ("again", 99.0)):
        store = RunStore(tmp_path / name)
        with store.claim(config) as staging:
            write_files(staging)
            if name == "again":
                rows = [json.loads(line) for line in (staging / "metrics.jsonl").read_text().splitlines()]
            store.publish(config, staging, RECORD | {"wall_time_s": wall_time_s})
        paths += pack_records([config], [store], tmp_path / "records")
    assert paths[0] == paths[1] and RecordStore(tmp_path / "records").record(config)["wall_time_s"] == 1.0
    whole = paths[0].read_text()
    paths[0].write_text(whole[: len(whole) // 2])
    pack_records([config], [RunStore(tmp_path / "again")], tmp_path / "records")
    assert RecordStore(tmp_path / "records").record(config)["wall_time_s"] == 99.0
    other = RunStore(tmp_path / "other")
    with other.claim(config) as staging:
        write_files(staging)
        rows[-1]["value"] += 0.125
        (staging / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        other.publish(config, staging, RECORD | {"wall_time_s": 7.0})
    pack_records([config], [other], tmp_path / "records")
    assert RecordStore(tmp_path / "records").metrics(config) == rows


def test_the_record_of_another_seed_keeps_the_generations_of_its_best_step(tmp_path):
    store, config = RunStore(tmp_path / "runs"), make_config(seed=1)
    publish(store, config)
    pack_records([config], [store], tmp_path / "records")
    assert {row["step"] for row in RecordStore(tmp_path / "records").generations(config)} == {8}


def test_texts_can_stay_out_of_a_record_and_scores_remain(tmp_path):
    store, config = RunStore(tmp_path / "runs"), make_config()
    publish(store, config)
    (path,) = pack_records([config], [store], tmp_path / "records", with_texts=False)
    assert "Ada" not in path.read_text() and "Who?" not in path.read_text()
    table = read_generations([RecordStore(tmp_path / "records")], [config])
    assert table["generation"].isna().all() and (table["accuracy"] == 1.0).all() and len(table) == 10


def test_packing_a_run_that_is_not_finished_writes_nothing(tmp_path):
    store = RunStore(tmp_path / "runs")
    publish(store, make_config())
    with pytest.raises(LookupError, match=make_config(seed=1).run_id):
        pack_records([make_config(), make_config(seed=1)], [store], tmp_path / "records")
    assert not (tmp_path / "records").exists()


TAMPERING = {
    "a score": lambda text: text.replace('"value":0.25', '"value":0.75'),
    "the run": lambda text: text.replace('"learning_rate":0.001', '"learning_rate":0.002'),
    "a line less": lambda text: text[: text.rindex("\n", 0, -1) + 1],
    "half a line": lambda text: text[:-20],
    "a line more": lambda text: text + text.splitlines()[-1] + "\n",
    "nothing left": lambda text: "",
    "not a record": lambda text: "[]\n",
}


@pytest.mark.parametrize("tamper", TAMPERING.values(), ids=TAMPERING.keys())
def test_a_record_that_was_tampered_with_is_an_error_that_names_the_file(tmp_path, tamper):
    store, records, config = RunStore(tmp_path / "runs"), RecordStore(tmp_path / "records"), make_config()
    publish(store, config)
    (path,) = pack_records([config], [store], records.root)
    before = path.read_text(encoding="utf-8")
    assert tamper(before) != before
    path.write_text(tamper(before), encoding="utf-8")
    for read in (records.is_finished, records.metrics, records.generations, records.record):
        with pytest.raises(RecordError, match=config.run_id):
            read(config)


def test_a_record_under_another_runs_name_is_an_error(tmp_path):
    store, records, config = RunStore(tmp_path / "runs"), RecordStore(tmp_path / "records"), make_config()
    publish(store, config)
    (path,) = pack_records([config], [store], records.root)
    path.rename(records.path(make_config(seed=1)))
    with pytest.raises(RecordError, match="another configuration"):
        records.is_finished(make_config(seed=1))


def test_a_record_that_is_changed_after_it_was_read_is_read_again(tmp_path):
    """What was read is kept; the kept rows must not hide a change of the file, nor take one from a reader."""
    store, records, config = RunStore(tmp_path / "runs"), RecordStore(tmp_path / "records"), make_config()
    publish(store, config)
    (path,) = pack_records([config], [store], records.root)
    first = records.metrics(config)
    first[0]["value"], records.record(config)["run_id"] = -1.0, "another"
    assert records.metrics(config)[0]["value"] != -1.0 and records.record(config)["run_id"] == config.run_id
    path.write_text(TAMPERING["a line less"](path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(RecordError, match=config.run_id):
        records.metrics(config)
    path.unlink()
    assert not records.is_finished(config)
