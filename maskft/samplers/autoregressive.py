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
def generate_ar(
    model,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop: Sequence[int],
    pad: int,
    batch_size: int | None = None,
) -> list[list[int]]:
    """Greedy answers of a causal model, by transformers' ``generate`` on left-padded batches of like length.

    Args:
        model: A causal model.
        prompts: Token ids.
        max_new_tokens: Longest answer.
        stop: Ids that end an answer.
        pad: Padding id.
        batch_size: Prompts at a time; None takes all at once. No answer depends on it, up to rounding.

    Raises:
        ValueError: If a prompt is empty.
    """
    check_prompts(prompts)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), batch_size or len(order)):
        batch = order[start : start + (batch_size or len(order))]
        ids, attention_mask = pad_left([prompts[i] for i in batch], pad)
        output = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=attention_mask.to(model.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=list(stop),
            pad_token_id=pad,
        )
        for i, row in zip(batch, output[:, ids.shape[1] :].tolist(), strict=True):
            answers[i] = cut_at_stop(row, stop)
    return answers
