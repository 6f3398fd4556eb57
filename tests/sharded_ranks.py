"""What two processes check of ``maskft.sharding``; started by ``test_sharding.py``, ends with an error if it is not so."""

import weakref
from functools import partial

import torch
from accelerate import PartialState
from torch import distributed
from torch.distributed.tensor import DTensor
from transformers import LlamaConfig, LlamaForCausalLM

from maskft import chunked_loss
from maskft.losses import autoregressive_loss, masked_diffusion_loss
from maskft.samplers import generate_diffusion
from maskft.sharding import PolicyCheck, empty_copy, gather_replica, round_weights, shard
from maskft.step import SupervisedLogits


def make(tied: bool = False) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, initializer_range=0.3,
        tie_word_embeddings=tied,
    )  # fmt: skip
    config.is_causal = config.use_cache = False
    return LlamaForCausalLM(config)


def check() -> None:
    state = PartialState(cpu=True)
    rank, ids = state.process_index, torch.arange(5, 45).view(2, 20)
    batch = ids, torch.ones_like(ids), torch.tensor([0, 1, 1]), torch.tensor([3, 4, 5])
    whole, model = make(), make()
    empty, wrapped = empty_copy(model), SupervisedLogits(model)
    assert all(p.is_meta for p in empty.parameters()) and not empty.model.rotary_emb.inv_freq.is_meta
    shard(wrapped, model.model.layers, "bf16_mixed", state.device)
    for name, p in wrapped.named_parameters():
        assert isinstance(p, DTensor) and p.dtype == torch.float32, name
        # Rows are dealt out: 61 are 31 and 30.
        assert p.to_local().shape[0] == (p.shape[0] + 1 - rank) // 2, name

    reduced = []

    def watched(plain):
        def reduce(output, input, *arguments, **options):
            reduced.append(input.dtype)
            return plain(output, input, *arguments, **options)

        return reduce

    # FSDP2 calls the first; torch before 2.13 has the second alone.
    name = next(name for name in ("reduce_scatter_single", "reduce_scatter_tensor") if hasattr(distributed, name))
    setattr(distributed, name, watched(getattr(distributed, name)))
    policy = PolicyCheck(wrapped, model.model.layers, "bf16_mixed")
    logits = wrapped(*batch)
    (logits.float().sum() * (rank + 1)).backward()
    assert policy.after_backward() == {
        "strategy": "fsdp2", "n_shards": 2, "n_units": 4, "master_dtype": "float32", "param_dtype": "bfloat16",
        "reduce_dtype": "float32", "cast_forward_inputs": True, "seen": {"weights": "bfloat16", "inputs": "bfloat16"},
    }  # fmt: skip
    # Three layers and the root, reduced in float32: the sum of both ranks over their number.
    assert reduced == [torch.float32] * 4, reduced
    round_weights(whole, torch.bfloat16)
    SupervisedLogits(whole)(*batch).float().sum().backward()
    for p, expected in zip(model.parameters(), whole.parameters(), strict=True):
        # Once and twice a bfloat16 gradient, averaged in float32: exact.
        assert torch.equal(p.grad.full_tensor(), 1.5 * expected.grad.float())

    replica = gather_replica(empty, model, torch.bfloat16)
    assert replica.dtype == torch.bfloat16 and replica.model.rotary_emb.inv_freq.dtype == torch.float32
    assert torch.equal(SupervisedLogits(replica)(*batch), wrapped(*batch))
    assert not any(isinstance(p, DTensor) or p.requires_grad for p in replica.parameters())
    # Rank 0 stops after one pass, rank 1 makes twenty: with a collective in them this would never end.
    length = 20 if rank else 1
    options = {"max_new_tokens": length, "block_length": 1, "steps": length, "mask": 60, "stop": (), "pad": 0}
    assert len(generate_diffusion(replica, [[7, 8, 9]], **options)[0]) == length
    distributed.barrier()
    gone = weakref.ref(next(replica.parameters()))
    del replica
    assert gone() is None and all(p.is_meta for p in empty.parameters())

    # A policy that is not the one asked for is told, whatever the losses look like.
    other = make()
    wrapped = SupervisedLogits(other)
    shard(wrapped, other.model.layers, "float32", state.device)
    policy = PolicyCheck(wrapped, other.model.layers, "bf16_mixed")
    wrapped(*batch).sum().backward()
    try:
        policy.after_backward()
    except RuntimeError as error:
        assert "FSDP2 is not in force as asked for" in str(error) and "MixedPrecisionPolicy" in str(error)
    else:
        raise AssertionError("a wrong policy passed")
    for tied in (False, True):
        for precision in ("float32", "bf16_mixed"):
            check_chunks(state, tied, precision)
    distributed.destroy_process_group()


def check_chunks(state: PartialState, tied: bool, precision: str) -> None:
    """The loss in chunks of two positions, inside of the root's forward pass: gradients of two backward passes are those of the
    whole loss without FSDP2, averaged over the ranks, of which the second has one position more, and is weighed twice."""
    ids = torch.arange(5, 45).view(2, 20)
    rows, columns, labels = torch.tensor([0, 1, 1, 0, 1, 1]), torch.tensor([3, 4, 5, 9, 9, 8]), torch.arange(7, 13)
    ratios = {"mask_ratio": torch.tensor([0.301, 0.7003]), "n_maskable": torch.tensor([9, 8])}
    losses = (partial(autoregressive_loss, n_targets=6), lambda *targets: targets[:1]), (
        partial(masked_diffusion_loss, **ratios, n_samples=2, n_tokens=40), lambda *targets: targets
    )  # fmt: skip
    whole, model = make(tied), make(tied)
    if precision == "bf16_mixed":
        round_weights(whole, torch.bfloat16)
    wrapped = SupervisedLogits(model)
    shard(wrapped, model.model.layers, precision, state.device)

    def learn(module, rank) -> list[torch.Tensor]:
        values, n = [], 5 + rank
        for loss, chosen in losses:
            value = module(ids, torch.ones_like(ids), rows[:n], columns[:n], loss, *chosen(labels[:n], rows[:n]))
            (value * (rank + 1)).backward()
            values.append(value.detach())
        return values

    expected = [learn(SupervisedLogits(whole), rank) for rank in range(2)]
    plain = chunked_loss.LARGEST_WHOLE, chunked_loss.AT_ONCE, chunked_loss.WIDTHS
    chunked_loss.LARGEST_WHOLE, chunked_loss.AT_ONCE, chunked_loss.WIDTHS = 0, 2 * 61, 16
    model.lm_head.register_forward_hook(lambda *_: exit("the projection was computed whole"))
    found = learn(wrapped, state.process_index)
    chunked_loss.LARGEST_WHOLE, chunked_loss.AT_ONCE, chunked_loss.WIDTHS = plain
    torch.testing.assert_close(found, expected[state.process_index], rtol=1e-5, atol=0)
    # In bfloat16 both round each sum, in another order.
    tolerance = 1e-6 if precision == "float32" else 0.02
    for p, other in zip(model.parameters(), whole.parameters(), strict=True):
        wanted = other.grad.float() / 2
        torch.testing.assert_close(p.grad.full_tensor(), wanted, rtol=0, atol=tolerance * float(wanted.abs().max()))


if __name__ == "__main__":
    check()
