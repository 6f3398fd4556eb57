"""The loss of many outputs over a large vocabulary without all of their logits at once.

Logits, their log-probabilities and the gradients of both are the largest tensors of a step at a vocabulary of 128k. The losses
add over positions (``losses``), so each chunk of positions can be projected, valued and differentiated by itself, and leaves
behind no more than its part of the gradients. They are computed in the forward pass, where FSDP2 has the projection's weights
together, and nothing is computed twice.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

# Logits (outputs x vocabulary) up to which nothing is gained: 64 MiB in float32. The largest batch of the tiny scale, 60 Wiki
# texts in another order, has 4,922 x 1,665 = 8.2 million; its losses are computed whole, as those of its records were.
LARGEST_WHOLE = 2**24
# Logits of a chunk: 16 MiB in float32.
AT_ONCE = 2**22
# The same of a GPU, whose memory is larger and which computes a chunk faster than it is launched.
LARGEST_WHOLE_GPU, AT_ONCE_GPU = 2**26, 2**25
# A chunk has at least an eighth as many positions as the model is wide: each reads the projection's weights and adds to their
# gradient, and a GPU would wait for its memory.
WIDTHS = 8


def chunk_size(n: float | int, width: int, vocabulary: int, *, on_gpu: bool = False) -> float | int:
    """Positions of which logits exist at once, of ``n``; a plan's may be a mean."""
    largest, at_once = (LARGEST_WHOLE_GPU, AT_ONCE_GPU) if on_gpu else (LARGEST_WHOLE, AT_ONCE)
    return n if n * vocabulary <= largest else min(n, max(1, at_once // vocabulary, width // WIDTHS))


def loss_of(
    head: nn.Module, states: Float[Tensor, "n d"], loss: Callable[..., Float[Tensor, ""]], *targets: Tensor
) -> Float[Tensor, ""]:
    """``loss(head(states), *targets)``, in chunks where that is large: the same up to the order of sums.

    In bfloat16 a weight's gradient is rounded with each chunk, as with each part of a batch.

    Args:
        head: The projection to the vocabulary. One with a bias or adapters is computed whole.
        states: Of the supervised positions.
        loss: Adds over positions; of logits and ``targets``.
        *targets: What the loss takes of each position, n long; they get no gradient.
    """
    is_plain = type(head) is nn.Linear and head.bias is None
    size = chunk_size(len(states), states.shape[1], head.out_features, on_gpu=states.is_cuda) if is_plain else len(states)
    if size == len(states):
        return loss(head(states), *targets)
    if not torch.is_grad_enabled():
        parts = zip(*(value.split(size) for value in (states, *targets)), strict=True)
        return sum(loss(head(part), *rest) for part, *rest in parts)
    weight = head.weight
    if torch.is_autocast_enabled(states.device.type):  # as autocast does to the whole product, once for all chunks
        dtype = torch.get_autocast_dtype(states.device.type)
        states, weight = states.to(dtype), weight.to(dtype)
    return _LossInChunks.apply(states, weight, size, loss, *targets)


class _LossInChunks(torch.autograd.Function):
    @staticmethod
    def forward(ctx, states, weight, size, loss, *targets):
        total, of_states = 0.0, torch.empty_like(states)
        of_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for part, of_part, *rest in zip(*(value.split(size) for value in (states, of_states, *targets)), strict=True):
            value, gradient = _differentiate(part.detach(), weight.detach(), of_weight, loss, rest)
            of_part.copy_(gradient)
            total += value
        ctx.gradients = of_states, of_weight
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, of_loss):
        if ctx.gradients is None:
            raise RuntimeError("the loss was computed in chunks, which keep their gradients for one backward pass; compute it again")
        (of_states, of_weight), ctx.gradients = ctx.gradients, None  # scaled in place
        return of_states.mul_(of_loss), None if of_weight is None else of_weight.mul_(of_loss), *[None] * (len(ctx.needs_input_grad) - 2)


def _differentiate(states, weight, of_weight, loss, targets) -> tuple[Tensor, Tensor]:
    """Value of the loss of a chunk and the gradient of its states; adds to that of the weight where there is one."""

    def add(of_logits: Tensor) -> None:
        of_weight.addmm_(of_logits.T, states)

    with torch.enable_grad():
        leaf = states.detach().requires_grad_()
        logits = linear(leaf, weight)
        if of_weight is not None:
            logits.register_hook(add)
        value = loss(logits, *targets)
    del logits  # as large as their gradient, which is made without them
    return value.detach(), *torch.autograd.grad(value, leaf)
