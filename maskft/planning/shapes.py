"""A Llama-shaped model as eight numbers: its parameters, and the floating-point operations of training and answering.

Only matrix products are counted, a multiplication and an addition as two operations, attention in full (a causal kernel
may skip half of it: a few per cent at these lengths). That is also what ``torch.utils.flop_counter`` counts.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, try_to_load_from_cache

from maskft.llada import llama_config
from maskft.models import LLAMA_FAMILY, base_folder

NOT_READ = "not read for a plan"  # instead of a commit or a fingerprint
Real = float | int  # counts stay whole numbers where what they are made of is whole


@dataclass(frozen=True)
class Shape:
    """The numbers of a ``LlamaConfig`` that decide its cost.

    Attributes:
        n_layers: Layers.
        width: Of the residual stream, d.
        hidden: Of the feed-forward layers, h.
        n_heads: Query heads.
        n_kv_heads: Key and value heads.
        vocabulary: Rows of the embedding, V.
        tied: Whether the output projection is the embedding.
        head_width: Of a head, where it is not width / heads (Qwen3).
    """

    n_layers: int
    width: int
    hidden: int
    n_heads: int
    n_kv_heads: int
    vocabulary: int
    tied: bool = False
    head_width: int | None = None

    @property
    def q_width(self) -> int:
        """Width of queries: q, mostly d."""
        return (self.head_width or self.width // self.n_heads) * self.n_heads

    @property
    def kv_width(self) -> int:
        """Width of keys, and of values: kv."""
        return self.q_width // self.n_heads * self.n_kv_heads


# Nie et al. 2025 (arXiv 2502.09992), the table of architectures, has both, Llama 3's vocabulary in round numbers; its own
# config.json says 128,256.
SHAPES = {
    "meta-llama/Llama-3.1-8B-Instruct": Shape(32, 4096, 14336, 32, 8, 128_256),
    "GSAI-ML/LLaDA-8B-Instruct": Shape(32, 4096, 12288, 32, 32, 126_464),
    # From its own config.json, so that a plan needs no weights.
    "smollm2-135m-q4": Shape(30, 576, 1536, 9, 3, 49_152, tied=True),
}


def shape_of(base: str, revision: str | None = None) -> Shape:
    """The shape of a base, without its weights.

    Args:
        base: A key of ``SHAPES``, a shipped base, a folder with the ``config.json`` of one of ``LLAMA_FAMILY`` or of LLaDA, or a
            repository of the hub that has one, from the hub's cache where it is there.
        revision: Commit of a hub repository; None, or ``NOT_READ`` of a plan's runs, for the newest.

    Raises:
        ValueError: If it is none of them.
        FileNotFoundError: If a shipped base is missing, or a folder's configuration.
    """
    if base in SHAPES:
        return SHAPES[base]
    folder = base_folder(base)
    config = json.loads((folder / "config.json").read_text()) if isinstance(folder, Path) else _hub_config(folder, None if revision == NOT_READ else revision)
    if config.get("model_type") not in (*LLAMA_FAMILY, "llada"):
        raise ValueError(
            f"base {base!r}: its shape is not known; give a folder of a Llama or of LLaDA, or add it to maskft.planning.shapes.SHAPES"
        )
    return shape_in(config)


@cache  # who plans asks for every run
def _hub_config(name: str, revision: str | None) -> dict[str, Any]:
    """The configuration of a repository; empty where it is not to be had, for whatever reason."""
    with suppress(Exception):  # of the hub, the client beneath it, an impossible name
        file = try_to_load_from_cache(name, "config.json", revision=revision)
        return json.loads(Path(file if isinstance(file, str) else hf_hub_download(name, "config.json", revision=revision)).read_text())
    return {}


def shape_in(config: Mapping[str, Any]) -> Shape:
    """The shape that the configuration (``config.json``) of one of ``LLAMA_FAMILY`` or of LLaDA describes.

    Raises:
        ValueError: If LLaDA's lacks a size, or has a setting that Llama's arithmetic cannot follow.
    """
    if config.get("model_type") == "llada":
        config = llama_config(config).to_dict()
    head_width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return Shape(
        n_layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        hidden=config["intermediate_size"],
        n_heads=config["num_attention_heads"],
        n_kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
        vocabulary=config["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", False)),
        head_width=head_width if head_width * config["num_attention_heads"] != config["hidden_size"] else None,
    )


def trained_shape(shape: Shape, embeddings: str) -> Shape:
    """The shape that a run trains, given its base's: untied, it has an output projection more (``RunConfig.embeddings``)."""
    return replace(shape, tied=False) if embeddings == "untied" else shape


def layer_weights(shape: Shape) -> int:
    """Entries of a layer's matrices: queries and output d x q, keys and values d x kv, three of d x h."""
    d = shape.width
    return 2 * d * shape.q_width + 2 * d * shape.kv_width + 3 * d * shape.hidden


def outer_weights(shape: Shape) -> int:
    """Entries outside the layers: the embedding V x d, the output projection unless tied, and the last norm d."""
    return shape.vocabulary * shape.width * (1 if shape.tied else 2) + shape.width


def n_parameters(shape: Shape) -> int:
    """All entries: in each layer its matrices and two norms of d, and those outside."""
    return shape.n_layers * (layer_weights(shape) + 2 * shape.width) + outer_weights(shape)


def forward_flops(shape: Shape, *, rows: Real, length: Real, outputs: Real) -> Real:
    """Operations of one forward pass over ``rows`` sequences of ``length`` tokens, padding included.

    A token passes every matrix of a layer once, two operations an entry. Attention of a layer multiplies each query with
    every key and each weight with every value: 2 x 2 x q x length operations a token. Logits are made for ``outputs``
    tokens only (``step.SupervisedLogits``), 2 x d x V each.
    """
    matrices = 2 * shape.n_layers * layer_weights(shape) * rows * length
    attention = 4 * shape.n_layers * shape.q_width * length**2 * rows
    return matrices + attention + 2 * shape.width * shape.vocabulary * outputs


def training_flops(
    shape: Shape, *, rows: Real, length: Real, outputs: Real, recompute: bool = False, narrow: bool = False
) -> Real:
    """Operations of one forward and backward pass: three forward passes, because the backward pass makes two products
    (for the input and for the weight) of every one.

    Where activations are computed again, a fourth through the layers, each without its last product (2 h d operations a
    token), whose result is not needed. Where not, and ``narrow``, the last layer's feed-forward network computes the outputs alone
    (``step.states_at``).
    """
    once = forward_flops(shape, rows=rows, length=length, outputs=outputs)
    if not recompute:
        spared = 6 * shape.width * shape.hidden * (rows * length - outputs) if narrow else 0
        return 3 * (once - spared)
    last = 2 * shape.n_layers * shape.hidden * shape.width * rows * length
    return 3 * once + forward_flops(shape, rows=rows, length=length, outputs=0) - last


def cached_answer_flops(shape: Shape, *, prompt: Real, new: int) -> Real:
    """Operations of one autoregressive answer of ``new`` tokens, with a key-value cache.

    The prompt is read in one pass, which gives the first token; each of the other ``new`` - 1 is a pass of one token. The
    i-th of these attends to prompt + i tokens: in sum (new - 1) prompt + new (new - 1) / 2.
    """
    attended = (new - 1) * prompt + new * (new - 1) / 2
    one_by_one = forward_flops(shape, rows=new - 1, length=1, outputs=new - 1) - 4 * shape.n_layers * shape.q_width * (new - 1)
    read = forward_flops(shape, rows=1, length=prompt, outputs=1)
    return read + one_by_one + 4 * shape.n_layers * shape.q_width * attended


def diffusion_answer_flops(shape: Shape, *, prompt: Real, canvas: int, passes: Real, block: int) -> Real:
    """Operations of one answer of the block-wise sampler: ``passes`` over question and canvas, logits for a block.

    The last layer makes keys and values for all tokens, d x kv each, and the rest for the block alone.
    """
    length = prompt + canvas
    layers_before = forward_flops(replace(shape, n_layers=shape.n_layers - 1), rows=1, length=length, outputs=block)
    last = 4 * shape.width * shape.kv_width * length + 2 * layer_weights(shape) * block + 4 * shape.q_width * length * block
    return passes * (layers_before + last)
