"""The learning-rate sweep: total accuracy of every rate against steps (Figure 5)."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from maskft.paper import METHOD_LABELS, METHODS
from maskft.plots.ablations import DARKEST, LIGHTEST, SEQUENTIAL, arm_curves, draw_arms
from maskft.plots.dynamics import total_curves
from maskft.plots.style import STYLE, line_style, panels, training_axis
from maskft.tables.curves import refuse_repeated


def figure5(frame: pd.DataFrame, chosen: Mapping[str, float]) -> Figure:
    """Total accuracy of each learning rate against steps, a column for each method (Figure 5).

    Args:
        frame: the long metrics frame of one data set, with the runs of every rate.
        chosen: the rate of each method that the study uses; its curve is bold, with a dot at each evaluation.

    Returns:
        The figure, 5.5 inches wide.

    Raises:
        ValueError: a column is missing, there is nothing to draw, the frame mixes data sets or paraphrases, a rate has a
            seed twice, or a method has no run of its chosen rate.
    """
    totals = arm_curves(frame, ["learning_rate"], total_curves)
    sets = totals[["dataset", "paraphrases"]].drop_duplicates()
    if len(sets) > 1:
        raise ValueError(f"the frame mixes {sets.to_numpy().tolist()}; expected one data set and one kind of paraphrases")
    refuse_repeated(totals, ["method", "learning_rate"])
    methods = [method for method in METHODS if (totals.method == method).any()]
    for method in methods:
        tried = sorted(totals.learning_rate[totals.method == method].unique().tolist())
        if chosen.get(method) not in tried:
            raise ValueError(f"the chosen rate of {method}, {chosen.get(method)}, is not among those tried, {tried}")
    rates = sorted(totals.learning_rate.unique())
    palette = dict(zip(rates, SEQUENTIAL(np.linspace(LIGHTEST, DARKEST, len(rates))), strict=True))
    with plt.style.context(STYLE):
        figure, axes = panels(["total"], [METHOD_LABELS[method] for method in methods], height=2.5)
        for panel, method in zip(axes[0], methods, strict=True):
            rows, best = totals[totals.method == method], chosen[method]
            draw_arms(panel, rows, "learning_rate", palette, widths={best: 2.2}, marked=[best])
            training_axis(panel, rows.step)
        style = line_style(totals.paraphrases.iloc[0])
        lines = [Line2D([], [], color=palette[rate], linestyle=style, label=f"{rate:g}") for rate in rates]
        mark = Line2D([], [], color="0.4", linestyle=style, linewidth=2.2, marker="o", markersize=3.2, label="chosen")
        figure.legend(
            handles=[*lines, mark], title="learning rate", title_fontsize=plt.rcParams["legend.fontsize"],
            ncols=len(lines) + 1, loc="outside upper center", columnspacing=1.2, handlelength=2.4,
        )  # fmt: skip
    return figure
