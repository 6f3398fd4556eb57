"""Training dynamics: accuracy of each run at each evaluation, and Figure 2."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maskft.metrics import direction_accuracy
from maskft.paper import DATASET_LABELS, DATASETS
from maskft.plots.style import AXIS_LABELS, LINE_STYLES, METHOD_COLORS, STYLE, add_legends, training_axis

DIRECTIONS = ("forward", "backward")


def direction_curves(frame: pd.DataFrame, x: str = "step") -> pd.DataFrame:
    """Forward and backward accuracy of each run at each evaluation (Figure 2).

    "For the NameDescription dataset, forward and backward accuracy are the average of N2D and D2N types."

    Args:
        frame: the long metrics frame; with x = "train_tokens" it needs that column too.
        x: `step` or `train_tokens`.

    Returns:
        Columns run_id, data set, method, paraphrases, seed, step, x, direction, accuracy.

    Raises:
        ValueError: x is neither, or the frame lacks its column.
    """
    if x not in AXIS_LABELS or x not in frame:
        raise ValueError(f"x is {x!r}; expected one of {list(AXIS_LABELS)}, and a column of that name in the frame")
    rows = []
    keys = list(dict.fromkeys(["run_id", "dataset", "method", "paraphrases", "seed", "step", x]))
    for key, group in frame[frame.metric == "accuracy"].groupby(keys):
        point = dict(zip(keys, key, strict=True))
        by_direction = direction_accuracy(dict(zip(group.category, group.value, strict=True)))
        rows += [point | {"direction": direction, "accuracy": value} for direction, value in by_direction.items()]
    return pd.DataFrame(rows, columns=[*keys, "direction", "accuracy"])


def figure2(frame: pd.DataFrame, x: str = "step", paraphrases: Sequence[str] = ("none", "same_order")) -> Figure:
    """Training dynamics of the three methods: a column for each data set, a row for each direction (Figure 2).

    The x axis starts at 0, before fine-tuning, is linear up to the first evaluation and logarithmic from there on.
    A mean is drawn where every seed was evaluated. Seeds of one curve must share their evaluation steps.

    Args:
        frame: the long metrics frame, one base and one learning rate for each method.
        x: `step`, as in the paper, or `train_tokens`: masked AR sees its documents twice a step.
        paraphrases: which kinds to draw; the paper draws these two.

    Returns:
        The figure, 5.5 inches wide.

    Raises:
        ValueError: x is unknown, there is nothing to draw, or a curve has a seed twice.
    """
    curves = direction_curves(frame[frame.paraphrases.isin(paraphrases)], x)
    datasets = [dataset for dataset in DATASETS if (curves.dataset == dataset).any()]
    if not datasets:
        raise ValueError(f"no accuracy for paraphrases {list(paraphrases)} in the frame; run the study first")
    arm = ["dataset", "method", "paraphrases", "direction", "step"]
    if curves.duplicated([*arm, "seed"]).any():
        twice = curves[curves.duplicated([*arm, "seed"])].iloc[0]
        raise ValueError(
            f"{twice.dataset}/{twice.method}/{twice.paraphrases} has seed {twice.seed} more than once; "
            "expected one base and one learning rate: filter the frame first"
        )
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(2, len(datasets), sharex="col", sharey=True, squeeze=False)
        for column, dataset in enumerate(datasets):
            for row, direction in enumerate(DIRECTIONS):
                panel = curves[(curves.dataset == dataset) & (curves.direction == direction)]
                draw_panel(axes[row, column], panel, x)
            axes[0, column].set_title(DATASET_LABELS[dataset])
            training_axis(axes[1, column], curves[curves.dataset == dataset][x])
        for row, direction in enumerate(DIRECTIONS):
            axes[row, 0].set_ylabel(f"{direction} accuracy")
            axes[row, 0].set(ylim=(-0.03, 1.03), yticks=np.linspace(0, 1, 6))
        figure.supxlabel(AXIS_LABELS[x], fontsize=plt.rcParams["axes.labelsize"])
        add_legends(figure, curves)
    return figure


def figure2_tokens(frame: pd.DataFrame, paraphrases: Sequence[str] = ("none", "same_order")) -> Figure:
    """Figure 2 against training tokens.

    Raises:
        ValueError: see `figure2`.
    """
    return figure2(frame, "train_tokens", paraphrases)


def draw_panel(axes: Axes, panel: pd.DataFrame, x: str) -> None:
    if panel.empty:
        return
    arm = ["method", "paraphrases"]
    look = {"hue": "method", "palette": METHOD_COLORS, "style": "paraphrases", "dashes": LINE_STYLES}
    common = {"y": "accuracy", "estimator": None, "errorbar": None, "legend": False, "ax": axes}
    n_seeds = panel.groupby(arm).seed.nunique()
    several = panel[panel.set_index(arm).index.map(n_seeds) > 1]
    if not several.empty:
        seaborn.lineplot(several, x=x, units="run_id", linewidth=0.6, alpha=0.4, zorder=2, **look, **common)
    # Seeds meet at a step; their token counts there may differ a little, and are averaged as well.
    means = panel.groupby([*arm, "step"]).agg(x=(x, "mean"), accuracy=("accuracy", "mean"), n=("seed", "nunique")).reset_index()
    means = means[means.n == means.set_index(arm).index.map(n_seeds)]
    seaborn.lineplot(means, x="x", zorder=3, **look, **common)
    axes.set(xlabel="", ylabel="")
