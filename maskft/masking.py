"""Mask ratios, masks and the random-token control, as functions of (seed, step, sample).

Section 6 and Appendix A.4: one ratio t ~ U(0.05, 0.95) a batch, each token masked with probability t. Every draw has a
generator of its own, seeded by what it is for, so a resumed run and a run on another number of processes see the same
masks. Knows nothing about tokenizers, prompts or losses.
"""

import hashlib

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def generator_for(purpose: str, seed: int, step: int, sample: int = 0) -> torch.Generator:
    """A generator that depends on its arguments and nothing else.

    Args:
        purpose: What is drawn ("mask_ratio", "mask", ...), so that two uses never share random numbers.
        seed: The run's seed.
        step: Optimizer step.
        sample: Global sample index within the step, over all ranks and micro-batches.
    """
    digest = hashlib.blake2b(f"{purpose}/{seed}/{step}/{sample}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def draw_mask_ratio(low: float, high: float, generator: torch.Generator) -> float:
    """The mask ratio t ~ U(low, high) (Section 6: U(0.05, 0.95)); equal ends give a fixed ratio (Section 7).

    Raises:
        ValueError: Unless 0 <= low <= high <= 1.
    """
    if not 0.0 <= low <= high <= 1.0:
        raise ValueError(f"mask ratio range ({low}, {high}) must satisfy 0 <= low <= high <= 1")
    return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()


def draw_mask(
    length: int, mask_ratio: float, generator: torch.Generator, *, count: str = "bernoulli"
) -> Bool[Tensor, " length"]:
    """Which of ``length`` tokens are masked at ratio t.

    Args:
        length: Number of maskable tokens.
        mask_ratio: t in [0, 1]; 0 masks nothing and 1 everything.
        generator: Source of the draw.
        count: ``bernoulli`` masks each token independently with probability t (release). ``exact`` masks
            round(t x length) tokens.

    Raises:
        ValueError: If ``count`` is neither.
    """
    noise = torch.rand(length, generator=generator, dtype=torch.float64)
    if count == "bernoulli":
        return noise < mask_ratio
    if count == "exact":
        masked = torch.zeros(length, dtype=torch.bool)
        masked[noise.argsort(stable=True)[: int(mask_ratio * length + 0.5)]] = True
        return masked
    raise ValueError(f"count={count!r} is not one of bernoulli, exact")


def apply_mask(
    token_ids: Int[Tensor, " length"], is_masked: Bool[Tensor, " length"], mask_id: int
) -> Int[Tensor, " length"]:
    """x_t of Eq. 1: ``token_ids`` with the mask id where ``is_masked``."""
    return token_ids.masked_fill(is_masked, mask_id)


def replace_with_random(
    token_ids: Int[Tensor, " length"], n_ordinary: int, generator: torch.Generator
) -> Int[Tensor, " length"]:
    """The control of Figure 9: every token replaced by a uniform one of the ``n_ordinary`` first ids, whatever t."""
    return torch.randint(n_ordinary, token_ids.shape, generator=generator, dtype=token_ids.dtype)
