"""The losses: Eq. 1 and the cross-entropies of plain and masked autoregressive fine-tuning.

All take logits at supervised positions only, because the projection to the vocabulary is the largest part of a small
step and of a large model's memory. All return a sum over this process's share divided by a *global* count, so adding the
values of all processes and micro-batches gives the loss of the whole batch, and adding gradients its gradient.
"""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

IGNORED = -100  # the label of a position that is not supervised, as in transformers


def autoregressive_loss(
    logits: Float[Tensor, "n vocab"], labels: Int[Tensor, " n"], *, n_targets: int
) -> Float[Tensor, ""]:
    """Mean next-token cross-entropy, of plain AR (Section 4) and of masked AR (Section 6; no 1/t).

    Args:
        logits: Outputs at the positions that predict a target; cast to float32 here.
        labels: The tokens they predict; -100 adds nothing.
        n_targets: Targets of the whole batch, over all processes and micro-batches.

    Returns:
        This share's part of the mean, in nats a token.

    Raises:
        ValueError: If ``n_targets`` is not positive.

    Example:
        >>> import torch
        >>> autoregressive_loss(torch.zeros(2, 4), torch.tensor([1, 3]), n_targets=2)
        tensor(1.3863)
    """
    if n_targets < 1:
        raise ValueError(f"n_targets={n_targets}: a batch without a supervised token has no mean loss")
    return cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum") / n_targets


def masked_diffusion_loss(
    logits: Float[Tensor, "n vocab"],
    labels: Int[Tensor, " n"],
    sample: Int[Tensor, " n"],
    mask_ratio: Float[Tensor, " batch"],
    n_maskable: Int[Tensor, " batch"],
    *,
    n_samples: int,
    n_tokens: int,
    normaliser: str = "maskable",
) -> Float[Tensor, ""]:
    """Masked-diffusion loss, Eq. 1: ``-(1/t) sum_l 1[x_t^l = M] log p(x_0^l | x_t)``.

    Args:
        logits: Outputs at masked positions; cast to float32 here.
        labels: The tokens before masking; -100 adds nothing.
        sample: The row of the batch that each position belongs to.
        mask_ratio: The ratio t that was drawn for each row, not the share that happened to come out masked.
        n_maskable: Tokens of each row that could be masked.
        n_samples: Rows of the whole batch, over all processes and micro-batches.
        n_tokens: Tokens of the whole batch without padding.
        normaliser: ``maskable`` divides each row's sum by its maskable tokens and averages rows (release);
            ``length`` divides the batch's sum by its tokens (LLaDA's pre-training protocol, batch x length);
            ``sum`` averages the rows' sums, as Eq. 1 is printed.

    Returns:
        This share's part, in nats a token (``sum``: nats a document).

    Raises:
        ValueError: If a mask ratio is outside (0, 1] (at t = 0 nothing is masked and Eq. 1 is undefined), a count is
            not positive, or ``normaliser`` is none of the three.

    Example:
        Uniform logits over four tokens, one of two maskable tokens masked at t = 0.5: log 4 x (1/0.5) / 2 = log 4.

        >>> import torch
        >>> masked_diffusion_loss(torch.zeros(1, 4), torch.tensor([2]), torch.tensor([0]), torch.tensor([0.5]),
        ...                       torch.tensor([2]), n_samples=1, n_tokens=3)
        tensor(1.3863)
    """
    weights = diffusion_weights(mask_ratio, n_maskable, n_samples=n_samples, n_tokens=n_tokens, normaliser=normaliser)
    return weighted_loss(logits, labels, weights[sample])


def diffusion_weights(
    mask_ratio: Float[Tensor, " batch"], n_maskable: Int[Tensor, " batch"], *, n_samples: int, n_tokens: int, normaliser: str
) -> Float[Tensor, " batch"]:
    """What the cross-entropy at each masked position of a row is multiplied by in ``masked_diffusion_loss``, whose arguments these are.

    Raises:
        ValueError: As there.
    """
    if n_samples < 1 or n_tokens < 1:
        raise ValueError(f"n_samples={n_samples}, n_tokens={n_tokens}: both must be positive")
    if not bool(((mask_ratio > 0) & (mask_ratio <= 1)).all()):
        raise ValueError(f"mask ratios {mask_ratio.tolist()} must lie in (0, 1]; Eq. 1 divides by them")
    if normaliser == "maskable":
        return 1.0 / (mask_ratio * n_maskable.clamp(min=1) * n_samples)
    if normaliser == "length":
        return 1.0 / (mask_ratio * n_tokens)
    if normaliser == "sum":
        return 1.0 / (mask_ratio * n_samples)
    raise ValueError(f"normaliser={normaliser!r} is not one of maskable, length, sum")


def weighted_loss(
    logits: Float[Tensor, "n vocab"], labels: Int[Tensor, " n"], weights: Float[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Cross-entropies in float32, each times its weight, added; a label of -100 adds nothing. Both losses are of this form."""
    return (cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="none") * weights).sum()
