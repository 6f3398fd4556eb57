"""Base models: one ``LlamaForCausalLM`` for all three methods, bidirectional or causal by ``config.is_causal``.

A base is a name (``bases``). Weights load in an explicit dtype (transformers 5 would take the checkpoint's own, and bfloat16
master weights undo the paper's mixed precision), no remote code is run, and the direction of attention is asserted on the
loaded model, because an older transformers ignores the switch without a word.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from . import llada
from .ar_shift import has_ar_shift, shift_outputs
from .bases import SMALL_BASE, find_base
from .chat import chat_format_of, ordinary_ids, token_ids_of
from .prompts import CHATML, LLAMA3, ChatFormat, Prompts, TokenIds
from .small_weights import small_base_folder

# Llama and its kin: the same layers but for biases and norms, the same names for decoder and head, one switch of attention.
LLAMA_FAMILY = ("llama", "qwen2", "qwen3", "mistral", "smollm3")


@dataclass(frozen=True)
class Family:
    """What differs between tokenizers: conversation format, and the ids that no tokenizer attribute gives.

    Attributes:
        marker: A token that only this family has.
        chat: Its conversation format.
        mask: Text of the mask token.
        extra_stop: Tokens that end an answer besides the end of turn.
        rotates_in_float32: Whether its model does so in any precision.
        undrawn: Ordinary tokens at the end that the random-token control leaves out, as the release does.
    """

    marker: str
    chat: ChatFormat
    mask: str
    extra_stop: tuple[str, ...] = ()
    rotates_in_float32: bool = False
    undrawn: int = 0


FAMILIES = {
    "tiny": Family("<|mask|>", LLAMA3, "<|mask|>"),
    # LLaDA: mask id 126336; an answer may also end at <|endoftext|> (126081), which is its padding too.
    "llada": Family("<|mdm_mask|>", LLAMA3, "<|mdm_mask|>", ("<|endoftext|>",), rotates_in_float32=True),
    # A.4: "we pick a reserved special token whose token id is 128013 in the LLama 3 tokenizer". The release draws random tokens
    # from 0 to 127998.
    "llama3": Family("<|reserved_special_token_5|>", LLAMA3, "<|reserved_special_token_5|>", undrawn=1),
    # SmolLM2: ids 5 and 7-16 share one untrained vector; 16 is the last of them.
    "chatml": Family("<|im_start|>", CHATML, "<empty_output>"),
}


def family_of(tokenizer) -> Family | None:
    """The family that a tokenizer belongs to, told by a token that only it has; None if it is none of ours."""
    vocabulary = tokenizer.get_vocab()
    found = (family for family in FAMILIES.values() if family.marker in vocabulary and family.mask in vocabulary)
    return next(found, None)


def prompts_for(tokenizer, n_rows: int | None = None) -> Prompts:
    """Prompts in the tokenizer's own conversation format and ids.

    Args:
        tokenizer: Of one of ``FAMILIES``, or of any instruct model with a chat template (``chat``).
        n_rows: Rows of the model's embedding; a row without a token can be the mask.

    Raises:
        ValueError: If format or ids are unsuitable.
    """
    family = family_of(tokenizer)
    if family is None:
        chat = chat_format_of(tokenizer)
        return Prompts(tokenizer, chat, token_ids_of(tokenizer, chat, n_rows), n_rows=n_rows)
    to_id = tokenizer.convert_tokens_to_ids
    end_of_turn = to_id(family.chat.end_of_turn)
    begin = () if tokenizer.bos_token_id is None or family.chat is CHATML else (tokenizer.bos_token_id,)
    special = [tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens]
    # Special tokens come last, from 128000 on in Llama-3.
    first, last = (0, min(special) - family.undrawn) if family.chat is LLAMA3 else ordinary_ids(tokenizer)
    ids = TokenIds(
        begin=begin,
        end=tokenizer.eos_token_id,
        mask=to_id(family.mask),
        pad=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
        stop=tuple(dict.fromkeys([end_of_turn, *map(to_id, family.extra_stop)])),
        n_ordinary=last,
        first_ordinary=first,
    )
    return Prompts(tokenizer, family.chat, ids)


def load_tokenizer(source: Path | str, **hub) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or a repository of the hub (``revision`` pins that). No remote code is run.

    Raises:
        OSError, ValueError: As transformers does.
    """
    kind = PreTrainedConfig.get_config_dict(source, **hub)[0].get("model_type")
    # Or transformers would warn that it does not know the model, of which only the tokenizer is asked for.
    known = {"config": LlamaConfig()} if kind == "llada" else {}
    return AutoTokenizer.from_pretrained(source, trust_remote_code=False, **known, **hub)


def base_folder(base: str) -> Path | str:
    """Where a base lies (``bases.find_base``), the small base converted if it was not yet.

    Raises:
        FileNotFoundError: If a shipped base is not there, or the small base is neither converted nor its package installed.
    """
    return small_base_folder() if base == SMALL_BASE else find_base(base)


@torch.no_grad()
def assert_attention(model: PreTrainedModel, *, bidirectional: bool) -> None:
    """Change the last token and see whether the first position's output changes.

    Raises:
        RuntimeError: If the model attends the other way.
    """
    ids = torch.arange(5, 13, device=model.device)[None]
    other = ids.clone()
    other[0, -1] = 4
    first, second = (model(input_ids=x, use_cache=False).logits[0, 0] for x in (ids, other))
    if bool((first != second).any()) != bidirectional:
        raise RuntimeError(
            f"the model attends {'causally' if bidirectional else 'to later tokens'} although "
            f"config.is_causal={model.config.is_causal}; transformers 5.15 or newer is needed"
        )


def untie(model: PreTrainedModel) -> None:
    """Give a model whose output projection is its embedding a copy of it as a projection of its own; changes ``model`` in place.

    What it computes stays the same. What it learns does not: an output projection is told at every token that none of the other
    words stands there, so with tied weights a document moves the embeddings of all words that it does not have, those of questions
    and of the marks of a conversation among them; untied, they stay where they are.

    Raises:
        ValueError: If the output projection is a weight of its own already.
    """
    embedding, projection = model.get_input_embeddings(), model.get_output_embeddings()
    if projection.weight is not embedding.weight:
        raise ValueError("embeddings='untied' for a base whose output projection is untied already; use embeddings='as_base'")
    projection.weight = torch.nn.Parameter(embedding.weight.detach().clone())
    model.config.tie_word_embeddings = False


def load_base(base: str, *, method: str, revision: str | None = None) -> tuple[PreTrainedModel, Prompts]:
    """A base model in float32 with the attention of ``method``, and its prompts.

    Args:
        base: ``tiny-ar``, ``tiny-dllm``, a folder, or a repository of the hub.
        method: ``ar`` and ``masked_ar`` attend causally, ``dllm`` to both sides.
        revision: Commit of a hub repository.

    Raises:
        FileNotFoundError: If a shipped base is missing.
        ValueError: If the tokenizer's format or ids are unsuitable, if the folder holds neither one of ``LLAMA_FAMILY`` nor
            LLaDA or lacks a weight, or if LLaDA is asked for with a causal method.
        RuntimeError: If attention does not go the way it should.
    """
    source = base_folder(base)
    hub = {} if isinstance(source, Path) else {"revision": revision}
    settings, _ = PreTrainedConfig.get_config_dict(source, **hub)
    kind = settings.get("model_type")
    if kind not in (*LLAMA_FAMILY, "llada"):
        raise ValueError(f"{base!r} is a {kind} model; maskft trains {', '.join(LLAMA_FAMILY)}, and LLaDA as a llama")
    tokenizer = load_tokenizer(source, **hub)
    family = family_of(tokenizer)
    rotates_in_float32 = family is not None and family.rotates_in_float32
    if rotates_in_float32 and method != "dllm":
        raise ValueError(f"{base!r} is LLaDA, which cannot be trained as {method!r}: it has no causal mask; use 'dllm'")
    names = {"config": llada.llama_config(settings), "key_mapping": llada.key_mapping()} if kind == "llada" else {}
    model_class = LlamaForCausalLM if kind in ("llama", "llada") else AutoModelForCausalLM
    try:
        model, report = model_class.from_pretrained(source, dtype=torch.float32, output_loading_info=True, **names, **hub)
    except SafetensorError as error:  # of a download that was cut short
        raise ValueError(f"the weights of {base!r} are damaged ({error}); get its files again") from None
    if report["missing_keys"]:
        # transformers would give them random values and go on.
        raise ValueError(f"{base!r} lacks the weights {', '.join(sorted(report['missing_keys']))}; get its files again")
    model.config.is_causal = method != "dllm"
    model.config.use_cache = method != "dllm"
    # Or save_pretrained would turn the names back, beside a configuration that says Llama.
    model.__dict__.pop("_weight_conversions", None)
    if rotates_in_float32:
        llada.rotate_in_float32(model)
    if method == "dllm" and has_ar_shift(model):
        shift_outputs(model)
    assert_attention(model.eval(), bidirectional=method == "dllm")
    return model, prompts_for(tokenizer, model.get_input_embeddings().num_embeddings)
