"""What a tiny base reads and learns at each step of its making: samples as token ids with labels, and batches of them."""

import math
import random
from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from .collators import pad_right
from .data.synthetic.pretraining import Example, draw_example
from .losses import IGNORED
from .masking import apply_mask, draw_mask
from .prompts import Prompts
from .tiny_recipes import Recipe

BLOCK_LENGTH = 4  # of the sampler at the tiny scale
POOL = 8  # batches that are drawn at once and sorted by length
LONGEST_JUMP = 29  # positions
UNSTRETCHED = 0.25  # share of rows whose positions are those of fine-tuning
Row = tuple[list[int], list[int]]  # input ids, labels


def _masked(ids: list[int], mask: int, ratio: float, rng: random.Random) -> tuple[list[int], list[int]]:
    """Ids with masks, and labels at the masked positions."""
    tokens = torch.tensor(ids)
    is_masked = draw_mask(len(ids), ratio, torch.Generator().manual_seed(rng.getrandbits(60)))
    labels = torch.where(is_masked, tokens, IGNORED)
    return apply_mask(tokens, is_masked, mask).tolist(), labels.tolist()


def ar_row(example: Example, prompts: Prompts, recipe: Recipe, rng: random.Random) -> Row:
    """A sample for a causal base: loss on a document's tokens, on an answer, or on the text that is asked back."""
    ids = prompts.encode(example.text)
    if example.kind == "document":
        row = prompts.document(ids)
        return row, row
    if example.kind == "question":
        context, target = prompts.question(example.text), prompts.answer(example.answer)
    else:
        masked, _ = _masked(ids, prompts.ids.mask, rng.uniform(*recipe.mask_ratio), rng)
        context, target = prompts.demask(masked, ids)
    return context + target, [IGNORED] * len(context) + target


def dllm_row(example: Example, prompts: Prompts, recipe: Recipe, rng: random.Random) -> Row:
    """A sample for a bidirectional base: masks anywhere in a document, or in the canvas behind a question.

    The canvas is as the sampler sees it: blocks before the active one are there, the active one in part, later ones not;
    loss on the active block, from which alone the sampler takes tokens.
    """
    if example.kind != "question":
        text = [*prompts.encode(example.text), prompts.ids.end]
        masked, labels = _masked(text, prompts.ids.mask, rng.uniform(*recipe.mask_ratio), rng)
        n_spare = rng.randrange(recipe.spare_masks) if recipe.spare_masks and rng.random() < 0.5 else 0
        masked, labels = masked + [prompts.ids.mask] * n_spare, labels + [IGNORED] * n_spare
        return [*prompts.ids.begin, *masked], [IGNORED] * len(prompts.ids.begin) + labels
    return canvas_row(example.text, example.answer, prompts, recipe.answer_length, rng, recipe.from_first_block)


def canvas_row(
    question: str, answer: str, prompts: Prompts, answer_length: int, rng: random.Random, from_first_block: float = 0.0
) -> Row:
    """A question and its answer for a bidirectional model, on a canvas of ``answer_length`` as the sampler sees it."""
    context, target = prompts.question(question), prompts.answer(answer)
    n_blocks = math.ceil(len(target) / BLOCK_LENGTH)
    is_first = from_first_block > 0 and rng.random() < from_first_block
    start = 0 if is_first else BLOCK_LENGTH * rng.randrange(n_blocks)
    stop = start + BLOCK_LENGTH
    target = target + [prompts.ids.end] * (answer_length - len(target))
    ratio = rng.choice([1.0, rng.uniform(0.1, 1.0)])
    block, block_labels = _masked(target[start:stop], prompts.ids.mask, ratio, rng)
    canvas = target[:start] + block + [prompts.ids.mask] * (answer_length - stop)
    return context + canvas, [IGNORED] * (len(context) + start) + block_labels + [IGNORED] * (answer_length - stop)


def batches(recipe: Recipe, prompts: Prompts, seed: int, n_steps: int) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of like lengths: ``POOL`` batches are drawn at once, sorted by length, and given in random order."""
    rng = random.Random(seed)
    make_row = dllm_row if recipe.bidirectional else ar_row
    for step in range(0, n_steps, POOL):
        n_passed, is_between = divmod(step // recipe.mix.burst, 2)
        burst = None if is_between else n_passed
        examples = [draw_example(rng, recipe.mix, step / n_steps, burst) for _ in range(recipe.batch_size * POOL)]
        rows = sorted((make_row(example, prompts, recipe, rng) for example in examples), key=lambda row: len(row[0]))
        groups = [rows[i : i + recipe.batch_size] for i in range(0, len(rows), recipe.batch_size)]
        rng.shuffle(groups)
        for group in groups[: n_steps - step]:
            yield {
                "input_ids": pad_right([ids for ids, _ in group], prompts.ids.pad, 8),
                "attention_mask": pad_right([[1] * len(ids) for ids, _ in group], 0, 8),
                "labels": pad_right([labels for _, labels in group], IGNORED, 8),
            }


def stretched_positions(n_rows: int, length: int, share: float, generator: torch.Generator) -> Int[Tensor, "rows length"]:
    """Position ids that jump now and then, so that the distance between two words tells a base little.

    One row in four (``UNSTRETCHED``) has no jump, as fine-tuning's have none.

    Args:
        n_rows: Rows of the batch.
        length: Tokens of a row, padding included.
        share: Share of the tokens before which the position jumps, by 1 to ``LONGEST_JUMP`` more than to the next one.
        generator: Source of the draws.
    """
    jumps = torch.rand(n_rows, length, generator=generator) < share
    by = torch.randint(1, LONGEST_JUMP + 1, (n_rows, length), generator=generator)
    is_stretched = torch.rand(n_rows, 1, generator=generator) >= UNSTRETCHED
    return (1 + jumps * by * is_stretched).cumsum(dim=1)
