"""Questions about one's own documents: read, checked against the documents, and a share of them held back.

Any list of ``Question`` can be asked, wherever it is from; ``read_questions`` takes it from a file. Questions are never
trained on. Those held back decide when training stops, the others tell what was learned.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..masking import generator_for
from ..metrics import RELEASE_TOKENIZER
from ..reading import read_question_rows
from .passages import Document

DIRECTIONS = ("forward", "backward", "unknown")
FEWEST_HELD_BACK = 4  # fewer cannot tell one checkpoint from another
ASKING_WORDS = frozenset(
    "what who whom whose which when where why how did does do has have had was were name give tell me you about by with "
    "from it its that this their his her he she they person following".split()
)


@dataclass(frozen=True)
class Question:
    """What is asked and what is true.

    Attributes:
        question: The question.
        answer: The ground truth, a few words.
        direction: ``forward`` where the answer comes after what is asked with in the document, ``backward`` where it comes
            before, ``unknown`` if nobody said.
        document_id: Which document tells; empty if nobody said.

    Raises:
        ValueError: If a text is empty, the answer has no word to score, or the direction is none of the three.
    """

    question: str
    answer: str
    direction: str = "unknown"
    document_id: str = ""

    def __post_init__(self) -> None:
        if not self.question.strip():
            raise ValueError("the question is empty; ask something")
        if not RELEASE_TOKENIZER.tokenize(self.answer):
            raise ValueError(f"the answer {self.answer!r} has no word to score; name something")
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction={self.direction!r} is not one of {', '.join(DIRECTIONS)}")


def read_questions(file: str | Path) -> list[Question]:
    """Questions of a JSON-lines file: ``question`` and ``answer``, and where known ``direction`` and ``document_id``.

    Raises:
        ValueError: If the file is missing, is not UTF-8 JSON lines, or a line is not a question. The message names the line.
    """
    questions = []
    for where, row in read_question_rows(file):
        document_id = "" if row.get("document_id") is None else str(row["document_id"])
        try:
            questions.append(Question(row["question"], row["answer"], str(row.get("direction") or "unknown"), document_id))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    return questions


def content_words(text: str) -> set[str]:
    """Words that say what a text is about, in lower case.

    Example:
        >>> sorted(content_words("Who is the ranger of the silver bridge?"))
        ['bridge', 'ranger', 'silver']
    """
    words = re.sub(r"['’]s\b", "", text)
    return {word.lower() for word in RELEASE_TOKENIZER.tokenize(words)} - ASKING_WORDS


def check_questions(questions: Sequence[Question], documents: Sequence[Document]) -> list[str]:
    """Compare questions with the documents.

    Returns:
        Notes: questions whose answer has no word in the document, so that nothing there can teach it.

    Raises:
        ValueError: If a question names a document that is not there, or shares no word with any document.
    """
    words = {document.document_id: content_words(document.text) for document in documents}
    everywhere = set().union(*words.values())
    unknown, absent, unanswered = [], [], []
    for question in questions:
        if question.document_id and question.document_id not in words:
            close = difflib.get_close_matches(question.document_id, words, n=1)
            unknown.append(f"{question.document_id!r}" + (f" (did you mean {close[0]!r}?)" if close else ""))
            continue
        there = words[question.document_id] if question.document_id else everywhere
        if not content_words(question.question + " " + question.answer) & there:
            absent.append(question.question)
        elif not content_words(question.answer) & there:
            unanswered.append(question.question)
    if unknown:
        raise ValueError(f"{len(unknown)} question(s) are about documents that are not there: {', '.join(unknown[:5])}; ids are paths below the folder")
    if absent:
        raise ValueError(
            f"{len(absent)} question(s) share no word with the documents: {'; '.join(absent[:5])}; "
            "remove them, or ask them as --control-questions"
        )
    return [f"no word of the answer is in the documents: {question}" for question in unanswered]


def hold_back(questions: Sequence[Question], share: float, seed: int) -> tuple[list[Question], list[Question]]:
    """``(held back, asked)``: a random share of each direction is held back to choose a checkpoint by.

    None are where the share comes to fewer than four questions.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share of questions held back {share} must lie in [0, 1)")
    held: set[int] = set()
    for number, direction in enumerate(DIRECTIONS):
        members = [i for i, question in enumerate(questions) if question.direction == direction]
        order = torch.randperm(len(members), generator=generator_for("hold_back", seed, 0, number)).tolist()
        held |= {members[i] for i in order[: round(share * len(members))]}
    if len(held) < FEWEST_HELD_BACK:
        return [], list(questions)
    return [questions[i] for i in sorted(held)], [q for i, q in enumerate(questions) if i not in held]
