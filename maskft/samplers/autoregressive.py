"""Greedy answers of a causal model, and what every sampler does with prompts and answers."""

from collections.abc import Callable, Sequence
from functools import wraps

import torch
from jaxtyping import Int
from torch import Tensor
from transformers.cache_utils import DynamicCache, StaticCache

from maskft.recording import Recorded, can_record


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


class OneDtypeCache(StaticCache):
    """Of keys and values in one type: autocast leaves rotated keys in float32 and values in bfloat16."""

    def update(self, keys: Tensor, values: Tensor, *arguments, **options) -> tuple[Tensor, Tensor]:
        """Put both in their places, the values in the type of the keys; returns all of them."""
        return super().update(keys, values.to(keys.dtype), *arguments, **options)


class GrowingAnswers:
    """Answers of a batch that grow by each row's most likely token a step, in tensors that keep their places (``recording``).

    Args:
        model: A causal model whose cache can be of fixed size.
        ids: Prompts, filled on the left.
        attention_mask: 0 where they are filled.
        max_new_tokens: Longest answer.
        stop: Ids that end an answer.
        pad: What follows the end.

    Attributes:
        tokens: The answers, a first token each.
        ended: Whose end was reached.
    """

    def __init__(
        self, model, ids: Int[Tensor, "batch prompt"], attention_mask: Int[Tensor, "batch prompt"], *,
        max_new_tokens: int, stop: Sequence[int], pad: int,
    ):  # fmt: skip
        (n_rows, n_prompt), device = ids.shape, ids.device
        self.model, self.pad, self.stop = model, pad, torch.tensor(list(stop), device=device)
        self.cache = OneDtypeCache(config=model.config, max_cache_len=n_prompt + max_new_tokens)
        self.tokens = torch.full((n_rows, max_new_tokens), pad, device=device)
        self.ended = torch.zeros(n_rows, dtype=torch.bool, device=device)
        self.last = torch.empty(n_rows, 1, dtype=torch.long, device=device)
        self.n_tokens = torch.zeros(1, dtype=torch.long, device=device)
        self.columns = torch.arange(n_prompt + max_new_tokens, device=device)
        is_token = torch.nn.functional.pad(attention_mask.bool(), (0, max_new_tokens), value=True)
        # What fills a row sees itself, or it would see nothing and its states would be no numbers.
        is_visible = (is_token & (self.columns <= self.columns[:n_prompt, None])[:, None]) | (self.columns == self.columns[:n_prompt, None])[:, None]
        self.is_token, self.n_prompt = is_token[:, None, None], n_prompt
        self.positions = attention_mask.sum(dim=1, keepdim=True)
        positions = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
        self._append(self._logits(ids, positions, is_visible.transpose(0, 1)[:, None]))

    def grow(self) -> None:
        """A token more for each row that has not ended."""
        is_visible = self.is_token & (self.columns < self.n_prompt + self.n_tokens)
        logits = self._logits(self.last, self.positions, is_visible)
        self.positions += 1
        self._append(logits)

    def _logits(self, ids: Tensor, positions: Tensor, is_visible: Tensor) -> Tensor:
        return self.model(
            input_ids=ids, position_ids=positions, attention_mask=is_visible, past_key_values=self.cache, use_cache=True, logits_to_keep=1,
        ).logits[:, -1]  # fmt: skip

    def _append(self, logits: Tensor) -> None:
        chosen = logits.float().argmax(dim=-1).masked_fill(self.ended, self.pad)
        self.tokens.index_copy_(1, self.n_tokens, chosen[:, None])
        self.last.copy_(chosen[:, None])
        self.ended |= (chosen[:, None] == self.stop).any(dim=1)
        self.n_tokens += 1


# Steps between two looks at who has ended, for each of which the host waits for a GPU.
LOOK_EVERY = 4


def grow_answers(answers: GrowingAnswers) -> Int[Tensor, "batch new"]:
    """All tokens of the answers, a step recorded once and replayed until every row has ended."""
    step, n_steps = Recorded(answers.grow, answers.tokens.device), answers.tokens.shape[1] - 1
    for n in range(n_steps):
        if n % LOOK_EVERY == 0 and bool(answers.ended.all()):
            break
        step()
    return answers.tokens


def shrinking_answers(
    model, ids: Int[Tensor, "batch prompt"], attention_mask: Int[Tensor, "batch prompt"], *,
    max_new_tokens: int, stop: Sequence[int], pad: int,
) -> Int[Tensor, "batch new"]:  # fmt: skip
    """All tokens of a batch's answers, which rows leave once they have ended: what nobody waits for is not computed.

    After an end there may be further tokens.

    Args:
        model: A causal model.
        ids: Prompts, filled on the left.
        attention_mask: 0 where they are filled.
        max_new_tokens: Longest answer.
        stop: Ids that end an answer.
        pad: What fills the answers of rows that have left.
    """
    ends, cache = torch.tensor(list(stop), device=ids.device), DynamicCache(config=model.config)
    tokens = torch.full((len(ids), max_new_tokens), pad, device=ids.device)
    rows, positions = torch.arange(len(ids), device=ids.device), (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
    for n in range(max_new_tokens):
        logits = model(
            input_ids=ids, position_ids=positions, attention_mask=attention_mask, past_key_values=cache, use_cache=True, logits_to_keep=1,
        ).logits[:, -1]  # fmt: skip
        ids = logits.float().argmax(dim=-1, keepdim=True)
        tokens[rows, n] = ids[:, 0]
        attention_mask, positions = torch.nn.functional.pad(attention_mask, (0, 1), value=1), positions[:, -1:] + 1
        if (n + 1) % LOOK_EVERY == 0:
            left = torch.isin(tokens[rows, : n + 1], ends).any(dim=1).logical_not().nonzero()[:, 0]
            if not len(left):
                break
            if len(left) < len(rows):
                cache.batch_select_indices(left)
                rows, ids, attention_mask, positions = rows[left], ids[left], attention_mask[left], positions[left]
    return tokens


def without_gradients(sampler: Callable) -> Callable:
    """A sampler, its model first, under ``inference_mode``; on a CPU under ``no_grad``.

    Autocast rounds a weight once and keeps it, but not under ``inference_mode``: there it rounds all of them again at every
    token, which on a CPU takes a third of the time. On a GPU it takes little, and what is kept would take memory from the answers.
    """

    @wraps(sampler)
    def sample(model, *arguments, **options):
        with torch.no_grad() if model.device.type == "cpu" else torch.inference_mode():
            return sampler(model, *arguments, **options)

    return sample


@without_gradients
def generate_ar(
    model,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop: Sequence[int],
    pad: int,
    batch_size: int | None = None,
) -> list[list[int]]:
    """Greedy answers of a causal model, on left-padded batches of like length.

    On a GPU, where a step is launched slower than it is computed, by a recorded one, whose batch keeps its size; elsewhere rows that have ended leave the batch.
    Not by transformers' ``generate``, which computes all rows until the last has ended (``tests/benchmarks/ar_evaluation.py``) and
    obeys the settings that a model comes with: a repetition penalty is not greedy decoding.

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
    is_recorded = can_record(model)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), batch_size or len(order)):
        batch = order[start : start + (batch_size or len(order))]
        ids, attention_mask = (x.to(model.device) for x in pad_left([prompts[i] for i in batch], pad))
        if is_recorded:
            tokens = grow_answers(GrowingAnswers(model, ids, attention_mask, max_new_tokens=max_new_tokens, stop=stop, pad=pad))
        else:
            tokens = shrinking_answers(model, ids, attention_mask, max_new_tokens=max_new_tokens, stop=stop, pad=pad)
        for i, row in zip(batch, tokens.tolist(), strict=True):
            answers[i] = cut_at_stop(row, stop)
    return answers
