"""The exact diffusion sampler: the tokens of the published loop, at the cost of what can still change.

Logits of the active block alone decide, so the last layer and the projection see that block alone. A row whose answer is
complete leaves, and the next prompt takes its place, so rows are at different blocks and steps. What is right of a block
stays on the canvas, because bidirectional attention sees it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from maskft.samplers.autoregressive import check_prompts, cut_at_stop, pad_left, without_gradients
from maskft.samplers.block_pass import BlockPass


def commits_per_step(n_masked: int, n_steps: int) -> list[int]:
    """How many tokens each step of a block commits: as even as can be, the earlier steps taking the rest.

    Example:
        >>> commits_per_step(4, 3)
        [2, 1, 1]
    """
    each, rest = divmod(n_masked, n_steps)
    return [each + (step < rest) for step in range(n_steps)]


class Commit(NamedTuple):
    """One token that a diffusion sampler made final.

    Attributes:
        row: Which prompt.
        step: Forward pass over this row, from 0.
        position: Place on the canvas, from 0.
        token: Its id.
        confidence: Probability that the model gave it.
    """

    row: int
    step: int
    position: int
    token: int
    confidence: float


@dataclass
class Canvases:
    """The rows in work: prompt and canvas each, left-padded to one width, each row at a block of its own.

    Attributes:
        ids: Tokens.
        attention_mask: 0 where there is padding.
        window: The columns of each row's block.
        rows: Which prompt each row answers.
        blocks: Which block each row is at, from 0.
        passes: Calls of ``fill`` that each row has had.
        mask: Mask id.
    """

    ids: Int[Tensor, "batch width"]
    attention_mask: Int[Tensor, "batch width"]
    window: Int[Tensor, "batch block"]
    rows: list[int]
    blocks: list[int]
    passes: list[int]
    mask: int

    @property
    def block(self) -> Int[Tensor, "batch block"]:
        """The tokens of each row's block."""
        return self.ids.gather(1, self.window)

    def commit(self, tokens: Int[Tensor, "batch block"], committed: Bool[Tensor, "batch block"]) -> None:
        """Make ``tokens`` final where ``committed``."""
        self.ids.scatter_(1, self.window, torch.where(committed, tokens, self.block))


def fill_blocks(
    prompts: Sequence[Sequence[int]],
    fill: Callable[[Canvases], None],
    *,
    device: torch.device,
    max_new_tokens: int,
    block_length: int,
    mask: int,
    stop: Sequence[int],
    pad: int,
    batch_size: int | None,
    whole_blocks: bool = False,
) -> list[list[int]]:
    """Answers of all prompts: rows go from block to block, leave when their answer is complete, and are replaced.

    An answer is complete when the first stop id is final and all before it is: nothing final changes any more. Longest
    prompts go first: what comes later fits, rows in work have like lengths, and a batch that is too large for the memory
    fails at once. The host waits for the device once a call of ``fill``, to see who leaves.

    Args:
        prompts: Token ids.
        fill: Commits tokens of every row's block, one at least.
        device: Where the canvases lie.
        max_new_tokens: Length of a canvas.
        block_length: Tokens of a block.
        mask: Mask id.
        stop: Ids that end an answer.
        pad: Padding id.
        batch_size: Rows in work at most; None takes all.
        whole_blocks: Rows leave at the end of a block only.
    """
    stop_ids = torch.tensor(list(stop), device=device)
    within = torch.arange(block_length, device=device)
    answers: list[list[int]] = [[] for _ in prompts]
    waiting = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    rows: list[int] = []
    blocks: list[int] = []
    passes: list[int] = []
    ids = attention_mask = torch.empty(0, 0, dtype=torch.long, device=device)
    while waiting or rows:
        new = [waiting.pop() for _ in range(min(len(waiting), (batch_size or len(prompts)) - len(rows)))]
        rows, blocks, passes = rows + new, blocks + [0] * len(new), passes + [0] * len(new)
        n_prompt = max(len(prompts[row]) for row in rows)
        # The longest may have left.
        ids, attention_mask = (x[:, max(0, x.shape[1] - n_prompt - max_new_tokens) :] for x in (ids, attention_mask))
        if new:
            prompt_ids, prompt_mask = pad_left([prompts[row] for row in new], pad, n_prompt)
            canvas = torch.full((len(new), max_new_tokens), mask)
            new_ids = torch.cat([prompt_ids, canvas], dim=1).to(device)
            new_mask = torch.cat([prompt_mask, torch.ones_like(canvas)], dim=1).to(device)
            ids, attention_mask = (
                torch.cat([old, fresh]) if len(old) else fresh for old, fresh in ((ids, new_ids), (attention_mask, new_mask))
            )
        start = n_prompt + block_length * torch.tensor(blocks, device=device)
        canvases = Canvases(ids, attention_mask, start[:, None] + within, rows, blocks, passes, mask)
        fill(canvases)
        passes = [count + 1 for count in passes]
        is_open = canvases.block == mask
        before = is_open.any(dim=1, keepdim=True) if whole_blocks else is_open.cumsum(dim=1)
        complete = (torch.isin(canvases.block, stop_ids) & (before == 0)).any(dim=1)
        is_open, complete = torch.stack([is_open.any(dim=1), complete]).tolist()
        blocks = [block + (not still) for block, still in zip(blocks, is_open, strict=True)]
        leaving = [i for i, block in enumerate(blocks) if complete[i] or block * block_length == max_new_tokens]
        if leaving:
            for i, row in zip(leaving, ids[leaving, n_prompt:].tolist(), strict=True):
                answers[rows[i]] = cut_at_stop(row, stop)
            staying = [i for i in range(len(rows)) if i not in leaving]
            ids, attention_mask = ids[staying], attention_mask[staying]
            rows, blocks, passes = ([each[i] for i in staying] for each in (rows, blocks, passes))
    return answers


def check_request(
    model, prompts: Sequence[Sequence[int]], *, max_new_tokens: int, block_length: int, mask: int, batch_size: int | None
) -> None:
    """Refuse what no diffusion sampler can do.

    Raises:
        ValueError: If the model is causal, a prompt is empty or holds the mask id, ``batch_size`` is not positive, or
            blocks do not fill the canvas.
    """
    if getattr(model.config, "is_causal", True):
        raise ValueError("a diffusion sampler needs a bidirectional model; load it with method='dllm' (is_causal=False)")
    check_prompts(prompts)
    if block_length < 1 or max_new_tokens % block_length:
        raise ValueError(f"max_new_tokens={max_new_tokens} must be a multiple of block_length={block_length}")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1, or None for all prompts at once")
    if any(mask in prompt for prompt in prompts):
        raise ValueError(f"a prompt holds the mask id {mask}; the sampler would fill it")


@without_gradients
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
    batch_size: int | None = None,
    on_commit: Callable[[Commit], None] | None = None,
) -> list[list[int]]:
    """Answers of a masked diffusion model: blocks from left to right, each unmasked most confident token first.

    The canvas behind the prompt holds ``max_new_tokens`` masks. What is committed is final, so a row whose first stop id
    is committed and all before it leaves the batch, and the next prompt takes its place: its answer cannot change any more.

    Args:
        model: A bidirectional ``LlamaForCausalLM`` (``config.is_causal`` is False).
        prompts: Token ids; unequal lengths are padded on the left and the padding is not attended.
        max_new_tokens: Length of the canvas, a multiple of ``block_length``.
        block_length: Tokens of a block.
        steps: Forward passes for the whole canvas, a multiple of the number of blocks; ``max_new_tokens`` gives one
            token a step.
        mask: Mask id.
        stop: Ids that end an answer.
        pad: Padding id.
        batch_size: Prompts in work at most; None takes all at once. No answer depends on it, up to rounding.
        on_commit: Called with each ``Commit``, step by step and from left to right within one; a list's ``append``
            records how an answer came about. Each block that was begun is then filled.

    Raises:
        ValueError: If the model is causal, a prompt is empty or holds the mask id, ``batch_size`` is not positive, or the
            lengths do not divide.
    """
    request = {"max_new_tokens": max_new_tokens, "block_length": block_length, "mask": mask, "batch_size": batch_size}
    check_request(model, prompts, **request)
    n_blocks = max_new_tokens // block_length
    if steps % n_blocks or not n_blocks <= steps <= max_new_tokens:
        raise ValueError(f"steps={steps} must be a multiple of the {n_blocks} blocks and at most {max_new_tokens}")

    schedule = commits_per_step(block_length, steps // n_blocks)

    def fill(canvases: Canvases) -> None:
        counts = torch.tensor([schedule[n % len(schedule)] for n in canvases.passes])
        tokens, committed, confidence = look(canvases.ids, canvases.attention_mask, canvases.window, counts)
        canvases.commit(tokens, committed)
        if on_commit is not None:
            for i, position in committed.nonzero().tolist():
                place, sure = canvases.blocks[i] * block_length + position, float(confidence[i, position])
                on_commit(Commit(canvases.rows[i], canvases.passes[i], place, int(tokens[i, position]), sure))

    with BlockPass(model, mask) as look:
        return fill_blocks(prompts, fill, device=model.device, stop=stop, pad=pad, whole_blocks=on_commit is not None, **request)
