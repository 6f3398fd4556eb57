"""Documents to batches, one collator a method. They also plug into the Hugging Face Trainer and TRL.

Each takes features ``{"text_ids": [...], "step": s, "sample": i}`` and pads on the right. ``step`` and ``sample`` (the
global index within the step) seed the masks. Features without them, as another trainer hands over, are numbered by the
collator's own calls: right in one process without dataloader workers. Labels are -100 where nothing is learned; padding
is told by length, never by id, because Llama's pad id is also its end of turn.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .losses import IGNORED
from .masking import apply_mask, draw_mask, draw_mask_ratio, generator_for, replace_with_random
from .prompts import Prompts

Feature = dict[str, Any]
Batch = dict[str, Tensor]


def pad_right(rows: Sequence[Sequence[int]], value: int, multiple: int = 1) -> Tensor:
    """Rows of ids as one tensor, filled with ``value`` on the right to a multiple of ``multiple``."""
    longest = max(len(row) for row in rows)
    width = -(-longest // multiple) * multiple
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows])


class _Collator:
    """What the three share: numbering of features, mask ratios, padding."""

    def __init__(
        self,
        prompts: Prompts,
        *,
        seed: int = 0,
        mask_ratio: tuple[float, float] = (0.05, 0.95),
        mask_ratio_scope: str = "batch",
        mask_count: str = "bernoulli",
        pad_to_multiple_of: int = 8,
    ):
        if mask_ratio_scope not in ("batch", "sample"):
            raise ValueError(f"mask_ratio_scope={mask_ratio_scope!r} is not one of batch, sample")
        self.prompts, self.seed = prompts, seed
        self.mask_ratio, self.mask_ratio_scope, self.mask_count = mask_ratio, mask_ratio_scope, mask_count
        self.pad_to_multiple_of = pad_to_multiple_of
        self._calls = 0

    def _numbered(self, features: Sequence[Feature]) -> list[tuple[list[int], int, int]]:
        """``(text_ids, step, sample)`` of each feature."""
        rows = []
        for position, feature in enumerate(features):
            text_ids = feature["text_ids"] if "text_ids" in feature else feature["input_ids"]
            rows.append((list(text_ids), feature.get("step", self._calls), feature.get("sample", position)))
        self._calls += 1
        return rows

    def _ratio(self, step: int, sample: int) -> float:
        """t of this sample: one for the whole global batch (Section 6), or one a sample."""
        which = sample if self.mask_ratio_scope == "sample" else 0
        return draw_mask_ratio(*self.mask_ratio, generator_for("mask_ratio", self.seed, step, which))

    def _mask(self, text_ids: list[int], ratio: float, step: int, sample: int) -> tuple[Tensor, Tensor]:
        """The masked ids, and which were masked."""
        tokens = torch.tensor(text_ids, dtype=torch.long)
        generator = generator_for("mask", self.seed, step, sample)
        is_masked = draw_mask(len(tokens), ratio, generator, count=self.mask_count)
        return apply_mask(tokens, is_masked, self.prompts.ids.mask), is_masked

    def _batch(self, inputs: list[list[int]], labels: list[list[int]]) -> Batch:
        ones = [[1] * len(row) for row in inputs]
        multiple = self.pad_to_multiple_of
        return {
            "input_ids": pad_right(inputs, self.prompts.ids.pad, multiple),
            "attention_mask": pad_right(ones, 0, multiple),
            "labels": pad_right(labels, IGNORED, multiple),
        }


class ARCollator(_Collator):
    """Plain AR fine-tuning in the pre-training format: ``BOS + text + EOS``, every token a target (Section 4)."""

    def __call__(self, features: Sequence[Feature]) -> Batch:
        """``input_ids``, ``attention_mask``, ``labels`` (unshifted, as transformers' causal models take them)."""
        rows = [self.prompts.document(text_ids) for text_ids, _, _ in self._numbered(features)]
        return self._batch(rows, rows)


class DiffusionCollator(_Collator):
    """dLLM fine-tuning: ``BOS + text + EOS`` with masks (Eq. 1, Section 5).

    BOS is never masked, EOS can be, padding never is. Labels sit at the masked positions themselves.
    """

    def __call__(self, features: Sequence[Feature]) -> Batch:
        """``input_ids``, ``attention_mask``, ``labels``, and a row each of ``mask_ratio`` and ``n_maskable``."""
        inputs, labels, ratios, counts = [], [], [], []
        for text_ids, step, sample in self._numbered(features):
            n_begin = len(self.prompts.ids.begin)
            maskable = self.prompts.document(text_ids)[n_begin:]
            ratio = self._ratio(step, sample)
            masked, is_masked = self._mask(maskable, ratio, step, sample)
            inputs.append([*self.prompts.ids.begin, *masked.tolist()])
            labels.append([IGNORED] * n_begin + torch.where(is_masked, torch.tensor(maskable), IGNORED).tolist())
            ratios.append(ratio)
            counts.append(len(maskable))
        return self._batch(inputs, labels) | {"mask_ratio": torch.tensor(ratios), "n_maskable": torch.tensor(counts)}


class MaskedARCollator(_Collator):
    """Masked fine-tuning of an AR model (Section 6, Figure 3): the masked document in the prompt, the document as target.

    Args:
        corruption: ``mask``, or ``random_token`` for the control of Figure 9, which replaces the whole first copy.
        **options: As in the other collators.

    Raises:
        ValueError: If ``corruption`` is neither.
    """

    def __init__(self, prompts: Prompts, *, corruption: str = "mask", **options):
        if corruption not in ("mask", "random_token"):
            raise ValueError(f"corruption={corruption!r} is not one of mask, random_token")
        super().__init__(prompts, **options)
        self.corruption = corruption

    def __call__(self, features: Sequence[Feature]) -> Batch:
        """``input_ids``, ``attention_mask``, ``labels``; targets are the second copy and its end of turn."""
        inputs, labels = [], []
        for text_ids, step, sample in self._numbered(features):
            if self.corruption == "random_token":
                generator = generator_for("random_token", self.seed, step, sample)
                first, last = self.prompts.ids.first_ordinary, self.prompts.ids.n_ordinary
                first_copy = first + replace_with_random(torch.tensor(text_ids), last - first, generator)
            else:
                first_copy, _ = self._mask(text_ids, self._ratio(step, sample), step, sample)
            context, target = self.prompts.demask(first_copy.tolist(), text_ids)
            inputs.append(context + target)
            labels.append([IGNORED] * len(context) + target)
        return self._batch(inputs, labels)
