"""A pass over whole rows of which one block is asked for: the last layer and the projection see that block alone."""

import torch
from jaxtyping import Int
from torch import Tensor
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb


class Everywhere:
    """Keys and values of every position, where a layer looks for its cache.

    A layer that brings all positions leaves them here; one that brings those of the window, later, finds all others
    beside its own.

    Args:
        window: The columns of each row that are brought alone.
    """

    def __init__(self, window: Int[Tensor, "batch block"]):
        self.window = window
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_, **__) -> tuple[Tensor, Tensor]:
        """Keep all, or put the window's in their places; returns the keys and values to attend to."""
        if layer_idx not in self.kept:
            self.kept[layer_idx] = keys, values
        else:
            for kept, new in zip(self.kept[layer_idx], (keys, values), strict=True):
                kept.scatter_(2, self.window[:, None, :, None].expand_as(new), new)
        return self.kept[layer_idx]


def at_window(states: Tensor, window: Int[Tensor, "batch block"]) -> Tensor:
    """The rows' states (batch, position, ...) at the columns of their windows."""
    return states[torch.arange(len(states), device=states.device)[:, None], window]


class LastLayerAtWindow:
    """Within it, ``model(input_ids=...)`` computes its last layer and its logits at the columns of a window only.

    Nothing reads the others: the last layer needs keys and values of all positions, but queries, feed-forward network and
    projection of the block alone. Exact; of three layers it saves most of one.

    Attributes:
        window: The columns, for each row its own; set before each call.
    """

    window: Int[Tensor, "batch block"]

    def __init__(self, model):
        self.model = model

    def __enter__(self):
        self.hook = self.model.model.layers[-1].register_forward_pre_hook(self._narrow, with_kwargs=True)
        return self

    def __exit__(self, *_):
        self.hook.remove()

    def _narrow(self, layer, args, options):
        (hidden,), window = args, self.window
        if hidden.shape[1] == window.shape[1]:  # the window alone, with keys and values of the rest from before
            return None
        attention = layer.self_attn
        normed = layer.input_layernorm(hidden)
        keys, values = (
            project(normed).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
            for project in (attention.k_proj, attention.v_proj)
        )
        _, keys = apply_rotary_pos_emb(keys[:, :1], keys, *options["position_embeddings"])
        everywhere = options.get("past_key_values") or Everywhere(window)
        everywhere.update(keys, values, attention.layer_idx)
        hidden, mask = at_window(hidden, window), options["attention_mask"]
        return (hidden,), options | {
            "past_key_values": everywhere,
            "position_ids": window,
            "position_embeddings": self.model.model.rotary_emb(hidden, position_ids=window),
            # It hides padding, from every position of a canvas alike; the last positions are of the canvas.
            "attention_mask": mask if mask is None else mask[:, :, -window.shape[1] :],
        }
