"""How long documents and questions are in tokens: measured where the data is at hand, else as measured before.

The counts of the originals are Llama-3's own tokenizer's on the released files; LLaDA's tokenizer is another one, and is
taken to count alike.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, comb

from maskft.data import load_corpus
from maskft.planning.shapes import Real
from maskft.runs import RunConfig


@dataclass(frozen=True)
class Lengths:
    """Lengths in tokens of one data set's training texts and questions.

    Attributes:
        n_texts: Training texts of an epoch.
        mean: Their mean length.
        batch_longest: Mean length of the longest text of a batch, to which the batch is padded.
        longest: The longest text.
        n_questions: Questions of one evaluation.
        question: Their mean length.
        document_frame: What a document gets around it: BOS and EOS.
        demask_frame: What masked AR's prompt adds to its two copies (Figure 3).
        question_frame: What the question's prompt adds.
    """

    n_texts: int
    mean: Real
    batch_longest: Real
    longest: int
    n_questions: int
    question: Real
    # Of Llama 3: BOS 1, user header 4, request 7, end of turn 1, assistant header 4, lead-in 6, and the target's end 1.
    document_frame: int = 2
    demask_frame: int = 24
    question_frame: int = 10

    def sequence(self, method: str, text: Real) -> Real:
        """Length of the training sequence that a text of ``text`` tokens becomes."""
        return 2 * text + self.demask_frame if method == "masked_ar" else text + self.document_frame

    @property
    def prompt(self) -> Real:
        """Mean length of a question in its prompt."""
        return self.question + self.question_frame


# (texts, mean, mean longest of 64, longest) of the files in maskft/data/README.md. Wiki's paraphrases: of articles 0-20,
# 210 texts; the number of texts is that of all.
TEXTS = {
    ("name_description", "none"): (60, 27.0, 34.0, 34),
    ("name_description", "same_order"): (1800, 28.0, 36.7, 40),
    ("biography", "none"): (100, 66.7, 74.8, 75),
    ("biography", "same_order"): (500, 66.6, 74.2, 77),
    ("biography", "permute_order"): (500, 66.3, 73.8, 76),
    ("wiki", "none"): (94, 115.2, 125.9, 126),
    ("wiki", "same_order"): (940, 114.7, 124.3, 125),
    ("wiki", "permute_order"): (940, 108.1, 125.7, 127),
}
QUESTIONS = {"name_description": (480, 28.3), "biography": (900, 22.1), "wiki": (374, 16.9)}
# Of the same files, texts and questions together. For other files they give an estimate of the length.
CHARACTERS_PER_TOKEN = {"name_description": 4.9, "biography": 4.3, "wiki": 4.4}


def expected_longest(lengths: Sequence[int], size: int) -> Real:
    """Mean of the longest of ``size`` texts drawn without replacement.

    Of n texts in ascending order, the i-th (from 0) is the longest of C(i, size - 1) of the C(n, size) draws.
    """
    size = min(size, len(lengths))
    draws = sum(length * comb(i, size - 1) for i, length in enumerate(sorted(lengths)))
    return draws / comb(len(lengths), size)


def padded(length: Real, multiple: int = 8) -> int:
    """``length`` filled up as the collators do."""
    return multiple * ceil(length / multiple)


def measure(texts: Sequence[str], questions: Sequence[str], count: Callable[[str], int], batch: int, **frames) -> Lengths:
    """The ``Lengths`` of texts and questions, with ``count`` tokens each, in batches of ``batch``."""
    of_texts, of_questions = [count(text) for text in texts], [count(question) for question in questions]
    return Lengths(
        n_texts=len(of_texts),
        mean=sum(of_texts) / len(of_texts),
        batch_longest=expected_longest(of_texts, batch),
        longest=max(of_texts),
        n_questions=len(of_questions),
        question=sum(of_questions) / len(of_questions),
        **frames,
    )


def lengths_of(run: RunConfig) -> Lengths:
    """The lengths of a run's data, and how many of its questions are asked.

    Synthetic data is made and tokenized. Built data is read, and original data where ``MASKFT_DATA`` is set, their tokens estimated
    by ``CHARACTERS_PER_TOKEN``; else it is what we measured. Nothing is downloaded.

    Raises:
        FileNotFoundError: If ``MASKFT_DATA`` or ``MASKFT_BUILT`` is set and lacks a file, or a shipped base is missing.
        ValueError: If a file is damaged, or the data has no such paraphrases.
    """
    if run.source == "synthetic":
        found = _synthetic(run.dataset, run.paraphrases, run.world_seed, run.base, run.train_batch_size)
    elif run.source == "built" or os.environ.get("MASKFT_DATA"):
        found = _read(run.dataset, run.source, run.paraphrases, run.train_batch_size)
    else:
        found = Lengths(*TEXTS[run.dataset, run.paraphrases], *QUESTIONS[run.dataset])
    return replace(found, n_questions=ceil(found.n_questions / run.question_stride))


@cache
def _synthetic(dataset: str, paraphrases: str, world_seed: int, base: str, batch: int) -> Lengths:
    from maskft.models import base_folder, load_tokenizer, prompts_for

    corpus = load_corpus(dataset, source="synthetic", world_seed=world_seed)
    prompts = prompts_for(load_tokenizer(base_folder(base)))
    context, target = prompts.demask([], [])
    frames = {
        "document_frame": len(prompts.document([])),
        "demask_frame": len(context) + len(target),
        "question_frame": len(prompts.question("")),
    }
    texts, questions = list(corpus.training_texts(paraphrases)["text"]), list(corpus.questions["question"])
    return measure(texts, questions, lambda text: len(prompts.encode(text)), batch, **frames)


@cache
def _read(dataset: str, source: str, paraphrases: str, batch: int) -> Lengths:
    corpus, each = load_corpus(dataset, source=source), CHARACTERS_PER_TOKEN[dataset]
    texts, questions = list(corpus.training_texts(paraphrases)["text"]), list(corpus.questions["question"])
    return measure(texts, questions, lambda text: ceil(len(text) / each), batch)
