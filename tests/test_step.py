"""What a step is made of: texts, rows, outputs, losses, rates."""

import pytest
import torch
from torch._dynamo.utils import counters

from maskft import step
from maskft.data import load_corpus
from maskft.losses import IGNORED
from maskft.models import load_base
from maskft.samplers import generate_diffusion
from maskft.step import (
    SupervisedLogits,
    batch_indices,
    batch_loss,
    compile_layers,
    count_batch,
    learning_rate_factor,
    make_collator,
    make_optimizer,
    my_rows,
    parts_of,
    supervised_positions,
)


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


@pytest.mark.parametrize("method", ["ar", "dllm", "masked_ar"])
def test_parts_alike_in_length_add_to_the_loss_of_the_whole_batch_with_less_padding(base, make_config, method):
    """Biographies cut after 10, 20 ... words: every row is in one part, and a part is no wider than its rows need."""
    config = make_config(method)
    model, prompts = load_base(str(base), method=method)
    texts = load_corpus("biography", source="synthetic").training_texts("none")["text"][:7]
    texts = [" ".join(text.split()[: 10 * (1 + n * 3 % 7)]) for n, text in enumerate(texts)]  # in no order of length
    whole = make_collator(config, prompts)([{"text_ids": prompts.encode(t), "step": 0, "sample": n} for n, t in enumerate(texts)])
    counts, wrapped = count_batch(whole, config), SupervisedLogits(model)
    assert [part is whole for part in parts_of(whole, 1)] == [True]
    parts = list(parts_of(whole, 3))
    assert [len(part["input_ids"]) for part in parts] == [3, 3, 1]
    for part in parts:
        longest = int(part["attention_mask"].sum(dim=1).max())
        assert longest <= part["input_ids"].shape[1] < longest + 8 and part["input_ids"].shape == part["labels"].shape
    assert sum(part["input_ids"].numel() for part in parts) < 0.9 * whole["input_ids"].numel()
    found = sum(batch_loss(wrapped, part, config, counts) for part in parts)
    torch.testing.assert_close(found, batch_loss(wrapped, whole, config, counts))
    # A short batch has fewer parts, the same on every process.
    assert len(list(parts_of({name: value[:2] for name, value in whole.items()}, 3))) == 2


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


def logits_and_gradients(wrapped: SupervisedLogits, batch: dict[str, torch.Tensor], rows: torch.Tensor, columns: torch.Tensor):
    logits = wrapped(batch["input_ids"], batch["attention_mask"], rows, columns)
    wrapped.zero_grad()
    logits.square().sum().backward()
    return logits.detach(), [p.grad.clone() for p in wrapped.parameters()]


@pytest.mark.parametrize("method", ["ar", "dllm", "masked_ar"])
def test_the_last_layer_computes_supervised_positions_alone_and_the_same_there(base, make_config, method, monkeypatch):
    """Against all positions, of which the supervised are taken afterwards; the model answers as before when it is done."""
    model, prompts = load_base(str(base), method=method)
    texts = load_corpus("biography", source="synthetic").training_texts("none")["text"][:5]
    batch = make_collator(make_config(method), prompts)([{"text_ids": prompts.encode(t), "step": 0, "sample": n} for n, t in enumerate(texts)])
    rows, columns, _ = supervised_positions(batch, method)
    seen = []
    hook = model.model.layers[-1].mlp.register_forward_hook(lambda mlp, inputs, output: seen.append(tuple(output.shape)))
    found, gradients = logits_and_gradients(SupervisedLogits(model), batch, rows, columns)
    plain = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    assert seen == [(len(rows), model.config.hidden_size), (*batch["input_ids"].shape, model.config.hidden_size)]
    hook.remove()
    torch.testing.assert_close(found, plain[rows, columns].detach())
    monkeypatch.setattr(step, "narrows", lambda model: False)
    expected, plain_gradients = logits_and_gradients(SupervisedLogits(model), batch, rows, columns)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(gradients, plain_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_a_last_layer_that_is_compiled_computed_again_or_in_bfloat16_on_a_cpu_is_left_whole(base):
    model, _ = load_base(str(base), method="ar")
    assert step.narrows(model)
    with torch.autocast("cpu", torch.bfloat16):
        assert not step.narrows(model)
    assert not step.narrows(model.to(torch.bfloat16)) and step.narrows(model.float())
    step.recompute_activations(model)
    assert not step.narrows(model)
    model, _ = load_base(str(base), method="ar")
    elsewhere = model.to("meta", torch.bfloat16)  # as on a GPU
    assert step.narrows(elsewhere)
    elsewhere.config.model_type = "another"
    assert not step.narrows(elsewhere)
    model, _ = load_base(str(base), method="ar")
    compile_layers(model)
    assert not step.narrows(model)


def test_a_dllm_learns_at_the_masked_positions_and_a_causal_model_one_before():
    batch = {"labels": torch.tensor([[IGNORED, 7, IGNORED, 9]])}
    rows, columns, labels = supervised_positions(batch, "dllm")
    assert columns.tolist() == [1, 3] and labels.tolist() == [7, 9]
    rows, columns, labels = supervised_positions(batch, "ar")
    assert columns.tolist() == [0, 2] and labels.tolist() == [7, 9] and rows.tolist() == [0, 0]


@pytest.mark.parametrize("answers", [False, True])
def test_compiled_layers_are_those_that_train_and_where_asked_for_all_that_answer_but_the_last(monkeypatch, answers):
    """Three layers: of an answer the last is never compiled."""
    calls = []
    monkeypatch.setattr(torch, "compile", lambda forward: lambda *given, **options: calls.append(forward) or forward(*given, **options))
    model, _ = load_base("tiny-dllm", method="dllm")
    expected = model(input_ids=torch.tensor([[5, 6, 7]])).logits
    compile_layers(model, answers=answers)
    model.train()
    assert torch.equal(model(input_ids=torch.tensor([[5, 6, 7]])).logits, expected) and len(calls) == len(model.model.layers) == 3
    calls.clear()
    model.eval()
    assert torch.equal(model(input_ids=torch.tensor([[5, 6, 7]])).logits, expected) and len(calls) == 2 * answers


def test_a_dllm_whose_layers_are_compiled_gives_the_same_answers():
    """In float32, in batches of two and of one, at prompts of other lengths."""
    model, prompts = load_base("tiny-dllm", method="dllm")
    asked = [prompts.question(question) for question in ("Who is Ada?", "In which city was she born?", "Who?")]
    options = {"max_new_tokens": 16, "block_length": 4, "mask": prompts.ids.mask, "stop": (-1,), "pad": prompts.ids.pad}
    plain = generate_diffusion(model, asked, steps=16, batch_size=2, **options)
    torch._dynamo.reset()  # or what another test compiled would do
    counters.clear()
    compile_layers(model, answers=True)
    assert generate_diffusion(model, asked, steps=16, batch_size=2, **options) == plain
    assert counters["stats"]["unique_graphs"] > 0
