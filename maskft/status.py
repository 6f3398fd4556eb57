"""What became of runs, as one table: done, running, queued, failed, cancelled or missing, and where the log is."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from maskft.processes import tail
from maskft.runs import RunConfig, RunStore
from maskft.slurm_jobs import CANCELLED, FAILED, QUEUED, RUNNING, job_log, jobs_of

DONE, MISSING = "done", "missing"


def status(configs: Iterable[RunConfig], store: RunStore) -> pd.DataFrame:
    """One row for each run.

    Whether a run is done, or running on this machine, is read from the store; what is queued or running elsewhere, from
    Slurm, for the runs that were given to it. A run that is none of these has failed if it left a traceback or its job ended.

    Returns:
        `run_id`, `status`, `progress` (of what is running: where it is), `job` (of Slurm), and `log` (of what failed).
    """
    configs = list(dict.fromkeys(configs))
    missing = set(store.missing(configs))
    jobs, notes = jobs_of(missing, store), store.progress()
    rows = []
    for config in configs:
        job, failure = jobs.get(config), store.failure_path(config)
        progress = log = ""
        if config not in missing or store.is_finished(config):
            state = DONE
        elif store.is_running(config) or (job and job.state == RUNNING):
            state = RUNNING
            if note := notes.get(config.run_id):
                progress = f"{note['phase']} {note['step']}/{note['total_steps']}"
        elif job and job.state == QUEUED:
            state = QUEUED
        elif failure.exists():
            state, log = FAILED, str(failure)
        elif job and job.state == FAILED:
            state, log = FAILED, str(job.log)
        else:
            state = CANCELLED if job and job.state == CANCELLED else MISSING
        rows.append((config.run_id, state, progress, job.job_id if job and state != DONE else "", log))
    return pd.DataFrame(rows, columns=["run_id", "status", "progress", "job", "log"])


def show_status(table: pd.DataFrame) -> str:
    """The table as text, without columns that say nothing, and how many runs are in each state."""
    filled = [name for name in table if name in ("run_id", "status") or table[name].ne("").any()]
    counts = table["status"].value_counts().sort_index()
    summary = ", ".join(f"{n} {state}" for state, n in counts.items())
    return f"{table[filled].to_string(index=False)}\n{summary or 'no runs'}"


def show_log(run_id: str, store: RunStore) -> str:
    """The end of what a run left: its traceback, and the log of the job or worker that had it last.

    Raises:
        LookupError: it left nothing.
    """
    found = [store.root / ".failed" / f"{run_id}.txt", job_log(run_id, store)]
    if note := store.progress().get(run_id):
        found.append(store.root / ".logs" / f"{note['worker']}.log")
    logs = [path for path in dict.fromkeys(found) if path and Path(path).is_file()]
    if not logs:
        raise LookupError(f"no log of {run_id!r} in {store.root}; maskft status EXHIBIT lists the runs")
    return "\n".join(f"{path}:\n{tail(path, 40)}" for path in logs)
