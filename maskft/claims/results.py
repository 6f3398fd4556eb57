"""What a claim is judged on: everything that ran at a scale, and what claims derive from it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from maskft.paper import PAPER_SETTINGS, Cell
from maskft.scales import Scale
from maskft.tables.checkpoints import before_fine_tuning, best_checkpoints, summarise
from maskft.tables.curves import direction_curves

Cells = Mapping[Cell, tuple[float, int]]  # accuracy, mean over seeds, and the number of seeds

RANDOM_RATIO = PAPER_SETTINGS["mask_ratio"].value
COLUMNS = ("base", "learning_rate", "mask_ratio_low", "mask_ratio_high", "corruption", "train_tokens")
TOTAL = "total"


@dataclass(frozen=True, eq=False)
class Curve:
    """One training curve, mean over seeds, at the steps where every seed was evaluated (Figure 2).

    Attributes:
        steps: optimizer steps, ascending from 0.
        tokens: training tokens up to each.
        accuracy: the mean.
        spread: the standard deviation over seeds (ddof = 1; NaN for one seed).
        n_seeds: 0 where nothing ran; the arrays are then empty.
    """

    steps: np.ndarray
    tokens: np.ndarray
    accuracy: np.ndarray
    spread: np.ndarray
    n_seeds: int

    @property
    def gain(self) -> float:
        """The best accuracy less the one before fine-tuning."""
        return float(self.accuracy.max() - self.accuracy[0])

    def tokens_to(self, level: float) -> float:
        """Training tokens at which accuracy first reaches `level`, on straight lines between evaluations; else inf."""
        reached = np.flatnonzero(self.accuracy >= level)
        if not reached.size:
            return math.inf
        last = max(int(reached[0]), 1)
        return float(np.interp(level, self.accuracy[last - 1 : last + 1], self.tokens[last - 1 : last + 1]))


@dataclass(frozen=True, eq=False)
class Results:
    """Everything that ran at a scale.

    The frame may hold all runs of the study. They are told apart here: the main ones (the scale's learning rate and
    base, random mask ratios, masks), those from the control base, of one fixed ratio, and with random tokens for
    masks. The rates of the sweep that were not chosen belong to none.

    Args:
        scale: names the chosen learning rates and the control base.
        metrics: the long metrics frame (`runs.read_metrics`); missing runs are simply not in it.

    Raises:
        ValueError: the frame lacks a column that tells runs apart.
    """

    scale: Scale
    metrics: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [column for column in COLUMNS if column not in self.metrics]
        if missing:
            raise ValueError(f"the metrics frame lacks {missing}; expected it as runs.read_metrics gives it")

    @cached_property
    def main(self) -> Cells:
        """Cells of the main runs at their best checkpoints, and before fine-tuning (Tables 1 to 3)."""
        return _cells(self._main_runs)

    @cached_property
    def control(self) -> Cells:
        """Cells of the runs from the base that never met a demask prompt."""
        return _cells(self._runs(control=True))

    @cached_property
    def random_tokens(self) -> Cells:
        """Cells of masked AR with random tokens for the masked copy (Figure 9)."""
        return _cells(self._runs(corruption="random_token"))

    def fixed_ratio(self, ratio: float) -> Cells:
        """Cells of the runs with one mask ratio throughout (Figure 4)."""
        return _cells(self._runs(ratio=(ratio, ratio)))

    def curve(self, dataset: str, method: str, paraphrases: str, direction: str) -> Curve:
        """A curve of the main runs; `direction` is `forward`, `backward` or `total`, their mean (Figures 2 and 6)."""
        nothing = Curve(*(np.empty(0) for _ in range(4)), 0)
        return self._curves.get((dataset, method, paraphrases, direction), nothing)

    @cached_property
    def _main_runs(self) -> pd.DataFrame:
        return self._runs()

    @cached_property
    def _curves(self) -> dict[tuple, Curve]:
        by_seed = direction_curves(self._main_runs, "train_tokens")
        point = [column for column in by_seed if column not in ("direction", "accuracy")]
        total = by_seed.groupby(point, as_index=False).accuracy.mean().assign(direction=TOTAL)
        by_seed = pd.concat([by_seed, total])
        key = ["dataset", "method", "paraphrases", "direction"]
        points = by_seed.groupby([*key, "step"], as_index=False).agg(
            tokens=("train_tokens", "mean"),
            accuracy=("accuracy", "mean"),
            spread=("accuracy", "std"),
            n=("seed", "size"),
        )
        n_seeds = by_seed.groupby(key).seed.nunique()
        columns = ["step", "tokens", "accuracy", "spread"]
        return {
            arm: Curve(*rows.loc[rows.n == n_seeds[arm], columns].to_numpy(float).T, int(n_seeds[arm]))
            for arm, rows in points.groupby(key)
        }

    def _runs(self, *, ratio=RANDOM_RATIO, corruption: str = "mask", control: bool = False) -> pd.DataFrame:
        runs = self.metrics[self.metrics.metric == "accuracy"]
        return runs[
            (runs.learning_rate == runs.method.map(dict(self.scale.learning_rates)))
            & ((runs.base == self.scale.control_base) == control)
            & (runs.mask_ratio_low == ratio[0])
            & (runs.mask_ratio_high == ratio[1])
            & (runs.corruption == corruption)
        ]


def _cells(runs: pd.DataFrame) -> Cells:
    if runs.empty:
        return {}
    rows = pd.concat([summarise(before_fine_tuning(runs)), summarise(best_checkpoints(runs))])
    columns = ["dataset", "method", "paraphrases", "category", "mean", "n_seeds"]
    return {tuple(cell): (mean, n) for *cell, mean, n in rows[columns].itertuples(index=False)}
