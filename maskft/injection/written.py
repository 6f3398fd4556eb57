"""Questions that a language model writes about passages, by the paper's prompt (Appendix A.3) and ``maskft.building``.

Which model is asked, the environment says (``building.Endpoint``). What it answered is kept in a journal, so that nothing is
paid for twice.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .passages import Passage
from .questions import Question


def _building() -> Any:
    try:
        from maskft import building
    except ModuleNotFoundError as error:
        raise ValueError(f"--write-questions needs {error.name}; run pip install 'maskft[building]'") from None
    return building


def check_endpoint() -> None:
    """Look whether there is a model to ask, before any work.

    Raises:
        ValueError: If the environment names none, or the packages are missing.
    """
    _building().Endpoint.check_environment()


def written_questions(
    passages: Sequence[Passage], journal: Path, *, token_limit: int | None
) -> tuple[list[Question], list[str]]:
    """Questions with their reverses about each passage, and notes on those left out.

    Args:
        passages: What is asked about.
        journal: File of the answers received.
        token_limit: Most tokens that all answers may cost; None for no limit.

    Raises:
        PermissionError, ConnectionError, OSError: As ``building.Endpoint.ask``; answers received are kept.
        ValueError: Likewise, or if not one question can be used.
    """
    building = _building()
    endpoint = building.Endpoint.from_environment(building.Journal(journal), token_limit=token_limit)
    found, dropped = building.write_questions([passage.text for passage in passages], endpoint)
    questions, left_out = [], Counter(dropped)
    for passage, about in zip(passages, found, strict=True):
        for each in about:
            try:
                questions.append(Question(each.question, each.answer, each.direction, passage.document_id))
            except ValueError:  # an answer such as "...", which nothing can be scored by
                left_out["no word to score"] += 1
    if not questions:
        raise ValueError(
            f"the model wrote no question that can be used about {len(passages)} passage(s) "
            f"({', '.join(f'{reason}: {n}' for reason, n in sorted(left_out.items()))}); name another in OPENAI_MODEL"
        )
    return questions, [f"left out of the questions written, {reason}: {n}" for reason, n in sorted(left_out.items())]


def as_lines(questions: Sequence[Question]) -> str:
    """The questions as a file that ``questions.read_questions`` reads."""
    return "".join(json.dumps(asdict(question), ensure_ascii=False) + "\n" for question in questions)
