"""Paraphrases and questions of passages, by the three prompts of Appendix A.3 and whatever model an endpoint has.

The prompts are the paper's text word for word, in ``prompts/``. Answers are checked before anything is made of them.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

from maskft.building.directions import direction_in
from maskft.building.endpoint import Endpoint

PROMPTS = {
    path.stem: path.read_text(encoding="utf-8").removesuffix("\n")
    for path in Path(__file__).with_name("prompts").glob("*.txt")
}
N_PARAPHRASES = 10  # the original among them

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


def _as_triple(value: object) -> object:
    """JSON has no tuples: models write a list, or an object with the names that the prompt uses."""
    if isinstance(value, dict):
        value = [value.get("question"), value.get("answer"), value.get("cue_used_in_question", value.get("cue"))]
    return tuple(value) if isinstance(value, list) else value


class _Paraphrases(BaseModel, strict=True):
    paraphrases: Annotated[list[_Text], Field(min_length=N_PARAPHRASES, max_length=N_PARAPHRASES)]


_Triple = Annotated[tuple[_Text, _Text, list[str]], BeforeValidator(_as_triple)]


class _Questions(BaseModel, strict=True):
    qa_data: Annotated[list[_Triple], Field(min_length=1)]


@dataclass(frozen=True)
class Question:
    """A question about a passage, its answer, the cues that the model says it used, and its direction."""

    question: str
    answer: str
    cues: tuple[str, ...]
    direction: str  # "forward" or "backward"


def prompt_of(kind: str, passage: str) -> str:
    """The paper's prompt ``same_order``, ``permute_order`` or ``questions`` with the passage filled in."""
    return PROMPTS[kind].replace("{passage}", passage)


def paraphrase_task(kind: str, passage: str) -> tuple[str, Callable[[str], list[str]]]:
    """A prompt for paraphrases and the check of its answer, for `Endpoint.ask`.

    Good is a list of ten different texts, the first of them the passage (word for word; it is kept as the passage has
    it, since models change quotation marks and line breaks), none with a heading such as "Paraphrase 1:".
    """

    def check(answer: str) -> list[str]:
        texts = _Paraphrases.model_validate_json(_json_of(answer)).paraphrases
        if _letters(texts[0]) != _letters(passage):
            raise ValueError("the first text is not the passage")
        texts[0] = passage
        if len({_letters(text) for text in texts}) < len(texts):
            raise ValueError("a text occurs twice")
        if any(re.match(r"(paraphrase|original)( text)?\s*\d*\s*:", text, re.IGNORECASE) for text in texts[1:]):
            raise ValueError("a text has a heading")
        return texts

    return prompt_of(kind, passage), check


def question_task(passage: str) -> tuple[str, Callable[[str], list[tuple[str, str, list[str]]]]]:
    """A prompt for questions and the check of its answer: triples of question, answer and cues."""
    return prompt_of("questions", passage), lambda answer: _Questions.model_validate_json(_json_of(answer)).qa_data


def keep_clear(passage: str, triples: Sequence[tuple[str, str, list[str]]], dropped: Counter[str]) -> list[Question]:
    """The questions that are forward or backward; the others are counted in ``dropped`` by reason."""
    kept: dict[tuple[str, str], Question] = {}
    for question, answer, cues in triples:
        direction = direction_in(passage, question, answer, cues)
        if direction not in ("forward", "backward"):
            dropped[direction] += 1
        elif (question, answer) in kept:
            dropped["asked twice"] += 1
        else:
            kept[question, answer] = Question(question, answer, tuple(cues), direction)
    return list(kept.values())


def write_paraphrases(passages: Sequence[str], endpoint: Endpoint, *, kind: str) -> list[list[str] | None]:
    """Ten paraphrases of each passage, the passage itself first (Appendix A.3).

    Args:
        passages: Texts.
        endpoint: Who is asked.
        kind: ``same_order`` or ``permute_order``.

    Returns:
        For each passage its texts, or None where no attempt gave a good answer.

    Raises:
        PermissionError, ConnectionError, ValueError, OSError: As `Endpoint.ask`.
    """
    return endpoint.ask([paraphrase_task(kind, passage) for passage in passages], label=f"{kind} paraphrases")


def write_questions(passages: Sequence[str], endpoint: Endpoint) -> tuple[list[list[Question]], Counter[str]]:
    """Questions about each passage with their reverses, and whether they are forward or backward (Appendix A.3).

    Asking the same passages again, after a kill for example, asks the endpoint for nothing that its journal holds.

    Args:
        passages: Texts, each of a length that the model can read.
        endpoint: Who is asked, how many at a time, and at which cost at most: see `Endpoint.from_environment`.

    Returns:
        For each passage its questions (none where no attempt gave a good answer), and how many were dropped for which
        reason.

    Raises:
        PermissionError, ConnectionError, ValueError, OSError: As `Endpoint.ask`.
    """
    dropped: Counter[str] = Counter()
    answers = endpoint.ask([question_task(passage) for passage in passages], label="questions")
    dropped["passages without a good answer"] = answers.count(None)
    return [keep_clear(p, triples or [], dropped) for p, triples in zip(passages, answers, strict=True)], +dropped


def _json_of(answer: str) -> str:
    """The JSON in an answer, which models like to put into a code fence, with or without words around it."""
    fenced = re.search(r"```(?:json)?\s*(.*?)```", answer, re.DOTALL)
    return fenced[1] if fenced else answer


def _letters(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
