"""Quantities made of accuracies of table cells: which cells, each one, changes by paraphrases, totals."""

import math
from collections.abc import Callable, Mapping, Sequence

from maskft.claims.judge import Quantity, Threshold
from maskft.claims.results import Cells
from maskft.metrics import total_accuracy
from maskft.paper import CATEGORIES, PUBLISHED_ACCURACY, Cell

REVERSIBLE = ("name_description", "biography")  # the data sets whose paraphrases all keep the order of the facts
PAPER_HAS_NONE: Mapping[Cell, float] = {}


def cells_of(method: str, paraphrases: str, datasets: Sequence[str], direction: str = "") -> list[Cell]:
    """Table cells of a method, of one direction or of both."""
    return [
        (dataset, method, paraphrases, category)
        for dataset in datasets
        for category in CATEGORIES[dataset]
        if category.endswith(direction)
    ]


def combined(
    label: str,
    cells: Sequence[Cell],
    combine: Callable[..., float],
    threshold: Threshold | None,
    found: Cells,
    published: Mapping[Cell, float] = PUBLISHED_ACCURACY,
) -> Quantity:
    """A number computed from the accuracies of cells, in order, and the same number from the paper's.

    Args:
        label: its name.
        cells: the cells it needs.
        combine: from their accuracies to the number.
        threshold: its bound.
        found: the cells obtained; where one is missing, the number is too.
        published: the paper's cells; `PAPER_HAS_NONE` for runs of which the paper shows curves only.
    """
    n_seeds = min(found.get(cell, (math.nan, 0))[1] for cell in cells)
    obtained = float(combine(*(found[cell][0] for cell in cells))) if n_seeds else math.nan
    has_paper = all(cell in published for cell in cells)
    paper = float(combine(*(published[cell] for cell in cells))) if has_paper else None
    return Quantity(label, obtained, n_seeds, threshold, paper)


def each(
    cells: Sequence[Cell],
    threshold: Threshold,
    found: Cells,
    published: Mapping[Cell, float] = PUBLISHED_ACCURACY,
) -> list[Quantity]:
    """One quantity for each cell: its accuracy."""
    return [combined("/".join(cell), [cell], float, threshold, found, published) for cell in cells]


def gain(
    label: str, cell: Cell, paraphrases: str, threshold: Threshold | None, found: Cells, *, absolute: bool = False
) -> Quantity:
    """Accuracy with `paraphrases` less the cell's own; `absolute` drops the sign."""
    other = (*cell[:2], paraphrases, cell[3])
    size = abs if absolute else float
    return combined(label, [cell, other], lambda without, with_: size(with_ - without), threshold, found)


def total(
    label: str,
    arm: tuple[str, str, str],
    threshold: Threshold | None,
    found: Cells,
    published: Mapping[Cell, float] = PUBLISHED_ACCURACY,
) -> Quantity:
    """Total accuracy (Appendix A.4) of an arm: data set, method, paraphrases."""
    categories = CATEGORIES[arm[0]]

    def combine(*values: float) -> float:
        return total_accuracy(dict(zip(categories, values, strict=True)))

    return combined(label, [(*arm, category) for category in categories], combine, threshold, found, published)
