"""What became of the runs that were given to a Slurm cluster, by the note of each and Slurm's own words."""

import json
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from maskft.processes import process_status
from maskft.runs import RunConfig, RunStore, write_atomically

QUEUED, RUNNING, FAILED, CANCELLED = "queued", "running", "failed", "cancelled"


@dataclass(frozen=True)
class Job:
    """A job that a run was given to.

    Attributes:
        job_id: Slurm's, `ARRAY_INDEX` of an array.
        state: `queued`, `running`, or how it ended: `cancelled`, or `failed` for everything else that left no run.
        log: what it printed, if it began.
        reason: Slurm's own word for the state.
    """

    job_id: str
    state: str
    log: Path
    reason: str


def _note_path(run_id: str, store: RunStore) -> Path:
    return store.root / ".slurm" / f"{run_id}.json"


def note_job(config: RunConfig, store: RunStore, *, job_id: str, cluster: str, log: Path) -> None:
    """Write down which job a run was given to, for everybody who shares the store."""
    note = {"job_id": job_id, "cluster": cluster, "log": str(log)}
    write_atomically(_note_path(config.run_id, store), json.dumps(note) + "\n")


def job_log(run_id: str, store: RunStore) -> Path | None:
    """What the run's last job printed; None if it was never given to a cluster."""
    path = _note_path(run_id, store)
    return Path(json.loads(path.read_text())["log"]) if path.exists() else None


def jobs_of(configs: Iterable[RunConfig], store: RunStore) -> dict[RunConfig, Job]:
    """The last job of every run that was given to a cluster. One that is over is told apart only while Slurm remembers it."""
    notes = {}
    for config in configs:
        with suppress(OSError, ValueError):
            notes[config] = json.loads(_note_path(config.run_id, store).read_text())
    of_slurm = [note["job_id"] for note in notes.values() if note["cluster"] == "slurm"]
    states = live_words(of_slurm) if of_slurm else {}
    jobs = {}
    for config, note in notes.items():
        job_id = note["job_id"]
        if note["cluster"] == "slurm":
            word = states.get(job_id) or _last_word(job_id)
        else:
            word = "RUNNING" if _is_alive(int(job_id)) else "FAILED"
        jobs[config] = Job(job_id, _state(word), Path(note["log"]), word)
    return jobs


def _state(word: str) -> str:
    """Our word for Slurm's."""
    if word in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "SUSPENDED", "RESV_DEL_HOLD"):
        return QUEUED
    if word in ("RUNNING", "CONFIGURING", "COMPLETING", "SIGNALING", "STAGE_OUT", "STOPPED", "RESIZING"):
        return RUNNING
    return CANCELLED if word.startswith("CANCELLED") else FAILED


def live_words(job_ids: Sequence[str]) -> dict[str, str]:
    """Slurm's word for the state of each of these jobs that is not over."""
    mains = ",".join(sorted({job_id.partition("_")[0] for job_id in job_ids}))
    command = ["squeue", "--noheader", "--array", "--format=%i %T", f"--jobs={mains}"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except FileNotFoundError:
        raise RuntimeError("runs were given to Slurm, and squeue is not on PATH; call this where Slurm can be asked") from None
    except subprocess.TimeoutExpired:
        raise RuntimeError("Slurm does not answer (squeue); try again") from None
    except subprocess.CalledProcessError as error:
        if "Invalid job id" not in error.stderr:  # of a job that Slurm has forgotten
            raise RuntimeError(f"Slurm cannot be asked: {error.stderr.strip()}") from None
        listed = ""
    return dict(line.split()[:2] for line in listed.splitlines())


def _last_word(job_id: str) -> str:
    """Slurm's word for how a job ended, from its memory or its accounts; empty if it has neither."""
    asked = (
        (["scontrol", "show", "job", "--oneliner", job_id], "JobState="),
        (["sacct", "--allocations", "--noheader", "--parsable2", "--format=State", f"--jobs={job_id}"], ""),
    )
    for command, before in asked:
        with suppress(OSError, subprocess.SubprocessError):
            answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
            if word := answer.partition(before)[2].split()[:1] if before else answer.split()[:1]:
                return word[0]
    return ""


def _is_alive(pid: int) -> bool:
    return process_status(pid)[:1] not in ([], ["Z"])
