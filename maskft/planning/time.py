"""Hours from operations: on GPUs by the slowest of launching, computing and moving data, on CPU cores by what records achieved.

Not counted: start, loading of weights, collation, scoring, and writing.
"""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from maskft.paper import METHODS
from maskft.planning.hardware import ANSWER_LAUNCH, BANDWIDTH_SHARE, COMPUTE_SHARE, STEP_LAUNCH, Gpu, link_speed
from maskft.planning.shapes import Real, n_parameters
from maskft.planning.work import Work, answer_flops, answer_tokens, work_of
from maskft.runs import RunConfig
from maskft.samplers.autoregressive import LOOK_EVERY


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
    writes three of them: 28 bytes a parameter of its share. All that is launched by the host, layer by layer, in each part;
    where that takes longer, as for small models, it decides. With checkpointing the forward pass is launched again, which
    is not counted.
    """
    computing = work.step_flops / (gpus * gpu.flops * COMPUTE_SHARE)
    n_weights = n_parameters(work.shape)
    moving = accumulation * (2 * gather_seconds(n_weights, gpu, gpus, size=2) + gather_seconds(n_weights, gpu, gpus, size=4))
    updating = 28 * n_weights / gpus / (gpu.bandwidth * BANDWIDTH_SHARE)
    launching = accumulation * work.shape.n_layers * STEP_LAUNCH
    return max(launching, max(computing, moving) + updating)


def evaluation_seconds(work: Work, gpu: Gpu, gpus: int, new: int, flops: Real) -> Real:
    """Time of one evaluation with answers of ``new`` tokens, ``flops`` operations each.

    The weights are gathered once, into a bf16 replica on each GPU (``sharding.gather_replica``). It then answers its share of
    the questions in batches, a pass over the model for every token of the batch (a dLLM: for every denoising step), which
    computes, reads the weights, and launches its layers, all recorded in one; the slowest decides.
    """
    run, n_weights = work.run, n_parameters(work.shape)
    questions = ceil(work.lengths.n_questions / gpus)
    steps_per_token = run.sampler_steps / run.max_new_tokens if run.method == "dllm" else 1
    passes = ceil(questions / run.eval_batch_size) * new * steps_per_token
    computing = questions * flops / (gpu.flops * COMPUTE_SHARE)
    reading = passes * 2 * n_weights / (gpu.bandwidth * BANDWIDTH_SHARE)
    launching = passes * work.shape.n_layers * ANSWER_LAUNCH
    return gather_seconds(n_weights, gpu, gpus, size=2) + max(computing, reading, launching)


def seconds_on_gpus(work: Work, gpu: Gpu, gpus: int, accumulation: int = 1) -> Seconds:
    """Time of a run that has ``gpus`` GPUs for itself."""
    answers = zip(answer_tokens(work.run), work.answer_flops, strict=True)
    each = [len(work.run.eval_steps) * evaluation_seconds(work, gpu, gpus, new, flops) for new, flops in answers]
    return Seconds(work.run.total_steps * step_seconds(work, gpu, gpus, accumulation), (each[0], each[1]))


@dataclass(frozen=True)
class CoreRates:
    """What a core takes for the three things that a run does. Small matrices and Python weigh on each differently.

    Attributes:
        training: Seconds per operation of optimizer steps.
        cached: Seconds per token in a cache that another token attends to. Every pass moves the whole cache, which for
            models so small takes longer than what it computes.
        diffusion: Seconds per operation of answers by passes over question and canvas; 0 if no record tells.
        n_records: How many records they were fitted to.
        devices: What those ran on.
    """

    training: Real
    cached: Real
    diffusion: Real
    n_records: int
    devices: tuple[str, ...]


def read_records(folder: Path, precision: str) -> list[tuple[RunConfig, dict]]:
    """Every committed run of a folder in that precision with its record, by file name. Their identity need not be one of today's.
    Runs with a probe are left out: it takes time that is no run's of the study.

    Returns:
        Runs, and the first lines of their records with `answer_tokens`, how long answers were (`answered_tokens`), and
        `evaluations`, how often the run asked its questions.
    """
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        record, *rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        run = RunConfig.from_dict(record["config"])
        if run.precision == precision and run.probe == "none":
            # Of a run that took its base's answers from another one: it answered an evaluation less than it has.
            is_lent = record.get("answers_before_from") is not None
            rows = [row for row in rows if not (is_lent and row.get("step") == 0)]
            lengths = {"answer_tokens": answered_tokens(run, rows), "evaluations": len(run.eval_steps) - is_lent}
            found.append((run, record | lengths))
    return found


def answered_tokens(run: RunConfig, rows: Iterable[dict]) -> Real:
    """How many tokens an answer of a record took, in the mean of its evaluations; `SHORT_ANSWER` if it holds no answers, as those
    of original data.

    A dLLM's answer leaves its batch at the end of a block, another's where it is looked at (``samplers``). Words and marks count as
    tokens, as in the tiny bases' vocabulary, and so does the end.
    """
    of_step: dict[int, list[int]] = {}
    for row in rows:
        if row["kind"] == "generation" and "generation" in row:
            of_step.setdefault(row["step"], []).append(1 + len(re.findall(r"\w+|[^\w\s]", row["generation"])))
    if not of_step:
        return answer_tokens(run)[0]
    multiple = run.block_length if run.method == "dllm" else LOOK_EVERY
    each = [min(run.max_new_tokens, multiple * ceil(n / multiple)) for lengths in of_step.values() for n in lengths]
    return sum(each) / len(each)


def quickest(records: Iterable[tuple[RunConfig, dict]]) -> list[tuple[RunConfig, dict]]:
    """Of runs that do the same work, the one that took least time: others on its core can only have made a run longer."""
    best: dict[tuple, tuple[RunConfig, dict]] = {}
    for run, record in records:
        arm = run.method, run.dataset, run.paraphrases, run.eval_steps
        if arm not in best or record["wall_time_s"] < best[arm][1]["wall_time_s"]:
            best[arm] = run, record
    return list(best.values())


def _answering(work: Work, new: Real, evaluations: int) -> tuple[Real, Real]:
    """Of the answers of all evaluations: tokens attended to in a cache, and operations by diffusion; one of them is 0.

    The i-th of ``new`` tokens attends to prompt + i tokens, in sum new prompt + new^2 / 2.
    """
    n_answers = evaluations * work.lengths.n_questions
    if work.run.method == "dllm":
        return 0, n_answers * answer_flops(work.run, work.shape, work.lengths.prompt, new)
    return n_answers * (new * work.lengths.prompt + new**2 / 2), 0


def fit_core_rates(
    records: Iterable[tuple[RunConfig, dict]],
    folder: str = "the records",
    methods: Collection[str] = METHODS,
    remedy: str = "maskft reproduce table3",
) -> CoreRates:
    """Rates that best explain ``wall_time_s`` of the quickest records, by least squares of the relative errors.

    Args:
        records: Runs with their records, of one kind of core.
        folder: Where they come from, for the message.
        methods: Of the runs to be planned. Without the dLLM its answers need no rate.
        remedy: The command that makes such records, for the message.

    Raises:
        ValueError: If the records do not tell a rate that the methods need, or are as few as the rates, which would then fit
            them whatever they are.
    """
    rows, walls, devices = [], [], set()
    for run, record in quickest(records):
        work = work_of(run)
        rows.append((work.train_flops, *_answering(work, record["answer_tokens"], record["evaluations"])))
        walls.append(record["wall_time_s"])
        devices.add(record["device"])
    table = np.array(rows).reshape(-1, 3) / np.array(walls).reshape(-1, 1)
    seconds = nnls(table, np.ones(len(walls)))[0] if len(walls) else np.zeros(3)
    n_rates = 3 if "dllm" in methods else 2
    if len(walls) <= n_rates or not all(seconds[:n_rates]):
        raise ValueError(
            f"{folder} cannot tell how fast a core is ({len(walls)} kinds of run, more than {n_rates} are needed; runs of {', '.join(methods)} are needed that had a "
            f"core each for themselves); make them: {remedy}"
        )
    return CoreRates(*seconds.tolist(), n_records=len(walls), devices=tuple(sorted(devices)))


def seconds_on_core(work: Work, rates: CoreRates) -> Seconds:
    """Time of a run on one core."""
    short, long = (_answer_seconds(work, rates, new, len(work.run.eval_steps)) for new in answer_tokens(work.run))
    return Seconds(work.train_flops * rates.training, (short, long))


def _answer_seconds(work: Work, rates: CoreRates, new: Real, evaluations: int) -> Real:
    attended, flops = _answering(work, new, evaluations)
    return attended * rates.cached + flops * rates.diffusion


def against_records(records: Iterable[tuple[RunConfig, dict]], rates: CoreRates) -> pd.DataFrame:
    """Measured seconds of recorded runs, and those of the model for answers as long as they were: ``measured``, ``planned``."""
    rows = []
    for run, record in records:
        work = work_of(run)
        planned = work.train_flops * rates.training + _answer_seconds(work, rates, record["answer_tokens"], record["evaluations"])
        rows.append({"run_id": run.run_id, "measured": record["wall_time_s"], "planned": planned})
    return pd.DataFrame(rows)
