"""Hours from operations: on GPUs by the slower of computing and moving data, on CPU cores by what records achieved.

Not counted: start, loading of weights, collation, scoring, and writing.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from maskft.planning.hardware import BANDWIDTH_SHARE, COMPUTE_SHARE, Gpu, link_speed
from maskft.planning.shapes import Real, n_parameters
from maskft.planning.work import Work, answer_tokens, work_of
from maskft.runs import RunConfig


@dataclass(frozen=True)
class Seconds:
    """Time of a run: training, and its evaluations with short and with long answers."""

    training: Real
    evaluation: tuple[Real, Real]


def gather_seconds(n_weights: Real, gpu: Gpu, gpus: int, *, size: int) -> Real:
    """Time to gather or to reduce all weights once over ``gpus`` GPUs, ``size`` bytes each.

    Each GPU receives (gathering) or sends (reducing) the shares of the others: (gpus - 1) / gpus of them.
    """
    return size * n_weights * (gpus - 1) / gpus / link_speed(gpu, gpus)


def step_seconds(work: Work, gpu: Gpu, gpus: int, accumulation: int) -> Real:
    """Time of one optimizer step with FSDP2.

    Each of ``accumulation`` parts gathers bf16 weights twice (forward, backward) and reduces float32 gradients once: 2 + 2
    + 4 bytes a parameter, while it computes; the slower decides. Then AdamW reads weight, gradient and two moments and
    writes three of them: 28 bytes a parameter of its share.
    """
    computing = work.step_flops / (gpus * gpu.flops * COMPUTE_SHARE)
    n_weights = n_parameters(work.shape)
    moving = accumulation * (2 * gather_seconds(n_weights, gpu, gpus, size=2) + gather_seconds(n_weights, gpu, gpus, size=4))
    return max(computing, moving) + 28 * n_weights / gpus / (gpu.bandwidth * BANDWIDTH_SHARE)


def evaluation_seconds(work: Work, gpu: Gpu, gpus: int, new: int, flops: Real) -> Real:
    """Time of one evaluation with answers of ``new`` tokens, ``flops`` operations each.

    A GPU answers its share of the questions in batches, a pass over the model for every token of the batch (a dLLM: for
    every denoising step). A pass computes, gathers all bf16 weights from the other GPUs, and reads them; the slowest decides.
    """
    run, n_weights = work.run, n_parameters(work.shape)
    questions = ceil(work.lengths.n_questions / gpus)
    steps_per_token = run.sampler_steps / run.max_new_tokens if run.method == "dllm" else 1
    passes = ceil(questions / run.eval_batch_size) * new * steps_per_token
    computing = questions * flops / (gpu.flops * COMPUTE_SHARE)
    gathering = passes * gather_seconds(n_weights, gpu, gpus, size=2)
    reading = passes * 2 * n_weights / (gpu.bandwidth * BANDWIDTH_SHARE)
    return max(computing, gathering, reading)


def seconds_on_gpus(work: Work, gpu: Gpu, gpus: int, accumulation: int = 1) -> Seconds:
    """Time of a run that has ``gpus`` GPUs for itself."""
    answers = zip(answer_tokens(work.run), work.answer_flops, strict=True)
    each = [len(work.run.eval_steps) * evaluation_seconds(work, gpu, gpus, new, flops) for new, flops in answers]
    return Seconds(work.run.total_steps * step_seconds(work, gpu, gpus, accumulation), (each[0], each[1]))


@dataclass(frozen=True)
class CoreRates:
    """Seconds of one core per operation, by what it does. Small matrices and Python weigh on each differently.

    Attributes:
        training: Of optimizer steps.
        cached: Of answers token by token with a cache.
        diffusion: Of answers by passes over question and canvas.
        n_records: How many records they were fitted to.
        devices: What those ran on.
    """

    training: Real
    cached: Real
    diffusion: Real
    n_records: int
    devices: tuple[str, ...]

    def gflops(self, kind: str) -> Real:
        """Operations per second in 10^9."""
        return 1e-9 / getattr(self, kind)


def read_records(folder: Path) -> list[tuple[RunConfig, dict]]:
    """Every committed run of a folder with its record, by file name. Their identity need not be one of today's."""
    firsts = [json.loads(path.open(encoding="utf-8").readline()) for path in sorted(folder.glob("*.jsonl"))]
    return [(RunConfig.from_dict(first["config"]), first) for first in firsts]


def fit_core_rates(records: Iterable[tuple[RunConfig, dict]], folder: str = "the records") -> CoreRates:
    """Rates that best explain ``wall_time_s`` of all records together, by least squares of the relative errors.

    Answers are taken to be short: a record does not say how long its batches were.

    Raises:
        ValueError: If no record tells one of the three rates.
    """
    rows, walls, devices = [], [], set()
    for run, record in records:
        work = work_of(run)
        answers = work.eval_flops[0]
        rows.append((work.train_flops, 0.0, answers) if run.method == "dllm" else (work.train_flops, answers, 0.0))
        walls.append(record["wall_time_s"])
        devices.add(record["device"])
    table = np.array(rows).reshape(-1, 3) / np.array(walls).reshape(-1, 1)
    seconds = nnls(table, np.ones(len(walls)))[0] if len(walls) else np.zeros(3)
    if not all(seconds):
        raise ValueError(
            f"{folder} cannot tell how fast a core is ({len(walls)} records; runs of an AR method and of the dLLM are "
            "needed); make them: maskft reproduce table3"
        )
    return CoreRates(*seconds.tolist(), n_records=len(walls), devices=tuple(sorted(devices)))


def seconds_on_core(work: Work, rates: CoreRates) -> Seconds:
    """Time of a run on one core."""
    per_flop = rates.diffusion if work.run.method == "dllm" else rates.cached
    short, long = work.eval_flops
    return Seconds(work.train_flops * rates.training, (short * per_flop, long * per_flop))


def against_records(records: Iterable[tuple[RunConfig, dict]], rates: CoreRates) -> pd.DataFrame:
    """Measured and planned seconds of recorded runs: ``run_id``, ``measured``, and ``short`` and ``long`` answers."""
    rows = []
    for run, record in records:
        seconds = seconds_on_core(work_of(run), rates)
        short, long = (seconds.training + answers for answers in seconds.evaluation)
        rows.append({"run_id": run.run_id, "measured": record["wall_time_s"], "short": short, "long": long})
    return pd.DataFrame(rows)
