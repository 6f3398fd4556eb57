"""Training processes of this machine, whoever started them: told to end, waited for, ended by force; and what they left to read."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

POLL_S = 0.2  # how often processes are looked at
GRACE_S = 60.0  # how long a training may take to save its state and end after SIGTERM


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    # A shell, and accelerate, report a death by signal n as 128 + n.
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return f"ended with code {code}: killed, as the system does when memory runs out"
    return f"ended with code {code}"


def signal_group(process: subprocess.Popen, number: int) -> None:
    """Send a signal to all processes of a session that `process` began."""
    # The group outlives its first process for as long as it has members, and then is gone: both are fine.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def end_groups(processes: Sequence[subprocess.Popen], grace_s: float) -> None:
    """Tell sessions to end, wait until every process in them has, and end by force what has not after ``grace_s``.

    Not when the first process of each has: accelerate's ends at once, while the training that it started saves its state.
    """
    for process in processes:
        signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while any(_is_alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    for process in processes:
        signal_group(process, signal.SIGKILL)


def _is_alive(process: subprocess.Popen) -> bool:
    """Whether the session that ``process`` began has a process left."""
    process.poll()  # or, dead, it would stay in the group until somebody asks how it ended
    try:
        os.killpg(process.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    # What accelerate started and left dies as a child of process 1, which in a container may never ask: on Linux that is told.
    known = [fields for path in Path("/proc").glob("[0-9]*") if (fields := process_status(path.name))]
    return not known or any(state not in "ZX" and int(group) == process.pid for state, _, group, *_ in known)


def process_status(pid: int | str) -> list[str]:
    """State, parent, group and more of a process on Linux (proc_pid_stat); empty where there is none, or no Linux."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def tail(path: Path, n_lines: int = 20) -> str:
    """The last lines of a log, indented."""
    lines = path.read_text(errors="replace").splitlines()[-n_lines:]
    return "\n".join(f"    {line}" for line in lines) or "    (empty)"
