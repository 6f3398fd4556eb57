"""Bases load in float32 with the right attention, and unsuitable ones are refused."""

import logging

import pytest
import torch

from maskft.bases import SHIPPED, revision_of
from maskft.models import assert_attention, load_base, load_tokenizer, untie


@pytest.mark.parametrize("base", SHIPPED)
def test_shipped_bases_load_in_float32_and_attend_as_their_method_needs(base):
    method = "dllm" if base == "tiny-dllm" else "ar"
    model, prompts = load_base(base, method=method)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert_attention(model, bidirectional=method == "dllm")
    with pytest.raises(RuntimeError, match="is_causal"):
        assert_attention(model, bidirectional=method != "dllm")
    assert prompts.ids.mask not in prompts.ids.stop and prompts.ids.pad == prompts.ids.stop[0]


def test_the_same_weights_attend_both_ways_by_the_switch_alone():
    causal, _ = load_base("tiny-ar", method="ar")
    bidirectional, _ = load_base("tiny-ar", method="dllm")
    assert_attention(causal, bidirectional=False)
    assert_attention(bidirectional, bidirectional=True)


def test_a_revision_changes_with_the_weights(tmp_path):
    model, prompts = load_base("tiny-ar", method="ar")
    for name in ("a", "b"):
        model.save_pretrained(tmp_path / name)
        prompts.tokenizer.save_pretrained(tmp_path / name)
    assert revision_of(str(tmp_path / "a")) == revision_of(str(tmp_path / "b"))
    with torch.no_grad():
        model.model.norm.weight[0] += 1
    model.save_pretrained(tmp_path / "b")
    assert revision_of(str(tmp_path / "a")) != revision_of(str(tmp_path / "b"))


def test_untied_a_base_computes_the_same_with_two_weights_that_are_kept_apart_when_it_is_saved(base, tmp_path):
    model, prompts = load_base(str(base), method="ar")
    ids = torch.tensor([prompts.question("Who is Ada Birch?")])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        untie(model)
        assert torch.equal(model(input_ids=ids).logits, before)
        model.lm_head.weight[0] += 1
    model.save_pretrained(tmp_path)
    prompts.tokenizer.save_pretrained(tmp_path)
    again, _ = load_base(str(tmp_path), method="ar")
    assert torch.equal(again.lm_head.weight[0], again.model.embed_tokens.weight[0] + 1)
    with pytest.raises(ValueError, match="untied already; use embeddings='as_base'"):
        untie(again)


def test_a_lladas_tokenizer_loads_without_an_alarm(small_hub_folders):
    """transformers warns of a model that it does not know, whose tokenizer alone is asked for."""
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    try:
        assert "<|mdm_mask|>" in load_tokenizer(small_hub_folders["llada"]).get_vocab()
    finally:
        logger.removeHandler(handler)
    assert not said


def test_a_base_that_is_nowhere_is_named():
    with pytest.raises(FileNotFoundError, match="no-such-base"):
        revision_of("no-such-base")
