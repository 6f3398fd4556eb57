"""Memory of one GPU in training with FSDP2, part by part (Appendix A.4: float32 master weights, bf16 compute, float32
reduction).

Every part is counted at its largest, as if all were so at once: the sum is meant as an upper bound. What a layer needs
for a moment in its own backward pass is left to the share of memory that ``hardware`` keeps free.
"""

from dataclasses import asdict, dataclass

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
        logits: Of supervised positions, with their gradients.
    """

    weights: Real
    gradients: Real
    optimizer: Real
    gathered: Real
    activations: Real
    logits: Real

    @property
    def total(self) -> Real:
        """The sum."""
        return sum(asdict(self).values())


def gathered_bytes(shape: Shape) -> Real:
    """Whole weights on every GPU: FSDP2 gathers a layer when it is computed, and the next one meanwhile.

    Embedding and output projection are the root's and stay (2 bytes an entry), beside two layers (2 bytes); the largest
    reduction is the root's: its bf16 gradients and their float32 copy (2 + 4 bytes).
    """
    outer = outer_weights(shape)
    return 2 * outer + 2 * 2 * layer_weights(shape) + (2 + 4) * outer


def activation_bytes_per_token(shape: Shape, length: Real, *, size: int = 2) -> Real:
    """What one token keeps in one layer for the backward pass, with an attention kernel that keeps no weights.

    Two norms: input in float32, normalised and scaled output in ``size`` bytes, one float32 factor:
    2 (4 d + 2 size d + 4). Attention: queries, keys and values (heads repeated) and output, a float32 normaliser a head,
    a row of the padding mask: 4 size d + 4 heads + size length. Feed-forward: gate, its activation, up, their product:
    4 size h.
    """
    d = shape.width
    norms = 2 * (4 * d + 2 * size * d + 4)
    attention = 4 * size * d + 4 * shape.n_heads + size * length
    return norms + attention + 4 * size * shape.hidden


def activation_bytes(shape: Shape, *, rows: int, length: int, checkpointing: bool = False) -> Real:
    """Of all layers; with checkpointing the bf16 inputs of all layers (2 d a token) and the inside of one."""
    inside = activation_bytes_per_token(shape, length)
    each = 2 * shape.width * shape.n_layers + inside if checkpointing else shape.n_layers * inside
    return rows * length * each


def logit_bytes(shape: Shape, outputs: Real) -> Real:
    """Three float32 tables: log-probabilities, their gradient, and the gradient of the logits."""
    return 3 * 4 * shape.vocabulary * outputs


def cache_bytes(shape: Shape, *, rows: int, length: Real) -> Real:
    """The bf16 key-value cache of an evaluation batch. Gradients, larger than it, are not there meanwhile."""
    return 2 * 2 * shape.kv_width * shape.n_layers * rows * length


def training_memory(
    shape: Shape, *, gpus: int, rows: int, length: int, outputs: Real, checkpointing: bool = False
) -> Memory:
    """Memory of one GPU of ``gpus`` that trains ``rows`` sequences of ``length`` tokens at once.

    Args:
        shape: The model.
        gpus: Over which weights, gradients and optimizer states are spread: 4, 4 and 8 bytes a parameter.
        rows: Sequences per device.
        length: Of the longest batch, with padding.
        outputs: Supervised positions on this device.
        checkpointing: Keep a layer's input alone and compute the rest again.
    """
    share = n_parameters(shape) / gpus
    return Memory(
        weights=4 * share,
        gradients=4 * share,
        optimizer=8 * share,
        gathered=gathered_bytes(shape),
        activations=activation_bytes(shape, rows=rows, length=length, checkpointing=checkpointing),
        logits=logit_bytes(shape, outputs),
    )
