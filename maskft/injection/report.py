"""What was learned and what was forgotten: one Markdown report, the same as one HTML page, and a model card.

Knows results as ``command`` gathers them, and no model. Templates are in ``assets/injection``; all text of documents,
questions and models is escaped.
"""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt

from ..bases import ASSETS
from ..examples import as_marked, as_text
from ..paper import METHOD_LABELS
from ..runs import write_atomically
from .questions import DIRECTIONS

N_EXAMPLES = 12  # of answers, of each direction
SCORES = {"accuracy": "recall", "exact_match": "exact match"}


def mean(rows: list[dict], score: str) -> float:
    """Mean of a score of answers; NaN for none."""
    return sum(row[score] for row in rows) / len(rows) if rows else float("nan")


def learned_table(columns: list[tuple[str, list[dict]]]) -> list[list[str]]:
    """Rows ``[direction, score, number of questions, value of each column]``, for the directions that were asked.

    Args:
        columns: Label and scored answers (``runs.GENERATION_FIELDS``) of each model.
    """
    table = []
    for direction in DIRECTIONS:
        groups = [[row for row in rows if row["category"] == direction] for _, rows in columns]
        for score, label in SCORES.items() if groups[0] else ():
            table.append([direction, label, str(len(groups[0])), *(f"{mean(rows, score):.2f}" for rows in groups)])
    return table


def examples(columns: list[tuple[str, list[dict]]]) -> list[list[str]]:
    """Rows ``[direction, question, ground truth, answer of each column]``, safe for Markdown, scored words in bold."""
    chosen: list[int] = []
    for direction in DIRECTIONS:
        members = [i for i, row in enumerate(columns[0][1]) if row["category"] == direction]
        # Evenly spaced, not picked: the first and the last are among them.
        n = min(N_EXAMPLES, len(members))
        chosen += [members[round(k * (len(members) - 1) / max(1, n - 1))] for k in range(n)]
    first = columns[0][1]
    return [
        [first[i]["category"], as_text(first[i]["question"]), as_text(first[i]["answer"])]
        + [as_marked(rows[i]["answer"], rows[i]["generation"]) for _, rows in columns]
        for i in chosen
    ]


def lost_controls(before: list[dict], after: list[dict]) -> list[list[str]]:
    """Rows ``[question, ground truth, answer before, answer after]`` of control questions that lost accuracy."""
    return [
        [as_text(b["question"]), as_text(b["answer"]), as_marked(b["answer"], b["generation"]), as_marked(a["answer"], a["generation"])]
        for b, a in zip(before, after, strict=True)
        if a["accuracy"] < b["accuracy"]
    ]


def _environment() -> Environment:
    # Markdown, not HTML: as_text and as_marked have escaped what came from elsewhere.
    environment = Environment(
        loader=FileSystemLoader(ASSETS / "injection"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters |= {"as_text": as_text, "row": lambda cells: "| " + " | ".join(cells) + " |"}
    return environment


def render(result: dict[str, Any]) -> dict[str, str]:
    """File names and contents of the report and the model card."""
    before, arms = result["before"], result["arms"]
    arm = arms[-1]
    columns = [("before", before["answers"])]
    columns += [(METHOD_LABELS[a["config"]["method"]], a["measured"]["answers"]) for a in arms]
    environment = _environment()
    values = result | {
        "arm": arm,
        "labels": [label for label, _ in columns],
        "learned": learned_table(columns),
        "examples": examples(columns),
        "control": [mean(m["control"], "accuracy") for m in (before, *(a["measured"] for a in arms))],
        "perplexities": [m["perplexity"] for m in (before, *(a["measured"] for a in arms))],
        "n_control": len(before["control"]),
        "lost": lost_controls(before["control"], arm["measured"]["control"])[:N_EXAMPLES],
    }
    report = environment.get_template("report.md.jinja").render(values)
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(report)
    return {
        "report.md": report,
        "report.html": environment.get_template("report.html.jinja").render(title=as_text(f"{result['model']}, taught"), body=body),
        "README.md": environment.get_template("model_card.md.jinja").render(values),
        "report.json": json.dumps(result, ensure_ascii=False, indent=1) + "\n",
    }


def write_report(result: dict[str, Any], folder: Path) -> None:
    """Write report and model card into a folder."""
    for name, content in render(result).items():
        write_atomically(folder / name, content)
