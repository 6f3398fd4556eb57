"""Rows of uneven lengths without their padding: layers compute real tokens only, and attention alone sees rows.

The tokens of all rows stand in one row. Where a layer attends, queries, keys and values are put back into rows padded on the
right, where causal attention needs no mask: what is padded comes after every real token. So any device's fastest causal
kernel does, and each token gets what it gets in a padded batch, up to rounding.
"""

from contextlib import nullcontext
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

ATTENTION = "maskft_packed"
# Spreading and gathering are further kernels of each layer: a narrow model, which a GPU computes faster than they are
# launched, would wait for those longer than for its padding. A CPU has no such wait; the tiny scale's models stay as they
# are there, since what its committed runs summed would round otherwise.
NARROWEST = {"cuda": 2048, "cpu": 512}
# A CPU's bfloat16 products are built anew for each number of rows, so they come in few numbers: some padding is computed.
CPU_MULTIPLE = 64
# Of short rows a CPU computes plain products several times as fast as its flash kernel's backward pass; of long ones their
# squares would fill the memory.
PLAIN_WIDTH = 256


class Rows(NamedTuple):
    """Where the tokens of a packed row belong.

    Attributes:
        index: Of each token, its place among all places of the padded batch, row after row.
        batch: Rows.
        width: Places of each.
    """

    index: Int[Tensor, " tokens"]
    batch: int
    width: int


def _attention(module, query, key, value, attention_mask, *, packed_rows: Rows | None = None, **options):
    if packed_rows is None:
        return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, attention_mask, **options)
    index, batch, width = packed_rows

    # Of (1, heads, tokens, size): (batch, heads, width, size); not annotated, as in ``llada``.
    def spread(states: Tensor) -> Tensor:
        tokens = states[0].transpose(0, 1)
        places = tokens.new_zeros(batch * width, *tokens.shape[1:]).index_copy(0, index, tokens)
        return places.unflatten(0, (batch, width)).transpose(1, 2)

    query, key, value = spread(query), spread(key), spread(value)
    is_short = query.device.type == "cpu" and width <= PLAIN_WIDTH
    with sdpa_kernel(SDPBackend.MATH) if is_short else nullcontext():
        output = scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=options.get("scaling"), enable_gqa=query.shape[1] != key.shape[1],
            dropout_p=options.get("dropout", 0.0),
        )  # fmt: skip
    return output.transpose(1, 2).flatten(0, 1).index_select(0, index)[None], None


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def pays(width: int, device_type: str = "cuda") -> bool:
    """Whether a model of this width is computed sooner without padding."""
    return width >= NARROWEST[device_type]


def can_pack(model, device_type: str) -> bool:
    """Whether a causal model's attention is what is computed here, a Llama's over all that came before, and it pays."""
    config = model.config
    is_known = config.model_type == "llama" and config._attn_implementation in ("sdpa", ATTENTION)
    return is_known and device_type in NARROWEST and pays(config.hidden_size, device_type)


def packed_states(
    model, input_ids: Int[Tensor, "batch width"], attention_mask: Int[Tensor, "batch width"]
) -> tuple[Float[Tensor, "tokens d"], Int[Tensor, "batch width"]]:
    """Last hidden states of the real tokens of a causal Llama, and where in them each place of the batch is.

    On a CPU under autocast some padding is computed too (``CPU_MULTIPLE``).

    Args:
        model: A causal Llama whose attention is ``ATTENTION`` (``model.set_attn_implementation``); with any other call it
            computes as ever.
        input_ids: Rows padded on the right.
        attention_mask: 0 where there is padding; what ``places`` says there means nothing.

    Returns:
        ``(states, places)``.

    Raises:
        ValueError: If padding comes before a token, or a row is padding alone.
    """
    lengths = attention_mask.sum(dim=1)
    columns = torch.arange(input_ids.shape[1], device=input_ids.device)
    if not bool(((columns < lengths[:, None]) == attention_mask.bool()).all() & (lengths > 0).all()):
        raise ValueError("packing needs rows that are padded on the right, of one token at least")
    is_computed = attention_mask.flatten().bool()
    if torch.is_autocast_enabled(input_ids.device.type) and input_ids.device.type == "cpu":
        padding = (~is_computed).nonzero()[: -int(is_computed.sum()) % CPU_MULTIPLE, 0]
        is_computed = is_computed.index_fill(0, padding, True)
    index = is_computed.nonzero()[:, 0]
    positions = columns.repeat(len(input_ids))[index]
    states = model.model(
        input_ids=input_ids.flatten()[index][None], position_ids=positions[None], use_cache=False,
        # Of four dimensions: transformers hands it on as it is, and does not make one of the packed row's own.
        attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=index.device),
        packed_rows=Rows(index, *input_ids.shape),
    ).last_hidden_state  # fmt: skip
    return states[0], (is_computed.cumsum(0) - 1).view_as(input_ids)
