"""A plan: what exhibits cost before anything starts, a row an exhibit and a total in which shared runs count once."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil

import pandas as pd

from maskft.data import DATASETS
from maskft.execution import execution_of
from maskft.exhibits import exhibit_runs
from maskft.launcher import Launcher
from maskft.planning.hardware import GPUS, MEMORY_SHARE, Gpu
from maskft.planning.lengths import lengths_of, padded
from maskft.planning.memory import GIB, Memory, answering_memory, training_memory
from maskft.planning.shapes import NOT_READ, shape_of, trained_shape
from maskft.planning.time import CoreRates, Seconds, seconds_on_core, seconds_on_gpus
from maskft.planning.work import outputs_per_text, work_of
from maskft.runs import RunConfig
from maskft.scales import Scale

PER_DEVICE = 16  # A.4: "a batch size of 64 (16 per device)"
TOTAL = "total"


@dataclass(frozen=True)
class Setup:
    """GPUs, and how a batch is spread over them.

    Args:
        gpu: Their kind.
        gpus: How many.
        per_device: Sequences that a GPU trains at once, at most; what is left of its share of the batch is accumulated.
        checkpointing: Whether activations are computed again in the backward pass.

    Raises:
        ValueError: If a number is below 1.
    """

    gpu: Gpu
    gpus: int = 4
    per_device: int = PER_DEVICE
    checkpointing: bool = False

    def __post_init__(self) -> None:
        for name in ("gpus", "per_device"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: at least 1 is needed")

    def rows(self, batch: int) -> int:
        """Sequences of a global batch that are on a GPU at once.

        Raises:
            ValueError: If there are more GPUs than sequences.
        """
        if self.gpus > batch:
            raise ValueError(f"gpus={self.gpus}: a batch of {batch} sequences is spread over at most {batch} GPUs")
        return min(self.per_device, ceil(batch / self.gpus))

    def accumulation(self, batch: int) -> int:
        """Parts of a step, one after another."""
        return ceil(batch / self.gpus / self.rows(batch))

    @property
    def usable(self) -> float:
        """Bytes of a GPU that a plan may fill."""
        return MEMORY_SHARE * self.gpu.memory


def setup_of(launcher: Launcher, batch: int, gpu: Gpu) -> Setup:
    """How training is started, as a setup of GPUs of one kind: options that are not given are training's own defaults.

    Args:
        launcher: Its options are those of ``maskft.training``.
        batch: Sequences of a global batch, which are all at once where nothing says fewer.
        gpu: The kind.

    Raises:
        ValueError: If an option is wrong.
    """
    how = execution_of(launcher.options)
    return Setup(gpu, launcher.num_processes, how.per_device_train_batch_size or batch, how.activation_checkpointing)


def planned_runs(exhibit: str, scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """The runs of an exhibit without their data and weights at hand. They are no identities: training refuses them.

    Raises:
        ValueError: If the exhibit is unknown or seeds are not distinct whole numbers.
    """
    bases = {*scale.bases.values(), scale.control_base} - {None}
    unread = replace(
        scale, revisions=dict.fromkeys(bases, NOT_READ), fingerprints=dict.fromkeys(DATASETS, NOT_READ)
    )
    return exhibit_runs(exhibit, unread, seeds, world_seed)


def memory_of(run: RunConfig, setup: Setup) -> Memory:
    """Memory of one GPU at the run's longest batch and, of a dLLM, highest mask ratio; in the total also while it answers.

    Raises ValueError as ``Setup.rows``.
    """
    lengths, rows = lengths_of(run), setup.rows(run.train_batch_size)
    shape = trained_shape(shape_of(run.base, run.base_revision), run.embeddings)
    training = training_memory(
        shape,
        gpus=setup.gpus,
        rows=rows,
        length=padded(lengths.sequence(run.method, lengths.longest)),
        outputs=rows * outputs_per_text(run, lengths.longest, ratio=run.mask_ratio[1]),
        checkpointing=setup.checkpointing,
        accumulates=setup.accumulation(run.train_batch_size) > 1,
    )
    answering = answering_memory(shape, gpus=setup.gpus, rows=1, length=lengths.prompt + run.max_new_tokens)
    return replace(training, total=max(training.total, answering))


def remedies(run: RunConfig, setup: Setup) -> list[str]:
    """Command-line options with which the run fits: of each kind the smallest change; if none is enough, of each kind
    together with checkpointing.
    """
    batch = run.train_batch_size
    rows = setup.rows(batch)
    changes = {
        "--per-device {0.per_device}": [{"per_device": rows >> n} for n in range(1, rows.bit_length())],
        "--checkpointing": [{"checkpointing": True}],
        "--gpus {0.gpus}": [{"gpus": gpus} for gpus in range(setup.gpus + 1, batch + 1) if batch % gpus == 0],
        "--gpu {0.gpu.name}": [{"gpu": gpu} for gpu in sorted(GPUS.values(), key=lambda gpu: gpu.memory)],
    }
    found = []
    for base, suffix in ((setup, ""), (replace(setup, checkpointing=True), " --checkpointing")):
        for text, tries in changes.items():
            fits = (each for each in (replace(base, **change) for change in tries) if does_fit(run, each))
            if each := next(fits, None):
                parts = each.accumulation(batch)
                found.append(text.format(each) + suffix + (f" (accumulation {parts})" if parts > 1 else ""))
        if found:
            break
    return found


def does_fit(run: RunConfig, setup: Setup) -> bool:
    """Whether the run fits."""
    return memory_of(run, setup).total <= setup.usable


def check_fits(runs: Sequence[RunConfig], setup: Setup) -> None:
    """Return if every run fits.

    Raises:
        ValueError: If one does not; the message names the largest, what it needs, and what would fit.
    """
    worst = max(runs, key=lambda run: memory_of(run, setup).total, default=None)
    if worst is None or does_fit(worst, setup):
        return
    need = memory_of(worst, setup).total
    raise ValueError(
        f"{worst.method} on {worst.dataset} ({worst.paraphrases}) does not fit: it needs {need / GIB:.1f} GiB on each of "
        f"{setup.gpus} {setup.gpu.name}, {setup.usable / GIB:.1f} can be used; what fits: "
        f"{'; '.join(remedies(worst, setup)) or 'none of fewer per device, checkpointing, more GPUs, another kind'}"
    )


def run_costs(runs: Sequence[RunConfig], *, setup: Setup | None = None, rates: CoreRates | None = None) -> pd.DataFrame:
    """Cost of each run, on GPUs (``setup``) or on a core each (``rates``).

    Returns:
        ``run`` and numbers, two of each that is a range; ``hours_*`` are hours of devices, all together.

    Raises:
        ValueError: If not one of ``setup`` and ``rates`` is given, or a run does not fit.
    """
    if (setup is None) == (rates is None):
        raise ValueError("give setup for GPUs or rates for CPU cores, one of the two")
    if setup is not None:
        check_fits(runs, setup)
    rows = []
    for run in runs:
        work = work_of(run, recompute=setup is not None and setup.checkpointing)
        if setup is not None:
            parts = setup.accumulation(run.train_batch_size)
            seconds, devices = seconds_on_gpus(work, setup.gpu, setup.gpus, parts), setup.gpus
        else:
            seconds, devices = seconds_on_core(work, rates), 1
        rows.append(
            {
                "run": run,
                "steps": run.total_steps,
                "train_tokens": work.train_tokens,
                "train_flops": work.train_flops,
                "eval_flops_short": work.eval_flops[0],
                "eval_flops_long": work.eval_flops[1],
                "memory": memory_of(run, setup).total if setup is not None else float("nan"),
                **_hours(seconds, devices),
            }
        )
    return pd.DataFrame(rows, columns=COST_COLUMNS)


SUMS = (
    "steps", "train_tokens", "train_flops", "eval_flops_short", "eval_flops_long", "hours_training", "hours_short", "hours_long",
)  # fmt: skip
COST_COLUMNS = ("run", *SUMS, "memory")


def _hours(seconds: Seconds, devices: int) -> dict[str, float]:
    short, long = seconds.evaluation
    parts = {"training": seconds.training, "short": short, "long": long}
    return {f"hours_{name}": devices * value / 3600 for name, value in parts.items()}


def plan(exhibits: Sequence[str], scale: Scale, seeds: Sequence[int], world_seed: int = 0, **hardware) -> pd.DataFrame:
    """The cost of exhibits, a row each, and of all their runs, each once, in the last row.

    Args:
        exhibits: Their names.
        scale: The scale.
        seeds: Run seeds.
        world_seed: Which synthetic world.
        **hardware: ``setup`` or ``rates``, as ``run_costs``.

    Returns:
        ``exhibit``, ``runs``, sums of the numbers of ``run_costs``, and the largest ``memory``.

    Raises:
        ValueError: As ``planned_runs`` and ``run_costs``.
    """
    of_exhibit = {exhibit: planned_runs(exhibit, scale, seeds, world_seed) for exhibit in exhibits}
    everything = list(dict.fromkeys(run for runs in of_exhibit.values() for run in runs))
    costs = run_costs(everything, **hardware)
    rows = []
    for exhibit, runs in [*of_exhibit.items(), (TOTAL, everything)]:
        mine = costs[costs.run.isin(set(runs))]
        rows.append({"exhibit": exhibit, "runs": len(mine), **mine[list(SUMS)].sum(), "memory": mine.memory.max()})
    return pd.DataFrame(rows)


def memory_table(runs: Sequence[RunConfig], setup: Setup) -> pd.DataFrame:
    """Memory by part in GiB, of the largest run of each method."""
    largest: dict[str, RunConfig] = {}
    for run in sorted(runs, key=lambda run: memory_of(run, setup).total):
        largest[run.method] = run
    rows = []
    for method, run in sorted(largest.items()):
        memory = memory_of(run, setup)
        parts = asdict(memory)
        rows.append(
            {"method": method, "dataset": run.dataset, "paraphrases": run.paraphrases}
            | {name: round(value / GIB, 1) for name, value in parts.items()}
        )
    return pd.DataFrame(rows)
