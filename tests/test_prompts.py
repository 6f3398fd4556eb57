"""The prompts, read back as strings: Figure 3, the question, the pre-training format."""

import dataclasses

import pytest
from tokenizers import pre_tokenizers

from maskft.data.synthetic.tokenizer import build_tokenizer
from maskft.models import prompts_for
from maskft.prompts import LLAMA3, Prompts

TEXT = "Anya Barlow is the bold baker of the broken bridge."


@pytest.fixture(scope="module")
def verbatim() -> Prompts:
    """Prompts of a tokenizer that puts no space before the first word of a piece, as Llama-3's, so that decoding gives
    back the string that was encoded, to the character."""
    tokenizer = build_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return prompts_for(tokenizer)


def read(prompts: Prompts, ids) -> str:
    return prompts.tokenizer.decode(list(ids), skip_special_tokens=False)


def test_a_document_is_bos_text_eos(verbatim):
    ids = verbatim.encode(TEXT)
    assert read(verbatim, verbatim.document(ids)) == f"<|begin_of_text|>{TEXT}<|eot_id|>"
    assert verbatim.document(ids)[1:-1] == ids


def test_a_question_is_one_user_turn_and_no_system_block(verbatim):
    assert read(verbatim, verbatim.question("Who is Anya?")) == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWho is Anya?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_an_answer_ends_its_turn(verbatim):
    assert read(verbatim, verbatim.answer("A baker.")) == "A baker.<|eot_id|>"


def test_demask_is_figure_3_with_the_lead_in_as_context(verbatim):
    ids = verbatim.encode("It was held.")
    masked = [verbatim.ids.mask, *ids[1:]]
    context, target = verbatim.demask(masked, ids)
    assert read(verbatim, context) == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
        f"<|mask|>{read(verbatim, ids[1:])}"
        "\nReturn the recovered masked passage.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHere is the recovered text:\n\n"
    )
    assert read(verbatim, target) == "It was held.<|eot_id|>"


def test_a_text_has_the_same_ids_in_both_copies_and_in_the_document(prompts):
    ids = prompts.encode(TEXT)
    context, target = prompts.demask(ids, ids)
    start = len(context) - len(prompts.demask([], ids)[0])
    assert start == len(ids)  # an empty first copy is shorter by the text and nothing else
    opening = len(prompts.ids.begin) + len(prompts.encode(LLAMA3.user_header))
    assert context[opening : opening + len(ids)] == ids
    assert target[:-1] == prompts.document(ids)[1:-1] == ids


def test_the_mask_is_put_in_as_an_id_and_never_passes_through_text(prompts, monkeypatch):
    """With the tokenizer gone, demask and document still work."""
    ids = prompts.encode(TEXT)
    monkeypatch.setattr(prompts, "tokenizer", None)
    context, _ = prompts.demask([prompts.ids.mask] * len(ids), ids)
    assert context.count(prompts.ids.mask) == len(ids)
    assert prompts.document(ids)[1:-1] == ids


def test_decode_drops_special_tokens_and_surrounding_space(prompts):
    assert prompts.decode([*prompts.answer("The bold baker."), prompts.ids.pad]) == "The bold baker."


def test_ordinary_ids_are_all_those_below_the_special_ones(prompts, tokenizer):
    special = [tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens]
    header = tokenizer.convert_tokens_to_ids(["<|start_header_id|>", "<|end_header_id|>"])
    assert prompts.ids.n_ordinary == min(special + header) == len(tokenizer) - 5
    assert prompts.ids.mask == tokenizer.convert_tokens_to_ids("<|mask|>")
    assert prompts.ids.pad == prompts.ids.end == prompts.ids.stop[0]  # as in Llama-3, the trap of padding by id


@pytest.mark.parametrize("clash", ["pad", "end", "stop", "begin"])
def test_a_mask_that_is_another_special_id_is_refused(prompts, tokenizer, clash):
    other = prompts.ids.mask
    same = dataclasses.replace(prompts.ids, **{clash: (other,) if clash in ("stop", "begin") else other})
    with pytest.raises(ValueError, match=f"mask id {other} is also a special id"):
        Prompts(tokenizer, LLAMA3, same)


@pytest.mark.parametrize("outside", [-1, 10**6, None])
def test_a_mask_outside_the_vocabulary_is_refused(prompts, tokenizer, outside):
    mask = len(tokenizer) if outside is None else outside
    with pytest.raises(ValueError, match=f"mask id {mask} is not in the vocabulary of {len(tokenizer)}"):
        Prompts(tokenizer, LLAMA3, dataclasses.replace(prompts.ids, mask=mask))
