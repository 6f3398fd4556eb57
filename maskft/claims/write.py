"""Judged claims for readers: a table, what misses, and JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from maskft.claims.judge import NOT_RUN, Claim, Quantity, Threshold
from maskft.provenance import Provenance
from maskft.runs import write_atomically
from maskft.tables.write import NOT_RUN as NO_NUMBER
from maskft.tables.write import write_table

LATEX_COLUMNS = r"p{.26\textwidth}p{.14\textwidth}p{.3\textwidth}p{.08\textwidth}p{.08\textwidth}rl"
CAPTION = (
    "The paper's claims, judged from runs. Each bound comes from the paper's own numbers, or from its words where it shows "
    "curves only; beside it stand the paper's number and ours that come nearest to it or miss it most. Means over seeds are "
    "judged; a claim is not run where a run is missing."
)


def claims_table(claims: Sequence[Claim]) -> pd.DataFrame:
    """Claims as a reader sees them: one row each with source, bounds, the paper's and our critical numbers, verdict.

    Where a claim has several bounds they stand in one cell, in the same order everywhere. A number is the worst for its
    bound: the highest under "at most", the lowest over "at least".
    """
    rows = []
    for claim in claims:
        bounds = claim.thresholds
        under = [[q for q in claim.quantities if q.threshold == bound] for bound in bounds]
        rows.append(
            {
                "Claim": claim.claim,
                "Source": claim.source,
                "Bound": "; ".join(_words(bound) for bound in bounds),
                "Paper": "; ".join(_paper(bound, found) for bound, found in zip(bounds, under, strict=True)),
                "Ours": "; ".join(_obtained(bound, found) for bound, found in zip(bounds, under, strict=True)),
                "Seeds": str(claim.n_seeds),
                "Verdict": claim.verdict,
            }
        )
    return pd.DataFrame(rows, columns=["Claim", "Source", "Bound", "Paper", "Ours", "Seeds", "Verdict"])


def what_misses(claims: Sequence[Claim]) -> str:
    """Every failing claim with each number outside its bound, and every claim not run with what it lacks."""
    lines = []
    for claim in claims:
        if not claim.failing and claim.verdict != NOT_RUN:
            continue
        lines.append(f"{claim.verdict}: {claim.claim}")
        if claim.verdict == NOT_RUN:
            judged = [quantity for quantity in claim.quantities if quantity.threshold]
            lacking = [quantity for quantity in judged if quantity.n_seeds < claim.min_seeds]
            what = "runs" if claim.min_seeds == 1 else f"{claim.min_seeds} seeds"
            lines.append(f"  {len(lacking)} of {len(judged)} numbers lack {what}")
        for bound in claim.thresholds:
            missed = [quantity for quantity in claim.failing if quantity.threshold == bound]
            if missed:
                lines.append(f"  {_words(bound)}; paper: {bound.paper}")
            for quantity in missed:
                paper = "" if quantity.paper is None else f" (paper {quantity.paper:.3f})"
                lines.append(f"    {quantity.label}: {_number(quantity.obtained)}{paper}")
    return "\n".join(lines)


def write_claims(claims: Sequence[Claim], folder: Path, provenance: Provenance) -> dict[str, Path]:
    """Write `claims.json`, every number of every claim, and `claims_table`, what a reader sees, with a sidecar for both.

    In the JSON, numbers have four decimals; null stands for what was not run, is undefined or has no paper number.

    Returns:
        Path by suffix of the table; the JSON's as `claims`.
    """
    records = [
        {
            "name": claim.name,
            "claim": claim.claim,
            "source": claim.source,
            "paper": {quantity.label: _plain(quantity.paper) for quantity in claim.quantities},
            "obtained": {quantity.label: _plain(_ours(quantity)) for quantity in claim.quantities},
            "threshold": [asdict(threshold) for threshold in claim.thresholds],
            "failing": [quantity.label for quantity in claim.failing],
            "n_seeds": claim.n_seeds,
            "scale": claim.scale,
            "verdict": claim.verdict,
        }
        for claim in claims
    ]
    text = json.dumps(records, indent=1, allow_nan=False) + "\n"
    written = write_atomically(Path(folder) / "claims.json", text)
    # The table is not called `claims`: its sidecar would take the name of the JSON.
    paths = write_table(
        claims_table(claims), folder, "claims_table", provenance,
        caption=CAPTION, column_format=LATEX_COLUMNS, beside=[written.name],
    )  # fmt: skip
    return paths | {"claims": written}


def _words(bound: Threshold) -> str:
    return f"{bound.of}: {bound.sense} {bound.value:g}"


def _ours(quantity: Quantity) -> float | None:
    return quantity.obtained if quantity.n_seeds else None


def _plain(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "undefined"
    text = f"{value:.3f}"
    return text if float(text) or not value else f"{value:.0e}"  # "-0.000" would not say which side of 0 it is


def _paper(bound: Threshold, quantities: Sequence[Quantity]) -> str:
    known = [quantity.paper for quantity in quantities if quantity.paper is not None]
    return _number(_worst(bound, known)) if known else "curve"


def _obtained(bound: Threshold, quantities: Sequence[Quantity]) -> str:
    if not all(quantity.n_seeds for quantity in quantities):
        return NO_NUMBER
    return _number(_worst(bound, [quantity.obtained for quantity in quantities]))


def _worst(bound: Threshold, values: Sequence[float]) -> float:
    if any(math.isnan(value) for value in values):
        return math.nan
    return max(values) if bound.sense in ("below", "at most") else min(values)
