"""The result at a glance: what each method is fine-tuned on, and what it can answer then (Figure 1)."""

import textwrap
from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Wedge

from maskft.metrics import direction_accuracy
from maskft.paper import CATEGORIES, METHOD_LABELS, METHODS, PUBLISHED_ACCURACY
from maskft.plots.ablations import line_style
from maskft.plots.dynamics import DIRECTIONS
from maskft.plots.prompt import page, passage
from maskft.plots.style import LINE_LABELS, METHOD_COLORS, STYLE

# Where a mark changes. 0.55 is below the lowest cell that the paper calls solved, 0.598 of masked AR on Biography; 0.10
# is above the highest that it calls failed, 0.072 before fine-tuning (Table 3).
ANSWERS_FROM, FAILS_TO = 0.55, 0.10
MARKS = {
    "answers": f"answers (accuracy ≥ {ANSWERS_FROM:.2f})",
    "partly": "partly",
    "fails": f"fails (≤ {FAILS_TO:.2f})",
}
DATASET, KINDS = "name_description", ("none", "same_order")

# The layout, in inches from the upper left corner.
WIDTH, HEADER, ROW, FOOTER = 5.5, 0.82, 1.04, 0.3
CARD, ARROW = (0.08, 2.0), (2.05, 2.95)  # from, to
COLUMNS = {"forward": 3.62, "backward": 4.86}  # middles
RADIUS, SMALL = 0.11, 6.5
DIFFERENT = {"facecolor": "#F2F2F2", "edgecolor": "0.35", "linewidth": 0.8, "linestyle": ":"}


def mark_of(accuracy: float) -> str:
    """`answers`, `partly` or `fails`, by the thresholds of this file."""
    value = round(accuracy, 6)  # a mean of 0.5 and 0.6 is 0.55, whatever binary fractions say
    return "answers" if value >= ANSWERS_FROM else "fails" if value <= FAILS_TO else "partly"


def direction_marks(cells: pd.DataFrame) -> pd.DataFrame:
    """Forward and backward accuracy on NameDescription and their marks, obtained and the paper's (Figure 1).

    Args:
        cells: `tables.summarise` of the checkpoints to show.

    Returns:
        Columns method, paraphrases, direction, accuracy, mark, paper, paper_mark, n_seeds (the fewest of a category).

    Raises:
        ValueError: a category of a method has no accuracy.
    """
    found = cells[(cells.dataset == DATASET) & (cells.metric == "accuracy")].set_index(["method", "paraphrases", "category"])
    rows = []
    for method in METHODS:
        for kind in KINDS:
            keys = {category: (method, kind, category) for category in CATEGORIES[DATASET]}
            if missing := [key for key in keys.values() if key not in found.index]:
                raise ValueError(f"no accuracy for {', '.join('/'.join(key) for key in missing)}; run the study first")
            ours = direction_accuracy({category: found.loc[key, "mean"] for category, key in keys.items()})
            paper = direction_accuracy({c: PUBLISHED_ACCURACY[DATASET, *key] for c, key in keys.items()})
            n_seeds = int(found.loc[list(keys.values()), "n_seeds"].min())
            rows += [
                (method, kind, d, ours[d], mark_of(ours[d]), paper[d], mark_of(paper[d]), n_seeds) for d in DIRECTIONS
            ]
    columns = ["method", "paraphrases", "direction", "accuracy", "mark", "paper", "paper_mark", "n_seeds"]
    return pd.DataFrame(rows, columns=columns)


def example_questions(documents, questions, position: int = 0) -> dict[str, tuple[str, str]]:
    """The shortest forward and backward question about one document, each with its answer.

    Args:
        documents: a corpus' documents (`maskft.data`).
        questions: its questions.
        position: which document.

    Raises:
        ValueError: the document has no question of a direction.
    """
    document_id = documents[position]["document_id"]
    found = {}
    for direction in DIRECTIONS:
        asked = [q for q in questions if q["document_id"] == document_id and q["direction"] == direction]
        if not asked:
            raise ValueError(f"document {document_id} has no {direction} question; choose another position")
        shortest = min(asked, key=lambda question: len(question["question"]))
        found[direction] = (shortest["question"], shortest["answer"])
    return found


def figure1(
    marks: pd.DataFrame, samples: pd.DataFrame, questions: Mapping[str, tuple[str, str]], n_paraphrases: int
) -> Figure:
    """A row for each method: what it is fine-tuned on, and what it can answer then, with a mark and accuracy (Figure 1).

    Args:
        marks: `direction_marks`.
        samples: `plots.samples.training_samples` of the example document.
        questions: `example_questions` about it.
        n_paraphrases: texts of each document with paraphrases.

    Returns:
        The figure, 5.5 inches wide.

    Raises:
        ValueError: a method of `marks` has no sample, or a direction no question.
    """
    methods = list(dict.fromkeys(marks.method))
    lacking = [*(set(methods) - set(samples.method)), *(set(COLUMNS) - set(questions))]
    if lacking:
        raise ValueError(f"no sample or question for {sorted(lacking)}; make them with training_samples, example_questions")
    height = HEADER + ROW * len(methods) + FOOTER
    with plt.style.context(STYLE):
        figure, axes = page(WIDTH, height)
        _draw_header(axes, questions)
        for row, method in enumerate(methods):
            top = HEADER + ROW * row
            axes.axhline(top, color="0.85", linewidth=0.6)
            _draw_card(axes, method, samples[samples.method == method], top)
            for line, kind in enumerate(KINDS):
                y = top + ROW * (0.29 + 0.44 * line)
                _draw_arrow(axes, method, kind, n_paraphrases, y)
                for cell in marks[(marks.method == method) & (marks.paraphrases == kind)].itertuples():
                    _draw_cell(axes, cell, COLUMNS[cell.direction], y)
        _draw_footer(axes, height)
    return figure


def _write(axes: Axes, x: float, y: float, text: str, **look):
    look = {"fontsize": SMALL, "va": "center", "parse_math": False, "linespacing": 1.15} | look
    return axes.text(x, y, text, **look)


def _wrap(text: str, letters: int, lines: int) -> str:
    return "\n".join(textwrap.wrap(text, letters, max_lines=lines, placeholder=" …"))


def _draw_header(axes: Axes, questions: Mapping[str, tuple[str, str]]) -> None:
    _write(axes, CARD[0], 0.13, "fine-tuned on", fontsize=8, weight="bold")
    _write(axes, CARD[0], 0.24, "documents alone, never questions;\nhere one of them as each method takes it", va="top")
    for direction, x in COLUMNS.items():
        question, answer = questions[direction]
        _write(axes, x, 0.13, f"{direction} question", fontsize=8, weight="bold", ha="center")
        _write(axes, x, 0.24, _wrap(question, 24, 3), ha="center", va="top")
        _write(axes, x, 0.57, _wrap(answer, 24, 2), ha="center", va="top", style="italic", color="0.35")


def _draw_card(axes: Axes, method: str, sample: pd.DataFrame, top: float) -> None:
    color = METHOD_COLORS[method]
    _write(axes, CARD[0], top + 0.14, METHOD_LABELS[method], fontsize=9, weight="bold", color=color)
    # Masked AR writes the document that it read with masks; the others' loss is on what they read.
    parts = [passage(sample)]
    if method == "masked_ar":
        target = sample[sample.role == "target"]
        parts = [f"prompt: {parts[0]}", f"answer: {''.join(target.token).strip()}"]
    text = "\n".join(_wrap(part, 35, 6 // len(parts)) for part in parts)
    corner, width, height = (CARD[0], top + 0.25), CARD[1] - CARD[0], ROW - 0.32
    axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle=_rounded(0.05), facecolor="white", edgecolor=color, linewidth=0.8))
    _write(axes, CARD[0] + 0.07, corner[1] + height / 2, text)


def _draw_arrow(axes: Axes, method: str, kind: str, n_paraphrases: int, y: float) -> None:
    color, label = METHOD_COLORS[method], LINE_LABELS[kind]
    label = f"{n_paraphrases} {label}" if kind != "none" else label
    axes.add_patch(FancyArrowPatch(
        (ARROW[0], y + 0.07), (ARROW[1], y + 0.07), color=color, linewidth=1, linestyle=line_style(kind),
        arrowstyle="-", shrinkA=0, shrinkB=0,
    ))  # fmt: skip
    axes.plot(ARROW[1], y + 0.07, marker=">", color=color, markersize=4)
    _write(axes, sum(ARROW) / 2, y - 0.04, label, ha="center")


def _draw_mark(axes: Axes, mark: str, color: str, x: float, y: float, radius: float) -> None:
    """A full disc with a tick, a half one, or an empty one with a cross: told apart without colour."""
    face = color if mark == "answers" else "white"
    axes.add_patch(Circle((x, y), radius, facecolor=face, edgecolor=color, linewidth=1))
    if mark == "partly":
        axes.add_patch(Wedge((x, y), radius, 90, 270, facecolor=color, edgecolor="none"))
    else:
        sign, of = ("✔", "white") if mark == "answers" else ("✘", color)
        axes.text(x, y, sign, color=of, fontsize=95 * radius, ha="center", va="center_baseline")


def _draw_cell(axes: Axes, cell, x: float, y: float) -> None:
    if cell.mark != cell.paper_mark:
        axes.add_patch(FancyBboxPatch((x - 0.48, y - 0.18), 0.98, 0.38, boxstyle=_rounded(0.05), **DIFFERENT))
    _draw_mark(axes, cell.mark, METHOD_COLORS[cell.method], x - 0.3, y, RADIUS)
    _write(axes, x - 0.12, y - 0.045, f"{cell.accuracy:.2f}", fontsize=9, weight="bold")
    _write(axes, x - 0.12, y + 0.105, f"paper {cell.paper:.2f}", color="0.35")


def _draw_footer(axes: Axes, height: float) -> None:
    y, x = height - FOOTER / 2, CARD[0] + 0.08
    axes.axhline(height - FOOTER, color="0.85", linewidth=0.6)
    for (mark, label), width in zip(MARKS.items(), (1.72, 0.75, 1.05), strict=True):
        _draw_mark(axes, mark, "0.25", x, y, 0.075)
        _write(axes, x + 0.13, y, label)
        x += width
    axes.add_patch(FancyBboxPatch((x - 0.05, y - 0.07), 0.24, 0.14, boxstyle=_rounded(0.03), **DIFFERENT))
    _write(axes, x + 0.25, y, "other mark than the paper's")


def _rounded(size: float) -> str:
    return f"round,pad=0,rounding_size={size}"
