"""What the benchmarks share: both sides timed in turns in one process, and the record that the README quotes.

Seconds are of processor time (all threads of the process; on a GPU, of the clock after synchronising): on a machine that
others use as well, the clock tells of them. The ratio is the median of the rounds' ratios.
"""

import json
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import torch

from maskft.devices import processor
from maskft.runs import cut_paths, write_atomically

RECORDS = Path(__file__).parent / "records"


def now() -> float:
    """Seconds of processor time; on a GPU of the clock, once the device has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def timed(work: Callable[[], object]) -> tuple[float, object]:
    """Seconds that ``work`` takes, and what it returns."""
    start = now()
    result = work()
    return now() - start, result


def in_turns(sides: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each side in each round, after a first call of each that is not counted."""
    for work in sides.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        for name in sorted(sides, reverse=bool(turn % 2)):
            seconds[name].append(timed(sides[name])[0])
    return seconds


def median_ratio(slow: list[float], fast: list[float]) -> float:
    """The median over rounds of how often ``fast`` fits into ``slow``."""
    return statistics.median(s / f for s, f in zip(slow, fast, strict=True))


def hardware() -> str:
    """The device, and what of it was used."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"{processor()}, {threads} thread{'s' if threads > 1 else ''}, processor time"


def write_record(
    benchmark: str, *, ratio: float, goal: float, peer: str, what: str, medians: Mapping, folder: Path = RECORDS,
    script: str | None = None, measured_on: str | None = None,
) -> dict:  # fmt: skip
    """Print the ratio and write the record of a benchmark.

    Args:
        benchmark: Its name, that of its record.
        ratio: How much better this package is than the peer; 1 is level.
        goal: What it should be at least.
        peer: What it was compared with.
        what: The quantity, in words.
        medians: The numbers behind it.
        folder: Where the record goes.
        script: The name of its file, where that is another.
        measured_on: The hardware, where it is not what ``hardware`` says.
    """
    record = {
        "benchmark": benchmark, "what": what, "ratio": round(ratio, 2), "goal": goal, "peer": peer, "medians": medians,
        "hardware": measured_on or hardware(), "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "command": cut_paths(shlex.join(["python", f"tests/benchmarks/{script or benchmark}.py", *sys.argv[1:]])),
        "date": datetime.now(UTC).date().isoformat(),
    }  # fmt: skip
    print(f"{benchmark}: {ratio:.2f} (goal {goal}) {what}, against {peer}\n{json.dumps(medians, indent=1)}", flush=True)
    write_atomically(folder / f"{benchmark}.json", (json.dumps(record, indent=1) + "\n").encode())
    return record
