"""What a base answers before fine-tuning is asked once, and never taken from a run that asked otherwise."""

import json
from dataclasses import fields, replace

import pytest
import torch

from maskft import training
from maskft.base_answers import OF_TRAINING, describe_origin, find_base_answers
from maskft.execution import DEFAULTS, Execution
from maskft.planning.time import read_records
from maskft.runs import RunConfig, RunStore, pack_records
from maskft.training import main

ORIGIN = describe_origin(torch.device("cpu"), 1, DEFAULTS)
# Another value of each field that decides what is asked, or of whom.
ASKED = {
    "dataset": "wiki", "source": "original", "world_seed": 1, "data_fingerprint": "0" * 16, "method": "dllm", "base": "another",
    "base_revision": "f" * 16, "precision": "bf16", "max_new_tokens": 8, "block_length": 2, "sampler_steps": 8,
    "eval_batch_size": 7, "question_stride": 40, "embeddings": "untied",
}  # fmt: skip


def train(tmp_path, *configs, store="store"):
    listed = tmp_path / "configs.jsonl"
    listed.write_text("".join(json.dumps(config.to_dict()) + "\n" for config in configs))
    assert main(["--store", str(tmp_path / store), "--configs", str(listed)]) == 0
    return RunStore(tmp_path / store)


def rows_before(store, config):
    return [row for row in store.generations(config) if row["step"] == 0]


@pytest.fixture(scope="module")
def asked(make_config, tmp_path_factory):
    """A store with one finished run of AR, and the run."""
    config = make_config(question_stride=60)
    return train(tmp_path_factory.mktemp("asked"), config), config


def test_a_run_takes_its_bases_answers_from_another_one_and_is_what_it_would_be_alone(tmp_path, make_config, monkeypatch):
    first = make_config(question_stride=60)
    second = replace(first, method="masked_ar", seed=3, learning_rate=5e-4, eval_steps=(0, 1))
    alone = train(tmp_path, second, store="alone")
    steps, plain = [], training.score_answers
    monkeypatch.setattr(training, "score_answers", lambda step, *given: steps.append(step) or plain(step, *given))
    store = train(tmp_path, first, second)
    assert steps == [0, 2, 1]
    for name in ("metrics.jsonl", "generations.jsonl", "losses.jsonl"):
        assert (store.folder(second) / name).read_bytes() == (alone.folder(second) / name).read_bytes()
    assert store.record(second)["answers_before_from"] == first.run_id
    assert store.record(first)["answers_before_from"] is alone.record(second)["answers_before_from"] is None


def test_two_processes_take_them_together(tmp_path, make_config, torchrun):
    configs = [make_config(method, question_stride=60) for method in ("ar", "masked_ar")]
    (tmp_path / "configs.jsonl").write_text("".join(json.dumps(config.to_dict()) + "\n" for config in configs))
    process = torchrun("-m", "maskft.training", "--store", tmp_path / "store", "--configs", tmp_path / "configs.jsonl", "--shard")
    assert process.wait(300) == 0, process.stdout.read()
    store = RunStore(tmp_path / "store")
    assert store.record(configs[1])["answers_before_from"] == configs[0].run_id
    assert rows_before(store, configs[1]) == rows_before(store, configs[0])


def test_every_field_of_a_run_is_of_training_or_of_what_is_asked():
    assert {*OF_TRAINING, *ASKED} == {spec.name for spec in fields(RunConfig)} and not {*OF_TRAINING} & {*ASKED}


def test_answers_are_those_of_a_run_that_differs_in_training_alone(asked):
    store, config = asked
    other = {
        "paraphrases": "same_order", "mask_ratio": (0.5, 0.5), "mask_ratio_scope": "sample", "mask_count": "exact", "loss_normaliser": "sum",
        "learning_rate": 1.0, "betas": (0.5, 0.5), "weight_decay": 0.5, "max_grad_norm": 0.5, "warmup_ratio": 0.5, "train_batch_size": 3,
        "eval_steps": (0, 1), "seed": 1, "probe": "forgetting",
    }  # fmt: skip
    for changes in ({}, {"method": "masked_ar"}, {"method": "masked_ar", "corruption": "random_token"}, *({name: value} for name, value in other.items())):
        assert find_base_answers(store, replace(config, **changes), ORIGIN) == (config.run_id, rows_before(store, config))
    assert {*other, "corruption"} == {*OF_TRAINING}


@pytest.mark.parametrize("name", ASKED)
def test_answers_are_not_those_of_a_run_that_asked_otherwise(asked, name):
    store, config = asked
    assert find_base_answers(store, replace(config, **{name: ASKED[name]}), ORIGIN) is None


@pytest.mark.parametrize(
    "origin",
    [
        {**ORIGIN, "code_fingerprint": "0" * 16},
        {**ORIGIN, "versions": {**ORIGIN["versions"], "torch": "2.11.0"}},
        {**ORIGIN, "device": "another machine"},
        describe_origin(torch.device("cpu"), 2, DEFAULTS),
        describe_origin(torch.device("cpu"), 1, Execution(shard=True)),
        describe_origin(torch.device("cpu"), 1, Execution(compile_layers=True)),
    ],
)
def test_answers_are_not_those_of_another_machine_or_code(asked, origin):
    assert origin != ORIGIN
    store, config = asked
    assert find_base_answers(store, config, origin) is None


def test_a_damaged_run_lends_nothing(tmp_path, make_config):
    config = make_config(question_stride=60)
    store = train(tmp_path, config)
    with (store.folder(config) / "generations.jsonl").open("a") as file:
        file.write("{}\n")
    assert find_base_answers(store, config, ORIGIN) is None
    (store.folder(config) / "run.json").write_text("{")
    assert find_base_answers(store, config, ORIGIN) is None


def test_a_plan_knows_of_a_record_how_often_its_run_asked(tmp_path, asked):
    """A run that took its answers before fine-tuning asked once less than it has evaluations."""
    store, config = asked
    for lender, expected in ((None, 2), ("another run", 1)):
        other = RunStore(tmp_path / f"{expected} evaluations")
        staging = other.begin(config)
        for path in store.folder(config).glob("*.jsonl"):
            (staging / path.name).write_bytes(path.read_bytes())
        other.publish(config, staging, {**store.record(config), "answers_before_from": lender})
        pack_records([config], [other], other.root / "records")
        ((_, record),) = read_records(other.root / "records", "float32")
        assert record["evaluations"] == expected
