"""Drafts that are verified beside the exact sampler: ``python tests/benchmarks/drafted_sampling.py``.

Both make the same tokens; drafts need fewer passes, each over more canvases. By questions in work at a time, on questions about
what the tiny dLLM base was taught in pretraining, so that its answers are those of a model that knows.
"""

import argparse
import random
import statistics
from pathlib import Path

import torch
from common import RECORDS, median_ratio, timed, write_record

from maskft.data.synthetic.pretraining import draw_question, known_world
from maskft.models import load_base
from maskft.samplers import generate_diffusion, generate_diffusion_drafted


def main(arguments: list[str] | None = None, folder: Path = RECORDS) -> dict:
    """Time both in turns on groups of questions, so many at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-a-time", type=int, nargs="+", default=[1, 2, 4, 16], metavar="N")
    parser.add_argument("--groups", type=int, default=5)
    parser.add_argument("--questions", type=int, default=16, help="of a group")
    parser.add_argument("--new-tokens", type=int, default=32)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, prompts = load_base("tiny-dllm", method="dllm")
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    world, rng, n = known_world(), random.Random(0), options.questions
    kinds = [world.people, world.events, world.biographies]
    asked = [prompts.question(draw_question(rng, kinds[i % 3][-1 - i // 3].thing, backward=bool(i % 2)).text) for i in range(options.groups * n)]
    common = {"max_new_tokens": options.new_tokens, "block_length": 4, "mask": prompts.ids.mask, "stop": prompts.ids.stop, "pad": prompts.ids.pad}
    passes = {"exact": 0, "drafted": 0}
    by_number = {}
    for at_a_time in options.at_a_time:
        seconds: dict[str, list[float]] = {name: [] for name in passes}
        n_equal, passes = 0, dict.fromkeys(passes, 0)
        for group in range(options.groups):
            part, answers = asked[group * n : (group + 1) * n], {}
            for name, work in (
                ("exact", lambda: generate_diffusion(model, part, steps=options.new_tokens, batch_size=at_a_time, **common)),  # noqa: B023
                ("drafted", lambda: generate_diffusion_drafted(model, part, batch_size=at_a_time, **common)),  # noqa: B023
            ):
                hook = model.register_forward_hook(lambda *_: passes.update({name: passes[name] + 1}))  # noqa: B023
                took, answers[name] = timed(work)
                hook.remove()
                seconds[name].append(took)
            n_equal += sum(a == b for a, b in zip(*answers.values(), strict=True))
        by_number[f"{at_a_time} at a time"] = {
            "ratio": round(median_ratio(seconds["exact"], seconds["drafted"]), 2),
            **{f"{name}_s": round(statistics.median(took) / n, 4) for name, took in seconds.items()},
            "fewer_passes": round(passes["exact"] / passes["drafted"], 2),
            "equal_answers": f"{n_equal} of {len(asked)}",
        }
        print(at_a_time, by_number[f"{at_a_time} at a time"], flush=True)
    return write_record(
        "drafted_sampling", ratio=next(iter(by_number.values()))["ratio"], goal=1, peer="the exact sampler without drafts",
        what=f"questions a second, {options.at_a_time[0]} at a time, tiny dLLM base on its own world, float32", medians=by_number, folder=folder,
    )  # fmt: skip


if __name__ == "__main__":
    main()
