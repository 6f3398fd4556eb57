"""A loss in chunks has the value and the gradients of the whole one, and needs less memory."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from maskft import chunked_loss
from maskft.ar_shift import shift_outputs
from maskft.chunked_loss import LARGEST_WHOLE, chunk_size, loss_of
from maskft.data import load_corpus
from maskft.injection.teach import add_lora
from maskft.losses import IGNORED, autoregressive_loss, masked_diffusion_loss
from maskft.models import load_base
from maskft.paper import METHODS
from maskft.scales import TINY
from maskft.step import SupervisedLogits, batch_loss, count_batch, make_collator, recompute_activations

VOCABULARY, WIDTH, N = 50, 32, 19


@pytest.fixture
def in_chunks(monkeypatch):
    """Makes every loss one in chunks of so many positions."""

    def chunks_of(size, vocabulary=VOCABULARY):
        monkeypatch.setattr(chunked_loss, "LARGEST_WHOLE", 0)
        monkeypatch.setattr(chunked_loss, "AT_ONCE", size * vocabulary)
        monkeypatch.setattr(chunked_loss, "WIDTHS", 10**9)

    return chunks_of


def total(logits, labels):
    """In the dtype of the logits, unlike the package's losses."""
    return cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")


def head_and_states(dtype=torch.float64, n=N):
    torch.manual_seed(0)
    head, states = nn.Linear(WIDTH, VOCABULARY, bias=False, dtype=dtype), torch.randn(n, WIDTH, dtype=dtype)
    labels = torch.randint(0, VOCABULARY, (n,))
    labels[n // 2] = IGNORED if n > 1 else labels[0]
    return head, states.requires_grad_(), labels


def outcome(head, states, loss, *targets):
    """Three times the loss, and the gradients of that."""
    value = 3 * loss_of(head, states, loss, *targets)
    return value.detach(), torch.autograd.grad(value, [states, head.weight])


@pytest.mark.parametrize(("n", "size"), [(N, 1), (N, 3), (N, 7), (N, N - 1), (1, 1), (N, N), (0, 4)])
def test_value_and_gradients_are_those_of_the_whole(in_chunks, n, size):
    head, states, labels = head_and_states(n=max(n, 1))
    states, labels = states[:n].detach().requires_grad_(), labels[:n]
    expected = outcome(head, states, total, labels)
    in_chunks(size)
    widest = []
    found = outcome(head, states, lambda logits, labels: widest.append(len(logits)) or total(logits, labels), labels)
    assert max(widest) == min(n, size) and len(widest) == max(1, -(-n // size))
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("normaliser", [None, "maskable", "length", "sum"])
@pytest.mark.parametrize(("dtype", "autocast", "tolerance"), [
    (torch.float32, False, 1e-6), (torch.float32, True, 4 * 2**-8), (torch.bfloat16, False, 4 * 2**-8),
])  # fmt: skip
def test_both_losses_in_every_precision(in_chunks, normaliser, dtype, autocast, tolerance):
    """Of the largest gradient, within rounding: in bfloat16 four chunks are four. The value, always in float32, within that of sums."""
    head, states, labels = head_and_states(dtype)
    sample = torch.arange(N) % 4
    loss, targets = partial(autoregressive_loss, n_targets=11), (labels,)
    if normaliser:
        ratios = {"mask_ratio": torch.tensor([0.1, 0.4, 0.7, 1.0]), "n_maskable": torch.tensor([9, 8, 7, 6])}
        loss = partial(masked_diffusion_loss, **ratios, n_samples=4, n_tokens=40, normaliser=normaliser)
        targets = labels, sample
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        expected, wanted = outcome(head, states, loss, *targets)
        in_chunks(5)
        found, gradients = outcome(head, states, loss, *targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    for gradient, want in zip(gradients, wanted, strict=True):
        assert gradient.dtype == want.dtype == dtype
        torch.testing.assert_close(gradient, want, rtol=0, atol=tolerance * float(want.abs().max()))


def test_without_gradients_there_is_only_a_value(in_chunks):
    head, states, labels = head_and_states()
    expected = total(head(states), labels)
    in_chunks(3)
    with torch.no_grad():
        found = loss_of(head, states, total, labels)
    assert not found.requires_grad
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=0)


def test_a_frozen_projection_has_no_gradient_and_one_with_a_bias_is_whole(in_chunks):
    head, states, labels = head_and_states()
    (expected,) = torch.autograd.grad(total(head(states), labels), states)
    in_chunks(3)
    head.requires_grad_(False)
    (found,) = torch.autograd.grad(loss_of(head, states, total, labels), states)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    biased = nn.Linear(WIDTH, VOCABULARY, dtype=torch.float64)
    assert torch.equal(loss_of(biased, states, total, labels), total(biased(states), labels))


def test_a_second_backward_pass_is_refused(in_chunks):
    head, states, labels = head_and_states()
    in_chunks(3)
    loss = loss_of(head, states, total, labels)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="compute it again"):
        loss.backward()


@pytest.mark.parametrize("variant", ["tied", "untied", "packed", "recomputed", "shifted", "lora"])
def test_a_model_of_each_kind_learns_the_same(in_chunks, prompts, make_config, random_llama, variant):
    method = "dllm" if variant == "shifted" else "masked_ar"
    model, config = random_llama(is_causal=method != "dllm"), make_config(method)
    if variant == "tied":
        model.config.tie_word_embeddings = True
        model.tie_weights()
        assert model.lm_head.weight is model.model.embed_tokens.weight
    if variant == "recomputed":
        recompute_activations(model)
    if variant == "shifted":
        shift_outputs(model)
    if variant == "lora":
        add_lora(model, 4)
    wrapped = SupervisedLogits(model.train(), packed=variant == "packed")
    texts = load_corpus("name_description", source="synthetic").training_texts("none")["text"][:5]
    batch = make_collator(config, prompts)([{"text_ids": prompts.encode(t), "step": 0, "sample": n} for n, t in enumerate(texts)])
    trained = [p for p in model.parameters() if p.requires_grad]

    def learn():
        loss = batch_loss(wrapped, batch, config, count_batch(batch, config))
        return loss.detach(), torch.autograd.grad(loss, trained)

    expected = learn()
    in_chunks(7, len(prompts.tokenizer))
    called = []
    model.lm_head.register_forward_hook(lambda *_: called.append(True))
    found = learn()
    assert not called  # the projection as a whole
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_no_run_of_the_tiny_scale_is_computed_in_chunks(prompts):
    """Every token of its longest texts, and one more, as an output. The records' losses are those of the whole."""
    largest = 0
    for dataset in ("name_description", "biography", "wiki"):
        corpus = load_corpus(dataset, source="synthetic")
        for paraphrases in ("none", "same_order", *(["permute_order"] if dataset == "wiki" else [])):
            lengths = sorted(len(prompts.encode(text)) + 2 for text in corpus.training_texts(paraphrases)["text"])
            largest = max(largest, sum(lengths[-TINY.settings["train_batch_size"] :]))
    assert 4000 < largest
    for method in METHODS:
        model, _ = load_base(TINY.bases[method], method=method)
        vocabulary, width = model.lm_head.out_features, model.lm_head.in_features
        assert chunk_size(largest, width, vocabulary) == largest and largest * vocabulary < LARGEST_WHOLE / 2


def test_chunks_are_as_large_as_said():
    """4 Mi logits of 128,256 words are 32 positions; 4,096 / 8 are more. Short of 16 Mi logits all are computed at once."""
    assert [chunk_size(n, 128, 128_256) for n in (1, 130, 131)] == [1, 130, 32]
    assert chunk_size(1900, 4096, 128_256) == 512 and chunk_size(300, 4096, 128_256) == 300
    assert chunk_size(10, 8, 2**23) == 1


MEASURE = """
import json, torch
from functools import partial
from pathlib import Path
from maskft import chunked_loss
from maskft.losses import autoregressive_loss

def megabytes(field):
    return float(next(line for line in Path("/proc/self/status").open() if line.startswith(field)).split()[1]) / 1024

torch.set_num_threads(1)
head, states, labels = torch.nn.Linear(32, 128_256, bias=False), torch.randn(300, 32, requires_grad=True), torch.arange(300)
def learn(n):
    before = megabytes("VmRSS")
    chunked_loss.loss_of(head, states[:n], partial(autoregressive_loss, n_targets=n), labels[:n]).backward()
    return megabytes("VmHWM") - before
learn(2)
chunks = learn(300)
chunked_loss.LARGEST_WHOLE = 300 * 128_256
print(json.dumps([chunks, learn(300)]))
"""


STATUS = Path("/proc/self/status")


@pytest.mark.skipif(not STATUS.exists() or "VmHWM" not in STATUS.read_text(), reason="the kernel does not tell a process's peak")
def test_the_peak_of_a_process_is_lower():
    """Three tables of 300 x 128,256 in float32 are 440 MiB; of 32 of them 47, beside 16 of the projection's gradient. The
    allocator keeps some that are free."""
    out = subprocess.run([sys.executable, "-c", MEASURE], check=True, capture_output=True, text=True, timeout=300).stdout
    chunks, whole = json.loads(out)
    assert whole > 400 and chunks < whole / 2
