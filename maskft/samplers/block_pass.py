"""A pass over canvases of which one block is asked for: what it would commit there, by ``low_confidence``.

On a GPU a pass over few tokens, or of a narrow model, is launched slower than it is computed, and then it is recorded
(``recording``). Shapes are filled up for that, so that rows which come and leave need few recordings.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from maskft.ar_shift import has_ar_shift
from maskft.recording import Recorded, can_record
from maskft.samplers.last_layer import LastLayerAtWindow

# Tokens times width squared, which is what a layer computes but for a factor. The published loop's pass at LLaDA's shape over one
# question took an H200's host 39 ms (tests/benchmarks/records/diffusion_sampling_8b.json), and over 16 questions, of 3,000 tokens,
# 115 ms: in 39 ms a GPU computes 1,000 tokens, times 4096^2.
LARGEST_RECORDED = 2**34
WIDTH_MULTIPLE = 32


def choose_commits(
    logits: Float[Tensor, "batch block vocab"],
    is_masked: Bool[Tensor, "batch block"],
    mask: int,
    count: int | Int[Tensor, " batch"],
) -> tuple[Int[Tensor, "batch block"], Bool[Tensor, "batch block"], Float[Tensor, "batch block"]]:
    """The most confident ``count`` masked positions of each row (one number, or one a row), and their tokens (``low_confidence`` at temperature 0).

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
    rank = confidence.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    committed = (rank < torch.as_tensor(count, device=rank.device).reshape(-1, 1)) & is_masked
    return top.indices, committed, confidence


class BlockPass:
    """Within it, ``BlockPass(model, mask)(...)`` is a pass and what it commits (``choose_commits``).

    A model that predicts from the position before (``ar_shift``) moves its outputs one place on, and so needs the state
    before the block, which then leads its outputs.

    Args:
        model: A bidirectional model.
        mask: Mask id.
    """

    def __init__(self, model, mask: int):
        self.model, self.mask, self.n_before = model, mask, int(has_ar_shift(model))
        self.last_layer = LastLayerAtWindow(model)
        self.recorded = Recorded(self._choose, model.device) if can_record(model) else None

    def __enter__(self):
        self.last_layer.__enter__()
        return self

    def __exit__(self, *_):
        self.last_layer.__exit__()
        self.recorded = None  # the two hold each other, and a recording its memory

    def __call__(
        self, ids: Int[Tensor, "batch width"], attention_mask: Int[Tensor, "batch width"], window: Int[Tensor, "batch block"],
        count: Int[Tensor, " batch"],
    ) -> tuple[Int[Tensor, "batch block"], Bool[Tensor, "batch block"], Float[Tensor, "batch block"]]:  # fmt: skip
        """Tokens, which of them are committed, and their confidence, at the columns ``window``.

        Args:
            ids: Prompts and canvases.
            attention_mask: 0 where there is padding.
            window: The columns of each row's block.
            count: How many each row commits, on the CPU.
        """
        if self.recorded is None or ids.numel() * self.model.config.hidden_size**2 > LARGEST_RECORDED:
            counts = set(count.tolist())
            return self._choose(ids, attention_mask, window, counts.pop() if len(counts) == 1 else count.to(ids.device))
        # The first row again as often as the number of rows lacks a power of two; columns on the left, which nobody sees.
        n_rows, n_columns = len(ids), -ids.shape[1] % WIDTH_MULTIPLE
        rows = torch.arange(1 << (n_rows - 1).bit_length())
        rows = torch.where(rows < n_rows, rows, 0)
        on_device = rows.to(ids.device, non_blocking=True)
        ids, is_visible = (pad(x[on_device], (n_columns, 0)) for x in (ids, attention_mask))
        # Of four dimensions: transformers hands it on, and does not look whether anything is hidden, for which it would wait.
        visible = is_visible[:, None, None].bool()
        return tuple(x[:n_rows] for x in self.recorded(ids, visible, window[on_device] + n_columns, count[rows]))

    def _choose(self, ids: Tensor, attention_mask: Tensor, window: Tensor, count: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.last_layer.window = torch.cat([window[:, : self.n_before] - 1, window], dim=1)
        logits = self.model(input_ids=ids, attention_mask=attention_mask, use_cache=False).logits[:, self.n_before :]
        return choose_commits(logits, ids.gather(1, window) == self.mask, self.mask, count)
