"""How one run's processes are started, and what this machine has for them: accelerate's settings, cores and GPUs.

The settings are files in ``assets/accelerate``, which ``accelerate launch --config_file`` takes as they are. They say how
many processes and machines there are and nothing of the method: precision and sharding belong to the training.
"""

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

CONFIGS = Path(__file__).parent / "assets" / "accelerate"
GPU_SHARE = "MASKFT_RUNS_PER_GPU"  # environment variable: runs that share this process's GPU


@dataclass(frozen=True)
class Machine:
    """One of several machines of a run.

    Args:
        rank: Which, from 0.
        first: Address of machine 0.
        port: Where machine 0 listens. Runs that share machine 0 need different ones.
    """

    rank: int
    first: str
    port: int


@dataclass(frozen=True)
class Launcher:
    """How a training process is started.

    Args:
        kind: `cpu` and `gpu` go through `accelerate launch`; `plain` is `python -m`, for one process.
        config_file: accelerate's settings; None for those of ``assets/accelerate`` that fit.
        num_processes: processes of one run, on all its machines together.
        num_machines: machines of one run.
        runs_per_gpu: runs that share a GPU, where one alone does not fill it: a small model's step is mostly the host
            launching kernels, and each run has a core for that.
        gib_per_run: memory that each of them needs; fewer share a GPU that has not so much.
        options: further options of the training module: how a run is computed, never what (`execution`).

    Raises:
        ValueError: an unknown kind, more processes than the kind can have, or machines with unequal numbers of them.
    """

    kind: str = "cpu"
    config_file: Path | None = None
    num_processes: int = 1
    num_machines: int = 1
    runs_per_gpu: int = 1
    gib_per_run: float = 0.0
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ("cpu", "gpu", "plain"):
            raise ValueError(f"kind={self.kind!r} is not one of cpu, gpu, plain")
        if self.num_processes < 1 or (self.kind != "gpu" and self.num_processes > 1):
            raise ValueError(f"num_processes={self.num_processes} with kind={self.kind!r}: use 1, or kind='gpu'")
        if self.num_machines < 1 or self.num_processes % self.num_machines:
            raise ValueError(
                f"num_machines={self.num_machines} with num_processes={self.num_processes}: machines have the same number "
                "of processes; use a divisor of num_processes"
            )
        if self.runs_per_gpu < 1 or (self.runs_per_gpu > 1 and self.num_processes > 1):
            raise ValueError(f"runs_per_gpu={self.runs_per_gpu} with num_processes={self.num_processes}: use 1, or runs of one process")

    @property
    def settings(self) -> Path:
        """accelerate's settings file."""
        if self.config_file is not None:
            return self.config_file
        if self.kind == "cpu":
            return CONFIGS / "cpu.yaml"
        if self.num_machines > 1:
            return CONFIGS / "several_nodes.yaml"
        return CONFIGS / ("one_gpu.yaml" if self.num_processes == 1 else "four_gpus.yaml")

    def command(self, module: str, arguments: Sequence[str], *, machine: Machine | None = None) -> list[str]:
        """The command line that runs `module` with `arguments`, and the launcher's own `options`.

        Args:
            module: what to run.
            arguments: of the module.
            machine: which of several machines it runs on.

        Raises:
            ValueError: the run has several machines, and `machine` does not say which this is.
        """
        arguments = [*arguments, *self.options]
        if self.kind == "plain":
            return [sys.executable, "-m", module, *arguments]
        # By this interpreter, not by the `accelerate` on PATH, which may belong to another environment.
        command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(self.num_processes)]
        command += ["--config_file", str(self.settings)]
        if self.num_machines > 1:
            if machine is None:
                raise ValueError(f"num_machines={self.num_machines}: the run's machines are Slurm's to choose; use --executor slurm")
            command += ["--num_machines", str(self.num_machines), "--machine_rank", str(machine.rank)]
            command += ["--main_process_ip", machine.first, "--main_process_port", str(machine.port)]
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


def available_gpus() -> list[str]:
    """GPUs this process may use, as CUDA_VISIBLE_DEVICES names them; without asking CUDA, which would take one."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in visible.split(",") if name.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False).stdout
    return [str(n) for n, line in enumerate(listed.splitlines()) if line.startswith("GPU ")]


def can_use_gpu() -> bool:
    """Whether there is a GPU and the torch that is installed is one for GPUs; torch itself, which takes seconds, is not loaded."""
    return not version("torch").endswith("+cpu") and bool(available_gpus())


def smallest_gpu_gib() -> float:
    """Memory of the smallest GPU of this machine, in GiB, without asking CUDA; 0 where nothing tells it."""
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    with suppress(OSError, subprocess.CalledProcessError, ValueError):
        listed = subprocess.run(query, capture_output=True, text=True, check=True).stdout
        return min(map(float, listed.splitlines())) / 1024
    return 0.0


def side_by_side(launcher: Launcher, workers: int | None, n_runs: int) -> list[dict[str, str]]:
    """What each worker gets of this machine, as environment variables: its threads, or its GPUs.

    A run on two threads is less than twice as fast as on one, and its start does not get faster at all. So there are as many
    workers as cores while there are runs for them, and cores that are left over become threads. Of GPUs, each run gets as
    many as it has processes, or `runs_per_gpu` of them share one, as far as there is a core and memory for each.

    Args:
        launcher: how a run is started.
        workers: how many side by side; None for as many as there is room for.
        n_runs: how many there is work for, at least 1.

    Returns:
        One mapping a worker.

    Raises:
        ValueError: `workers` is below 1, or more than there are GPUs for, or there are too few GPUs for one run.
    """
    gpus = available_gpus() if launcher.kind == "gpu" else []
    of_gpus = len(gpus) // launcher.num_processes
    if launcher.runs_per_gpu > 1 and gpus:
        by_cores, by_memory = available_cores() // len(gpus), launcher.runs_per_gpu
        if launcher.gib_per_run:
            by_memory = int(smallest_gpu_gib() // launcher.gib_per_run)
        of_gpus *= max(1, min(launcher.runs_per_gpu, by_cores, by_memory))
    room = max(1, of_gpus if launcher.kind == "gpu" else available_cores())
    if workers is not None and (workers < 1 or (launcher.kind == "gpu" and workers > room)):
        raise ValueError(
            f"workers={workers} with kind={launcher.kind!r}; use 1"
            + (f" to {room}: a run takes {launcher.num_processes} of {len(gpus)} GPUs, shared by {launcher.runs_per_gpu}" if launcher.kind == "gpu" else " or more")
        )
    if launcher.kind == "gpu" and len(gpus) < launcher.num_processes:
        raise ValueError(
            f"a run takes {launcher.num_processes} GPU(s) and {len(gpus)} can be seen here; use a machine that has them, or "
            "--executor slurm"
        )
    n_workers = min(workers or room, n_runs)
    if launcher.kind != "gpu":
        # Workers that each start a thread for every core are slower together than one after another.
        return [{"OMP_NUM_THREADS": str(max(1, available_cores() // n_workers))}] * n_workers
    each, n_shares = launcher.num_processes, len(gpus) // launcher.num_processes
    shares = [",".join(gpus[n * each : (n + 1) * each]) for n in range(n_shares)]
    shared: dict[str, str] = {}
    if launcher.runs_per_gpu > 1:
        # Runs that share a GPU have a thread each, or their hosts would be in each other's way, and leave each other memory.
        shared = {"OMP_NUM_THREADS": "1", GPU_SHARE: str(math.ceil(n_workers / n_shares))}
    return [{"CUDA_VISIBLE_DEVICES": shares[n % n_shares], **shared} for n in range(n_workers)]
