"""The paper's claims as checks on results: holds, fails, or not run.

A claim is one registered function of the tidy frame of `tables.versus_paper` (and the same frame for the control
base); it names quantities, each a combination of cells with a threshold, and `judge` computes them twice, from the
paper's numbers and from the ones obtained. Means over seeds are judged. To add a claim, write such a function under
`@register`.

Thresholds are constants here and come from the paper's numbers; a change to one belongs in the change log.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from maskft.paper import PUBLISHED_ACCURACY, Cell
from maskft.runs import write_atomically

HOLDS, FAILS, NOT_RUN = "holds", "fails", "not run"


@dataclass(frozen=True)
class Threshold:
    """A bound on one kind of quantity, and the paper's number that it comes from.

    Attributes:
        of: what it bounds.
        sense: `below`, `at most`, `at least` or `above`.
        value: the bound.
        paper: the paper's number.
    """

    of: str
    sense: str
    value: float
    paper: str

    def is_met(self, value: float) -> bool:
        value = round(value, 6)  # 0.7 - 0.4 is a gap of 0.3, whatever binary fractions say
        return {
            "below": value < self.value,
            "at most": value <= self.value,
            "at least": value >= self.value,
            "above": value > self.value,
        }[self.sense]


@dataclass(frozen=True)
class Quantity:
    """A number computed from cells; `threshold` None reports it without judging.

    Attributes:
        label: its name in the record.
        cells: the cells it needs.
        combine: from their accuracies, in order, to the number.
        threshold: the bound it must meet.
    """

    label: str
    cells: tuple[Cell, ...]
    combine: Callable[..., float]
    threshold: Threshold | None


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, judged.

    Attributes:
        name: the function that checks it.
        claim: the sentence.
        source: where the paper says it.
        paper: each quantity, from the paper's numbers.
        obtained: each quantity, from these results; NaN where a cell is missing.
        threshold: the bounds.
        failing: the quantities that miss their bound.
        n_seeds: the fewest seeds behind any cell.
        scale: tiny, small or paper.
        verdict: `holds`, `fails` or `not run` (a cell is missing).
    """

    name: str
    claim: str
    source: str
    paper: dict[str, float]
    obtained: dict[str, float]
    threshold: tuple[Threshold, ...]
    failing: tuple[str, ...]
    n_seeds: int
    scale: str
    verdict: str


Check = Callable[[pd.DataFrame, str, pd.DataFrame | None], Claim]
CLAIMS: list[Check] = []


def register(check: Check) -> Check:
    """Add a check to `CLAIMS`, which `check_claims` goes through in order."""
    CLAIMS.append(check)
    return check


def judge(
    name: str, claim: str, source: str, quantities: Sequence[Quantity], frame: pd.DataFrame | None, scale: str
) -> Claim:
    """Compute quantities from the paper's cells and from the frame's, and compare the latter with their thresholds.

    Args:
        name: the check's name.
        claim: the sentence.
        source: where the paper says it.
        quantities: what to compute.
        frame: the tidy frame of `tables.versus_paper`; None where nothing was run.
        scale: tiny, small or paper.
    """
    found: dict[Cell, tuple[float, int]] = {}
    if frame is not None:
        rows = frame[(frame.metric == "accuracy") & frame.obtained.notna()]
        columns = ["dataset", "method", "paraphrases", "category", "obtained", "n_seeds"]
        found = {tuple(cell): (mean, n) for *cell, mean, n in rows[columns].itertuples(index=False)}
    nothing = (math.nan, 0)
    obtained, n_seeds = {}, []
    for quantity in quantities:
        cells = [found.get(cell, nothing) for cell in quantity.cells]
        obtained[quantity.label] = float(quantity.combine(*(mean for mean, _ in cells)))
        n_seeds += [n for _, n in cells]
    failing = tuple(
        quantity.label
        for quantity in quantities
        if quantity.threshold and not quantity.threshold.is_met(obtained[quantity.label])
    )
    if any(math.isnan(value) for value in obtained.values()):
        verdict, failing = NOT_RUN, ()
    else:
        verdict = FAILS if failing else HOLDS
    return Claim(
        name=name,
        claim=claim,
        source=source,
        paper={q.label: float(q.combine(*(PUBLISHED_ACCURACY[cell] for cell in q.cells))) for q in quantities},
        obtained=obtained,
        threshold=tuple(dict.fromkeys(q.threshold for q in quantities if q.threshold)),
        failing=failing,
        n_seeds=min(n_seeds),
        scale=scale,
        verdict=verdict,
    )


def check_claims(frame: pd.DataFrame, scale: str, control: pd.DataFrame | None = None) -> list[Claim]:
    """Check every registered claim.

    Args:
        frame: the tidy frame of `tables.versus_paper`, or its CSV read back.
        scale: tiny, small or paper.
        control: the same frame for runs from the control base, which never met a demask prompt.
    """
    return [check(frame, scale, control) for check in CLAIMS]


def claims_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """Claims as a frame for reading: one row each, with its verdict and what misses its bound."""
    columns = ["name", "claim", "source", "verdict", "n_seeds", "scale"]
    table = pd.DataFrame([{column: getattr(claim, column) for column in columns} for claim in claims], columns=columns)
    table["failing"] = [
        "; ".join(f"{label} {claim.obtained[label]:.3f}" for label in claim.failing) for claim in claims
    ]
    return table


def write_claims(claims: Sequence[Claim], path: Path) -> Path:
    """Write claims as a JSON array, numbers with four decimals, null where nothing was obtained."""

    def plain(numbers: dict[str, float]) -> dict[str, float | None]:
        return {label: None if math.isnan(value) else round(value, 4) for label, value in numbers.items()}

    records = [asdict(c) | {"paper": plain(c.paper), "obtained": plain(c.obtained)} for c in claims]
    return write_atomically(Path(path), (json.dumps(records, indent=1) + "\n").encode())
