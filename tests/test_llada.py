"""LLaDA loads as a Llama: against an independent forward pass in LLaDA's own names, in float32 and bfloat16."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn.functional import scaled_dot_product_attention, silu
from transformers import PreTrainedTokenizerFast

from maskft import llada
from maskft.models import load_base

WIDTH, HEADS, LAYERS, HIDDEN, VOCABULARY = 32, 4, 2, 48, 64
SPECIAL = ["<|startoftext|>", "<|endoftext|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|mdm_mask|>"]
CONFIG = {
    "model_type": "llada", "architectures": ["LLaDAModelLM"],
    "auto_map": {"AutoConfig": "configuration_llada.LLaDAConfig", "AutoModelForCausalLM": "modeling_llada.LLaDAModelLM"},
    "d_model": WIDTH, "n_heads": HEADS, "n_kv_heads": HEADS, "n_layers": LAYERS, "mlp_hidden_size": HIDDEN,
    "vocab_size": VOCABULARY, "embedding_size": VOCABULARY, "max_sequence_length": 128, "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0, "rope": True, "rope_full_precision": True, "include_bias": False, "weight_tying": False,
    "block_type": "llama", "layer_norm_type": "rms", "activation_type": "silu", "eos_token_id": 59, "pad_token_id": 59,
}  # fmt: skip


def random_weights() -> dict[str, torch.Tensor]:
    """Under the names of LLaDA's files. Norms are not 1, so that a forgotten one shows."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"wte": (VOCABULARY, WIDTH), "ln_f": (WIDTH,), "ff_out": (VOCABULARY, WIDTH)}
    for n in range(LAYERS):
        block = dict.fromkeys(("q_proj", "k_proj", "v_proj", "attn_out"), (WIDTH, WIDTH))
        block |= {"ff_proj": (HIDDEN, WIDTH), "up_proj": (HIDDEN, WIDTH), "ff_out": (WIDTH, HIDDEN)}
        block |= {"attn_norm": (WIDTH,), "ff_norm": (WIDTH,)}
        shapes |= {f"blocks.{n}.{name}": shape for name, shape in block.items()}
    return {
        f"model.transformer.{name}.weight": torch.randn(shape, generator=generator) * (0.3 if len(shape) > 1 else 1.0)
        for name, shape in shapes.items()
    }


@pytest.fixture
def folder(tmp_path):
    """A folder that looks like the hub's: two weight files with an index, a config that names remote code."""
    weights = random_weights()
    first = {key: tensor for key, tensor in weights.items() if "blocks.1" not in key}
    parts = {"model-00001-of-00002.safetensors": first}
    parts["model-00002-of-00002.safetensors"] = {key: weights[key] for key in weights if key not in first}
    for name, part in parts.items():
        save_file(part, tmp_path / name, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: name for name, part in parts.items() for key in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    words = {f"w{i}": i for i in range(VOCABULARY - len(SPECIAL))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=SPECIAL[0], eos_token=SPECIAL[1], pad_token=SPECIAL[1],
        additional_special_tokens=SPECIAL[2:],
    )  # fmt: skip
    wrapped.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def rotate(states, theta):
    """Element by element: pair (i, i + d/2) of the token at position p turns by p x theta^(-2i/d), in float32."""
    states, length, size = states.float(), states.shape[-2], states.shape[-1]
    turned = torch.empty_like(states)
    for position in range(length):
        for i in range(size // 2):
            angle = torch.tensor(position, dtype=torch.float32) * torch.tensor(theta ** (-2 * i / size))
            a, b = states[..., position, i], states[..., position, i + size // 2]
            turned[..., position, i] = a * angle.cos() - b * angle.sin()
            turned[..., position, i + size // 2] = b * angle.cos() + a * angle.sin()
    return turned


def reference_logits(weights, ids, dtype):
    """LLaDA's forward pass from its description, with full attention."""
    weights = {key.removeprefix("model.transformer.").removesuffix(".weight"): w.to(dtype) for key, w in weights.items()}

    def norm(x, name):
        x32 = x.float()
        return weights[name] * (x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype)

    x, (rows, length) = weights["wte"][ids], ids.shape
    for n in range(LAYERS):
        y, block = norm(x, f"blocks.{n}.attn_norm"), f"blocks.{n}."
        heads = (rows, length, HEADS, WIDTH // HEADS)
        q, k, v = ((y @ weights[f"{block}{p}_proj"].T).view(heads).transpose(1, 2) for p in "qkv")
        q, k = (rotate(states, 500000.0).to(dtype) for states in (q, k))
        mixed = scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, length, WIDTH)
        x = x + mixed @ weights[f"{block}attn_out"].T
        y = norm(x, f"{block}ff_norm")
        x = x + (silu(y @ weights[f"{block}ff_proj"].T) * (y @ weights[f"{block}up_proj"].T)) @ weights[f"{block}ff_out"].T
    return (norm(x, "ln_f") @ weights["ff_out"].T).float()


IDS = torch.randint(0, VOCABULARY, (2, 24), generator=torch.Generator().manual_seed(1))


def test_float32_logits_are_those_of_the_description(folder):
    model, _ = load_base(str(folder), method="dllm")
    with torch.no_grad():
        logits = model(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits
    torch.testing.assert_close(logits, reference_logits(random_weights(), IDS, torch.float32), rtol=1e-4, atol=1e-4)


def test_in_bfloat16_the_rotation_is_float32(folder):
    """Rounding elsewhere leaves an error of its own; with angles rounded to bfloat16 too, the error is larger."""
    expected = reference_logits(random_weights(), IDS, torch.bfloat16)
    model, _ = load_base(str(folder), method="dllm")
    exact = model.to(torch.bfloat16)
    plain = type(model)(copy.deepcopy(model.config))  # Llama's own rotation
    plain.set_attn_implementation("sdpa")
    plain.load_state_dict(model.state_dict())
    plain.to(torch.bfloat16)
    with torch.no_grad():
        errors = [(m(input_ids=IDS).logits.float() - expected).abs().mean().item() for m in (exact, plain)]
    assert errors[0] < errors[1] / 10


def test_padding_on_the_left_changes_nothing(folder):
    model, prompts = load_base(str(folder), method="dllm")
    padded = torch.cat([torch.full((2, 5), prompts.ids.pad), IDS], dim=1)
    attended = torch.ones_like(padded)
    attended[:, :5] = 0
    positions = (attended.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        alone = model(input_ids=IDS).logits
        moved = model(input_ids=padded, attention_mask=attended, position_ids=positions).logits[:, 5:]
        shifted = model(input_ids=padded, attention_mask=attended).logits[:, 5:]  # angles are relative
    torch.testing.assert_close(moved, alone, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(shifted, alone, rtol=1e-4, atol=1e-4)


def test_a_trained_model_is_saved_as_a_plain_llama_folder_and_takes_its_names_back(folder, tmp_path):
    model, prompts = load_base(str(folder), method="dllm")
    plain = tmp_path / "plain"
    model.save_pretrained(plain)
    prompts.tokenizer.save_pretrained(plain)
    assert json.loads((plain / "config.json").read_text())["model_type"] == "llama"
    again, _ = load_base(str(plain), method="dllm")
    with torch.no_grad():
        assert torch.equal(again(input_ids=IDS).logits, model(input_ids=IDS).logits)
    original, back = random_weights(), llada.to_llada_keys(load_file(plain / "model.safetensors"))
    assert back.keys() == original.keys() and all(torch.equal(back[key], original[key]) for key in original)


def test_special_ids_and_prompt_are_lladas_own(folder):
    _, prompts = load_base(str(folder), method="dllm")
    ids = {token: VOCABULARY - len(SPECIAL) + i for i, token in enumerate(SPECIAL)}
    assert prompts.ids.begin == (ids["<|startoftext|>"],) and prompts.ids.mask == ids["<|mdm_mask|>"]
    assert prompts.ids.end == prompts.ids.pad == ids["<|endoftext|>"]
    assert prompts.ids.stop == (ids["<|eot_id|>"], ids["<|endoftext|>"])
    assert prompts.question("w1")[:2] == [ids["<|startoftext|>"], ids["<|start_header_id|>"]]


def test_every_weight_has_a_name_in_both_worlds():
    """12 kinds: embeddings, last norm and head, and 9 of a layer."""
    assert len(llada.KEYS) == len(set(llada.KEYS.values())) == 12
    with pytest.raises(ValueError, match="'model.layers.0.self_attn.q_proj.bias' is no weight of LLaDA"):
        llada.to_llada_keys({"model.layers.0.self_attn.q_proj.bias": torch.zeros(1)})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("alibi", True, "alibi=True; only False"),
        ("weight_tying", True, "weight_tying=True"),
        ("rope_theta", None, "lacks rope_theta"),
        ("vocab_size", None, "lacks vocab_size"),
    ],
)
def test_a_config_that_llama_cannot_follow_is_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        llada.llama_config(CONFIG | {name: value})


def test_another_architecture_is_refused_by_name(folder):
    (folder / "config.json").write_text(json.dumps(CONFIG | {"model_type": "gpt2"}))
    with pytest.raises(ValueError, match="is a gpt2 model"):
        load_base(str(folder), method="dllm")


@pytest.mark.parametrize("method", ["ar", "masked_ar"])
def test_it_is_not_trained_with_a_causal_mask(folder, method):
    with pytest.raises(ValueError, match=f"cannot be trained as '{method}'"):
        load_base(str(folder), method=method)


def test_a_lacking_weight_is_named_and_not_made_up(folder):
    file = folder / "model-00002-of-00002.safetensors"
    weights = load_file(file)
    del weights["model.transformer.blocks.1.attn_norm.weight"]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks the weights model\.layers\.1\.input_layernorm\.weight"):
        load_base(str(folder), method="dllm")
