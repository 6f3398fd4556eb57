"""The fits of Table 4 as a picture: fitted curves against the points, and A with its uncertainty."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maskft.paper import DATASET_LABELS, DATASETS, METHODS
from maskft.plots.dynamics import DIRECTIONS
from maskft.plots.style import AXIS_LABELS, LINE_STYLES, METHOD_COLORS, STYLE, add_legends, marker, training_axis
from maskft.tables.convergence import is_determined


def table4_fits(points: pd.DataFrame, fits: pd.DataFrame) -> Figure:
    """A (1 - exp(-k x)) against the accuracies that it is fitted to (Table 4).

    A column for each data set, a row for each direction. The strip beside a panel has A of each curve with its standard
    error. Where A is less than two of them from 0, the curve has not bent: its A is nowhere and has no mark. The axis is
    cut at 2.
    Points at step 0 are drawn and not fitted: every fitted curve starts at 0, whatever the base knows.

    Args:
        points: mean accuracy over seeds by data set, method, paraphrases, direction and step (`tables.mean_curves`).
        fits: A, A_error and k of each of these curves (`tables.convergence_fits`).

    Returns:
        The figure, 5.5 inches wide.

    Raises:
        ValueError: there is nothing to draw, or a curve of `points` has no fit, or two.
    """
    curve = ["dataset", "method", "paraphrases", "direction"]
    datasets = [dataset for dataset in DATASETS if (points.dataset == dataset).any()]
    if not datasets:
        raise ValueError("no points to draw; run the study first")
    fitted = fits.groupby(curve).size().reindex(pd.MultiIndex.from_frame(points[curve].drop_duplicates()), fill_value=0)
    if (fitted != 1).any():
        wrong = fitted[fitted != 1]
        raise ValueError(f"{'/'.join(wrong.index[0])} has {wrong.iloc[0]} fits; expected one for each curve of the points")
    fits = fits.assign(has_a=is_determined(fits, "A"))
    known = fits[fits.has_a]
    top = max(1.03, np.minimum(known.A + known.A_error, 2).max() + 0.03)
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(2, len(datasets), sharex="col", sharey=True, squeeze=False, figsize=(5.5, 4.2))
        for column, dataset in enumerate(datasets):
            for row, direction in enumerate(DIRECTIONS):
                here = (points.dataset == dataset) & (points.direction == direction)
                these = (fits.dataset == dataset) & (fits.direction == direction)
                draw_fits(axes[row, column], points[here], fits[these])
            axes[0, column].set_title(DATASET_LABELS[dataset])
            training_axis(axes[1, column], points[points.dataset == dataset].step)
        for row, direction in enumerate(DIRECTIONS):
            axes[row, 0].set_ylabel(f"{direction} accuracy")
        axes[0, 0].set(ylim=(-0.03, top), yticks=np.arange(0, top, 0.2))
        figure.supxlabel(AXIS_LABELS["step"], fontsize=plt.rcParams["axes.labelsize"])
        add_legends(figure, points)
    return figure


def draw_fits(axes: Axes, points: pd.DataFrame, fits: pd.DataFrame) -> None:
    strip = axes.inset_axes((1.04, 0, 0.24, 1), sharey=axes)
    strip.set(xlim=(-0.6, len(METHODS) - 0.4), xticks=[], xlabel="A")
    strip.spines["left"].set_visible(False)
    strip.tick_params(left=False, labelleft=False)
    for fit in fits.itertuples():
        at = points[(points.method == fit.method) & (points.paraphrases == fit.paraphrases)]
        # As dense before the first evaluation, where the axis is linear, as after it.
        first, last = at.step[at.step > 0].min(), at.step.max()
        x = np.concatenate([np.linspace(0, first, 50), np.geomspace(first, last, 100)])
        look = marker(fit.method, fit.paraphrases)
        dashes = LINE_STYLES[fit.paraphrases] or (None, None)
        # A curve of zeros has no k.
        y = np.zeros_like(x) if fit.A == 0 else -fit.A * np.expm1(-fit.k * x)
        axes.plot(x, y, color=METHOD_COLORS[fit.method], lw=1, dashes=dashes)
        axes.plot(at.step, at.accuracy, ls="", ms=2.8, mew=0.7, zorder=3, clip_on=False, **look)
        if fit.has_a:
            place = METHODS.index(fit.method) + 0.2 * (-1 if fit.paraphrases == "none" else 1)
            strip.errorbar(place, fit.A, fit.A_error, ms=2.8, mew=0.7, elinewidth=0.9, **look)
