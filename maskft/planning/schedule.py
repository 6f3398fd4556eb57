"""The whole paper on a cluster, simulated: which run is where and when, how long it takes, and what bounds it.

A run takes a fixed number of GPUs, a slot, and the cluster has as many slots as fit. Runs start longest first, each in the
slot that is free first, as `launch` and `slurm` do it. Nothing is drawn at random.
"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from maskft.exhibits import N_PAPER_SEEDS
from maskft.planning.plan import Setup, check_fits, planned_runs, run_costs
from maskft.runs import RunConfig
from maskft.scales import PAPER

CLUSTERS = (4, 8, 64, 512)  # GPUs
ANSWERS = ("short", "long")  # the two ends of the range of evaluations
LONGEST_RUN, QUEUE = "longest run", "queue"


def paper_runs() -> list[RunConfig]:
    """Every run of the paper: each arm once, and four seeds where it averages over four (Figures 2, 7 and 8)."""
    runs = planned_runs("claims", PAPER, [0])
    for exhibit in ("figure7", "figure8"):
        runs += planned_runs(exhibit, PAPER, range(N_PAPER_SEEDS))
    return list(dict.fromkeys(runs))


def place(hours: Sequence[float], slots: int) -> pd.DataFrame:
    """Where and when each run goes: longest first, each into the slot that is free first, the first of several.

    Args:
        hours: of each run.
        slots: how many run at once.

    Returns:
        A row for each run, in their order: ``slot`` from 0, ``start`` and ``end`` in hours.

    Raises:
        ValueError: there is no slot.
    """
    if slots < 1:
        raise ValueError(f"slots={slots}: at least 1 is needed")
    free, rows = [0.0] * slots, {}
    for run in sorted(range(len(hours)), key=lambda run: -hours[run]):
        slot = free.index(min(free))
        rows[run] = (slot, free[slot], free[slot] + hours[run])
        free[slot] = rows[run][2]
    return pd.DataFrame([rows[run] for run in range(len(hours))], columns=["slot", "start", "end"])


def schedule(runs: Sequence[RunConfig], setup: Setup, gpus: int, answers: str) -> pd.DataFrame:
    """The schedule of runs on ``gpus`` GPUs, each run on ``setup.gpus`` of them.

    Args:
        runs: the runs.
        setup: the GPUs of one run.
        gpus: of the cluster.
        answers: `short` or `long`.

    Returns:
        ``method``, ``dataset``, ``slot``, ``start``, ``end`` and ``evaluation``, the hours of it that answer questions.

    Raises:
        ValueError: a run does not fit its GPUs, or the cluster has fewer.
    """
    costs = run_costs(runs, setup=setup)
    evaluation = costs[f"hours_{answers}"] / setup.gpus
    placed = place(((costs.hours_training / setup.gpus) + evaluation).tolist(), gpus // setup.gpus)
    names = pd.DataFrame([(run.method, run.dataset) for run in runs], columns=["method", "dataset"])
    return pd.concat([names, placed], axis="columns").assign(evaluation=evaluation)


def best_schedule(runs: Sequence[RunConfig], setup: Setup, gpus: int, answers: str) -> tuple[int, pd.DataFrame]:
    """The schedule that ends first, over GPUs of a run: from ``setup.gpus`` in powers of two, up to a batch's sequences.

    Returns:
        GPUs of a run, and the schedule; of several that end at once, the one with fewest.

    Raises:
        ValueError: the runs fit none.
    """
    most = min(gpus, min(run.train_batch_size for run in runs))
    sizes = [setup.gpus << n for n in range(most.bit_length()) if setup.gpus << n <= most]
    if not sizes:
        raise ValueError(f"gpus={gpus}: a run takes at least {setup.gpus}")
    check_fits(runs, setup)
    tried = {size: schedule(runs, replace(setup, gpus=size), gpus, answers) for size in sizes}
    size = min(sizes, key=lambda size: tried[size].end.max())
    return size, tried[size]


def simulate(runs: Sequence[RunConfig], setup: Setup, clusters: Sequence[int] = CLUSTERS) -> pd.DataFrame:
    """What the runs take on clusters of several sizes, a row for each and for each end of the range of answers.

    Returns:
        ``gpus``, ``answers``, ``gpus_per_run``, ``hours`` from the first start to the last end, ``longest_run`` and
        ``queue``, the two that it cannot be shorter than (the longest run; all work, spread over all slots), ``bound``,
        whichever is more, ``busy`` (the share of the slots' time in use), ``gpu_hours`` and ``evaluation`` (its share of
        them).

    Raises:
        ValueError: see ``best_schedule``.
    """
    rows = []
    for gpus in clusters:
        for answers in ANSWERS:
            size, placed = best_schedule(runs, setup, gpus, answers)
            took, slots = placed.end - placed.start, gpus // size
            longest, queue = took.max(), took.sum() / slots
            rows.append(
                {
                    "gpus": gpus,
                    "answers": answers,
                    "gpus_per_run": size,
                    "hours": placed.end.max(),
                    "longest_run": longest,
                    "queue": queue,
                    "bound": LONGEST_RUN if longest > queue else QUEUE,
                    "busy": queue / placed.end.max(),
                    "gpu_hours": took.sum() * size,
                    "evaluation": placed.evaluation.sum() / took.sum(),
                }
            )
    return pd.DataFrame(rows)
