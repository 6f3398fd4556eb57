"""What an adaptation trains on: its settings, and the samples of each step, a function of the seed and the step."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from maskft.collators import pad_right
from maskft.losses import IGNORED
from maskft.masking import apply_mask, draw_mask, draw_mask_ratio, generator_for
from maskft.prompts import Prompts
from maskft.tiny_rows import BLOCK_LENGTH, Row, canvas_row


@dataclass(frozen=True)
class Adaptation:
    """Everything that can change the adapted model, but texts and questions.

    Attributes:
        base: An autoregressive instruct model: a name, a folder or a hub repository (``models.load_base``).
        shift: ``keep`` predicts a token from the position before it, ``drop`` from its own.
        mask_ratio: Ends of the uniform law of the share of masked tokens, drawn for each sample.
        n_text_steps: Optimizer steps on text.
        n_question_steps: Optimizer steps on questions, after those.
        chunk_length: Tokens of a piece of text.
        answer_length: Tokens of the canvas behind a question, a multiple of four.
        batch_size: Samples of a step.
        learning_rate: Of AdamW, after a warmup of ten steps.
        seed: Of masks and order.
        precision: ``float32``, or ``bf16_mixed`` for bfloat16 arithmetic on float32 weights.
    """

    base: str
    shift: str = "keep"
    mask_ratio: tuple[float, float] = (0.1, 1.0)
    n_text_steps: int = 2000
    n_question_steps: int = 500
    chunk_length: int = 96
    answer_length: int = 48
    batch_size: int = 8
    learning_rate: float = 2e-4
    seed: int = 0
    precision: str = "bf16_mixed"

    def __post_init__(self) -> None:
        low, high = self.mask_ratio
        whole = (self.n_text_steps, self.n_question_steps, self.chunk_length, self.answer_length, self.batch_size)
        for ok, problem in (
            (self.shift in ("keep", "drop"), f"shift={self.shift!r} is not one of keep, drop"),
            (0 < low <= high <= 1, f"mask_ratio={self.mask_ratio}: expected 0 < low <= high <= 1"),
            (min(whole) >= 0 and self.n_text_steps + self.n_question_steps > 0, "steps and lengths must be positive whole numbers"),
            (self.chunk_length > 1 and self.batch_size > 0, "a chunk needs two tokens and a batch one sample"),
            (self.answer_length > 0 and self.answer_length % BLOCK_LENGTH == 0, f"answer_length={self.answer_length} is no multiple of {BLOCK_LENGTH}"),
            (self.learning_rate > 0, f"learning_rate={self.learning_rate} must be above 0"),
            (self.precision in ("float32", "bf16_mixed"), f"precision={self.precision!r} is not one of float32, bf16_mixed"),
        ):  # fmt: skip
            if not ok:
                raise ValueError(problem)

    @property
    def n_steps(self) -> int:
        """Optimizer steps of both phases."""
        return self.n_text_steps + self.n_question_steps


def cut_into_chunks(texts: Sequence[str], prompts: Prompts, length: int) -> list[list[int]]:
    """All texts as one stream of tokens, each text closed by EOS, cut into pieces of ``length``; what is left over is dropped."""
    stream = [token for text in texts for token in (*prompts.encode(text.strip()), prompts.ids.end)]
    return [stream[i : i + length] for i in range(0, len(stream) - length + 1, length)]


def masked_row(chunk: list[int], ratio: float, prompts: Prompts, generator: torch.Generator) -> Row:
    """A chunk with masks behind BOS, and labels where they are. At least one token is masked."""
    tokens = torch.tensor(chunk)
    is_masked = draw_mask(len(chunk), ratio, generator)
    is_masked[torch.randint(len(chunk), (), generator=generator)] |= not is_masked.any()
    labels = torch.where(is_masked, tokens, IGNORED).tolist()
    begin = list(prompts.ids.begin)
    return begin + apply_mask(tokens, is_masked, prompts.ids.mask).tolist(), [IGNORED] * len(begin) + labels


def order_of(n: int, step: int, batch_size: int, purpose: str, seed: int) -> list[int]:
    """Which of ``n`` samples a step sees: every pass in a new order."""
    positions = range(step * batch_size, (step + 1) * batch_size)
    return [_order(n, purpose, seed, position // n)[position % n] for position in positions]


@lru_cache(maxsize=2)  # a step is in one pass, or at the end of one and the beginning of the next
def _order(n: int, purpose: str, seed: int, epoch: int) -> list[int]:
    return torch.randperm(n, generator=generator_for(purpose, seed, epoch)).tolist()


def rows_of(step: int, chunks: Sequence[list[int]], questions: Sequence[tuple[str, str]], prompts: Prompts, plan: Adaptation) -> list[Row]:
    """What a step trains on; a function of the seed and the step."""
    if step < plan.n_text_steps:
        rows = []
        for n, i in enumerate(order_of(len(chunks), step, plan.batch_size, "adapt text", plan.seed)):
            generator = generator_for("adapt mask", plan.seed, step, n)
            rows.append(masked_row(chunks[i], draw_mask_ratio(*plan.mask_ratio, generator), prompts, generator))
        return rows
    chosen = order_of(len(questions), step - plan.n_text_steps, plan.batch_size, "adapt questions", plan.seed)
    rng = random.Random(f"adapt {plan.seed} {step}")
    return [canvas_row(*questions[i], prompts, plan.answer_length, rng) for i in chosen]


def batch_of(rows: Sequence[Row], pad: int) -> dict[str, torch.Tensor]:
    """The rows as a collator gives them."""
    return {
        "input_ids": pad_right([ids for ids, _ in rows], pad, 8),
        "attention_mask": pad_right([[1] * len(ids) for ids, _ in rows], 0, 8),
        "labels": pad_right([labels for _, labels in rows], IGNORED, 8),
    }
