"""What a model knows and what it forgot: perplexity on a general text, and questions that it should know anyway.

A real model is measured on a short English text and on common knowledge that the package ships; a tiny one, which knows no
English, on documents and questions of its own pretraining world. Either can be given instead.
"""

import math
import random
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch

from ..bases import ASSETS
from ..collators import ARCollator
from ..data.synthetic.pretraining import PretrainingMix, draw_example, draw_question, known_world, present
from ..data.synthetic.tokenizer import build_tokenizer
from ..losses import autoregressive_loss
from ..prompts import Prompts
from ..reading import read_text
from ..runs import RunConfig
from ..step import SupervisedLogits, supervised_positions
from .questions import Question, read_questions
from .teach import autocast

RESET_PEAK = Path("/proc/self/clear_refs")
PROCESS_STATUS = Path("/proc/self/status")
WINDOW = 256  # tokens of general text that are read together
N_TINY_TEXTS, N_TINY_QUESTIONS = 100, 40


def speaks_tiny(prompts: Prompts) -> bool:
    """Whether the tokenizer is that of the tiny world, whose models know no English."""
    return prompts.tokenizer.get_vocab() == build_tokenizer().get_vocab()


def general_texts(prompts: Prompts, file: str | Path | None = None) -> tuple[str, list[str]]:
    """A description and the texts of what perplexity is measured on: a file's, or what the package has.

    Raises:
        ValueError: If the file is missing, empty, or not UTF-8 text.
    """
    if file is not None:
        if not Path(file).is_file() or not (text := read_text(Path(file))).strip():
            raise ValueError(f"--general-text {file} is missing or empty; give a file of ordinary text")
        return Path(file).name, [text]
    if not speaks_tiny(prompts):
        return "a short English text that maskft ships", [read_text(ASSETS / "injection" / "general_text.txt")]
    rng, mix, texts = random.Random("maskft inject"), PretrainingMix(demask=0.0, reread=()), []
    while len(texts) < N_TINY_TEXTS:
        texts.append(draw_example(rng, mix, 1.0, burst=0).text)
    return "documents of the tiny pretraining world", texts


def control_questions(prompts: Prompts, file: str | Path | None = None) -> tuple[str, list[Question]]:
    """A description and questions that have nothing to do with the documents: a file's, or what the package has.

    Raises:
        ValueError: As ``read_questions``.
    """
    if file is not None:
        return Path(file).name, read_questions(file)
    if not speaks_tiny(prompts):
        return "common knowledge that maskft ships", read_questions(ASSETS / "injection" / "control_questions.jsonl")
    rng, world = random.Random("maskft inject"), known_world()
    asked = [one for group in (world.people, world.biographies, world.events) for one in present(group, PretrainingMix(), 1.0).asked]
    drawn = [draw_question(rng, rng.choice(asked).thing) for _ in range(N_TINY_QUESTIONS)]
    return "people and events of the tiny pretraining world", [Question(one.text, one.answer) for one in drawn]


def windows(prompts: Prompts, texts: Sequence[str], length: int) -> list[list[int]]:
    """Token ids of texts, in windows of at most ``length``; a rest of one token is dropped, since nothing precedes it."""
    encoded = [prompts.encode(text) for text in texts]
    return [w for ids in encoded for i in range(0, len(ids), length) if len(w := ids[i : i + length]) > 1]


@torch.no_grad()
def perplexity(model, prompts: Prompts, texts: Sequence[str], config: RunConfig) -> float:
    """Perplexity a token of texts in the pre-training format, end of document included; windows of 256 tokens."""
    rows = windows(prompts, texts, min(WINDOW, model.config.max_position_embeddings - 8))
    collate, wrapped = ARCollator(prompts), SupervisedLogits(model.eval())
    total, n_targets = 0.0, 0
    for start in range(0, len(rows), 16):
        batch = collate([{"text_ids": ids} for ids in rows[start : start + 16]])
        at, columns, labels = supervised_positions(batch, "ar")
        with autocast(model, config):
            inputs = (x.to(model.device) for x in (batch["input_ids"], batch["attention_mask"], at, columns))
            total += float(wrapped(*inputs, partial(autoregressive_loss, n_targets=1), labels.to(model.device)))
        n_targets += len(labels)
    return math.exp(total / n_targets)


def reset_peak_memory() -> None:
    """Begin ``peak_memory_gib`` anew, where the system can: on a GPU, and on Linux."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        RESET_PEAK.write_text("5")


def peak_memory_gib() -> float:
    """The most memory this process has held since ``reset_peak_memory``: of the GPU where there is one, else of the machine."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    # The kernel's mark is the process's own. That of getrusage, which other systems have alone, begins with its parent's.
    lines = PROCESS_STATUS.read_text().splitlines() if PROCESS_STATUS.is_file() else []
    if marks := [line for line in lines if line.startswith("VmHWM:")]:
        return int(marks[0].split()[1]) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
