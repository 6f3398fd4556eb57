"""The paper's claims as checks on results: holds, fails, or not run.

A claim is one function of `Results` under `@register`, which says its sentence and where the paper makes it. It
returns quantities: numbers obtained from runs, each beside the paper's and with the bound it must meet. Means over
seeds are judged. To add a claim, write such a function.

Thresholds are constants and come from the paper's numbers; a change to one belongs in the change log. A bound on an
effect is about half the smallest effect that the paper reports, since a small model may show it less.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from maskft.claims.results import Results

HOLDS, FAILS, NOT_RUN = "holds", "fails", "not run"


@dataclass(frozen=True)
class Threshold:
    """A bound on one kind of quantity, and the paper's number or words that it comes from.

    Attributes:
        of: what it bounds.
        sense: `below`, `at most`, `at least` or `above`.
        value: the bound.
        paper: the paper's number, or its words where it has a curve only.
    """

    of: str
    sense: str
    value: float
    paper: str

    def is_met(self, value: float) -> bool:
        """Whether `value` is within the bound; NaN never is."""
        value = round(value, 6)  # 0.7 - 0.4 is a gap of 0.3, whatever binary fractions say
        return {
            "below": value < self.value,
            "at most": value <= self.value,
            "at least": value >= self.value,
            "above": value > self.value,
        }[self.sense]


@dataclass(frozen=True)
class Quantity:
    """A number from runs, and the paper's.

    Attributes:
        label: its name in the record.
        obtained: the number; NaN where runs are missing, or where the runs do not define it.
        n_seeds: the fewest seeds behind it; 0 where runs are missing.
        threshold: the bound it must meet; None reports it without judging.
        paper: the paper's number; None where the paper gives only a curve.
    """

    label: str
    obtained: float
    n_seeds: int
    threshold: Threshold | None = None
    paper: float | None = None

    @property
    def misses(self) -> bool:
        """Whether it is outside its bound."""
        return self.threshold is not None and not self.threshold.is_met(self.obtained)


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, judged.

    Attributes:
        name: the function that checks it.
        claim: the sentence.
        source: where the paper says it.
        quantities: what was compared.
        n_seeds: the fewest seeds behind any number that is judged.
        min_seeds: how many the claim needs.
        scale: name of the scale.
        verdict: `holds`, `fails` or `not run` (a run is missing, or seeds for a claim about seeds).
    """

    name: str
    claim: str
    source: str
    quantities: tuple[Quantity, ...]
    n_seeds: int
    min_seeds: int
    scale: str
    verdict: str

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """The bounds, each once."""
        return tuple(dict.fromkeys(q.threshold for q in self.quantities if q.threshold))

    @property
    def failing(self) -> tuple[Quantity, ...]:
        """What is outside its bound; empty where the claim was not run."""
        return tuple(q for q in self.quantities if q.misses) if self.verdict == FAILS else ()


@dataclass(frozen=True)
class Check:
    """A claim before it is judged: see `register`."""

    name: str
    claim: str
    source: str
    measure: Callable[[Results], Sequence[Quantity]]
    min_seeds: int


CLAIMS: list[Check] = []


def register(claim: str, source: str, *, min_seeds: int = 1) -> Callable:
    """Add a claim to `CLAIMS`, which `check_claims` goes through in order.

    Args:
        claim: the sentence.
        source: where the paper says it.
        min_seeds: fewer seeds leave it `not run`.

    Returns:
        A decorator for a function from `Results` to quantities, at least one with a threshold; its name is the claim's.
    """

    def add(measure: Callable[[Results], Sequence[Quantity]]) -> Callable:
        CLAIMS.append(Check(measure.__name__, claim, source, measure, min_seeds))
        return measure

    return add


def judge(check: Check, results: Results) -> Claim:
    """Measure a claim's quantities and compare them with their bounds.

    Quantities without a bound take no part in the verdict. A number that the runs leave undefined fails; only missing
    runs make a claim `not run`, whatever its other numbers are.
    """
    quantities = tuple(check.measure(results))
    judged = [quantity for quantity in quantities if quantity.threshold]
    n_seeds = min(quantity.n_seeds for quantity in judged)
    if n_seeds < check.min_seeds:
        verdict = NOT_RUN
    else:
        verdict = FAILS if any(quantity.misses for quantity in judged) else HOLDS
    return Claim(
        check.name, check.claim, check.source, quantities, n_seeds, check.min_seeds, results.scale.name, verdict
    )


def check_claims(results: Results) -> list[Claim]:
    """Check every registered claim, in the order they were registered."""
    return [judge(check, results) for check in CLAIMS]


def difference(label: str, first: Quantity, second: Quantity, threshold: Threshold | None) -> Quantity:
    """`first` less `second`, by as many seeds as both have."""
    paper = None if first.paper is None or second.paper is None else first.paper - second.paper
    n_seeds = min(first.n_seeds, second.n_seeds)
    return Quantity(label, first.obtained - second.obtained if n_seeds else math.nan, n_seeds, threshold, paper)
