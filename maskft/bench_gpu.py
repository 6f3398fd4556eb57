"""``maskft bench gpu``: what one GPU does at the paper's shapes, on random weights and through the code that trains.

Step time, tokens per second, share of the GPU's peak and peak memory, with and without activation checkpointing and with
compiled layers, and the samplers' throughput. The model is FSDP2's, of one process. AdamW's float32 master weights, gradients and moments are 16
bytes a parameter, 120 GiB at 8 billion: a smaller GPU takes ``precision="bf16"``, 8 bytes, which the record names. Where
so little is left, set ``PYTORCH_ALLOC_CONF=expandable_segments:True`` in the environment: fragments are lost otherwise.
"""

import gc
import json
import platform
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from torch import distributed
from transformers import LlamaConfig, LlamaForCausalLM

from . import llada
from .losses import autoregressive_loss
from .planning.hardware import GPUS, MEMORY_SHARE
from .planning.memory import GIB
from .planning.shapes import SHAPES, Shape, n_parameters, training_flops
from .provenance import current_commit
from .runs import cut_paths, write_atomically
from .samplers import generate_ar, generate_diffusion
from .sharding import PolicyCheck, compute_dtype, empty_copy, gather_replica, round_weights, shard
from .step import SupervisedLogits, compile_layers, recompute_activations

PAPER_SHAPES = {"llama": SHAPES["meta-llama/Llama-3.1-8B-Instruct"], "llada": SHAPES["GSAI-ML/LLaDA-8B-Instruct"]}
SMALL_SHAPES = {"llama": Shape(2, 64, 128, 4, 2, 512), "llada": Shape(2, 64, 96, 4, 4, 512)}
BYTES = {"bf16_mixed": 16, "bf16": 8}  # a parameter: weight, gradient and two moments


def make_model(name: str, shape: Shape, device: torch.device) -> LlamaForCausalLM:
    """A random model of a shape on ``device``, in float32: causal for ``llama``, LLaDA's attention for ``llada``."""
    config = LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.width, intermediate_size=shape.hidden, num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads, num_key_value_heads=shape.n_kv_heads, tie_word_embeddings=shape.tied,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
    )  # fmt: skip
    torch.manual_seed(0)
    with device:
        model = LlamaForCausalLM(config)
    model.config.is_causal = model.config.use_cache = name == "llama"
    if name == "llada":
        llada.rotate_in_float32(model)
    return model


def choose_precision(shape: Shape, device: torch.device) -> str:
    """The paper's ``bf16_mixed`` where AdamW with float32 masters fits beside 4 GiB of activations, else ``bf16``."""
    if device.type != "cuda":
        return "bf16_mixed"
    room = MEMORY_SHARE * torch.cuda.get_device_properties(device).total_memory - 4 * GIB
    return "bf16_mixed" if BYTES["bf16_mixed"] * n_parameters(shape) <= room else "bf16"


def bench(
    name: str, shape: Shape, device: torch.device, *, precision: str | None = None, rows: int = 16, length: int = 256,
    steps: int = 5, questions: int = 16, new_tokens: int = 128, on_part: Callable[[dict[str, object]], None] = lambda record: None,
) -> dict[str, object]:  # fmt: skip
    """Measure one shape.

    A part that fails, or does not fit, is told in its place and the others are still measured. Where float32 master weights
    do not fit, the same is measured on bfloat16 ones as well.

    Args:
        name: ``llama`` or ``llada``.
        shape: Its numbers, or smaller ones.
        device: Where.
        precision: As in ``RunConfig``; None chooses by memory.
        rows: Documents of a step (A.4: 16 a device).
        length: Tokens of each, those of a masked document's prompt and its original together; every second one is supervised.
        steps: Timed, after two that are not.
        questions: Answered together.
        new_tokens: Of each answer; none ends early.
        on_part: Called with the record so far after each part, so that an interruption loses one part at most.

    Returns:
        The record, ready for JSON. A part has ``out_of_memory`` or ``error`` instead of its numbers where it did not fit or
        failed.
    """
    precision = precision or choose_precision(shape, device)
    training: dict[str, dict] = {}
    record = {
        "benchmark": f"gpu_{name}",
        "shape": asdict(shape),
        "n_parameters": n_parameters(shape),
        "precision": precision,
        "optimizer": "AdamW, fused, moments in the weights' dtype, on the same device",
        "rows": rows, "length": length, "steps": steps,
        "training": training,
        "hardware": _hardware(device),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "transformers": version("transformers")},
        "command": cut_paths(shlex.join(["maskft", *sys.argv[1:]])),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": current_commit(),
    }  # fmt: skip

    def measure(part: str, work: Callable[[], dict[str, object]]) -> dict[str, object]:
        print(f"{name} {part} ...", flush=True)
        start = time.perf_counter()
        try:
            found = work()
        except torch.OutOfMemoryError as error:
            found = {"out_of_memory": str(error).splitlines()[0]}
        except Exception as error:  # whatever it was, the parts after it are worth their time
            found = {"error": f"{type(error).__name__}: {error}"}
        _free(device)
        found["wall_s"] = round(time.perf_counter() - start, 1)
        print(f"{name} {part}: {json.dumps({k: v for k, v in found.items() if k not in ('all_steps_s', 'sharding')})}", flush=True)
        return found

    parts = {"without_checkpointing": (False, False), "with_checkpointing": (True, False), "compiled": (False, True)}
    for key, how in parts.items():
        options = (*how, rows, length, steps)
        training[key] = measure(key, lambda: _train(name, shape, device, precision, *options))  # noqa: B023
        if "step_s" not in training[key] and precision == "bf16_mixed":
            training[f"{key}_bf16"] = measure(f"{key}_bf16", lambda: _train(name, shape, device, "bf16", *options))  # noqa: B023
        on_part(record)
    record["sampling"] = measure("sampling", lambda: _sample(name, shape, device, precision, questions, new_tokens))
    on_part(record)
    if distributed.is_initialized():
        distributed.destroy_process_group()
    return record


def _train(name, shape, device, precision, checkpointing, compiled, rows, length, steps) -> dict[str, object]:
    model = make_model(name, shape, device)
    if precision == "bf16":
        round_weights(model, torch.bfloat16)
    if checkpointing:
        recompute_activations(model)
    model.train()
    wrapped = SupervisedLogits(model)
    shard(wrapped, model.model.layers, precision, device)
    if compiled:
        compile_layers(model)
    policy = PolicyCheck(wrapped, model.model.layers, precision)
    optimizer = torch.optim.AdamW(wrapped.parameters(), lr=1e-6, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    _free(device)  # what sharding held of whole weights
    ids = torch.randint(0, shape.vocabulary, (rows, length), device=device)
    chosen = torch.zeros_like(ids, dtype=torch.bool)
    chosen[:, ::2] = True
    row, column = chosen.nonzero(as_tuple=True)
    labels, in_force, times = ids[row, column], None, []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(steps + 2):
        _wait(device)
        start = time.perf_counter()
        loss = wrapped(ids, torch.ones_like(ids), row, column, partial(autoregressive_loss, n_targets=len(labels)), labels)
        loss.backward()
        in_force = in_force or policy.after_backward()
        torch.nn.utils.clip_grad_norm_(wrapped.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        _wait(device)
        times.append(time.perf_counter() - start)
    seconds = sorted(times[2:])[steps // 2]
    # Useful work: what checkpointing computes again does not count.
    flops = training_flops(shape, rows=rows, length=length, outputs=len(labels))
    peak = _peak_flops(device)
    return {
        "precision": precision,
        "step_s": seconds,
        "all_steps_s": times,
        "tokens_per_s": rows * length / seconds,
        "flops_per_s": flops / seconds,
        "share_of_peak": flops / seconds / peak if peak else None,
        "peak_memory_gib": torch.cuda.max_memory_allocated(device) / GIB if device.type == "cuda" else None,
        "loss": float(loss.detach()),
        "sharding": in_force,
    }


@torch.no_grad()
def _sample(name, shape, device, precision, questions, new_tokens) -> dict[str, object]:
    model = make_model(name, shape, device)
    empty = empty_copy(model)
    replica = gather_replica(empty, model, compute_dtype(precision))
    del model
    _free(device)
    prompts = [list(range(5, 37))] * questions
    # The last id ends answers; random weights hardly ever choose it, and what was really made is counted.
    options = {"stop": (shape.vocabulary - 1,), "pad": 0}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for n in (min(4, new_tokens), new_tokens):  # a few tokens to warm up
        _wait(device)
        start = time.perf_counter()
        if name == "llada":
            mask = shape.vocabulary - 2
            answers = generate_diffusion(replica, prompts, max_new_tokens=n, block_length=4, steps=n, mask=mask, **options)
        else:
            answers = generate_ar(replica, prompts, max_new_tokens=n, **options)
        _wait(device)
        seconds = time.perf_counter() - start
    made = sum(map(len, answers))
    return {
        "sampler": "generate_diffusion" if name == "llada" else "generate_ar",
        "questions": questions, "prompt_tokens": len(prompts[0]), "new_tokens": made,
        "seconds": seconds, "new_tokens_per_s": made / seconds,
        "peak_memory_gib": torch.cuda.max_memory_allocated(device) / GIB if device.type == "cuda" else None,
    }  # fmt: skip


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _peak_flops(device: torch.device) -> float | None:
    """Of the GPU kinds that are known (``planning.hardware``)."""
    if device.type != "cuda":
        return None
    found = torch.cuda.get_device_name(device).upper()
    return next((float(gpu.flops) for gpu in GPUS.values() if gpu.name.split("-")[0] in found), None)


def _hardware(device: torch.device) -> dict[str, object]:
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return {"device": properties.name, "memory_gib": properties.total_memory / GIB, "cuda": torch.version.cuda}
    return {"device": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}


def bench_gpu(names: list[str], output: Path, *, small: bool = False, device: torch.device | None = None, **options) -> list[Path]:
    """Measure several shapes and write a record each, ``OUTPUT/gpu_NAME.json``.

    Args:
        names: Of ``llama`` and ``llada``.
        output: Folder.
        small: Small shapes, to try the command on a CPU.
        device: Default: the GPU.
        **options: As of ``bench``.

    Raises:
        ValueError: If a name is unknown, or there is no GPU for the paper's shapes.
        RuntimeError: After all records are written, if a part failed otherwise than for want of memory.
    """
    if unknown := [name for name in names if name not in PAPER_SHAPES]:
        raise ValueError(f"shape {', '.join(unknown)} is not one of {', '.join(PAPER_SHAPES)}")
    device = device or (torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu"))
    if device.type != "cuda" and not small:
        raise ValueError("the paper's shapes need a GPU and there is none; --small tries the command on a CPU")
    paths, failed = [output / f"gpu_{name}.json" for name in names], []
    for name, path in zip(names, paths, strict=True):
        write = lambda record: write_atomically(path, json.dumps(record, indent=1) + "\n")  # noqa: B023, E731
        record = bench(name, (SMALL_SHAPES if small else PAPER_SHAPES)[name], device, on_part=write, **options)
        parts = record["training"] | {"sampling": record["sampling"]}
        failed += [f"{name} {key}: {numbers['error']}" for key, numbers in parts.items() if "error" in numbers]
    if failed:
        raise RuntimeError(f"parts of the benchmark failed: {'; '.join(failed)}")
    return paths
