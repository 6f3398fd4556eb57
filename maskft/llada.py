"""LLaDA-8B as a ``LlamaForCausalLM``: its configuration, its key names, and its rotary embeddings in float32.

LLaDA (Nie et al., 2025) is Llama without the causal mask, under other names and with one difference in arithmetic: it
rotates queries and keys in float32 whatever the precision (``rope_full_precision``). So no remote code is run, which
would not load with transformers 5 anyway. Weights are renamed while they load, a file at a time; a model that was
trained is saved as a plain Llama folder, and ``to_llada_keys`` gives it LLaDA's names back.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, LlamaConfig, LlamaForCausalLM
from transformers.masking_utils import sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import rotate_half

# LLaDA's name of a weight: Llama's, both without ".weight"; N is the layer.
KEYS = {
    "model.transformer.wte": "model.embed_tokens",
    "model.transformer.ln_f": "model.norm",
    "model.transformer.ff_out": "lm_head",
    "model.transformer.blocks.N.q_proj": "model.layers.N.self_attn.q_proj",
    "model.transformer.blocks.N.k_proj": "model.layers.N.self_attn.k_proj",
    "model.transformer.blocks.N.v_proj": "model.layers.N.self_attn.v_proj",
    "model.transformer.blocks.N.attn_out": "model.layers.N.self_attn.o_proj",
    "model.transformer.blocks.N.ff_proj": "model.layers.N.mlp.gate_proj",
    "model.transformer.blocks.N.up_proj": "model.layers.N.mlp.up_proj",
    "model.transformer.blocks.N.ff_out": "model.layers.N.mlp.down_proj",
    "model.transformer.blocks.N.attn_norm": "model.layers.N.input_layernorm",
    "model.transformer.blocks.N.ff_norm": "model.layers.N.post_attention_layernorm",
}
ATTENTION = "maskft_rotary_float32"


def _renames(names: Mapping[str, str]) -> dict[str, str]:
    """Names as patterns for whole keys, and what replaces each."""
    return {
        "^" + re.escape(f"{old}.weight").replace("N", r"(\d+)") + "$": f"{new}.weight".replace("N", r"\1")
        for old, new in names.items()
    }


def key_mapping() -> dict[str, str]:
    """LLaDA's key names as patterns, Llama's as replacements: the ``key_mapping`` of ``from_pretrained``."""
    return _renames(KEYS)


def to_llada_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A Llama state dict under LLaDA's key names.

    Args:
        state: As ``model.state_dict()``; tensors are passed on, not copied.

    Raises:
        ValueError: If a key is no weight of LLaDA.
    """
    renames, renamed = _renames({llama: llada for llada, llama in KEYS.items()}), {}
    for key, tensor in state.items():
        name = next((re.sub(old, new, key) for old, new in renames.items() if re.match(old, key)), None)
        if name is None:
            raise ValueError(f"{key!r} is no weight of LLaDA; expected the state dict of a Llama without biases")
        renamed[name] = tensor
    return renamed


def llama_config(llada: Mapping[str, Any]) -> LlamaConfig:
    """The Llama configuration of a LLaDA one.

    Args:
        llada: The content of LLaDA's ``config.json``.

    Raises:
        ValueError: If a setting is there that Llama's arithmetic cannot follow, or a size is missing.
    """
    fixed = {
        "block_type": "llama", "layer_norm_type": "rms", "activation_type": "silu", "rope": True,
        "rope_full_precision": True, "include_bias": False, "include_qkv_bias": False, "attention_layer_norm": False,
        "alibi": False, "scale_logits": False, "weight_tying": False, "input_emb_norm": False, "clip_qkv": None,
    }  # fmt: skip
    for name, expected in fixed.items():
        if llada.get(name, expected) != expected:
            raise ValueError(f"LLaDA's config has {name}={llada[name]!r}; only {expected!r} is Llama's arithmetic")
    sizes = (
        "d_model", "mlp_hidden_size", "n_layers", "n_heads", "vocab_size", "max_sequence_length", "rms_norm_eps", "rope_theta",
    )  # fmt: skip
    if lacking := [name for name in sizes if llada.get(name) is None]:
        raise ValueError(f"LLaDA's config lacks {', '.join(lacking)}; expected the config.json of LLaDA-8B")
    return LlamaConfig(
        vocab_size=llada.get("embedding_size") or llada["vocab_size"],
        hidden_size=llada["d_model"],
        intermediate_size=llada["mlp_hidden_size"],
        num_hidden_layers=llada["n_layers"],
        num_attention_heads=llada["n_heads"],
        num_key_value_heads=llada.get("n_kv_heads") or llada["n_heads"],
        max_position_embeddings=llada["max_sequence_length"],
        rms_norm_eps=llada["rms_norm_eps"],
        rope_parameters={"rope_type": "default", "rope_theta": llada["rope_theta"]},
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=llada.get("eos_token_id"),
        pad_token_id=llada.get("pad_token_id"),
    )


class _NoRotation(nn.Module):
    """Stands where Llama computes the angles once for all layers: the attention below rotates instead.

    Angles that were passed down to the layers as float32 would not arrive as such: FSDP2's ``cast_forward_inputs`` makes
    them bfloat16 at every layer. Positions are whole numbers, and are left alone.
    """

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        return x.new_ones(1, 1, 1), x.new_zeros(1, 1, 1)


# Shapes are in words where ``torch.compile`` looks: it does not go through the checks that the tests put around annotations.
def _rotated(states: Tensor, position_ids: Tensor, theta: float) -> Tensor:  # (b, h, l, d), (1 or b, l)
    size = states.shape[-1]
    pairs = torch.arange(0, size, 2, dtype=torch.float32, device=states.device)
    angles = position_ids[:, None, :, None].float() * theta ** (-pairs / size)
    angles = torch.cat((angles, angles), dim=-1)
    return states * angles.cos() + rotate_half(states) * angles.sin()


def _attention(module, query, key, value, attention_mask, *, position_ids, **options):
    theta = module.config.rope_parameters["rope_theta"]
    # Fewer queries than keys: some positions look at all of them (samplers.last_layer.Everywhere), which count from 0.
    key_positions = position_ids if query.shape[2] == key.shape[2] else torch.arange(key.shape[2], device=key.device)[None]
    query, key = (
        _rotated(states.float(), positions, theta).to(value.dtype)
        for states, positions in ((query, position_ids), (key, key_positions))
    )
    return ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, attention_mask, **options)


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def rotate_in_float32(model: LlamaForCausalLM) -> None:
    """Make ``model`` rotate queries and keys in float32 in any precision, as LLaDA does; changes it in place.

    Only for models without a cache of past keys: it would hold keys that were not rotated yet, and the positions given are
    those of the queries alone. Fewer queries than keys are right where the keys are those of all positions.
    """
    model.model.rotary_emb = _NoRotation()
    model.set_attn_implementation(ATTENTION)
