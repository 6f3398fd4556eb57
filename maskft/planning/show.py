"""A plan as text: the table of costs, memory by part, and what was assumed."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from maskft.data import DATASETS
from maskft.exhibits import methods_of
from maskft.launcher import available_cores
from maskft.planning import hardware
from maskft.planning.hardware import get_gpu
from maskft.planning.memory import GIB
from maskft.planning.plan import TOTAL, Setup, memory_table, plan, planned_runs, setup_of
from maskft.planning.time import against_records, fit_core_rates, quickest, read_records
from maskft.planning.work import SHORT_ANSWER
from maskft.scales import Scale


def show_plan(
    exhibits: Sequence[str],
    scale: Scale,
    seeds: Sequence[int],
    world_seed: int = 0,
    *,
    gpu: str | None = None,
    gpus: int | None = None,
    per_device: int | None = None,
    checkpointing: bool = False,
    cores: int | None = None,
) -> str:
    """What ``maskft plan`` prints.

    Args:
        exhibits: Their names.
        scale: The scale: its launcher says whether it runs on GPUs or on CPU cores. One in bfloat16 is planned for GPUs where
            they are asked for.
        seeds: Run seeds.
        world_seed: Which synthetic world.
        gpu: Kind of GPU; without it, the paper's H100.
        gpus: How many; without it, the scale's.
        per_device: Sequences on a GPU at once; without it, the scale's.
        checkpointing: Whether activations are computed again, if the scale does not say so itself.
        cores: CPU cores; without it, those that are here.

    Raises:
        ValueError: If an option is not one of the scale's, an exhibit or GPU is unknown, a number is too small, a run does
            not fit, or CPU time cannot be told for want of records.
        FileNotFoundError: If ``MASKFT_DATA`` is set and lacks a file.
    """
    of_gpus = {"--gpu": gpu, "--gpus": gpus, "--per-device": per_device, "--checkpointing": checkpointing or None}
    is_asked = any(value is not None for value in of_gpus.values()) and scale.settings["precision"] != "float32"
    on_gpus = scale.launcher.kind == "gpu" or is_asked
    foreign = {"--cores": cores} if on_gpus else of_gpus
    if wrong := [name for name, value in foreign.items() if value is not None]:
        device, use = ("GPUs", "--gpu and --gpus") if on_gpus else ("CPU cores", "--cores")
        raise ValueError(f"{', '.join(wrong)}: scale {scale.name} runs on {device}; use {use}")
    if not on_gpus:
        return _on_cores(exhibits, scale, seeds, world_seed, available_cores() if cores is None else cores)
    setup = setup_of(scale.launcher, scale.settings["train_batch_size"], get_gpu("H100" if gpu is None else gpu))
    given = {"gpus": gpus, "per_device": per_device, "checkpointing": checkpointing or None}
    setup = replace(setup, **{name: value for name, value in given.items() if value is not None})
    return _on_gpus(exhibits, scale, seeds, world_seed, setup)


def _on_gpus(exhibits: Sequence[str], scale: Scale, seeds: Sequence[int], world_seed: int, setup: Setup) -> str:
    costs = plan(exhibits, scale, seeds, world_seed, setup=setup)
    runs = [run for exhibit in exhibits for run in planned_runs(exhibit, scale, seeds, world_seed)]
    parts = [
        f"scale {scale.name}, {len(seeds)} seed(s), {setup.gpus} {setup.gpu.name}, at most {setup.per_device} sequences "
        f"per device, activation checkpointing {'on' if setup.checkpointing else 'off'}",
        _table(costs, "GPU", setup.gpus),
    ]
    if runs:
        batch = runs[0].train_batch_size
        parts += [
            f"Memory of one GPU in GiB, of the largest run of each method: {setup.rows(batch)} sequences at once, accumulation "
            f"{setup.accumulation(batch)}; {setup.usable / GIB:.1f} of {setup.gpu.memory / GIB:.0f} may be filled",
            memory_table(runs, setup).to_string(index=False),
        ]
    parts.append(
        f"{_ranges(scale)}\n"
        f"Measured: {hardware.COMPUTE_SHARE:.0%} of peak operations (torchtitan, Llama 3.1 8B with FSDP2 on 8 H100; one H200 had 27 "
        f"to 40 %), and on an H200's host at least {1e3 * hardware.STEP_LAUNCH:.1f} ms for a layer in a step, "
        f"{1e3 * hardware.ANSWER_LAUNCH:.1f} ms in a recorded pass of answering. Assumed: {hardware.LINK_SHARE:.0%} of the link, "
        f"{hardware.BANDWIDTH_SHARE:.0%} of memory bandwidth; FSDP2; every GPU answers questions with a whole bf16 copy of the model; "
        "a run has its GPUs for itself. Start, loading and writing are not counted."
    )
    return "\n\n".join(parts)


def _on_cores(exhibits: Sequence[str], scale: Scale, seeds: Sequence[int], world_seed: int, cores: int) -> str:
    if cores < 1:
        raise ValueError(f"--cores {cores}: at least 1 is needed")
    # Of a CPU: a record's device then names its threads.
    records = read_records(scale.records, str(scale.settings["precision"]))
    records = [(run, record) for run, record in records if "thread" in record["device"]]
    remedy = f"maskft reproduce table3 --scale {scale.name}"
    if scale.settings["precision"] != "float32":
        remedy += "; or plan for a GPU: --gpu H100"
    rates = fit_core_rates(records, f"{scale.records.parent.name}/{scale.records.name}/", methods_of(scale), remedy)
    costs = plan(exhibits, scale, seeds, world_seed, rates=rates)
    compared = against_records(quickest(records), rates)
    ratio = compared.measured / compared.planned
    diffusion = f", and as a dLLM with {1e-9 / rates.diffusion:.0f} x 10^9 operations a second" if rates.diffusion else ""
    return "\n\n".join(
        [
            f"scale {scale.name}, {len(seeds)} seed(s), {cores} CPU core(s), a run on each",
            _table(costs, "core", cores),
            f"{_ranges(scale)}\n"
            f"A core ({', '.join(rates.devices)}) trains with {1e-9 / rates.training:.0f} x 10^9 operations a second, answers with "
            f"{1e-6 / rates.cached:.1f} x 10^6 tokens of cache a second{diffusion}: fitted to the quickest of the {len(records)} "
            f"committed records in each of {rates.n_records} arms, which took {ratio.min():.2f} to {ratio.max():.2f} times what the model says for answers as long as theirs. Runs that shared "
            "their core took up to several times as long. Start is not counted.",
        ]
    )


def _ranges(scale: Scale) -> str:
    allowed = {m: sorted({scale.settings_of(m, dataset)["max_new_tokens"] for dataset in DATASETS}) for m in methods_of(scale)}
    longest = ", ".join(f"{method} {' or '.join(map(str, tokens))}" for method, tokens in allowed.items())
    return (
        f"Ranges: from every answer {SHORT_ANSWER} tokens long to every answer as long as allowed ({longest}). In the total, runs "
        "that exhibits share count once; what a base answers before fine-tuning counts for every run, and is asked once. TFLOP and PFLOP are 10^12 and 10^15 operations."
    )


def _table(costs: pd.DataFrame, device: str, devices: int) -> str:
    low, high = costs.hours_training + costs.hours_short, costs.hours_training + costs.hours_long
    unit, operations = ("PFLOP", 1e15) if costs.train_flops.max() > 1e18 else ("TFLOP", 1e12)
    digits = 1 if low.max() > 10 else 2
    columns = {
        "exhibit": costs.exhibit,
        "runs": costs.runs,
        "steps": [f"{steps:,.0f}" for steps in costs.steps],
        "train Mtokens": [f"{tokens / 1e6:,.1f}" for tokens in costs.train_tokens],
        f"train {unit}": [f"{flops / operations:,.0f}" for flops in costs.train_flops],
        f"eval {unit}": _range(costs.eval_flops_short / operations, costs.eval_flops_long / operations, 0),
        "GiB": [f"{memory / GIB:.1f}" for memory in costs.memory],
        f"{device}-hours": _range(low, high, digits),
        f"hours on {devices}": _range(low / devices, high / devices, digits),
        "eval share": _range(100 * costs.hours_short / low, 100 * costs.hours_long / high, 0, "%"),
    }
    table = pd.DataFrame(columns)
    if costs.memory.isna().all():
        table = table.drop(columns="GiB")
    table = table[(table.runs > 0) | (table.exhibit == TOTAL)]
    lacking = costs.exhibit[(costs.runs == 0) & (costs.exhibit != TOTAL)]
    note = f"\nno runs: {', '.join(lacking)}" if len(lacking) else ""
    return table.to_string(index=False) + note


def _range(low: pd.Series, high: pd.Series, digits: int, unit: str = "") -> list[str]:
    texts = [(f"{a:,.{digits}f}", f"{b:,.{digits}f}") for a, b in zip(low, high, strict=True)]
    return [(a if a == b else f"{a}-{b}") + unit for a, b in texts]
