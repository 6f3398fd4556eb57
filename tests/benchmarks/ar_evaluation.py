"""Greedy AR answers against transformers' other ways: ``python tests/benchmarks/ar_evaluation.py``.

Peers: ``generate`` with a static cache on the same batches, and continuous batching (``generate_batch``). Same model, same
questions; answers must be equal.
"""

import argparse
import copy
import statistics
from pathlib import Path

import torch
from common import RECORDS, in_turns, median_ratio, write_record
from diffusion_sampling import questions
from transformers import GenerationConfig
from transformers.generation import ContinuousBatchingConfig

from maskft.models import load_base
from maskft.samplers import cut_at_stop, generate_ar, pad_left


def main(arguments: list[str] | None = None, folder: Path = RECORDS) -> dict:
    """Time all sides in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=90)
    parser.add_argument("--batch", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=96)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, prompts = load_base("tiny-ar", method="ar")
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    paged, ids = copy.deepcopy(model), prompts.ids
    # Batches are of like length on both sides that have batches.
    asked = sorted((prompts.question(text) for text in questions(options.questions)), key=len)
    limits = {"max_new_tokens": options.new_tokens, "do_sample": False, "eos_token_id": list(ids.stop), "pad_token_id": ids.pad}

    def ours() -> list[list[int]]:
        return generate_ar(model, asked, max_new_tokens=options.new_tokens, stop=ids.stop, pad=ids.pad, batch_size=options.batch)

    @torch.inference_mode()
    def static_cache() -> list[list[int]]:
        answers = []
        for start in range(0, len(asked), options.batch):
            padded, mask = (x.to(model.device) for x in pad_left(asked[start : start + options.batch], ids.pad))
            out = model.generate(input_ids=padded, attention_mask=mask, cache_implementation="static", **limits)
            answers += [cut_at_stop(row, ids.stop) for row in out[:, padded.shape[1] :].tolist()]
        return answers

    def continuous() -> list[list[int]]:
        # On a CPU there is no memory to infer the sizes from: a page for each question, and all of their prompts at once.
        sizes = {"num_blocks": len(asked) + 1, "max_batch_tokens": sum(map(len, asked))} if model.device.type == "cpu" else {}
        out = paged.generate_batch(
            asked, generation_config=GenerationConfig(**limits), continuous_batching_config=ContinuousBatchingConfig(**sizes),
            progress_bar=False,
        )  # fmt: skip
        return [cut_at_stop(out[f"req_{i}"].generated_tokens, ids.stop) for i in range(len(asked))]

    sides = {"maskft": ours, "static_cache": static_cache, "continuous_batching": continuous}
    answers = {name: side() for name, side in sides.items()}
    equal = {name: sum(a == b for a, b in zip(found, answers["maskft"], strict=True)) for name, found in answers.items()}
    seconds = in_turns(sides, options.rounds)
    ratios = {name: round(median_ratio(seconds[name], seconds["maskft"]), 2) for name in list(sides)[1:]}
    return write_record(
        "ar_evaluation", ratio=min(ratios.values()), goal=1, folder=folder,
        peer="transformers' static cache and continuous batching, the faster", what="questions a second, tiny AR base, float32",
        medians={
            "seconds_per_question": {name: round(statistics.median(s) / len(asked), 5) for name, s in seconds.items()},
            "ratio": ratios, "questions": len(asked), "equal_answers": equal,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
