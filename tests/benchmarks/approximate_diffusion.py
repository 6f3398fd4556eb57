"""Approximate diffusion samplers beside the exact one: ``python tests/benchmarks/approximate_diffusion.py``.

Speed, and accuracy (the study's measure) on questions about what the tiny dLLM base was taught in pretraining, so that it
knows answers to lose.
"""

import argparse
import random
import statistics
from pathlib import Path

import torch
from common import RECORDS, median_ratio, timed, write_record

from maskft.data.synthetic.pretraining import draw_question, known_world
from maskft.metrics import accuracy
from maskft.models import load_base
from maskft.samplers import generate_diffusion, generate_diffusion_approximate

MODES = {
    "exact": None,
    "block cache": {"block_cache": True},
    "threshold 0.9": {"block_cache": False, "threshold": 0.9},
    "threshold 0.5": {"block_cache": False, "threshold": 0.5},
    "block cache, threshold 0.9": {"block_cache": True, "threshold": 0.9},
}


def main(arguments: list[str] | None = None, folder: Path = RECORDS) -> dict:
    """Time all modes in turns on groups of questions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--new-tokens", type=int, default=32)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, prompts = load_base("tiny-dllm", method="dllm")
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    world, rng, n = known_world(), random.Random(0), options.groups * options.batch
    kinds = [world.people, world.events, world.biographies]
    pairs = [draw_question(rng, kinds[i % 3][-1 - i // 3].thing, backward=bool(i % 2)) for i in range(n)]
    common = {"max_new_tokens": options.new_tokens, "block_length": 4, "mask": prompts.ids.mask, "stop": prompts.ids.stop, "pad": prompts.ids.pad}
    seconds: dict[str, list[float]] = {name: [] for name in MODES}
    answers: dict[str, list[list[int]]] = {name: [] for name in MODES}
    for group in range(options.groups):
        asked = [prompts.question(pair.text) for pair in pairs[group * options.batch : (group + 1) * options.batch]]
        for name, mode in MODES.items():
            if mode is None:
                took, found = timed(lambda: generate_diffusion(model, asked, steps=options.new_tokens, **common))  # noqa: B023
            else:
                took, found = timed(lambda: generate_diffusion_approximate(model, asked, **common, **mode))  # noqa: B023
            seconds[name].append(took)
            answers[name] += found
    by_mode = {
        name: {
            "speed": round(median_ratio(seconds["exact"], seconds[name]), 2),
            "seconds_per_question": round(statistics.median(seconds[name]) / options.batch, 4),
            "accuracy": round(statistics.mean(accuracy(p.answer, prompts.decode(a)) for p, a in zip(pairs, found, strict=True)), 3),
            "equal_answers": f"{sum(a == b for a, b in zip(found, answers['exact'], strict=True))} of {n}",
        }
        for name, found in answers.items()
    }
    return write_record(
        "approximate_diffusion", ratio=max(mode["speed"] for mode in by_mode.values()), goal=1, peer="the exact sampler",
        what="questions a second of the fastest approximate mode, tiny dLLM base on its own world", medians=by_mode, folder=folder,
    )  # fmt: skip


if __name__ == "__main__":
    main()
