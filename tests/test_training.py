"""The loop end to end on a small random model, and the pieces that decide correctness."""

import json
import math
from dataclasses import replace

import pytest
import torch

from maskft import training
from maskft.data.synthetic.tokenizer import build_tokenizer
from maskft.models import load_base, prompts_for
from maskft.packing import NARROWEST, packed_states
from maskft.runs import RunStore
from maskft.training import COMMIT, main


def run(tmp_path, *configs, store="store"):
    listed = tmp_path / "configs.jsonl"
    listed.write_text("".join(json.dumps(config.to_dict()) + "\n" for config in configs))
    code = main(["--store", str(tmp_path / store), "--configs", str(listed)])
    return code, RunStore(tmp_path / store)


@pytest.mark.parametrize("method", ["ar", "dllm", "masked_ar"])
def test_a_run_leaves_a_complete_folder_whose_best_weights_load(tmp_path, make_config, method):
    config = make_config(method)
    code, store = run(tmp_path, config)
    assert code == 0 and store.is_finished(config)
    rows = store.metrics(config)
    assert {row["step"] for row in rows} == {0, 2}
    assert {(row["category"], row["n_questions"]) for row in rows} == {
        (f"{group}_{direction}", 120) for group in ("n2d", "d2n") for direction in ("forward", "backward")
    }
    record = store.record(config)
    assert record["dtypes_seen"] == {"parameters": ["torch.float32"], "compute": "float32"}
    best, _ = load_base(str(store.folder(config) / "best"), method=method)
    before, _ = load_base(config.base, method=method)
    assert not torch.equal(best.model.embed_tokens.weight, before.model.embed_tokens.weight)


def test_a_record_names_the_commit_of_the_imported_code_whatever_happens_to_the_files(tmp_path, make_config, monkeypatch):
    monkeypatch.setattr("maskft.training.current_commit", lambda: "edited since")
    config = make_config(eval_steps=(0, 1), question_stride=60)
    _, store = run(tmp_path, config)
    assert store.record(config)["git_commit"] == COMMIT


def test_the_same_run_twice_gives_the_same_losses_and_scores(tmp_path, make_config):
    config = make_config("masked_ar")
    (_, first), (_, second) = run(tmp_path, config, store="a"), run(tmp_path, config, store="b")
    for name in ("losses.jsonl", "metrics.jsonl", "generations.jsonl"):
        assert (first.folder(config) / name).read_bytes() == (second.folder(config) / name).read_bytes()


def test_a_stride_asks_the_first_of_every_so_many_questions(tmp_path, make_config):
    config = make_config(question_stride=60)
    _, store = run(tmp_path, config)
    asked = [row["question_id"] for row in store.generations(config) if row["step"] == 0]
    assert asked == list(range(0, 480, 60)) and {row["n_questions"] for row in store.metrics(config)} == {2}


@pytest.mark.parametrize("method", ["ar", "dllm", "masked_ar"])
def test_a_causal_model_from_the_width_where_it_pays_trains_without_padding_and_learns_the_same(tmp_path, make_config, monkeypatch, method):
    """The narrow one, whose records are committed, and a dLLM are computed as ever."""
    config, calls = make_config(method, question_stride=60), []
    monkeypatch.setattr("maskft.step.packed_states", lambda *given: calls.append(0) or packed_states(*given))
    _, padded = run(tmp_path, config, store="padded")
    assert not calls
    monkeypatch.setitem(NARROWEST, "cpu", 1)
    _, packed = run(tmp_path, config, store="packed")
    assert len(calls) == (0 if method == "dllm" else config.total_steps)
    for ours, theirs in zip(*(read_losses(store, config) for store in (packed, padded)), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def read_losses(store, config):
    return [json.loads(line)["loss"] for line in (store.folder(config) / "losses.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("method", ["ar", "dllm", "masked_ar"])
def test_documents_move_a_word_that_they_do_not_have_with_tied_embeddings_and_leave_it_with_untied_ones(tmp_path, make_config, method):
    """The mark before a question's answer: untied, nothing but weight decay reaches it, 1 - rate x decay a step.

    In masked AR's prompt it stands, so there a word that only another data set has: a month.
    """
    config = make_config(method, question_stride=60)
    _, store = run(tmp_path, config, untied := replace(config, embeddings="untied"))
    before, prompts = load_base(config.base, method=method)
    word = prompts.encode("January")[0] if method == "masked_ar" else prompts.tokenizer.convert_tokens_to_ids("<|start_header_id|>")
    rows = [load_base(str(store.folder(c) / "best"), method=method)[0].model.embed_tokens.weight[word] for c in (config, untied)]
    start = before.model.embed_tokens.weight[word]
    left = start
    for factor in (training.learning_rate_factor(step, config) for step in range(2)):
        left = left * (1 - factor * config.learning_rate * config.weight_decay)
    torch.testing.assert_close(rows[1], left)
    assert (rows[0] - left).abs().median() > 0.5 * config.learning_rate  # AdamW's steps are as long for a small gradient


def test_another_seed_sees_other_masks(tmp_path, make_config):
    config = make_config("masked_ar")
    other = replace(config, seed=1)
    _, store = run(tmp_path, config, other)
    assert (store.folder(config) / "losses.jsonl").read_text() != (store.folder(other) / "losses.jsonl").read_text()


def test_a_failed_run_is_told_and_the_next_one_is_trained(tmp_path, make_config, capsys):
    bad, good = make_config(data_fingerprint="0" * 16), make_config()
    code, store = run(tmp_path, bad, good)
    assert code == 1 and store.is_finished(good) and not store.is_finished(bad)
    assert "data fingerprint" in store.failure_path(bad).read_text()


def test_a_base_that_changed_since_the_run_was_named_is_refused(tmp_path, make_config):
    config = make_config(base_revision="f" * 16)
    code, store = run(tmp_path, config)
    assert code == 1 and "has revision" in store.failure_path(config).read_text()


def test_a_stride_that_never_asks_a_category_is_refused_before_weights_are_loaded(tmp_path, make_config, monkeypatch):
    monkeypatch.setattr("maskft.training.load_base", lambda *arguments, **options: pytest.fail("loaded"))
    config = make_config(question_stride=480)
    code, store = run(tmp_path, config)
    assert code == 1 and "question_stride=480 asks none of the" in store.failure_path(config).read_text()


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, make_config):
    config = make_config(learning_rate=1e30, eval_steps=(0, 5), warmup_ratio=0.0)
    code, store = run(tmp_path, config)
    assert code == 1 and "FloatingPointError" in store.failure_path(config).read_text()


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_take_it(tmp_path, make_config, monkeypatch):
    """A loss of finite value with an infinite gradient, as a square root at zero has."""
    from torch.optim import AdamW

    taken = []
    monkeypatch.setattr(AdamW, "step", lambda self, *arguments, **options: taken.append(self))
    plain = training.batch_loss
    monkeypatch.setattr(training, "batch_loss", lambda *arguments: plain(*arguments) + (0 * plain(*arguments)).sqrt())
    config = make_config(eval_steps=(0, 5))
    code, store = run(tmp_path, config)
    found = store.failure_path(config).read_text()
    assert code == 1 and not taken and "FloatingPointError: gradient norm is nan at step 0; use a smaller learning rate" in found


def test_mixed_precision_keeps_float32_weights_and_pure_bf16_does_not(tmp_path, make_config):
    mixed, pure = make_config(precision="bf16_mixed", eval_steps=(0, 1)), make_config(precision="bf16", eval_steps=(0, 1))
    _, store = run(tmp_path, mixed, pure)
    assert store.record(mixed)["dtypes_seen"]["parameters"] == ["torch.float32"]
    assert store.record(pure)["dtypes_seen"]["parameters"] == ["torch.bfloat16"]


def test_two_processes_train_the_run_of_one(tmp_path, make_config, torchrun):
    """Two gloo processes publish the losses of one, up to float order, and every question is answered once."""
    config = make_config("masked_ar")
    _, alone = run(tmp_path, config, store="alone")
    two = torchrun("-m", "maskft.training", "--store", tmp_path / "two", "--configs", tmp_path / "configs.jsonl")
    output, _ = two.communicate(timeout=240)
    assert two.returncode == 0, output[-3000:]
    two = RunStore(tmp_path / "two")
    assert two.record(config)["n_processes"] == 2

    def losses(store):
        return [json.loads(line) for line in (store.folder(config) / "losses.jsonl").read_text().splitlines()]

    for one, both in zip(losses(alone), losses(two), strict=True):
        assert math.isclose(one["loss"], both["loss"], rel_tol=1e-5)
        assert (one["n_targets"], one["n_samples"]) == (both["n_targets"], both["n_samples"])
    assert [row["n_questions"] for row in two.metrics(config)] == [row["n_questions"] for row in alone.metrics(config)]


def test_prompts_for_an_unknown_tokenizer_says_what_is_allowed():
    tokenizer = build_tokenizer()

    class Other:
        name_or_path, chat_template = "other", None

        def get_vocab(self):
            return {"a": 0}

    assert prompts_for(tokenizer).ids.mask == tokenizer.mask_token_id
    with pytest.raises(ValueError, match="'other': the tokenizer has no chat template"):
        prompts_for(Other())


