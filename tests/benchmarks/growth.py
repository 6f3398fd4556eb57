"""Time and memory a unit as documents and questions grow a hundredfold: ``python tests/benchmarks/growth.py``.

Documents are collated and learned for a pass over all of them, questions answered by the exact diffusion sampler. Each size
runs in a process of its own; memory is the peak of its resident memory. Level means that nothing grows faster than its
input.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from common import RECORDS, write_record
from diffusion_sampling import questions
from training_step import documents, megabytes, our_steps

from maskft.collators import MaskedARCollator
from maskft.evaluation import rows_that_fit
from maskft.models import load_base
from maskft.samplers import generate_diffusion

SIZES = (1, 10, 100)


def measure(kind: str, n: int) -> dict:
    """Seconds a unit and the peak of memory for ``n`` documents or questions."""
    model, prompts = load_base("tiny-ar" if kind == "documents" else "tiny-dllm", method="masked_ar" if kind == "documents" else "dllm")
    if kind == "documents":
        texts, batch = documents(n, 10, 40), 8
        work = lambda: our_steps(model, MaskedARCollator(prompts), texts, batch, -(-n // batch))  # noqa: E731
    else:
        asked, ids = [prompts.question(text) for text in questions(min(n, 240)) * -(-n // 240)][:n], prompts.ids
        common = {"block_length": 4, "mask": ids.mask, "stop": ids.stop, "pad": ids.pad}
        size = rows_that_fit(model, 32 + max(map(len, asked)))
        work = lambda: generate_diffusion(model, asked, max_new_tokens=32, steps=32, batch_size=size, **common)  # noqa: E731
    start = time.process_time()
    work()
    return {"seconds_per_unit": (time.process_time() - start) / n, "peak_megabytes": megabytes("VmHWM")}


def measure_apart(kind: str, n: int) -> dict:
    """``measure`` in a process of its own."""
    command = [sys.executable, __file__, "--measure", kind, str(n)]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout
    return json.loads(out.splitlines()[-1])


def main(arguments: list[str] | None = None, folder: Path = RECORDS) -> dict:
    """One process for each size of each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=int, default=8, help="units of the smallest size")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.measure:
        print(json.dumps(measure(options.measure[0], int(options.measure[1]))))
        return {}
    curves: dict = {}
    for kind in ("documents", "questions"):
        for times in SIZES:
            found = measure_apart(kind, times * options.base)
            curves.setdefault(kind, {})[f"x{times}"] = {name: round(value, 5) for name, value in found.items()}
        print(kind, curves[kind], flush=True)
    level = {kind: curve["x1"]["seconds_per_unit"] / curve["x100"]["seconds_per_unit"] for kind, curve in curves.items()}
    return write_record(
        "growth", ratio=min(level.values()), goal=0.8, peer="the same at a hundredth of the size", folder=folder,
        what="units a second of a hundred times as many documents and questions", medians={"units_at_x1": options.base, **curves},
    )  # fmt: skip


if __name__ == "__main__":
    main()
