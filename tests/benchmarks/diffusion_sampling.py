"""Exact diffusion sampling against the published loop: ``python tests/benchmarks/diffusion_sampling.py [--shape llada-8b]``.

The reference is LLaDA's sampler, written from its description: logits and confidences of the whole sequence at every step,
every row to the end of its canvas. Same model, questions and batch; answers must be equal. The model is the tiny dLLM,
made to end each answer after a given number of tokens, because stopping early is most of the gain.

``--shape llada-8b`` is LLaDA's shape with random weights in bfloat16, on a GPU, with prompts of random ids. There the two
batch their matrix products otherwise and so round otherwise, and random weights decide between near ties: answers are
counted as they come out in bfloat16, and compared in float32 on a few.
"""

import argparse
import copy
import gc
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from common import RECORDS, median_ratio, timed, write_record

from maskft.bench_gpu import PAPER_SHAPES, SMALL_SHAPES, make_model
from maskft.data.synthetic.pretraining import draw_question, known_world
from maskft.evaluation import rows_that_fit
from maskft.models import load_base
from maskft.samplers import cut_at_stop, generate_diffusion, pad_left
from maskft.sharding import round_weights
from maskft.step import compile_layers

BLOCK = 4
NEVER = "never"
SHAPES_8B = {"llada-8b": PAPER_SHAPES["llada"], "llada-small": SMALL_SHAPES["llada"]}  # the small one to try the command


@torch.inference_mode()
def published_sampler(model, prompts, *, max_new_tokens, block_length, steps, mask, pad) -> list[list[int]]:
    """LLaDA's sampler at temperature 0 with low-confidence remasking; whole canvases."""
    prompt_ids, prompt_mask = pad_left(prompts, pad)
    n_prompt, n_blocks = prompt_ids.shape[1], max_new_tokens // block_length
    ids = torch.cat([prompt_ids, torch.full((len(prompts), max_new_tokens), mask)], dim=1).to(model.device)
    attention_mask = torch.cat([prompt_mask, torch.ones(len(prompts), max_new_tokens, dtype=torch.long)], dim=1).to(model.device)
    for block in range(n_blocks):
        end = n_prompt + (block + 1) * block_length
        n_masked = (ids[:, end - block_length : end] == mask).sum(dim=1)
        per_step = steps // n_blocks
        for step in range(per_step):
            logits = model(input_ids=ids, attention_mask=attention_mask, use_cache=False).logits
            tokens = logits.argmax(dim=-1)
            confidence = torch.softmax(logits, dim=-1, dtype=torch.float32).gather(-1, tokens[..., None])[..., 0]
            confidence[:, end:] = -torch.inf
            confidence = torch.where(ids == mask, confidence, -torch.inf)
            for row in range(len(ids)):
                count = int(n_masked[row]) // per_step + int(step < int(n_masked[row]) % per_step)
                chosen = confidence[row].topk(count).indices
                ids[row, chosen] = tokens[row, chosen]
    return ids[:, n_prompt:].tolist()


@contextmanager
def ending_after(model, length: int | str, *, mask: int, stop: int, max_new_tokens: int) -> Iterator[None]:
    """Within, the model is sure of the stop id from the canvas position ``length`` on, and sure of other ids before.

    Works on logits of all columns and on those of the active block, the first one with a mask. The mask id itself is never
    chosen: a model that was trained does not, and the published loop would put it in the answer.
    """

    def force(module, args, options, output):
        ids, logits = options["input_ids"], output.logits
        start = ids.shape[1] - max_new_tokens
        columns = torch.arange(ids.shape[1], device=ids.device).expand(len(ids), -1)
        if logits.shape[1] < ids.shape[1]:
            first = (ids == mask).int().argmax(dim=1) - start
            columns = start + (first // BLOCK * BLOCK)[:, None] + torch.arange(logits.shape[1], device=ids.device)
        ends = torch.full_like(columns, False, dtype=torch.bool) if length == NEVER else columns >= start + length
        logits[..., stop] = torch.where(ends, 1e4, -1e4).to(logits.dtype)
        logits[..., mask] = -1e4

    hook = model.register_forward_hook(force, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def questions(n: int) -> list[str]:
    """Questions about all that the tiny bases know, short and long ones in turn."""
    world, rng = known_world(), random.Random(0)
    kinds = [world.people, world.events, world.biographies]
    return [draw_question(rng, kinds[i % 3][-1 - i // 3].thing, backward=bool(i % 2)).text for i in range(n)]


def random_prompts(n: int, vocabulary: int) -> list[list[int]]:
    """Of 20 to 60 ids, none of them the mask or the end."""
    rng = random.Random(0)
    return [[rng.randrange(vocabulary - 2) for _ in range(rng.randint(20, 60))] for _ in range(n)]


def measure_large(options: argparse.Namespace, folder: Path) -> dict:
    """One round of each length at an 8B shape; the record is written anew after each."""
    begun = time.perf_counter()
    shape, device = SHAPES_8B[options.shape], torch.device("cuda" if torch.cuda.is_available() else "cpu")
    mask, stop = shape.vocabulary - 2, shape.vocabulary - 1
    model = make_model("llada", shape, device).requires_grad_(False).eval()
    asked = random_prompts(max(options.batch, *options.other_batches, 1), shape.vocabulary)

    def timed_answers(side: str, prompts: list[list[int]], length: int | str, n: int) -> tuple[float, list]:
        common = {"max_new_tokens": n, "block_length": BLOCK, "steps": n, "mask": mask, "pad": 0}
        with ending_after(sides[side], length, mask=mask, stop=stop, max_new_tokens=n):
            if side == "published":
                seconds, whole = timed(lambda: published_sampler(sides[side], prompts, **common))
                return seconds, [cut_at_stop(row, (stop,)) for row in whole]
            return timed(lambda: generate_diffusion(sides[side], prompts, stop=(stop,), **common))

    def warm_up(prompts: list[list[int]]) -> None:
        """Every side on two widths: what is compiled for one is compiled again, for all, at the second."""
        for side in sides:
            for n in (BLOCK, options.new_tokens) if side != "published" else (BLOCK,):
                timed_answers(side, prompts, 1, n)

    def equal(reference: list[list[int]], answers: list[list[int]]) -> dict[str, str]:
        pairs = list(zip(reference, answers, strict=True))
        same = sum(a == b for row in pairs for a, b in zip(*row, strict=False))
        return {
            "equal_answers": f"{sum(a == b for a, b in pairs)} of {len(pairs)}",
            "equal_tokens": f"{same} of {sum(max(map(len, row)) for row in pairs)}",
        }

    def measure(prompts: list[list[int]], length: int | str) -> dict:
        found = {side: timed_answers(side, prompts, length, options.new_tokens) for side in sides}
        theirs, reference = found.pop("published")
        fastest = min(found, key=lambda side: found[side][0])
        each = {f"{side.replace(', ', '_')}_s": round(seconds / len(prompts), 4) for side, (seconds, _) in found.items()}
        return {
            "ratio": round(theirs / found[fastest][0], 2), "published_s": round(theirs / len(prompts), 4), **each, "fastest": fastest,
            **equal(reference, found[fastest][1]),
        }  # fmt: skip

    sides = {"maskft": model, "published": model}
    few = [timed_answers(side, asked[:4], NEVER, min(16, options.new_tokens))[1] for side in ("published", "maskft")]
    medians = {"batch": options.batch, "new_tokens": options.new_tokens, "float32": equal(*few)}
    print("float32", medians["float32"], f"after {time.perf_counter() - begun:.0f} s", flush=True)
    round_weights(model, torch.bfloat16)
    gc.collect()
    torch.cuda.empty_cache()
    if options.compiled:
        sides["maskft, compiled"] = copy.deepcopy(model)
        compile_layers(sides["maskft, compiled"], answers=True)
    warm_up(asked[: options.batch])
    by_length = medians["seconds_per_question_by_answer_length"] = {}
    for length in [text if text == NEVER else int(text) for text in options.lengths]:
        if time.perf_counter() - begun > options.seconds:
            break
        by_length[str(length)] = measure(asked[: options.batch], length)
        print(length, by_length[str(length)], f"after {time.perf_counter() - begun:.0f} s", flush=True)
        middle = "20" if "20" in by_length else str(length)
        saved = {
            "benchmark": "diffusion_sampling_8b", "ratio": by_length[middle]["ratio"], "goal": 5, "peer": "LLaDA's published sampler",
            "what": f"questions a second, answers {f'of {middle} tokens' if middle != NEVER else 'that never end'}, LLaDA-8B's shape, random weights, bfloat16",
            "folder": folder, "script": "diffusion_sampling",
        }  # fmt: skip
        record = write_record(**saved, medians=medians)
    for batch in options.other_batches:
        if time.perf_counter() - begun > options.seconds:
            break
        warm_up(asked[:batch])
        medians.setdefault("other_batches", {})[str(batch)] = measure(asked[:batch], 20)
        print(batch, medians["other_batches"][str(batch)], f"after {time.perf_counter() - begun:.0f} s", flush=True)
        record = write_record(**saved, medians=medians)
    return record


def main(arguments: list[str] | None = None, folder: Path = RECORDS) -> dict:
    """Time both samplers on groups of questions in turns, for each length of answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["tiny", *SHAPES_8B], default="tiny")
    parser.add_argument("--lengths", nargs="+", default=["5", "20", "60", NEVER])
    parser.add_argument("--groups", type=int, default=2, help="rounds, each with questions of its own")
    parser.add_argument("--batch", type=int, default=16, help="questions of a group; ours takes fewer at a time where memory says so")
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--compiled", action="store_true", help="of an 8B shape: ours by torch.compile as well")
    parser.add_argument("--other-batches", nargs="*", type=int, default=[], help="of an 8B shape: numbers of questions, answers of 20 tokens")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="of an 8B shape: no further length is begun after them")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.shape != "tiny":
        return measure_large(options, folder)
    model, prompts = load_base("tiny-dllm", method="dllm")
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    ids = prompts.ids
    asked = [prompts.question(text) for text in questions(options.groups * options.batch)]
    groups = [asked[i :: options.groups] for i in range(options.groups)]
    size = min(options.batch, rows_that_fit(model, max(map(len, asked)) + options.new_tokens))
    common = {"max_new_tokens": options.new_tokens, "block_length": BLOCK, "steps": options.new_tokens, "mask": ids.mask, "pad": ids.pad}
    by_length = {}
    for length in [text if text == NEVER else int(text) for text in options.lengths]:
        theirs, ours, n_equal = [], [], 0
        with ending_after(model, length, mask=ids.mask, stop=ids.stop[0], max_new_tokens=options.new_tokens):
            for group in groups:
                seconds, answers = timed(lambda: generate_diffusion(model, group, stop=ids.stop, batch_size=size, **common))  # noqa: B023
                ours.append(seconds)
                seconds, whole = timed(lambda: published_sampler(model, group, **common))  # noqa: B023
                theirs.append(seconds)
                n_equal += sum(cut_at_stop(row, ids.stop) == answer for row, answer in zip(whole, answers, strict=True))
        by_length[str(length)] = {
            "ratio": round(median_ratio(theirs, ours), 2),
            "published_s": round(statistics.median(theirs) / options.batch, 3),
            "maskft_s": round(statistics.median(ours) / options.batch, 3),
            "equal_answers": f"{n_equal} of {len(asked)}",
        }
        print(length, by_length[str(length)], flush=True)
    middle = by_length["20" if "20" in by_length else str(length)]
    return write_record(
        "diffusion_sampling", ratio=middle["ratio"], goal=10, peer="LLaDA's published sampler",
        what="questions a second, answers of 20 tokens, tiny dLLM, float32", folder=folder,
        medians={"batch": options.batch, "rows_in_work": size, "new_tokens": options.new_tokens, "seconds_per_question_by_answer_length": by_length},
    )  # fmt: skip


if __name__ == "__main__":
    main()
