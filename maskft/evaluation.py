"""Questions to generations to scored rows (Section 3, Appendix A.4).

Knows the sampler and the metrics; knows nothing of training or of where rows are kept. Every process answers its share
of the questions by itself, so that processes may stop at different lengths.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping

import torch

from .launcher import GPU_SHARE
from .metrics import METRICS, score
from .packing import pays
from .prompts import Prompts
from .runs import RunConfig
from .samplers import Commit, generate_ar, generate_diffusion, generate_diffusion_drafted


def answer_questions(
    model,
    prompts: Prompts,
    questions: list[str],
    config: RunConfig,
    *,
    on_commit: Callable[[Commit], None] | None = None,
) -> list[str]:
    """Greedy answers, in the order of the questions, by the sampler of the run's method.

    Questions are batched by length, at most ``eval_batch_size`` at a time and fewer where fewer fit: with little padding
    every batch is smaller, and no answer depends on its company. ``on_commit`` is called with what a dLLM makes final, its
    row the question's number.
    """
    if not questions:
        return []
    encoded, ids = [prompts.question(question) for question in questions], prompts.ids
    length = max(map(len, encoded)) + config.max_new_tokens
    size = min(config.eval_batch_size, rows_that_fit(model, length))
    common = {"max_new_tokens": config.max_new_tokens, "stop": ids.stop, "pad": ids.pad, "batch_size": size}
    was_training = model.training
    model.eval()
    if config.method == "dllm":
        options = {"block_length": config.block_length, "mask": ids.mask, "on_commit": on_commit}
        if drafting_pays(model, config, len(questions)):
            answers = generate_diffusion_drafted(model, encoded, **options, **common)
        else:
            answers = generate_diffusion(model, encoded, steps=config.sampler_steps, **options, **common)
    else:
        answers = generate_ar(model, encoded, **common)
    model.train(was_training)
    return [prompts.decode(answer) for answer in answers]


def drafting_pays(model, config: RunConfig, n_questions: int) -> bool:
    """Whether guessed tokens that are verified make the same answers sooner: those of one question, whose pass is mostly launching.

    So it is for a narrow model on a GPU. A wide one's passes are recorded there and take as long as they compute, longer with each
    canvas, as on a CPU (``tests/benchmarks/drafted_sampling.py``: 0.96 of the speed without drafts for one question of the tiny
    dLLM; of a wide model on a CPU it was not measured).
    """
    is_launched = model.device.type == "cuda" and not pays(model.config.hidden_size)
    return n_questions == 1 and config.sampler_steps == config.max_new_tokens and is_launched


# Of a core: what a batch of a dLLM passes from layer to layer should stay in it. Measured on one with 1 MiB of its own:
# batches of 16 to 32 questions of the tiny scale took half the time of 4, and of 120.
CACHE_BYTES = 2**21


def rows_that_fit(model, length: int) -> int:
    """How many questions to answer at a time, by memory: at least one.

    On a GPU, what keys, values and activations of ``length`` tokens a row leave of half the free memory, or of half this run's
    part of a GPU that several share. On a CPU a
    bidirectional model passes over whole rows at every step, and its widest activation shall stay in the cache; a causal
    one passes over one token a row, and nothing there is short.
    """
    config = model.config
    if model.device.type == "cuda":
        width = 2 * config.num_hidden_layers * config.hidden_size + 3 * config.intermediate_size + 8 * config.hidden_size
        allocated, (free, total) = torch.cuda.memory_allocated(model.device), torch.cuda.mem_get_info(model.device)
        free += torch.cuda.memory_reserved(model.device) - allocated
        room = min(free, total // int(os.environ.get(GPU_SHARE, "1")) - allocated) // 2
    elif config.is_causal:
        return sys.maxsize
    else:
        width, room = config.intermediate_size, CACHE_BYTES
    return max(1, room // (length * width * model.dtype.itemsize))


def score_answers(step: int, questions: Iterable[Mapping], answers: Iterable[str]) -> list[dict]:
    """Generation rows (``runs.GENERATION_FIELDS``): each question with its answer, the generation and its scores."""
    return [
        {
            "step": step,
            "question_id": row["question_id"],
            "category": row["category"],
            "question": row["question"],
            "answer": row["answer"],
            "generation": generation,
            **score(row["answer"], generation),
        }
        for row, generation in zip(questions, answers, strict=True)
    ]


def summarise(rows: list[dict], *, epoch: float, train_tokens: int) -> list[dict]:
    """Metric rows (``runs.METRIC_FIELDS``) of one step's generation rows: the mean of each metric in each category."""
    by_category: dict[str, list[dict]] = {}
    for row in rows:
        by_category.setdefault(row["category"], []).append(row)
    return [
        {
            "step": rows[0]["step"],
            "epoch": epoch,
            "train_tokens": train_tokens,
            "category": category,
            "metric": metric,
            "value": sum(row[metric] for row in members) / len(members),
            "n_questions": len(members),
        }
        for category, members in sorted(by_category.items())
        for metric in METRICS
    ]
