"""Answers from prompts: greedy autoregressive decoding, and block-wise diffusion with low-confidence remasking.

Section 3 and Appendix A.4: at most 128 new tokens at temperature 0; diffusion with block length 4 and remasking strategy
``low_confidence``; follows the sampler of LLaDA (arXiv 2502.09992). An answer is what precedes the first stop id. Both
take prompts as token ids and return answers as token ids; they know nothing about text.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def cut_at_stop(ids: Sequence[int], stop: Sequence[int]) -> list[int]:
    """The ids before the first stop id, or all of them."""
    for position, token in enumerate(ids):
        if token in stop:
            return list(ids[:position])
    return list(ids)


def pad_left(prompts: Sequence[Sequence[int]], pad: int) -> tuple[Int[Tensor, "batch prompt"], Int[Tensor, "batch prompt"]]:
    """Prompts filled on the left, and their attention mask."""
    if not prompts or not all(prompts):
        raise ValueError("every prompt needs at least one token; drop the empty ones")
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(p)) + list(p) for p in prompts])
    attention_mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    return ids, attention_mask


@torch.inference_mode()
def generate_ar(model, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, stop: Sequence[int], pad: int) -> list[list[int]]:
    """Greedy answers of a causal model to a left-padded batch, by transformers' ``generate``.

    Raises:
        ValueError: If a prompt is empty.
    """
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


def commits_per_step(n_masked: int, n_steps: int) -> list[int]:
    """How many tokens each step of a block commits: as even as can be, the earlier steps taking the rest.

    Example:
        >>> commits_per_step(4, 3)
        [2, 1, 1]
    """
    each, rest = divmod(n_masked, n_steps)
    return [each + (step < rest) for step in range(n_steps)]


def choose_commits(
    logits: Float[Tensor, "batch block vocab"], is_masked: Bool[Tensor, "batch block"], mask: int, count: int
) -> tuple[Int[Tensor, "batch block"], Bool[Tensor, "batch block"], Float[Tensor, "batch block"]]:
    """The most confident ``count`` masked positions of each row, and their tokens (``low_confidence`` at temperature 0).

    Confidence is the softmax probability of the most likely token in float32: in bfloat16 everything above 0.998 is
    1.0, and a model that knows its documents is mostly there. Ties go to the leftmost position and the lowest token id.
    The mask itself is never a candidate.

    Returns:
        ``(tokens, committed, confidence)``; confidence is -inf where nothing is masked.
    """
    scores = logits.float().clone()
    scores[..., mask] = -torch.inf
    top = scores.max(dim=-1)
    confidence = (top.values - scores.logsumexp(dim=-1)).exp()
    confidence = confidence.masked_fill(~is_masked, -torch.inf)
    order = confidence.argsort(dim=-1, descending=True, stable=True)
    committed = torch.zeros_like(is_masked).scatter_(1, order[:, :count], True) & is_masked
    return top.indices, committed, confidence


class Commit(NamedTuple):
    """One token that a diffusion sampler made final.

    Attributes:
        row: Which prompt.
        step: Forward pass of the sampler, from 0.
        position: Place on the canvas, from 0.
        token: Its id.
        confidence: Probability that the model gave it.
    """

    row: int
    step: int
    position: int
    token: int
    confidence: float


@torch.inference_mode()
def generate_diffusion(
    model,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    block_length: int,
    steps: int,
    mask: int,
    stop: Sequence[int],
    pad: int,
    on_commit: Callable[[Commit], None] | None = None,
) -> list[list[int]]:
    """Answers of a masked diffusion model: blocks from left to right, each unmasked most confident token first.

    The canvas behind the prompt holds ``max_new_tokens`` masks. Blocks are final once passed, so a row whose finished
    block holds a stop id leaves the batch: its answer cannot change any more. The canvas right of the block stays,
    because bidirectional attention sees it. Logits are computed for the active block alone.

    Args:
        model: A bidirectional model (``config.is_causal`` is False).
        prompts: Token ids; unequal lengths are padded on the left and the padding is not attended.
        max_new_tokens: Length of the canvas, a multiple of ``block_length``.
        block_length: Tokens of a block.
        steps: Forward passes for the whole canvas, a multiple of the number of blocks; ``max_new_tokens`` gives one
            token a step.
        mask: Mask id.
        stop: Ids that end an answer.
        pad: Padding id.
        on_commit: Called with each ``Commit``, step by step and from left to right within one; a list's ``append``
            records how an answer came about.

    Raises:
        ValueError: If the model is causal, a prompt is empty or holds the mask id, or the lengths do not divide.
    """
    if getattr(model.config, "is_causal", True):
        raise ValueError("generate_diffusion needs a bidirectional model; load it with method='dllm' (is_causal=False)")
    if block_length < 1 or max_new_tokens % block_length:
        raise ValueError(f"max_new_tokens={max_new_tokens} must be a multiple of block_length={block_length}")
    n_blocks = max_new_tokens // block_length
    if steps % n_blocks or not n_blocks <= steps <= max_new_tokens:
        raise ValueError(f"steps={steps} must be a multiple of the {n_blocks} blocks and at most {max_new_tokens}")
    if any(mask in prompt for prompt in prompts):
        raise ValueError(f"a prompt holds the mask id {mask}; the sampler would fill it")
    prompt_ids, prompt_mask = pad_left(prompts, pad)
    n_prompt = prompt_ids.shape[1]
    canvas = torch.full((len(prompts), max_new_tokens), mask)
    ids = torch.cat([prompt_ids, canvas], dim=1).to(model.device)
    attention_mask = torch.cat([prompt_mask, torch.ones_like(canvas)], dim=1).to(model.device)
    stop_ids = torch.tensor(list(stop), device=model.device)
    answers: list[list[int]] = [[] for _ in prompts]
    rows = torch.arange(len(prompts), device=model.device)  # which prompt each row of the shrinking batch answers
    schedule = commits_per_step(block_length, steps // n_blocks)
    for block_number, start in enumerate(range(n_prompt, n_prompt + max_new_tokens, block_length)):
        window = torch.arange(start, start + block_length, device=model.device)
        for step, count in enumerate(schedule, start=block_number * len(schedule)):
            logits = model(input_ids=ids, attention_mask=attention_mask, logits_to_keep=window, use_cache=False).logits
            block = ids[:, start : start + block_length]
            tokens, committed, confidence = choose_commits(logits, block == mask, mask, count)
            ids[:, start : start + block_length] = torch.where(committed, tokens, block)
            if on_commit is not None:
                for row, position in committed.nonzero().tolist():
                    token, sure = int(tokens[row, position]), float(confidence[row, position])
                    on_commit(Commit(int(rows[row]), step, start - n_prompt + position, token, sure))
        ended = torch.isin(ids[:, start : start + block_length], stop_ids).any(dim=1)
        last = start + block_length == n_prompt + max_new_tokens
        for row in range(len(ids)) if last else ended.nonzero().flatten().tolist():
            answers[int(rows[row])] = cut_at_stop(ids[row, n_prompt : start + block_length].tolist(), stop)
        ids, attention_mask, rows = ids[~ended], attention_mask[~ended], rows[~ended]
        if not len(rows):
            break
    return answers
