"""Greedy answers of a causal model, and what every sampler does with prompts and answers."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor


def cut_at_stop(ids: Sequence[int], stop: Sequence[int]) -> list[int]:
    """The ids before the first stop id, or all of them."""
    for position, token in enumerate(ids):
        if token in stop:
            return list(ids[:position])
    return list(ids)


def check_prompts(prompts: Sequence[Sequence[int]]) -> None:
    """Refuse prompts that no model can answer.

    Raises:
        ValueError: If there is no prompt, or an empty one.
    """
    if not prompts or not all(prompts):
        raise ValueError("every prompt needs at least one token; drop the empty ones")


def pad_left(
    prompts: Sequence[Sequence[int]], pad: int, width: int = 0
) -> tuple[Int[Tensor, "batch prompt"], Int[Tensor, "batch prompt"]]:
    """Prompts filled on the left to the longest or to ``width``, and their attention mask."""
    width = max(width, *map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(p)) + list(p) for p in prompts])
    attention_mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    return ids, attention_mask


@torch.inference_mode()
def generate_ar(model, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, stop: Sequence[int], pad: int) -> list[list[int]]:
    """Greedy answers of a causal model to a left-padded batch, by transformers' ``generate``.

    Raises:
        ValueError: If a prompt is empty.
    """
    check_prompts(prompts)
    ids, attention_mask = pad_left(prompts, pad)
    output = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=attention_mask.to(model.device),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=list(stop),
        pad_token_id=pad,
    )
    return [cut_at_stop(row, stop) for row in output[:, ids.shape[1] :].tolist()]
