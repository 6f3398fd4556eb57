"""Give the runs that are missing to a Slurm cluster, a job each, through submitit. What became of the jobs is `slurm_jobs`'s.

A job starts the same command as a worker here and takes its run by the same lock, so jobs, workers and several users share a
store. What Slurm does to a job ends in one of three ways:

- Its time is nearly up (SIGUSR2, sent before the limit), or others need the machine (SIGTERM while Slurm still has it
  running): the training is told to end, which saves its state, and the job asks for the queue again.
- It was cancelled, or Slurm puts it into the queue by itself (SIGTERM, and Slurm no longer has it running): the training is
  told to end, and that is all.
- The training ended by itself: the run is there, or the job has failed.

submitit is imported where it is used: only this executor needs it (`pip install 'maskft[slurm]'`).
"""

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import FrameType
from typing import Any

from filelock import FileLock

from maskft.launch import TRAINING_MODULE, LaunchError, advice
from maskft.launcher import Launcher, Machine
from maskft.processes import GRACE_S, POLL_S, end_groups, how_it_ended, signal_group, tail
from maskft.progress import _Progress
from maskft.runs import WORKER, RunConfig, RunStore, write_atomically
from maskft.slurm_jobs import QUEUED, RUNNING, jobs_of, live_words, note_job
from maskft.slurm_settings import SETTINGS, import_submitit

JOB_NAME = "maskft"
LOOK_S = 10.0  # how often Slurm is asked while we wait: it serves everybody
REQUEUE_S = 20  # kept of the time before the limit, to ask for the queue
N_ARRAY = 500  # jobs of one array; Slurm's usual limit is 1001


@dataclass
class TrainingJob:
    """What a job runs. submitit pickles it, calls it on every machine of the job, and `checkpoint` before a requeue."""

    config: dict[str, Any]
    store: str
    launcher: Launcher
    module: str = TRAINING_MODULE
    grace_s: float = GRACE_S  # for the training to save its state

    def __call__(self) -> None:
        """Train the run. The process ends with code 1 if that failed."""
        import submitit

        job = submitit.JobEnvironment()
        store, config = RunStore(self.store), RunConfig.from_dict(self.config)
        name = f"slurm-{job.job_id}-{job.node}"
        list_file = store.root / ".slurm" / f"{config.run_id}.jsonl"
        write_atomically(list_file, json.dumps(self.config) + "\n")
        # The port is the run's own, so that two runs may share a machine.
        port = 20_000 + int(hashlib.sha256(config.run_id.encode()).hexdigest(), 16) % 10_000
        machine = Machine(job.node, job.hostnames[0], port)
        command = self.launcher.command(
            self.module, ["--store", self.store, "--configs", str(list_file)], machine=machine
        )
        print(shlex.join(command), flush=True)
        told_to_end = False

        def end(number: int, frame: FrameType | None) -> None:
            nonlocal told_to_end
            told_to_end = True
            signal_group(self._process, signal.SIGTERM)

        def ignore_requeue_signal() -> None:
            # Slurm sends it to every process of the job. Ours answers it, and tells the training in a way it knows.
            signal.signal(getattr(signal, f"SIG{job.USR_SIG}"), signal.SIG_IGN)

        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sys.stdout, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", WORKER: name}, preexec_fn=ignore_requeue_signal,
        )  # fmt: skip
        signal.signal(signal.SIGTERM, end)
        # Not wait(), which holds a lock that the signal's handler would need.
        while self._process.poll() is None:
            time.sleep(POLL_S)
        code = self._process.returncode
        end_groups([self._process], self.grace_s)  # accelerate's own process may have ended alone
        if store.is_finished(config):
            return
        if told_to_end:
            if job.cluster == "slurm" and live_words([job.job_id]).get(job.job_id) == "RUNNING":
                print("told to leave by somebody who needs the machine: back to the queue", flush=True)
                signal.raise_signal(getattr(signal, f"SIG{job.USR_SIG}"))
            sys.exit(128 + signal.SIGTERM)
        if code:
            # Not by an error, of which submitit would print where it passed through itself, after the training's own words.
            print(f"{config.run_id}: the training {how_it_ended(code)}", flush=True)
            sys.exit(1)

    def checkpoint(self) -> Any:
        """End the training, which saves its state, and return what is to run when the job's turn comes again."""
        import submitit

        end_groups([self._process], self.grace_s)
        return submitit.helpers.DelayedSubmission(replace(self))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_process"}


def submit(
    configs: Iterable[RunConfig],
    store: RunStore,
    *,
    launcher: Launcher,
    settings: Mapping[str, Any] = SETTINGS,
    cost: Callable[[RunConfig], float] = lambda config: config.total_steps,
    module: str = TRAINING_MODULE,
    cluster: str = "slurm",
) -> list[str]:
    """Give every run that is missing, and neither queued nor running, to the cluster, the longest first.

    Args:
        configs: the runs that are needed.
        store: where they are looked for and written; on a disk that all machines see.
        launcher: how one run is started. A job asks for its machines and GPUs; one of a CPU is one of a GPU where ``settings`` ask
            for GPUs: what the machine that submits has says nothing of those that train.
        settings: of the jobs (`slurm_settings.read_settings`).
        cost: expected cost of a run; orders them.
        module: the training module.
        cluster: `slurm`, or `local` for submitit's stand-in for a cluster on one machine.

    Returns:
        The ids of the new jobs.

    Raises:
        RuntimeError: there is no Slurm here, or it refuses the job.
        ModuleNotFoundError: submitit is not installed.
    """
    submitit = import_submitit()
    if cluster == "slurm" and shutil.which("sbatch") is None:
        raise RuntimeError("no Slurm here (sbatch is not on PATH); call this where jobs are submitted, or use --executor local")
    if launcher.kind == "cpu" and any(settings.get(key) for key in ("gpus_per_node", "gpus_per_task", "num_gpus")):
        launcher = replace(launcher, kind="gpu")
    elif launcher.kind == "cpu" and cluster == "slurm":
        print("each job trains on one CPU core; on a GPU: --slurm gpus_per_node=1", flush=True)
    per_machine = launcher.num_processes // launcher.num_machines
    resources: dict[str, Any] = {"nodes": launcher.num_machines, "tasks_per_node": 1, "stderr_to_stdout": True}
    if launcher.kind == "gpu":
        resources |= {"gpus_per_node": per_machine, "cpus_per_task": 8 * per_machine}
    elif cluster == "slurm":
        resources["cpus_per_task"] = 1
    generic = submitit.AutoExecutor._valid_parameters()
    chosen = resources | dict(settings)
    n_timeouts = chosen.pop("max_num_timeout", SETTINGS["max_num_timeout"])
    grace_s = max(1.0, chosen["signal_delay_s"] - REQUEUE_S) if "signal_delay_s" in chosen else GRACE_S
    extra = {"requeue": True} | chosen.pop("additional_parameters", {})
    parameters = {key if key in generic else f"slurm_{key}": value for key, value in chosen.items()}

    (store.root / ".locks").mkdir(parents=True, exist_ok=True)
    # Two users who submit at once: the second sees the jobs of the first.
    with FileLock(store.root / ".locks" / "submission.lock"):
        known = jobs_of(configs, store)
        free = [config for config in store.missing(configs) if not store.is_running(config)]
        free = [config for config in free if config not in known or known[config].state not in (QUEUED, RUNNING)]
        free.sort(key=cost, reverse=True)
        job_ids: list[str] = []
        for start in range(0, len(free), N_ARRAY):
            part = free[start : start + N_ARRAY]
            folder = store.root.absolute() / ".slurm" / datetime.now().strftime("%Y%m%d-%H%M%S-%f")
            executor = submitit.AutoExecutor(folder, cluster=cluster, slurm_max_num_timeout=n_timeouts)
            executor.update_parameters(name=JOB_NAME, slurm_additional_parameters=extra, **parameters)
            for config in part:
                store.failure_path(config).unlink(missing_ok=True)
            try:
                with executor.batch():
                    root = str(store.root.absolute())
                    jobs = [executor.submit(TrainingJob(c.to_dict(), root, launcher, module, grace_s)) for c in part]
            except subprocess.CalledProcessError as error:
                raise RuntimeError(f"Slurm refused the jobs: {error.stderr or error}") from None
            except submitit.core.utils.FailedJobError as error:
                raise RuntimeError(f"Slurm refused the jobs: {str(error).strip().splitlines()[-1]}") from None
            for config, job in zip(part, jobs, strict=True):
                note_job(config, store, job_id=job.job_id, cluster=cluster, log=job.paths.stdout)
                job_ids.append(job.job_id)
    return job_ids


def wait_for(
    configs: Iterable[RunConfig],
    store: RunStore,
    *,
    cost: Callable[[RunConfig], float] = lambda config: config.total_steps,
    progress: bool = True,
    look_s: float = LOOK_S,
) -> None:
    """Return when every run is finished. An interrupt leaves the jobs where they are.

    Raises:
        LaunchError: jobs ended without their run. The others are finished.
    """
    configs = list(dict.fromkeys(configs))
    bar = _Progress(store.missing(configs), store, cost, shown=progress)
    try:
        while True:
            jobs = jobs_of(store.missing(configs), store)  # before the runs: one that ends meanwhile is then seen finished
            missing = store.missing(configs)
            live = [c for c in missing if store.is_running(c) or (c in jobs and jobs[c].state in (QUEUED, RUNNING))]
            if not live:
                break
            bar.update()
            time.sleep(look_s)
    finally:
        bar.close()
    if failed := store.missing(configs):
        parts = [f"{len(failed)} run(s) failed; every other run is finished"]
        for config in failed:
            trace, job = store.failure_path(config), jobs.get(config)
            log = trace if trace.exists() else job.log if job else None
            how = f" (job {job.job_id}: {job.reason or job.state})" if job else " (no job)"
            parts.append(f"\n{config.run_id}{how}")
            text = f"{log}:\n{tail(log)}" if log and log.is_file() else "    (no log)"
            parts.append(text + advice(text))
        parts.append("\n  again: the same command")
        raise LaunchError("\n".join(parts), failed)
