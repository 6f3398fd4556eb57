"""The name of what computed something, for records."""

import platform
from pathlib import Path

import torch


def processor() -> str:
    """The name of this machine's processor, as Linux tells it, or else what Python knows of it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def device_name(device: torch.device) -> str:
    """A GPU's name; of a CPU also its widest instructions and how many threads compute."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} thread(s)"
