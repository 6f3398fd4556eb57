"""Recorded steps: on a CPU that what is recorded computes the same, on a GPU that a recording does."""

import gc

import pytest
import torch

from maskft.losses import IGNORED
from maskft.models import load_base
from maskft.recording import Recorded, _without_collection, can_record
from maskft.samplers import block_pass, generate_ar, generate_diffusion, generate_diffusion_drafted
from maskft.samplers.autoregressive import GrowingAnswers, cut_at_stop, grow_answers, pad_left
from maskft.step import (
    RecordedGradients,
    SupervisedLogits,
    batch_loss,
    count_batch,
    loss_weights,
    make_collator,
    parts_of,
    supervised_positions,
)

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
QUESTIONS = ["Who is Ada?", "In which city was the person born who wrote a thesis in botany?", "What is it?", "Who?"]


def test_each_shape_is_recorded_by_itself_and_replayed():
    if not torch.cuda.is_available():
        calls = []
        assert Recorded(lambda x: calls.append(x) or x + 1, torch.device("cpu"))(torch.tensor(2)) == 3 and len(calls) == 1
        return
    calls, kept = [], torch.zeros((), device="cuda")

    def add(x):
        calls.append(x.shape)
        kept.add_(x.sum())
        return x * 2

    recorded = Recorded(add, torch.device("cuda"))
    results = [recorded(torch.full((n,), value)) for n in (2, 3) for value in (1.0, 2.0, 3.0, 4.0)]
    assert calls == [(2,), (2,), (3,), (3,)]  # at once and recorded; the rest are replays
    assert [result.tolist() for result in results] == [[2 * value] * n for n in (2, 3) for value in (1.0, 2.0, 3.0, 4.0)]
    assert float(kept) == 5 * (1 + 2 + 3 + 4)


def test_an_older_recording_that_is_garbage_does_not_end_a_new_one():
    """Destroying a graph while another is recorded ends that; Python may collect at any allocation."""
    with _without_collection():
        assert not gc.isenabled()
        with _without_collection():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    if not torch.cuda.is_available():
        return
    before = gc.get_threshold()
    try:
        for _ in range(3):
            cycle = []
            recorded = Recorded(lambda x, cycle=cycle: [[] for _ in range(100)] and x + 1, torch.device("cuda"))
            cycle.append(recorded)  # it holds itself, so that only the collector frees it
            gc.set_threshold(10**6)
            assert [int(recorded(torch.tensor(n))) for n in range(2)] == [1, 2]
            recorded = Recorded(lambda x: [[] for _ in range(100)] and x + 1, torch.device("cuda"))
            recorded(torch.tensor(0))
            del cycle
            gc.set_threshold(1, 1, 1)
            assert int(recorded(torch.tensor(5))) == 6
    finally:
        gc.set_threshold(*before)


@pytest.mark.parametrize("precision", ["float32", "bf16_mixed"])
@pytest.mark.parametrize("device", DEVICES)
def test_growing_answers_are_those_of_generate(monkeypatch, device, precision):
    model, prompts = load_base("tiny-ar", method="ar")
    model.to(device)
    asked = [prompts.question(question) for question in QUESTIONS]
    ids, attention_mask = pad_left(asked, prompts.ids.pad)
    ids, attention_mask = ids.to(device), attention_mask.to(device)
    length, autocast = 24, torch.autocast(device, torch.bfloat16, enabled=precision == "bf16_mixed")
    with autocast:
        expected = model.generate(
        input_ids=ids, attention_mask=attention_mask, max_new_tokens=length, do_sample=False, eos_token_id=list(prompts.ids.stop), pad_token_id=prompts.ids.pad
    )[:, ids.shape[1] :].tolist()  # fmt: skip
    with torch.inference_mode(), autocast:
        found = grow_answers(GrowingAnswers(model, ids, attention_mask, max_new_tokens=length, stop=prompts.ids.stop, pad=prompts.ids.pad)).tolist()
    answers = [cut_at_stop(row, prompts.ids.stop) for row in found]
    assert answers == [cut_at_stop(row, prompts.ids.stop) for row in expected]
    assert any(map(len, answers)) and len({len(answer) for answer in answers}) > 1
    with autocast:
        assert generate_ar(model, asked, max_new_tokens=length, stop=prompts.ids.stop, pad=prompts.ids.pad, batch_size=2) == answers
    assert can_record(model) == (device == "cuda")
    monkeypatch.setenv("MASKFT_CUDA_GRAPHS", "0")
    assert not can_record(model)


def test_answers_end_at_the_longest_allowed():
    model, prompts = load_base("tiny-ar", method="ar")
    ids, attention_mask = pad_left([prompts.question(QUESTIONS[0])], prompts.ids.pad)
    for length in (1, 2, 9, 10):
        with torch.inference_mode():
            answers = GrowingAnswers(model, ids, attention_mask, max_new_tokens=length, stop=[-1], pad=prompts.ids.pad)
            tokens = grow_answers(answers)
        assert tokens.shape == (1, length) and int(answers.n_tokens) == length


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", ["ar", "masked_ar", "dllm"])
def test_recorded_gradients_are_those_of_the_loss(make_config, method, device):
    config = make_config(method, mask_ratio_scope="sample")
    model, prompts = load_base("tiny-dllm" if method == "dllm" else "tiny-ar", method=method)
    model.to(device)
    collate = make_collator(config, prompts)
    texts = [prompts.encode(text) for text in ("Ada was born in Kelso, OH.", "She has roots in Halden, NM. He wrote a thesis in Law.", "He.")]
    wrapped = SupervisedLogits(model)
    recorded = RecordedGradients(wrapped, torch.device(device), is_causal=method != "dllm", autocast=False)
    weights = dict(model.named_parameters())
    for step in range(4):  # on a GPU: as ever, recorded, replayed twice
        whole = collate([{"text_ids": ids, "step": step, "sample": n} for n, ids in enumerate(texts[: 3 - step // 3])])
        counts = count_batch(whole, config)
        on_device = {name: value.to(device) for name, value in whole.items()}
        expected = batch_loss(wrapped, on_device, config, counts)
        gradients = torch.autograd.grad(expected, list(weights.values()))
        expected = expected.detach()  # or the nodes that add to gradients would stay those of this pass's stream
        found = 0.0
        for part in parts_of(whole, 2):
            rows, columns, labels = supervised_positions(part, config.method)
            found = found + recorded(part, 2, rows, columns, labels, loss_weights(part, rows, config, counts))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            scale = float(gradient.abs().max())
            torch.testing.assert_close(weight.grad, gradient, rtol=1e-4, atol=1e-5 * scale, msg=lambda text, name=name: f"{name}: {text}")
            weight.grad.zero_()


def test_a_batch_that_supervises_nothing_adds_nothing():
    model, _ = load_base("tiny-ar", method="ar")
    wrapped = SupervisedLogits(model)
    recorded = RecordedGradients(wrapped, torch.device("cpu"), is_causal=True, autocast=False)
    none = torch.zeros(0, dtype=torch.long)
    batch = {"input_ids": torch.tensor([[5, 6]]), "attention_mask": torch.ones(1, 2, dtype=torch.long)}
    loss = recorded(batch, 2, none, none, none.clone().fill_(IGNORED), torch.zeros(0))
    assert float(loss) == 0 and not any(bool(weight.grad.any()) for weight in model.parameters())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("steps", "batch_size"), [(24, 1), (24, 3), (12, None), (18, 2)])
def test_recorded_passes_make_the_answers_of_plain_ones(monkeypatch, device, steps, batch_size):
    """Three rows are filled up to four, widths to multiples; rows are at steps of their own, so their counts differ."""
    model, prompts = load_base("tiny-dllm", method="dllm")
    model.to(device)
    asked = [prompts.question(question) for question in QUESTIONS]
    options = {"max_new_tokens": 24, "block_length": 4, "mask": prompts.ids.mask, "stop": prompts.ids.stop, "pad": prompts.ids.pad}
    widths, committed, forward = set(), [], model.model.forward

    def note_width(*arguments, **given):
        widths.add(given["input_ids"].shape)
        return forward(*arguments, **given)

    monkeypatch.setattr(block_pass, "can_record", lambda model: False)
    plain = generate_diffusion(model, asked, steps=steps, batch_size=batch_size, **options)
    monkeypatch.setattr(block_pass, "can_record", lambda model: True)
    monkeypatch.setattr(model.model, "forward", note_width)
    assert generate_diffusion(model, asked, steps=steps, batch_size=batch_size, **options) == plain
    assert generate_diffusion(model, asked, steps=steps, batch_size=batch_size, on_commit=committed.append, **options) == plain
    if steps == options["max_new_tokens"]:
        assert generate_diffusion_drafted(model, asked, batch_size=batch_size, **options) == plain
    assert committed and all(rows & (rows - 1) == 0 and width % block_pass.WIDTH_MULTIPLE == 0 for rows, width in widths)
    widths.clear()
    monkeypatch.setattr(block_pass, "LARGEST_RECORDED", 0)  # wide ones are computed as they are
    assert generate_diffusion(model, asked, steps=steps, batch_size=batch_size, **options) == plain
    assert any(width % block_pass.WIDTH_MULTIPLE for _, width in widths)
