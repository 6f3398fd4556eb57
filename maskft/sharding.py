"""FSDP2 as Appendix A.4 has it: one function makes the policy and the wrapping, on GPUs and on a CPU alike.

PyTorch's own ``fully_shard``, not accelerate's plugin: on a CPU accelerate takes DDP instead without a word, so no test
there would cover what runs on GPUs; and its settings file cannot ask for a float32 reduction. Accelerate still starts the
processes and names the devices. Knows nothing of data, losses or runs.

Sampling needs another form of the same model: in FSDP2 every forward pass is a collective, and ranks whose answers end at
different lengths would wait for each other for ever. ``gather_replica`` collects the weights once for an evaluation, and
each rank then samples alone.
"""

import copy

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from transformers import LlamaForCausalLM


def mixed_precision_policy(precision: str) -> MixedPrecisionPolicy:
    """A.4: ``MixedPrecisionPolicy(param_dtype="bf16", reduce_dtype="float32", cast_forward_inputs=True)``.

    Args:
        precision: As in ``RunConfig``. ``float32`` casts nothing. ``bf16`` computes as ``bf16_mixed`` does, on weights
            that are bfloat16 themselves.
    """
    if precision == "float32":
        return MixedPrecisionPolicy()
    return MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=True)


def compute_dtype(precision: str) -> torch.dtype:
    """What matrix products are computed in, and what a replica for sampling is held in."""
    return torch.float32 if precision == "float32" else torch.bfloat16


def round_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Hold the weights in ``dtype``; changes them in place. Buffers stay: ``model.to`` would round rotary frequencies too."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def shard(wrapped: nn.Module, layers: nn.ModuleList, precision: str, device: torch.device) -> None:
    """Spread the weights of ``wrapped`` over all processes and put the policy in force; changes it in place.

    Each layer is gathered when it is computed and spread again afterwards. Embedding, last norm and output projection
    are the root's: gathered in its forward pass, kept until its backward pass. Call the root's ``forward`` only: a call
    of a module inside it from elsewhere would find the root's weights still spread.

    Args:
        wrapped: The root, with whole weights on any device; they move to ``device`` a layer at a time.
        layers: Its layers, each a unit of its own.
        precision: As in ``RunConfig``.
        device: Where this process computes.
    """
    if not distributed.is_initialized():  # one process that no launcher prepared
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=distributed.HashStore(), rank=0, world_size=1)
    options = {
        "mesh": init_device_mesh(device.type, (distributed.get_world_size(),)),
        "mp_policy": mixed_precision_policy(precision),
    }
    for layer in layers:
        fully_shard(layer, **options)
    fully_shard(wrapped, **options)


class PolicyCheck:
    """Sees in the first forward pass what precision is really in force, and says it for the record.

    Args:
        wrapped: A model that ``shard`` changed.
        layers: Its layers.
        precision: As in ``RunConfig``.
    """

    def __init__(self, wrapped: nn.Module, layers: nn.ModuleList, precision: str):
        self.wrapped, self.precision, self.seen = wrapped, precision, {}
        linear = next(module for module in layers[0].modules() if isinstance(module, nn.Linear))
        self._hook = linear.register_forward_pre_hook(self._look)

    def _look(self, linear: nn.Linear, inputs: tuple) -> None:
        self._hook.remove()
        self.seen = {"weights": linear.weight.dtype, "inputs": inputs[0].dtype}

    def after_backward(self) -> dict[str, object]:
        """The policy as it is in force; call it once gradients are there.

        Returns:
            For the record: strategy, shards, units, and the dtypes of master weights, computation and reduction.

        Raises:
            RuntimeError: If weights are not spread, or a dtype is not the one that was asked for.
        """
        policy, expected = mixed_precision_policy(self.precision), compute_dtype(self.precision)
        master = torch.bfloat16 if self.precision == "bf16" else torch.float32
        units = [module for module in self.wrapped.modules() if isinstance(module, FSDPModule)]
        n_ranks, flaws = distributed.get_world_size(), []
        for name, parameter in self.wrapped.named_parameters():
            if not isinstance(parameter, DTensor) or not parameter.placements[0].is_shard():
                flaws.append(f"{name} is not spread over the processes")
            elif parameter.dtype != master:
                flaws.append(f"{name} is kept in {parameter.dtype}, not {master}")
            elif parameter.grad is not None and parameter.grad.dtype != master:
                flaws.append(f"the gradient of {name} is {parameter.grad.dtype}, not {master}")
        for unit in units:
            # Which dtype is reduced in shows nowhere outside; this is where FSDP2 keeps what it was given.
            state = unit._get_fsdp_state()
            for group in getattr(state, "_fsdp_param_groups", None) or [state._fsdp_param_group]:  # torch before 2.13 has one
                if group.mp_policy != policy:
                    flaws.append(f"a unit has the policy {group.mp_policy}, not {policy}")
        flaws += [f"the {what} of a layer are {dtype}, not {expected}" for what, dtype in self.seen.items() if dtype != expected]
        if not self.seen:
            flaws.append("no layer was computed")
        if flaws:
            raise RuntimeError(f"FSDP2 is not in force as asked for: {'; '.join(flaws[:5])} ({len(flaws)} in all)")
        return {
            "strategy": "fsdp2",
            "n_shards": n_ranks,
            "n_units": len(units),
            "master_dtype": _name(master),
            "param_dtype": _name(policy.param_dtype or master),
            "reduce_dtype": _name(policy.reduce_dtype or master),
            "cast_forward_inputs": policy.cast_forward_inputs,
            "seen": {what: _name(dtype) for what, dtype in self.seen.items()},
        }


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def empty_copy(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """The model without weights: same modules, configuration and buffers, parameters on the meta device."""
    # deepcopy takes what its memo has instead of copying it, so that no weight is ever held twice; tied ones stay tied.
    parameters = {id(p): nn.Parameter(torch.empty_like(p, device="meta"), p.requires_grad) for p in model.parameters()}
    return copy.deepcopy(model, dict(parameters))


def gather_replica(empty: LlamaForCausalLM, sharded: LlamaForCausalLM, dtype: torch.dtype) -> LlamaForCausalLM:
    """The whole model on this rank, for sampling without a collective; every rank must call it, and drops it when done.

    Weights are rounded before they travel, one at a time, so a rank holds its shards, the replica so far and no more.

    Args:
        empty: What ``empty_copy`` made before the model was sharded; it is not changed.
        sharded: The model inside the root of ``shard``.
        dtype: Of the replica.
    """
    replica = copy.deepcopy(empty)
    whole = {name: whole_tensor(value.detach().to(dtype)) for name, value in sharded.state_dict().items()}
    replica.load_state_dict(whole, assign=True)
    device = next(iter(whole.values())).device
    for module in replica.modules():
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))
    return replica.requires_grad_(False).eval()


def whole_tensor(value: torch.Tensor) -> torch.Tensor:
    """A tensor that may be spread over the processes, collected on each of them."""
    return value.full_tensor() if isinstance(value, DTensor) else value
