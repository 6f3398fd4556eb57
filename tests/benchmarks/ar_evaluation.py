"""Greedy AR answers against transformers' other ways: ``python tests/benchmarks/ar_evaluation.py``.

Peers: ``generate`` with a static cache on the same batches, and continuous batching (``generate_batch``). Same model, same
questions; answers must be equal. With ``--shape llama-8b``, on a GPU, random weights in bfloat16 and answers that do not end;
there answers are counted as they come out, and compared in float32 on a few.
"""

import argparse
import copy
import statistics
import time
from pathlib import Path

import torch
from common import RECORDS, in_turns, median_ratio, write_record
from diffusion_sampling import questions, random_prompts
from transformers import GenerationConfig
from transformers.generation import ContinuousBatchingConfig

from maskft.bench_gpu import PAPER_SHAPES, SMALL_SHAPES, make_model
from maskft.models import load_base
from maskft.samplers import cut_at_stop, generate_ar, pad_left
from maskft.sharding import round_weights

SHAPES = {"llama-8b": PAPER_SHAPES["llama"], "llama-small": SMALL_SHAPES["llama"]}  # the small one tries the command without a GPU


def main(arguments: list[str] | None = None, folder: Path = RECORDS) -> dict:
    """Time all sides in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["tiny", *SHAPES], default="tiny")
    parser.add_argument("--questions", type=int, default=90)
    parser.add_argument("--batch", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new-tokens", type=int, default=96)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if options.shape == "tiny":
        model, prompts = load_base("tiny-ar", method="ar")
        model, stop, pad = model.to(device), list(prompts.ids.stop), prompts.ids.pad
        asked = [prompts.question(text) for text in questions(options.questions)]
    else:
        shape = SHAPES[options.shape]
        model = make_model("llama", shape, device).requires_grad_(False).eval()
        stop, pad, asked = [shape.vocabulary - 1], 0, random_prompts(options.questions, shape.vocabulary)
        float32 = _compare_in_float32(model, asked[:4], stop, pad)
        round_weights(model, torch.bfloat16)
    paged = copy.deepcopy(model)
    # Batches are of like length on both sides that have batches.
    asked.sort(key=len)
    limits = {"max_new_tokens": options.new_tokens, "do_sample": False, "eos_token_id": stop, "pad_token_id": pad}

    def ours() -> list[list[int]]:
        return generate_ar(model, asked, max_new_tokens=options.new_tokens, stop=stop, pad=pad, batch_size=options.batch)

    @torch.inference_mode()
    def static_cache() -> list[list[int]]:
        answers = []
        for start in range(0, len(asked), options.batch):
            padded, mask = (x.to(model.device) for x in pad_left(asked[start : start + options.batch], pad))
            out = model.generate(input_ids=padded, attention_mask=mask, cache_implementation="static", **limits)
            answers += [cut_at_stop(row, stop) for row in out[:, padded.shape[1] :].tolist()]
        return answers

    def continuous() -> list[list[int]]:
        # On a CPU there is no memory to infer the sizes from: a page for each question, and all of their prompts at once.
        sizes = {"num_blocks": len(asked) + 1, "max_batch_tokens": sum(map(len, asked))} if model.device.type == "cpu" else {}
        out = paged.generate_batch(
            asked, generation_config=GenerationConfig(**limits), continuous_batching_config=ContinuousBatchingConfig(**sizes),
            progress_bar=False,
        )  # fmt: skip
        return [cut_at_stop(out[f"req_{i}"].generated_tokens, stop) for i in range(len(asked))]

    sides = {"maskft": ours, "static_cache": static_cache, "continuous_batching": continuous}
    if options.shape != "tiny":
        return _measure_large(options, sides, folder, float32)
    answers = {name: side() for name, side in sides.items()}
    equal = {name: sum(a == b for a, b in zip(found, answers["maskft"], strict=True)) for name, found in answers.items()}
    seconds = in_turns(sides, options.rounds)
    return _write("ar_evaluation", "tiny AR base, float32", seconds, equal, len(asked), folder)


def _compare_in_float32(model, asked: list[list[int]], stop: list[int], pad: int, n: int = 16) -> str:
    """How many answers of a few are those of ``generate``: in bfloat16 random weights decide between near ties."""
    ours = generate_ar(model, asked, max_new_tokens=n, stop=stop, pad=pad)
    padded, mask = (x.to(model.device) for x in pad_left(asked, pad))
    limits = {"max_new_tokens": n, "do_sample": False, "eos_token_id": stop, "pad_token_id": pad}
    theirs = model.generate(input_ids=padded, attention_mask=mask, **limits)[:, padded.shape[1] :].tolist()
    return f"{sum(a == cut_at_stop(b, stop) for a, b in zip(ours, theirs, strict=True))} of {len(asked)}"


def _measure_large(options: argparse.Namespace, sides: dict, folder: Path, float32: str) -> dict:
    """One side after the other, the first call apart, in which graphs are recorded and code is compiled; written anew after each.

    Equal tokens are those before the first that differs: after it the two answer on.
    """
    answers, seconds, equal, tokens, failed, record = {}, {}, {}, {}, {}, {}
    for name, side in sides.items():
        taken = []
        try:
            for turn in range(1 + options.rounds):
                begun = time.perf_counter()
                answers[name] = side()
                taken += [time.perf_counter() - begun] if turn else []
                print(name, turn, f"{time.perf_counter() - begun:.2f} s", flush=True)
        except Exception as error:  # the other sides are still worth their time
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            print(name, failed[name], flush=True)
            continue
        seconds[name] = taken
        equal[name] = sum(a == b for a, b in zip(answers[name], answers["maskft"], strict=True))
        alike = [next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a)) for a, b in zip(answers[name], answers["maskft"], strict=True)]
        tokens[name] = f"{sum(alike)} of {sum(map(len, answers['maskft']))}"
        if len(seconds) > 1:
            what = f"{options.shape} shape, random weights, bfloat16, {options.new_tokens} tokens each"
            more = {"equal_tokens": tokens, "float32": float32, "failed": failed}
            record = _write("ar_evaluation_8b", what, seconds, equal, options.questions, folder, more)
    return record


def _write(name: str, what: str, seconds: dict[str, list[float]], equal: dict[str, int], n_questions: int, folder: Path, more: dict | None = None) -> dict:
    ratios = {side: round(median_ratio(taken, seconds["maskft"]), 2) for side, taken in seconds.items() if side != "maskft"}
    return write_record(
        name, ratio=min(ratios.values()), goal=1, folder=folder, script="ar_evaluation",
        peer="transformers' static cache and continuous batching, the faster", what=f"questions a second, {what}",
        medians={
            "seconds_per_question": {side: round(statistics.median(s) / n_questions, 5) for side, s in seconds.items()},
            "ratio": ratios, "questions": n_questions, "equal_answers": equal, **(more or {}),
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
