"""Memory of one GPU in training with FSDP2, part by part (Appendix A.4: float32 master weights, bf16 compute, float32
reduction).

Parts are not all there at once: activations are largest when the backward pass begins, gradients when it ends. The total is
that of the larger moment. The optimizer's step comes after both and holds less: clipping and fused AdamW change gradients,
moments and weights in place. Of a training step with FSDP2 under PyTorch's own bookkeeping, the tests find it within a tenth,
and of 8B steps on an H200 within a hundredth: there the root's reduction at the end of the backward pass decides, with
activation checkpointing and without. Fragments, driver and communication library are left to the share of memory that
``hardware`` keeps free.
"""

from dataclasses import dataclass

from maskft.chunked_loss import chunk_size
from maskft.planning.shapes import Real, Shape, layer_weights, n_parameters, outer_weights

GIB = 2**30


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU.

    Attributes:
        weights: Its share of the float32 master weights.
        gradients: Its share of their float32 gradients.
        optimizer: Its share of AdamW's two float32 moments.
        gathered: Whole bf16 copies of what is computed with, and gradients on their way into the reduction.
        activations: What the forward pass keeps for the backward pass.
        logits: Of supervised positions, with their gradients; in chunks (``chunked_loss``) of one of them, and the gradient of the
            projection that they add up to.
        total: At the moment when most is there: less than the sum.
    """

    weights: Real
    gradients: Real
    optimizer: Real
    gathered: Real
    activations: Real
    logits: Real
    total: Real


def gathered_bytes(shape: Shape) -> Real:
    """Whole weights on every GPU, with their gradients: of the root, or of a layer beside the root, whichever is more.

    FSDP2 gathers a layer when it is computed; embedding and output projection are the root's and stay. What is reduced is
    there as bf16 weights, as bf16 gradients and as their float32 copy (2 + 2 + 4 bytes an entry).
    """
    outer = outer_weights(shape)
    return max(8 * outer, 8 * layer_weights(shape) + 2 * outer)


def activation_bytes_per_token(shape: Shape, length: Real, *, size: int = 2) -> Real:
    """What one token keeps in one layer for the backward pass, with an attention kernel that keeps no weights.

    Two norms. Attention: queries, keys and values (heads repeated) and output, a float32 normaliser a head,
    a row of the padding mask: 4 size q + 4 heads + size length. Feed-forward: gate, its activation, up, their product:
    4 size h.
    """
    norms = 2 * norm_bytes_per_token(shape, size=size)
    attention = 4 * size * shape.q_width + 4 * shape.n_heads + size * length
    return norms + attention + 4 * size * shape.hidden


def norm_bytes_per_token(shape: Shape, *, size: int = 2) -> Real:
    """Kept by a norm for one token: input in float32, normalised and scaled output in ``size`` bytes, one float32 factor."""
    return 4 * shape.width + 2 * size * shape.width + 4


def activation_bytes(shape: Shape, *, rows: int, length: int, checkpointing: bool = False) -> Real:
    """Of all layers and of the last norm; with checkpointing the bf16 inputs of the layers (2 d a token) instead of them."""
    layer = 2 * shape.width if checkpointing else activation_bytes_per_token(shape, length)
    return rows * length * (shape.n_layers * layer + norm_bytes_per_token(shape))


def logit_bytes(shape: Shape, outputs: Real) -> Real:
    """Three float32 tables: log-probabilities, their gradient, and the gradient of the logits.

    Of a chunk where there are many (``chunked_loss``): then the projection's bf16 gradient is there with the first.
    """
    size = chunk_size(outputs, shape.width, shape.vocabulary, on_gpu=True)
    return 3 * 4 * shape.vocabulary * size + (2 * shape.vocabulary * shape.width if size < outputs else 0)


def cache_bytes(shape: Shape, *, rows: int, length: Real) -> Real:
    """The bf16 key-value cache of an evaluation batch. Gradients, larger than it, are not there meanwhile."""
    return 2 * 2 * shape.kv_width * shape.n_layers * rows * length


def answering_memory(shape: Shape, *, gpus: int, rows: int, length: Real) -> Real:
    """Bytes on one GPU of ``gpus`` that answers ``rows`` questions: its share of weights and moments, a whole bf16 replica
    (``sharding.gather_replica``) and the cache. The sampler takes as many rows as fit, one at least.
    """
    n_weights = n_parameters(shape)
    return 12 * n_weights / gpus + 2 * n_weights + cache_bytes(shape, rows=rows, length=length)


def training_memory(
    shape: Shape,
    *,
    gpus: int,
    rows: int,
    length: int,
    outputs: Real,
    checkpointing: bool = False,
    accumulates: bool = False,
) -> Memory:
    """Memory of one GPU of ``gpus`` that trains ``rows`` sequences of ``length`` tokens at once.

    Args:
        shape: The model.
        gpus: Over which weights, gradients and optimizer states are spread: 4, 4 and 8 bytes a parameter.
        rows: Sequences per device.
        length: Of the longest batch, with padding.
        outputs: Supervised positions on this device.
        checkpointing: Keep a layer's input alone and compute the rest again, a layer at a time.
        accumulates: Whether gradients of earlier parts of the batch are there meanwhile.
    """
    share = n_parameters(shape) / gpus
    weights, gradients, optimizer = 4 * share, 4 * share, 8 * share
    kept = activation_bytes(shape, rows=rows, length=length, checkpointing=checkpointing)
    logits = logit_bytes(shape, outputs)
    outer, layer = outer_weights(shape), layer_weights(shape)
    # What a layer made again, and as much for the gradients of that.
    again = 2 * rows * length * activation_bytes_per_token(shape, length) if checkpointing else 0
    # The logits are gone when the last layer is computed again, whose weights and gradients are there as in a reduction. The
    # root's bf16 weights are there all the time.
    begin = 2 * outer + kept + max(logits, again and again + 8 * layer) + (gradients if accumulates else 0)
    # What is being reduced has no share of gradients yet, unless an earlier part of the batch left one.
    in_root, in_layer = (0, 0) if accumulates else (4 * outer / gpus, 4 * (outer + layer) / gpus)
    end = gradients + max(8 * outer - in_root, 8 * layer + 2 * outer - in_layer)
    return Memory(
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        gathered=gathered_bytes(shape),
        activations=kept + again,
        logits=logits,
        total=weights + optimizer + max(begin, end),
    )
