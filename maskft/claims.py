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
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from maskft.paper import CATEGORIES, DATASETS, PUBLISHED_ACCURACY, Cell
from maskft.runs import write_atomically

HOLDS, FAILS, NOT_RUN = "holds", "fails", "not run"
SYNTHETIC_SCALES = ("tiny",)


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


UNKNOWN = Threshold("accuracy before fine-tuning", "below", 0.10, "0.072, the highest but on Wiki (Table 3)")
REVERSAL_CURSE = Threshold("AR backward accuracy", "at most", 0.10, "0.071, the highest (Table 1)")
PARAPHRASE_GAP = Threshold("AR forward gain by paraphrases", "at least", 0.30, "0.536, the lowest (Table 1)")
DLLM_LEARNS = Threshold("dLLM accuracy without paraphrases", "at least", 0.55, "0.696, the lowest (Table 3)")
DLLM_STEADY = Threshold("dLLM change by paraphrases", "at most", 0.25, "0.183, the largest (Table 3)")
MASKED_AR_LEARNS = Threshold("masked AR accuracy without paraphrases", "at least", 0.55, "0.598, the lowest (Table 3)")
WIKI_FORWARD_LIFT = Threshold("AR forward gain on Wiki", "above", 0.0, "0.308 (Table 2)")
WIKI_LIFT_RATIO = 2.0  # the paper: 0.308 / 0.114 = 2.7 (Table 2)
WIKI_LIFT_EXCESS = Threshold(
    f"AR forward gain on Wiki, less {WIKI_LIFT_RATIO:g} times the backward gain", "at least", 0.0, "0.308 against 0.114"
)


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


def _cells(method: str, paraphrases: str, datasets: Sequence[str], direction: str = "") -> list[Cell]:
    return [
        (dataset, method, paraphrases, category)
        for dataset in datasets
        for category in CATEGORIES[dataset]
        if category.endswith(direction)
    ]


def _each(cells: Sequence[Cell], threshold: Threshold) -> list[Quantity]:
    return [Quantity("/".join(cell), (cell,), float, threshold) for cell in cells]


def _with_paraphrases(cell: Cell) -> Cell:
    return (cell[0], cell[1], "same_order", cell[3])


REVERSIBLE = ("name_description", "biography")  # the data sets whose paraphrases all keep the order of the facts


@register
def new_facts_are_unknown(frame: pd.DataFrame, scale: str, control: pd.DataFrame | None = None) -> Claim:
    # The originals' Wiki cells start at 0.13 to 0.21: "due to the naturalness of this dataset, we could not
    # completely remove the effect of base knowledge" (Section 4). The synthetic twin has no such excuse.
    datasets = DATASETS if scale in SYNTHETIC_SCALES else REVERSIBLE
    cells = [cell for method in ("ar", "dllm") for cell in _cells(method, "before", datasets)]
    return judge(
        "new_facts_are_unknown",
        "Before fine-tuning, the models do not know the new facts.",
        "Section 3, Table 3 (before fine-tuning)",
        _each(cells, UNKNOWN),
        frame,
        scale,
    )


@register
def ar_needs_paraphrases_and_fails_backward(
    frame: pd.DataFrame, scale: str, control: pd.DataFrame | None = None
) -> Claim:
    backward = [c for kind in ("none", "same_order") for c in _cells("ar", kind, REVERSIBLE, "backward")]
    gains = [
        Quantity(
            f"{dataset}/ar/{category} gain by paraphrases",
            ((dataset, method, kind, category), (dataset, method, "same_order", category)),
            lambda without, with_paraphrases: with_paraphrases - without,
            PARAPHRASE_GAP,
        )
        for dataset, method, kind, category in _cells("ar", "none", REVERSIBLE, "forward")
    ]
    return judge(
        "ar_needs_paraphrases_and_fails_backward",
        "The autoregressive model needs paraphrases to answer forward questions, and fails backward ones even so.",
        "Section 4, Table 1",
        _each(backward, REVERSAL_CURSE) + gains,
        frame,
        scale,
    )


@register
def dllm_answers_both_directions(frame: pd.DataFrame, scale: str, control: pd.DataFrame | None = None) -> Claim:
    cells = _cells("dllm", "none", REVERSIBLE)
    changes = [
        Quantity(
            f"{cell[0]}/dllm/{cell[3]} change by paraphrases",
            (cell, _with_paraphrases(cell)),
            lambda without, with_paraphrases: abs(with_paraphrases - without),
            DLLM_STEADY,
        )
        for cell in cells
    ]
    return judge(
        "dllm_answers_both_directions",
        "The masked diffusion model answers both directions without paraphrases, which change little.",
        "Section 5, Table 3",
        _each(cells, DLLM_LEARNS) + changes,
        frame,
        scale,
    )


@register
def masked_ar_answers_both_directions(frame: pd.DataFrame, scale: str, control: pd.DataFrame | None = None) -> Claim:
    return judge(
        "masked_ar_answers_both_directions",
        "Masked fine-tuning lets the autoregressive model answer both directions without paraphrases.",
        "Section 6, Table 3",
        _each(_cells("masked_ar", "none", REVERSIBLE), MASKED_AR_LEARNS),
        frame,
        scale,
    )


@register
def masked_ar_does_so_from_the_control_base(
    frame: pd.DataFrame, scale: str, control: pd.DataFrame | None = None
) -> Claim:
    cells = _cells("masked_ar", "none", REVERSIBLE)
    claim = judge(
        "masked_ar_does_so_from_the_control_base",
        "Masked fine-tuning does so also from a base that never met the demask prompt.",
        "not in the paper, whose base is an instruct model; its numbers of Section 6, Table 3",
        _each(cells, MASKED_AR_LEARNS),
        control,
        scale,
    )
    main = masked_ar_answers_both_directions(frame, scale).obtained
    differences = {f"{label} less the main base's": claim.obtained[label] - main[label] for label in main}
    return replace(claim, obtained=claim.obtained | differences)


@register
def wiki_paraphrases_lift_ar_forward_more(
    frame: pd.DataFrame, scale: str, control: pd.DataFrame | None = None
) -> Claim:
    forward, backward = _cells("ar", "none", ["wiki"])
    f, b = (forward, _with_paraphrases(forward)), (backward, _with_paraphrases(backward))
    return judge(
        "wiki_paraphrases_lift_ar_forward_more",
        "On Wiki, same-order paraphrases lift the autoregressive model's forward accuracy far more than its backward.",
        "Section 4, Table 2",
        [
            Quantity("forward gain", f, lambda without, with_: with_ - without, WIKI_FORWARD_LIFT),
            Quantity("backward gain", b, lambda without, with_: with_ - without, None),
            Quantity(
                "forward gain less twice the backward gain",
                f + b,
                lambda f0, f1, b0, b1: (f1 - f0) - WIKI_LIFT_RATIO * (b1 - b0),
                WIKI_LIFT_EXCESS,
            ),
        ],
        frame,
        scale,
    )
