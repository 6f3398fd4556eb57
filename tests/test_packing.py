"""Packed rows compute what padded rows do: states, losses and gradients."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from maskft.losses import autoregressive_loss
from maskft.packing import can_pack, packed_states
from maskft.sharding import shard
from maskft.step import SupervisedLogits, recompute_activations, supervised_positions


def make_model():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=50, tie_word_embeddings=False, **sizes)).double()


def make_batch(lengths=(3, 9, 1, 6)):
    torch.manual_seed(1)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(0, 50, mask.shape)
    labels = ids.masked_fill((mask == 0) | (torch.rand(mask.shape) < 0.3), -100)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def loss_and_gradients(packed):
    wrapped, batch = SupervisedLogits(make_model(), packed=packed), make_batch()
    rows, columns, labels = supervised_positions(batch, "masked_ar")
    logits = wrapped(batch["input_ids"], batch["attention_mask"], rows, columns)
    loss = autoregressive_loss(logits.double(), labels, n_targets=len(labels))
    loss.backward()
    return loss.detach(), [parameter.grad for parameter in wrapped.parameters()]


@pytest.mark.parametrize("plain_width", [0, 256])  # the device's kernel, and plain products
def test_packed_rows_have_the_loss_and_the_gradients_of_padded_ones(plain_width, monkeypatch):
    monkeypatch.setattr("maskft.packing.PLAIN_WIDTH", plain_width)
    (loss, gradients), (expected, wanted) = loss_and_gradients(True), loss_and_gradients(False)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradients, wanted)


def test_packed_rows_go_through_fsdp2_and_recomputation():
    """One process, weights gathered in bfloat16: as close as its eight bits are."""
    model, batch = make_model().float(), make_batch()
    rows, columns, labels = supervised_positions(batch, "masked_ar")
    inputs = batch["input_ids"], batch["attention_mask"], rows, columns
    expected = SupervisedLogits(model)(*inputs).detach()
    recompute_activations(model)
    wrapped = SupervisedLogits(model.train(), packed=True)
    shard(wrapped, model.model.layers, "bf16_mixed", torch.device("cpu"))
    try:
        logits = wrapped(*inputs)
        autoregressive_loss(logits, labels, n_targets=len(labels)).backward()
        assert all(parameter.grad is not None for parameter in wrapped.parameters())
        torch.testing.assert_close(logits.float(), expected, atol=0.02, rtol=0.02)
    finally:
        torch.distributed.destroy_process_group()


def test_a_saved_model_knows_nothing_of_it(tmp_path):
    model = SupervisedLogits(make_model(), packed=True).model
    model.save_pretrained(tmp_path)
    assert "packed" not in (tmp_path / "config.json").read_text()


def test_only_a_wide_llama_with_the_usual_attention_is_packed(monkeypatch):
    model = make_model()
    assert not can_pack(model, "cpu") and not can_pack(model, "cuda")
    monkeypatch.setattr("maskft.packing.NARROWEST", {"cpu": model.config.hidden_size, "cuda": model.config.hidden_size + 1})
    assert can_pack(model, "cpu") and not can_pack(model, "cuda") and not can_pack(model, "mps")
    model.set_attn_implementation("eager")
    assert not can_pack(model, "cpu")


def test_each_row_is_computed_as_if_it_were_alone():
    model, batch = make_model(), make_batch()
    alone = [model.model(ids[:n][None]).last_hidden_state[0] for ids, n in zip(batch["input_ids"], (3, 9, 1, 6), strict=True)]
    SupervisedLogits(model, packed=True)
    states, places = packed_states(model, batch["input_ids"], batch["attention_mask"])
    assert len(states) == 19  # 3 + 9 + 1 + 6, and no padding
    torch.testing.assert_close(states, torch.cat(alone))
    assert places[1, 0] == 3 and places[3, 5] == 18


def test_a_packed_model_still_answers_as_before():
    model, batch = make_model().eval(), make_batch()
    expected = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    SupervisedLogits(model, packed=True)
    torch.testing.assert_close(model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits, expected)


@pytest.mark.parametrize("mask", [[0, 1, 1], [1, 0, 1], [0, 0, 0]])
def test_other_padding_is_refused(mask):
    model = SupervisedLogits(make_model(), packed=True).model
    with pytest.raises(ValueError, match="padded on the right"):
        packed_states(model, torch.ones(1, 3, dtype=torch.long), torch.tensor([mask]))


def test_on_a_cpu_in_bfloat16_few_numbers_of_rows_are_computed_and_the_rest_is_as_it_was(monkeypatch):
    """Nineteen tokens and five places of padding: the gradients of a padded batch, as close as bfloat16 is to itself."""
    monkeypatch.setattr("maskft.packing.CPU_MULTIPLE", 24)
    found = []
    for packed in (True, False):
        wrapped, batch = SupervisedLogits(make_model().float(), packed=packed), make_batch()
        rows, columns, labels = supervised_positions(batch, "masked_ar")
        with torch.autocast("cpu", torch.bfloat16):
            if packed:
                states, places = packed_states(wrapped.model, batch["input_ids"], batch["attention_mask"])
                assert len(states) == 24 and places[batch["attention_mask"].bool()].unique().numel() == 19
            logits = wrapped(batch["input_ids"], batch["attention_mask"], rows, columns)
            loss = autoregressive_loss(logits, labels, n_targets=len(labels))
        loss.backward()
        found.append([loss.detach(), *(parameter.grad for parameter in wrapped.parameters())])
    for ours, padded in zip(*found, strict=True):
        torch.testing.assert_close(ours, padded, atol=0.01 * float(padded.abs().max()), rtol=0.02)
