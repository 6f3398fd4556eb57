"""Train the runs that are missing in worker processes on this machine; then say what failed.

There is no scheduler. Every worker gets the same list, longest runs first (`in_order`), and takes whatever is free by the run's lock
(`RunStore.claim`); several `ensure` calls, from several notebooks or users, share the work in the same way. One worker
trains many runs, so that start-up is paid once; where a worker dies, another takes its place. This file knows nothing of
models: it starts `python -m maskft.training --store DIR --configs FILE`, where FILE has one `RunConfig` a line, and reads
the notes that `RunStore` describes. A cluster's machines are `slurm`'s.
"""

import json
import math
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from maskft.launcher import Launcher, side_by_side
from maskft.processes import GRACE_S, POLL_S, end_groups, how_it_ended, signal_group, tail
from maskft.progress import _Progress
from maskft.runs import WORKER, RunConfig, RunStore, write_atomically

__all__ = ["LaunchError", "Launcher", "OutOfTime", "ensure"]

TRAINING_MODULE = "maskft.training"


class LaunchError(RuntimeError):
    """Runs are still missing after every worker ended; the message has their logs and the commands to repeat them.

    Attributes:
        failed: the runs.
    """

    def __init__(self, message: str, failed: Iterable[RunConfig] = ()) -> None:
        super().__init__(message)
        self.failed = tuple(failed)


class OutOfTime(RuntimeError):
    """The minutes that were given are over and runs are still missing; they go on from where they are at the next call."""

    exit_code = 75  # of the command, as sysexits.h has it: not done, and not failed


def in_order(configs: Iterable[RunConfig], cost: Callable[[RunConfig], float]) -> list[RunConfig]:
    """Each run once: of each base and data set its longest, then all others, the longest first in both.

    Where workers start two runs of one base and data set at the same time, each asks all questions before its first step; a later
    one takes the answers of one that is finished (``base_answers``).
    """
    longest = sorted(dict.fromkeys(configs), key=cost, reverse=True)
    of_each = {(run.base, run.dataset): run for run in reversed(longest)}
    return sorted(longest, key=lambda run: run is not of_each[run.base, run.dataset])


def ensure(
    configs: Iterable[RunConfig],
    store: RunStore,
    *,
    scale_launcher: Launcher,
    workers: int | None = None,
    progress: bool = True,
    cost: Callable[[RunConfig], float] = lambda config: config.total_steps,
    module: str = TRAINING_MODULE,
    minutes: float | None = None,
) -> None:
    """Return when every run is finished, training those that are not; runs that another process trains are awaited.

    Args:
        configs: the runs that are needed.
        store: where they are looked for and written.
        scale_launcher: how one training process is started.
        workers: training processes side by side; None for as many as `launcher.side_by_side` has room for.
        progress: show a bar with the time left, or a line now and then where the output is no terminal.
        cost: expected cost of a run, in any unit; orders the runs (`in_order`) and scales the progress.
        module: the training module.
        minutes: after these, end the workers, which save where they are; None for no limit.

    Raises:
        LaunchError: runs failed. The others are finished.
        OutOfTime: the minutes are over and runs are missing.
        ValueError: `workers` is below 1 or more than there are GPUs for, or there are no GPUs for a run.
        KeyboardInterrupt: the caller, or SIGTERM, interrupted. Workers were ended; they resume at the next call.
    """
    needed = in_order(configs, cost)
    missing = store.missing(needed)
    if not missing:
        return
    crew = _Crew(store, scale_launcher, workers, module)
    for config in missing:
        if not store.is_running(config):
            store.failure_path(config).unlink(missing_ok=True)
    failed: dict[RunConfig, str] = {}
    deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
    with _interrupted_by_sigterm():
        bar = _Progress(missing, store, cost, shown=progress)
        try:
            while True:
                has_ended = crew.reap()
                if has_ended or not crew.alive:
                    free = []
                    for config in [config for config in store.missing(needed) if config not in failed]:
                        # In this order: a run that is let go is finished, or was tried and did not succeed.
                        if store.is_running(config) or store.is_finished(config):
                            continue
                        if store.failure_path(config).exists() or crew.lost(config):
                            failed[config] = crew.last_words(config)
                        else:
                            free.append(config)
                    if free and not crew.start(free) and not crew.alive:
                        failed |= {config: crew.last_words(config) for config in free}
                    if not crew.alive and all(config in failed for config in store.missing(needed)):
                        break
                bar.update()
                if time.monotonic() > deadline and (left := store.missing(needed)):
                    raise OutOfTime(
                        f"{minutes:g} minutes are over: {len(left)} of {len(needed)} runs are still missing; "
                        "the same command goes on from where they are"
                    )
                time.sleep(POLL_S)
        finally:
            crew.end()
            bar.close()
    if failed:
        raise LaunchError(_report(failed, store, scale_launcher, module), failed)


@dataclass
class _Worker:
    """A training process and where it speaks."""

    name: str
    slot: int
    log: Path
    process: subprocess.Popen
    last_run: str | None = None  # set when it ended: the id of the run that it took last


class _Crew:
    """Worker processes that share one list of runs, at most one for each slot."""

    def __init__(self, store: RunStore, launcher: Launcher, workers: int | None, module: str) -> None:
        self.store, self.launcher, self.workers, self.module = store, launcher, workers, module
        self.slots: list[dict[str, str]] = []
        self.alive: list[_Worker] = []
        self.ended: list[_Worker] = []

    def start(self, configs: Sequence[RunConfig]) -> bool:
        """Start a worker in each free slot, as long as there are runs; False if starting is of no use.

        It is of none if a worker ended that could not take a single run: then the module does not even start.
        """
        if any(worker.last_run is None and worker.process.returncode for worker in self.ended):
            return False
        self.slots = self.slots or side_by_side(self.launcher, self.workers, len(configs))
        used = {worker.slot for worker in self.alive}
        slots = [slot for slot in range(len(self.slots)) if slot not in used][: len(configs)]
        if not slots:
            return True
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f") + f"-{os.getpid()}"
        logs = self.store.root / ".logs"
        list_file = logs / f"runs-{stamp}.jsonl"
        write_atomically(list_file, "".join(json.dumps(config.to_dict()) + "\n" for config in configs))
        command = self.launcher.command(self.module, ["--store", str(self.store.root), "--configs", str(list_file)])
        print(f"{len(configs)} runs, {len(slots)} worker(s), logs in {logs}\n{shlex.join(command)}", flush=True)
        for slot in slots:
            name = f"worker-{slot}-{stamp}"
            environment = {**os.environ, "PYTHONUNBUFFERED": "1", WORKER: name, **self.slots[slot]}
            log = logs / f"{name}.log"
            with log.open("wb") as output:
                # In a session of its own, so that an interrupt reaches us first and its children end with it.
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment,
                    start_new_session=True,
                )  # fmt: skip
            self.alive.append(_Worker(name, slot, log, process))
        return True

    def reap(self) -> bool:
        """Whether workers ended since the last look."""
        ended = [worker for worker in self.alive if worker.process.poll() is not None]
        for worker in ended:
            self.alive.remove(worker)
            # If only accelerate was killed, the training process it started is still there.
            signal_group(worker.process, signal.SIGTERM)
            worker.last_run = self.store.run_of_worker(worker.name)
            self.ended.append(worker)
        return bool(ended)

    def lost(self, config: RunConfig) -> bool:
        """Whether one of our workers took the run last and ended."""
        return any(worker.last_run == config.run_id for worker in self.ended)

    def end(self) -> None:
        """End the workers and what they started, by force where they do not listen."""
        end_groups([worker.process for worker in self.alive], GRACE_S)
        for worker in self.alive:
            worker.process.wait()
        self.alive = []

    def last_words(self, config: RunConfig) -> str:
        """The end of the log of the worker that had the run; of those that ended badly if none had it."""
        had = [worker for worker in self.ended if worker.last_run == config.run_id]
        bad = [worker for worker in self.ended if worker.process.returncode != 0]
        return "\n".join(
            f"{worker.log} (the worker {how_it_ended(worker.process.returncode)}):\n{tail(worker.log)}"
            for worker in had or bad or self.ended
        )


def advice(log: str) -> str:
    """What helps a run whose log ends so, as a line; empty where nothing is known that does."""
    if "OutOfMemoryError" in log:
        return (
            "\n  a GPU's memory ran out: `maskft plan` says what a run needs; fewer sequences at once "
            "(--per-device-train-batch-size) or --activation-checkpointing among the launcher's options of a scale file need less, "
            "and neither changes the run"
        )
    return ""


def _report(failed: dict[RunConfig, str], store: RunStore, launcher: Launcher, module: str) -> str:
    parts = [f"{len(failed)} run(s) failed; every other run is finished"]
    shown: set[str] = set()
    for config, words in failed.items():
        trace = store.failure_path(config)
        text = f"{trace}:\n{tail(trace)}" if trace.exists() else words
        # A module that cannot be imported fails every run in the same way: show that once.
        parts += [f"\n{config.run_id}", text + advice(text) if text not in shown else "    (as above)"]
        shown.add(text)
        again = trace.with_suffix(".jsonl")
        write_atomically(again, json.dumps(config.to_dict()) + "\n")
        command = launcher.command(module, ["--store", str(store.root), "--configs", str(again)])
        parts.append(f"  again: {shlex.join(command)}")
    return "\n".join(parts)


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end us as Ctrl-C does, so that the workers are ended too. Only a main thread may do this."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt("SIGTERM")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
