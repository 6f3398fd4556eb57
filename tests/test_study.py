"""The runs of an exhibit as a notebook opens them: from records, and packed into records."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from maskft import exhibits, study
from maskft.exhibits import make_run, table3_runs
from maskft.runs import RecordError, RecordStore, RunStore, pack_records
from maskft.scales import SMALL, TINY
from maskft.study import Study, open_study


@pytest.fixture(autouse=True)
def pinned(monkeypatch):
    """Fingerprints and revisions without reading data or weights."""
    monkeypatch.setattr(exhibits, "_fingerprint", lambda dataset, source, world_seed: f"{dataset}-{source}-{world_seed}")
    monkeypatch.setattr(exhibits, "_revision", lambda base: f"revision of {base}")


def _finish(store, config, steps_with_answers=()):
    """Publish a made run: accuracy 0.5 everywhere."""
    from maskft.data import CATEGORIES
    from maskft.runs import RECORD_FIELDS

    with store.claim(config) as staging:
        rows = [
            f'{{"step": {step}, "epoch": 0.0, "train_tokens": {step}, "category": "{category}", "metric": "{metric}", '
            f'"value": 0.5, "n_questions": 2}}\n'
            for step in config.eval_steps
            for category in CATEGORIES[config.dataset]
            for metric in ("accuracy", "rouge1_recall", "exact_match")
        ]
        (staging / "metrics.jsonl").write_text("".join(rows))
        (staging / "losses.jsonl").write_text("")
        answers = [
            {"step": step, "question_id": 0, "category": CATEGORIES[config.dataset][0], "question": "q", "answer": "a",
             "generation": "a", "accuracy": 1.0, "rouge1_recall": 1.0, "exact_match": 1.0}
            for step in steps_with_answers
        ]  # fmt: skip
        (staging / "generations.jsonl").write_text("".join(f"{json.dumps(answer)}\n" for answer in answers))
        store.publish(config, staging, dict.fromkeys(RECORD_FIELDS, "x"))


def test_records_are_read_for_every_committed_seed_and_a_missing_cell_is_named(tmp_path, monkeypatch):
    scale = replace(TINY, control_base=None)
    monkeypatch.setattr(type(scale), "records", property(lambda self: tmp_path / "records"))
    monkeypatch.setattr(study, "get_scale", lambda name: scale)
    store = RunStore(tmp_path / "runs")
    runs = table3_runs(scale, [0, 1])
    for config in runs[:-1]:
        _finish(store, config)
    pack_records(runs[:-1], [store], tmp_path / "records")
    opened = open_study("table3", "tiny", [0], 0, True)
    assert len(opened.configs) == len(runs) - 1 and set(opened.metrics.seed) == {0, 1}
    assert opened.command == "maskft reproduce table3 --scale tiny --world-seed 0 --from-records"
    trained = replace(opened, parameters={**opened.parameters, "from_records": False})
    assert trained.command == "maskft reproduce table3 --scale tiny --world-seed 0 --seeds 2"
    file = replace(opened, parameters={**opened.parameters, "scale": "/of/mine.json"})
    assert file.command.startswith("maskft reproduce table3 --scale mine.json ")
    late = replace(runs[0], seed=7)  # beyond the paper's four
    _finish(store, late)
    pack_records([late], [store], tmp_path / "records")
    assert set(open_study("table3", "tiny", [0], 0, True).configs) == {*runs[:-1], late}
    for gone in (runs[0], runs[18], late):
        (tmp_path / "records" / f"{gone.run_id}.jsonl").unlink()
    with pytest.raises(LookupError, match=runs[0].run_id):
        open_study("table3", "tiny", [0], 0, True)
    taken = open_study("table3", "tiny", [0], 0, True, allow_missing=True)
    assert len(taken.configs) == len(runs) - 3 and runs[0] not in taken.configs
    assert taken.metrics.run_id.nunique() == len(runs) - 3


def test_records_of_an_adapted_base_are_read_whichever_adaptation_they_name(tmp_path, monkeypatch, capsys):
    """Two seeds of the dLLM, each of a base adapted anew; of original data an arm that nobody ran is named and left out."""
    scale = replace(SMALL, revisions={}, bases={**SMALL.bases, "dllm": "b-dllm"})
    monkeypatch.setattr(type(scale), "records", property(lambda self: tmp_path / "records"))
    monkeypatch.setattr(study, "get_scale", lambda name: replace(scale, bases=SMALL.bases))
    store = RunStore(tmp_path / "runs")
    runs = [run for run in table3_runs(scale, [0, 1]) if (run.method, run.paraphrases) != ("ar", "same_order")]
    runs = [replace(run, base_revision=f"adapted {run.seed}") if run.method == "dllm" else run for run in runs]
    for config in runs:
        _finish(store, config)
    pack_records(runs, [store], tmp_path / "records")
    opened = open_study("table3", "small", [0], 0, True)
    assert set(opened.configs) == set(runs)
    dllm = [run for run in table3_runs(opened.scale, [0, 1, 2]) if run.method == "dllm"]
    assert set(opened.finished(dllm)) == {run for run in runs if run.method == "dllm"}
    assert capsys.readouterr().out == (
        "not run so far: ar on name_description (same_order), ar on biography (same_order), ar on wiki (same_order)\n"
    )
    other = replace(runs[0], base_revision="another")  # of a base that is not adapted the revision counts
    assert opened.finished([other]) == [] and opened.finished([runs[0]]) == [runs[0]]
    cut = next((tmp_path / "records").glob("*.jsonl"))
    cut.write_text(cut.read_text()[:40])
    with pytest.raises(RecordError, match=f"{cut.name} does not begin with a run .*restore it from version control"):
        open_study("table3", "small", [0], 0, True)
    for path in (tmp_path / "records").glob("*"):
        path.unlink()
    with pytest.raises(LookupError, match="maskft reproduce table3 --scale small"):
        open_study("table3", "small", [0], 0, True)


def test_an_exhibit_that_allows_missing_records_opens_without_any(tmp_path, monkeypatch):
    scale = replace(TINY, control_base=None)
    monkeypatch.setattr(type(scale), "records", property(lambda self: tmp_path / "records"))
    monkeypatch.setattr(study, "get_scale", lambda name: scale)
    opened = open_study("claims", "tiny", [0], 0, True, allow_missing=True)
    assert opened.configs == [] and opened.metrics.empty and opened.command.endswith("--from-records")


def test_a_run_beside_the_main_ones_keeps_the_answers_of_its_best_step_alone(tmp_path, monkeypatch):
    """A run keeps the first evaluations, the best and the last; accuracy is 0.5 everywhere, so step 10 is the best."""
    monkeypatch.setattr(type(TINY), "records", property(lambda self: tmp_path / "records"))
    store = RunStore(tmp_path / "runs")
    chosen = make_run(TINY, "ar", "name_description", "same_order")
    others = [replace(chosen, learning_rate=5e-4), replace(chosen, base="tiny-ar-no-demask"), replace(chosen, seed=1)]
    for config in (chosen, *others):
        _finish(store, config, steps_with_answers=config.eval_steps)
    Study("figure5", TINY, [chosen, *others], store, pd.DataFrame(), {"world_seed": 0}).pack()  # packing reads the store
    packed = RecordStore(tmp_path / "records")
    kept = {config: {row["step"] for row in packed.generations(config)} for config in (chosen, *others)}
    assert kept == {chosen: {0, 10, 20, 80}} | {key: {10} for key in others}
