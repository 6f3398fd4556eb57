"""The losses against enumeration, hand arithmetic and a slow reference in plain Python."""

import itertools
import math
import re

import pytest
import torch

from maskft.losses import autoregressive_loss, masked_diffusion_loss

VOCABULARY = 5


def slow_nll(logits: list[float], label: int) -> float:
    return math.log(sum(math.exp(x) for x in logits)) - logits[label]


def slow_diffusion(logits, labels, sample, ratios, n_maskable, n_samples, n_tokens, normaliser) -> float:
    """Row by row: the sum of masked cross-entropies, divided as the normaliser says, over t."""
    total = 0.0
    for row, (ratio, maskable) in enumerate(zip(ratios, n_maskable, strict=True)):
        terms = [slow_nll(x, y) for x, y, s in zip(logits, labels, sample, strict=True) if s == row and y != -100]
        divisor = {"maskable": maskable * n_samples, "length": n_tokens, "sum": n_samples}[normaliser]
        total += sum(terms) / ratio / divisor
    return total


def random_batch():
    """Seven masked positions in three rows; one of them is not supervised."""
    torch.manual_seed(0)
    return {
        "logits": torch.randn(7, VOCABULARY),
        "labels": torch.tensor([1, 4, -100, 0, 2, 2, 3]),
        "sample": torch.tensor([0, 0, 0, 1, 2, 2, 2]),
        "mask_ratio": torch.tensor([0.5, 0.25, 0.8]),
        "n_maskable": torch.tensor([6, 4, 5]),
    }


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.9])
def test_equation_1_is_unbiased_over_all_masks_of_a_text(ratio):
    """A text of 3 tokens has 2^3 masks, each with probability t^k (1-t)^(3-k). If the logits do not depend on the mask,
    each token's loss is counted with probability t and weighted 1/t: the expectation is the sum of the three losses."""
    torch.manual_seed(0)
    logits, text = torch.randn(3, VOCABULARY), torch.tensor([4, 0, 2])
    expectation = 0.0
    for mask in itertools.product([False, True], repeat=3):
        masked, n_masked = torch.tensor(mask), sum(mask)
        loss = masked_diffusion_loss(
            logits[masked], text[masked], torch.zeros(n_masked, dtype=torch.long), torch.tensor([ratio]),
            torch.tensor([3]), n_samples=1, n_tokens=4, normaliser="sum",
        )
        expectation += ratio**n_masked * (1 - ratio) ** (3 - n_masked) * loss.item()
    plain = sum(slow_nll(row, label) for row, label in zip(logits.tolist(), text.tolist(), strict=True))
    assert expectation == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize(
    ("normaliser", "expected"),
    [
        # Uniform logits: every masked token costs ln 5. Row 0 has 2 masked at t = 1/2, row 1 has 1 masked at t = 1/4:
        # weighted sums 4 ln 5 and 4 ln 5.
        ("sum", (4 + 4) / 2),  # mean of two rows
        ("maskable", (4 / 8 + 4 / 2) / 2),  # 8 and 2 maskable tokens
        ("length", (4 + 4) / 16),  # 16 tokens in the batch
    ],
)
def test_normalisers_by_hand(normaliser, expected):
    loss = masked_diffusion_loss(
        torch.zeros(3, VOCABULARY), torch.tensor([1, 2, 3]), torch.tensor([0, 0, 1]), torch.tensor([0.5, 0.25]),
        torch.tensor([8, 2]), n_samples=2, n_tokens=16, normaliser=normaliser,
    )
    assert loss.item() == pytest.approx(expected * math.log(VOCABULARY), rel=1e-6)


def test_the_default_normaliser_is_that_of_the_release():
    batch = random_batch()
    default = masked_diffusion_loss(**batch, n_samples=3, n_tokens=18)
    assert default == masked_diffusion_loss(**batch, n_samples=3, n_tokens=18, normaliser="maskable")


@pytest.mark.parametrize("normaliser", ["maskable", "length", "sum"])
def test_the_diffusion_loss_equals_a_slow_reference(normaliser):
    batch = random_batch()
    slow = slow_diffusion(*(value.tolist() for value in batch.values()), 3, 18, normaliser)
    fast = masked_diffusion_loss(**batch, n_samples=3, n_tokens=18, normaliser=normaliser)
    assert fast.item() == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize("normaliser", ["maskable", "length", "sum"])
def test_diffusion_parts_of_a_split_batch_add_to_the_whole_in_value_and_gradient(normaliser):
    """The first row on one process, the other two on another: rows are numbered anew there."""
    batch = random_batch()
    whole = batch["logits"].clone().requires_grad_()
    parts = batch["logits"].clone().requires_grad_()
    counts = {"n_samples": 3, "n_tokens": 18, "normaliser": normaliser}
    loss = masked_diffusion_loss(**batch | {"logits": whole}, **counts)
    first = masked_diffusion_loss(
        parts[:3], batch["labels"][:3], batch["sample"][:3], batch["mask_ratio"][:1], batch["n_maskable"][:1], **counts
    )
    second = masked_diffusion_loss(
        parts[3:], batch["labels"][3:], batch["sample"][3:] - 1, batch["mask_ratio"][1:], batch["n_maskable"][1:], **counts
    )
    loss.backward()
    (first + second).backward()
    assert (first + second).item() == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(parts.grad, whole.grad)
    assert whole.grad[2].eq(0).all() and whole.grad[[0, 1, 3, 4, 5, 6]].ne(0).all()  # position 2 has label -100


def test_autoregressive_loss_is_the_mean_over_targets_and_ignores_minus_100():
    """Uniform logits cost ln 5 a target whatever the label; the third position adds nothing to the sum of two."""
    labels = torch.tensor([1, 4, -100])
    loss = autoregressive_loss(torch.zeros(3, VOCABULARY), labels, n_targets=2)
    assert loss.item() == pytest.approx(math.log(VOCABULARY), rel=1e-6)
    logits = torch.randn(3, VOCABULARY, generator=torch.Generator().manual_seed(0))
    slow = (slow_nll(logits[0].tolist(), 1) + slow_nll(logits[1].tolist(), 4)) / 2
    assert autoregressive_loss(logits, labels, n_targets=2).item() == pytest.approx(slow, rel=1e-5)


def test_autoregressive_parts_of_a_split_batch_add_to_the_whole_in_value_and_gradient():
    logits, labels = torch.randn(6, VOCABULARY, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, -100, 2, 3, 4])
    whole, parts = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = autoregressive_loss(whole, labels, n_targets=5)
    split = sum(autoregressive_loss(parts[i : i + 2], labels[i : i + 2], n_targets=5) for i in (0, 2, 4))
    loss.backward()
    split.backward()
    assert split.item() == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(parts.grad, whole.grad)


def test_a_share_without_targets_is_zero_and_has_a_gradient():
    """A process whose rows happen to have nothing masked still takes part in the backward pass."""
    logits = torch.zeros(0, VOCABULARY, requires_grad=True)
    none = torch.zeros(0, dtype=torch.long)
    diffusion = masked_diffusion_loss(logits, none, none, torch.tensor([0.5]), torch.tensor([3]), n_samples=1, n_tokens=4)
    loss = diffusion + autoregressive_loss(logits, none, n_targets=3)
    loss.backward()
    assert loss.item() == 0 and logits.grad.shape == (0, VOCABULARY)


def test_losses_are_computed_in_float32():
    """In bfloat16 a sum of 1000 times ln 5 = 1609.4 would be a multiple of 8."""
    logits = torch.zeros(1000, VOCABULARY, dtype=torch.bfloat16)
    labels = torch.zeros(1000, dtype=torch.long)
    ar = autoregressive_loss(logits, labels, n_targets=1)
    dllm = masked_diffusion_loss(
        logits, labels, labels, torch.tensor([1.0]), torch.tensor([1]), n_samples=1, n_tokens=1
    )
    for loss in (ar, dllm):
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(1000 * math.log(VOCABULARY), rel=1e-5)


@pytest.mark.parametrize("n_targets", [0, -1])
def test_a_mean_over_no_targets_is_refused(n_targets):
    with pytest.raises(ValueError, match=f"n_targets={n_targets}"):
        autoregressive_loss(torch.zeros(1, VOCABULARY), torch.tensor([1]), n_targets=n_targets)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask_ratio": torch.tensor([0.5, 0.0, 0.8])}, "must lie in (0, 1]"),
        ({"mask_ratio": torch.tensor([0.5, 1.1, 0.8])}, "must lie in (0, 1]"),
        ({"mask_ratio": torch.tensor([0.5, math.nan, 0.8])}, "must lie in (0, 1]"),
        ({"n_samples": 0}, "n_samples=0"),
        ({"n_tokens": 0}, "n_tokens=0"),
        ({"normaliser": "mean"}, "normaliser='mean' is not one of maskable, length, sum"),
    ],
)
def test_what_equation_1_does_not_define_is_refused(change, message):
    arguments = random_batch() | {"n_samples": 3, "n_tokens": 18} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        masked_diffusion_loss(**arguments)
