"""Train the runs that are missing: worker processes here, or accelerate across GPUs; then say what failed.

There is no scheduler. Every worker gets the same list, longest run first, and takes whatever is free by the run's lock
(`RunStore.claim`); several `ensure` calls, from several notebooks, share the work in the same way. One worker trains
many runs, so that start-up is paid once. This file knows nothing of models: it starts `python -m maskft.training --store DIR
--configs FILE`, where FILE has one `RunConfig` a line, and reads the notes that `RunStore` describes.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from maskft.progress import _Progress
from maskft.runs import RunConfig, RunStore, write_atomically

TRAINING_MODULE = "maskft.training"
POLL_S = 0.2  # how often workers are looked at
GRACE_S = 20.0  # how long a worker may take to end after SIGTERM


class LaunchError(RuntimeError):
    """Runs are still missing after every worker ended; the message has their logs and the commands to repeat them."""


@dataclass(frozen=True)
class Launcher:
    """How a training process is started.

    Args:
        kind: `cpu` and `gpu` go through `accelerate launch`; `plain` is `python -m`, for one process.
        config_file: accelerate's own settings; None for its defaults.
        num_processes: processes of one run.
        options: further options of the training module: how a run is computed, never what (`training.Execution`).

    Raises:
        ValueError: an unknown kind, or more processes than the kind can have.
    """

    kind: str = "cpu"
    config_file: Path | None = None
    num_processes: int = 1
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ("cpu", "gpu", "plain"):
            raise ValueError(f"kind={self.kind!r} is not one of cpu, gpu, plain")
        if self.num_processes < 1 or (self.kind != "gpu" and self.num_processes > 1):
            raise ValueError(f"num_processes={self.num_processes} with kind={self.kind!r}: use 1, or kind='gpu'")

    def command(self, module: str, arguments: Sequence[str]) -> list[str]:
        """The command line that runs `module` with `arguments`, and the launcher's own `options`."""
        arguments = [*arguments, *self.options]
        if self.kind == "plain":
            return [sys.executable, "-m", module, *arguments]
        # By this interpreter, not by the `accelerate` on PATH, which may belong to another environment.
        command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(self.num_processes)]
        if self.config_file is not None:
            command += ["--config_file", str(self.config_file)]
        else:
            # Without these, accelerate warns of each value it assumes. Precision is RunConfig's, set by training.
            command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
            if self.num_processes > 1:
                command.append("--multi_gpu")
        if self.kind == "cpu":
            command.append("--cpu")
        return [*command, "-m", module, *arguments]


def available_cores() -> int:
    """Cores this process may use: its affinity, or the quota of its control group where that is less."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    root = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError, ZeroDivisionError):
        if (root / "cpu.max").exists():
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota, period = ((root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if float(quota) > 0:  # "max" and -1 mean no limit
            n_cores = min(n_cores, max(1, int(float(quota) / float(period))))
    return n_cores


def status(configs: Iterable[RunConfig], store: RunStore) -> pd.DataFrame:
    """One row for each run: `run_id`, and `status`: have, running, failed or missing."""
    rows = []
    for config in dict.fromkeys(configs):
        if store.is_finished(config):
            state = "have"
        elif store.is_running(config):
            state = "running"
        else:
            state = "failed" if store.failure_path(config).exists() else "missing"
        rows.append((config.run_id, state))
    return pd.DataFrame(rows, columns=["run_id", "status"])


def ensure(
    configs: Iterable[RunConfig],
    store: RunStore,
    *,
    scale_launcher: Launcher,
    workers: int | None = None,
    progress: bool = True,
    cost: Callable[[RunConfig], float] = lambda config: config.total_steps,
    module: str = TRAINING_MODULE,
) -> None:
    """Return when every run is finished, training those that are not; runs that another process trains are awaited.

    Args:
        configs: the runs that are needed.
        store: where they are looked for and written.
        scale_launcher: how one training process is started.
        workers: training processes side by side; by default one for each core (for `gpu`: one), and never more than
            there are missing runs.
        progress: show a bar with the time left, or a line now and then where the output is no terminal.
        cost: expected cost of a run, in any unit; orders the runs and scales the progress.
        module: the training module.

    Raises:
        LaunchError: runs failed. The others are finished.
        ValueError: `workers` is below 1, or above 1 for `gpu`, where one run takes all devices.
        KeyboardInterrupt: the caller, or SIGTERM, interrupted. Workers were ended; they resume at the next call.
    """
    limit = 1 if scale_launcher.kind == "gpu" else available_cores()
    if workers is not None and (workers < 1 or (scale_launcher.kind == "gpu" and workers > 1)):
        raise ValueError(f"workers={workers} with kind={scale_launcher.kind!r}; use 1 (or, without GPUs, more)")
    needed = sorted(dict.fromkeys(configs), key=cost, reverse=True)
    failed: dict[RunConfig, str] = {}
    with _interrupted_by_sigterm():
        bar = _Progress(store.missing(needed), store, cost, shown=progress)
        try:
            while todo := [config for config in store.missing(needed) if config not in failed]:
                free = [config for config in todo if not store.is_running(config)]
                if not free:
                    bar.update()
                    time.sleep(POLL_S)
                    continue
                for config in free:
                    store.failure_path(config).unlink(missing_ok=True)
                crew = _Crew(free, store, scale_launcher, min(workers or limit, len(free)), module)
                crew.wait(bar)
                # What is neither finished nor in another process's hands was tried here and did not succeed.
                for config in store.missing(free):
                    if not store.is_running(config) and not store.is_finished(config):
                        failed[config] = crew.last_words(config)
        finally:
            bar.close()
    if failed:
        raise LaunchError(_report(failed, store, scale_launcher, module))


class _Crew:
    """Worker processes that share one list of runs."""

    def __init__(
        self, configs: Sequence[RunConfig], store: RunStore, launcher: Launcher, n_workers: int, module: str
    ) -> None:
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
        logs = store.root / ".logs"
        list_file = logs / f"runs-{stamp}.jsonl"
        write_atomically(list_file, "".join(json.dumps(config.to_dict()) + "\n" for config in configs))
        command = launcher.command(module, ["--store", str(store.root), "--configs", str(list_file)])
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if launcher.kind != "gpu":
            # Workers that each start a thread for every core are slower together than one after another.
            environment["OMP_NUM_THREADS"] = str(max(1, available_cores() // n_workers))
        print(f"{len(configs)} runs, {n_workers} worker(s), logs in {logs}\n{shlex.join(command)}", flush=True)
        self.logs = [logs / f"worker-{n}-{stamp}.log" for n in range(n_workers)]
        self.processes: list[subprocess.Popen] = []
        try:
            for log in self.logs:
                with log.open("wb") as output:
                    # In a session of its own, so that an interrupt reaches us first and its children end with it.
                    self.processes.append(
                        subprocess.Popen(
                            command,
                            stdin=subprocess.DEVNULL,
                            stdout=output,
                            stderr=subprocess.STDOUT,
                            env=environment,
                            start_new_session=True,
                        )
                    )
        except BaseException:
            self.end()
            raise

    def wait(self, bar: _Progress) -> None:
        """Return when every worker ended; end them all if we are interrupted."""
        running = list(self.processes)
        try:
            while running:
                for process in list(running):
                    if process.poll() is not None:
                        running.remove(process)
                        # If only accelerate was killed, the training process it started is still there.
                        _signal_group(process, signal.SIGTERM)
                bar.update()
                time.sleep(POLL_S)
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """End the workers and what they started, by force where they do not listen."""
        alive = [process for process in self.processes if process.poll() is None]
        for process in alive:
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        for process in alive:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            _signal_group(process, signal.SIGKILL)
            process.wait()

    def last_words(self, config: RunConfig) -> str:
        """The end of the log of the worker that had the run; of those that ended badly if none names it."""
        named = [log for log in self.logs if config.run_id in log.read_text(errors="replace")]
        codes = dict(zip(self.logs, (process.returncode for process in self.processes), strict=True))
        texts = []
        for log in named or [log for log in self.logs if codes[log] != 0] or self.logs:
            texts.append(f"{log} (the worker ended with code {codes[log]}):\n{_tail(log)}")
        return "\n".join(texts)


def _signal_group(process: subprocess.Popen, number: int) -> None:
    # The group outlives its first process for as long as it has members, and then is gone: both are fine.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _tail(path: Path, n_lines: int = 20) -> str:
    lines = path.read_text(errors="replace").splitlines()[-n_lines:]
    return "\n".join(f"    {line}" for line in lines) or "    (empty)"


def _report(failed: dict[RunConfig, str], store: RunStore, launcher: Launcher, module: str) -> str:
    parts = [f"{len(failed)} run(s) failed; every other run is finished"]
    shown: set[str] = set()
    for config, words in failed.items():
        trace = store.failure_path(config)
        text = f"{trace}:\n{_tail(trace)}" if trace.exists() else words
        # A module that cannot be imported fails every run in the same way: show that once.
        parts += [f"\n{config.run_id}", text if text not in shown else "    (as above)"]
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
