"""The whole tiny study from nothing: ``python tests/benchmarks/whole_study.py`` (half an hour on two cores).

What a newcomer does: a clone of the last commit, its own virtual environment, and the commands of ``make reproduce``, each by
the clock. The aim is half an hour, installation apart. Which of its runs came out as the committed records, score for score,
is counted: the same processor and versions give all.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import RECORDS, write_record

from maskft.devices import processor
from maskft.launcher import available_cores

ROOT = Path(__file__).parents[2]
AIM_MINUTES = 30
# What would make the study another one, and what a make leaves to its children.
NOT_OURS = ("PYTHONPATH", "MASKFT_", "OMP_", "SCALE", "SEEDS", "WORLD_SEED", "MAKE")


def environment() -> dict[str, str]:
    """That of a newcomer."""
    return {key: value for key, value in os.environ.items() if not key.startswith(NOT_OURS) and key != "MFLAGS"}


def seconds_of(command: str, folder: Path, log: Path) -> float:
    """Seconds of a shell's command, which must succeed."""
    print(command, flush=True)
    started = time.perf_counter()
    with log.open("ab") as output:
        subprocess.run(command, shell=True, cwd=folder, env=environment(), stdout=output, stderr=output, stdin=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def scores_of(record: str) -> list[str]:
    """A run's scores at all its evaluations; how many of its answers are packed beside them is another matter."""
    return [line for line in record.splitlines()[1:] if json.loads(line)["kind"] == "metric"]


def main(arguments: list[str] | None = None, folder: Path = RECORDS) -> dict:
    """Clone, install, reproduce, compare, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, default=Path("whole_study.log"), help="what the commands print")
    options = parser.parse_args(arguments)
    log = options.log.absolute()
    with tempfile.TemporaryDirectory() as place:
        clone = Path(place) / "maskft"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        installation = seconds_of(f"make PYTHON={sys.executable} .venv/.installed", clone, log)
        listing = ["make", "--dry-run", "--no-print-directory", "reproduce"]
        listed = subprocess.run(listing, cwd=clone, env=environment(), capture_output=True, text=True, check=True)
        minutes = {command: round(seconds_of(command, clone, log) / 60, 1) for command in listed.stdout.splitlines()}
        where = "paper_tables/tiny/records"
        known = {path.name: scores_of(path.read_text()) for path in (ROOT / where).glob("*.jsonl")}
        trained = {path.name: scores_of((clone / where / f"{path.name}.jsonl").read_text()) for path in (clone / "runs/tiny").glob("*-*")}
        equal = sum(scores == known.get(f"{name}.jsonl") for name, scores in trained.items())
    total = sum(minutes.values())
    medians = {
        "minutes": minutes, "minutes_in_all": round(total, 1), "minutes_of_installation": round(installation / 60, 1),
        "runs": len(trained), "runs_equal_to_the_committed_records": equal,
    }  # fmt: skip
    return write_record(
        "whole_study", ratio=AIM_MINUTES / total, goal=1, peer="half an hour",
        what="the whole tiny study from nothing, installation apart", medians=medians, folder=folder,
        measured_on=f"{processor()}, {available_cores()} cores, by the clock",
    )  # fmt: skip


if __name__ == "__main__":
    main()
