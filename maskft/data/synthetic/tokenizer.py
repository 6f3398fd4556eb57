"""The tiny tokenizer: one token a word of the tiny world, bytes for everything else.

A byte-level BPE without merges: a piece that is in the vocabulary is one token (``ignore_merges``, as in Llama-3's
tokenizer), any other text falls back to its bytes, so nothing is ever unknown and a visitor can ask a question in words
of their own. Special tokens carry Llama-3's names and come after the ordinary ones, as there.
"""

import string

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ...prompts import DEMASK_LEAD_IN, DEMASK_REQUEST
from . import wordings, words

BEGIN, END_OF_TURN, MASK = "<|begin_of_text|>", "<|eot_id|>", "<|mask|>"
SPECIAL_TOKENS = [BEGIN, "<|start_header_id|>", "<|end_header_id|>", END_OF_TURN, MASK]


def _texts() -> list[str]:
    """Every text that the tiny world can say, as pieces: wordings without their placeholders, and all values."""

    def strings(value) -> list[str]:
        if isinstance(value, str):
            return [value]
        if isinstance(value, dict):
            value = value.values()
        return [text for item in value for text in strings(item)]

    templates = [
        text for name, value in vars(wordings).items() if name.isupper() and not name.endswith("_KEYS")
        for text in strings(value)
    ]
    values = [text for name, value in vars(words).items() if name.isupper() for text in strings(value)]
    capitalized = [word.capitalize() for word in words.SPORTS + words.ARTS]
    plain = ["".join(part for part, *_ in string.Formatter().parse(text)) for text in templates]
    joined = ["user", "assistant", "\n\n", DEMASK_REQUEST, DEMASK_LEAD_IN, "The the He She a, a."]
    return plain + values + capitalized + joined


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of all tiny models; depends on nothing but the words and wordings of the tiny world."""
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
    pieces = {piece for text in _texts() for piece, _ in splitter.pre_tokenize_str(text)}
    pieces |= {piece for mark in ".,:?)'" for piece in (mark, f"Ġ{mark}")}
    ordinary = sorted(pre_tokenizers.ByteLevel.alphabet()) + sorted(piece for piece in pieces if len(piece) > 1)
    vocabulary = {piece: i for i, piece in enumerate(ordinary)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    # As in Llama-3.1-Instruct, the end of a turn is also the end of a document and the padding.
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END_OF_TURN, pad_token=END_OF_TURN, mask_token=MASK,
        clean_up_tokenization_spaces=False,
    )
