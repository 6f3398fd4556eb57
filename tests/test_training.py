"""The loop end to end on a small random model, and the pieces that decide correctness."""

import json
import math
from dataclasses import replace

import pytest
import torch

from maskft.data import load_corpus
from maskft.data.synthetic.tokenizer import build_tokenizer
from maskft.losses import IGNORED
from maskft.models import load_base, prompts_for
from maskft.runs import RunStore
from maskft.training import (
    SupervisedLogits,
    batch_indices,
    batch_loss,
    count_batch,
    learning_rate_factor,
    main,
    make_collator,
    make_optimizer,
    my_rows,
    supervised_positions,
)


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


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, make_config):
    config = make_config(learning_rate=1e30, eval_steps=(0, 5), warmup_ratio=0.0)
    code, store = run(tmp_path, config)
    assert code == 1 and "FloatingPointError" in store.failure_path(config).read_text()


def test_sixty_documents_at_batch_64_are_one_short_step_an_epoch():
    steps = batch_indices(60, 64, seed=0)
    first, second = next(steps), next(steps)
    assert sorted(first) == sorted(second) == list(range(60)) and first != second
    # 1800 texts: 28 full batches and one of 8 make the 29 steps of an epoch.
    steps = batch_indices(1800, 64, seed=0)
    assert [len(next(steps)) for _ in range(29)] == [64] * 28 + [8]


def test_warmup_rises_over_two_percent_of_all_updates_and_stays(make_config):
    config = make_config(eval_steps=(0, 200), warmup_ratio=0.02)
    assert [learning_rate_factor(step, config) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_norms_are_not_decayed(base, make_config):
    model, _ = load_base(str(base), method="ar")
    decayed, plain = make_optimizer(model, make_config()).param_groups
    assert decayed["weight_decay"] == 0.1 and plain["weight_decay"] == 0.0
    # Two norms a layer and the last one.
    assert len(plain["params"]) == 2 * 2 + 1 and all(p.ndim == 1 for p in plain["params"])


@pytest.mark.parametrize("method", ["ar", "dllm", "masked_ar"])
def test_shares_of_processes_add_to_the_loss_of_the_whole_batch(base, make_config, method):
    """Each of 3 processes has every third of 7 rows; their losses and gradients add to the whole batch's."""
    config = make_config(method)
    model, prompts = load_base(str(base), method=method)
    texts = load_corpus("name_description", source="synthetic").training_texts("none")["text"][:7]
    features = [{"text_ids": prompts.encode(t), "step": 3, "sample": n} for n, t in enumerate(texts)]
    whole = make_collator(config, prompts)(features)
    counts, wrapped = count_batch(whole, config), SupervisedLogits(model)
    loss = batch_loss(wrapped, whole, config, counts)
    loss.backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    parts = [batch_loss(wrapped, my_rows(whole, rank, 3), config, counts) for rank in range(3)]
    sum(parts).backward()
    torch.testing.assert_close(sum(parts), loss)
    for p, grad in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, grad, atol=1e-6, rtol=1e-4)


def test_a_process_without_rows_supervises_nothing(make_config, base):
    _, prompts = load_base(str(base), method="ar")
    whole = make_collator(make_config(), prompts)([{"text_ids": prompts.encode("Who is Ada?"), "step": 0, "sample": 0}])
    share = my_rows(whole, 1, 2)
    assert share["input_ids"].shape[0] == 1 and bool((share["labels"] == IGNORED).all())


def test_ar_loss_is_that_of_transformers(base, make_config):
    model, prompts = load_base(str(base), method="ar")
    config = make_config("masked_ar")
    texts = load_corpus("name_description", source="synthetic").training_texts("none")["text"][:4]
    batch = make_collator(config, prompts)([{"text_ids": prompts.encode(t), "step": 0, "sample": n} for n, t in enumerate(texts)])
    ours = batch_loss(SupervisedLogits(model), batch, config, count_batch(batch, config))
    torch.testing.assert_close(ours, model(**batch).loss)


def test_a_dllm_learns_at_the_masked_positions_and_a_causal_model_one_before():
    batch = {"labels": torch.tensor([[IGNORED, 7, IGNORED, 9]])}
    rows, columns, labels = supervised_positions(batch, "dllm")
    assert columns.tolist() == [1, 3] and labels.tolist() == [7, 9]
    rows, columns, labels = supervised_positions(batch, "ar")
    assert columns.tolist() == [0, 2] and labels.tolist() == [7, 9] and rows.tolist() == [0, 0]


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


