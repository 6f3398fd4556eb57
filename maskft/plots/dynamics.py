"""Training dynamics: accuracy of each run at each evaluation, by direction (Figure 2) and in total (Figure 6)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from maskft.metrics import pick_best_step, total_accuracy
from maskft.paper import DATASET_LABELS, DATASETS
from maskft.plots.style import LINE_STYLES, METHOD_COLORS, STYLE, add_legends, marker, panels, training_axis
from maskft.tables.checkpoints import ARM
from maskft.tables.curves import direction_curves, refuse_repeated

DIRECTIONS = ("forward", "backward")
EVALUATION = ["run_id", "dataset", "method", "paraphrases", "seed", "step"]


def total_curves(frame: pd.DataFrame) -> pd.DataFrame:
    """Total accuracy of each run at each evaluation, and which one the tables read (Figure 6, Appendix A.4).

    "Total accuracy (macro average of forward and backward accuracy)."

    Args:
        frame: the long metrics frame.

    Returns:
        Columns run_id, data set, method, paraphrases, seed, step, accuracy, is_best.

    Raises:
        ValueError: an evaluation lacks a direction, or a run has none after step 0.
    """
    rows = [
        (*key, total_accuracy(dict(zip(at.category, at.value, strict=True))))
        for key, at in frame[frame.metric == "accuracy"].groupby(EVALUATION)
    ]
    totals = pd.DataFrame(rows, columns=[*EVALUATION, "accuracy"])
    best = {
        run_id: pick_best_step(dict(zip(run.step, run.accuracy, strict=True))) for run_id, run in totals.groupby("run_id")
    }
    return totals.assign(is_best=totals.step == totals.run_id.map(best))


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
    datasets = datasets_to_draw(curves, f"paraphrases {list(paraphrases)}")
    with plt.style.context(STYLE):
        figure, axes = panels(DIRECTIONS, [DATASET_LABELS[dataset] for dataset in datasets], x=x)
        for column, dataset in enumerate(datasets):
            for row, direction in enumerate(DIRECTIONS):
                panel = curves[(curves.dataset == dataset) & (curves.direction == direction)]
                draw_panel(axes[row, column], panel, x)
            training_axis(axes[1, column], curves[curves.dataset == dataset][x])
        add_legends(figure, curves)
    return figure


def figure2_tokens(frame: pd.DataFrame, paraphrases: Sequence[str] = ("none", "same_order")) -> Figure:
    """Figure 2 against training tokens.

    Raises:
        ValueError: see `figure2`.
    """
    return figure2(frame, "train_tokens", paraphrases)


def figure6(frame: pd.DataFrame, paraphrases: Sequence[str] = ("none", "same_order")) -> Figure:
    """Total accuracy against optimizer steps, a panel for each data set, best checkpoints marked (Figure 6).

    A mark stands on the curve of its own run, at the step that the tables read; drawn as in `figure2` otherwise.

    Args:
        frame: the long metrics frame, one base and one learning rate for each method.
        paraphrases: which kinds to draw; the paper draws these two.

    Returns:
        The figure, 5.5 inches wide.

    Raises:
        ValueError: there is nothing to draw, a curve has a seed twice, or a run has no evaluation after step 0.
    """
    totals = total_curves(frame[frame.paraphrases.isin(paraphrases)])
    datasets = datasets_to_draw(totals, f"paraphrases {list(paraphrases)}")
    with plt.style.context(STYLE):
        figure, axes = panels(["total"], [DATASET_LABELS[dataset] for dataset in datasets], height=2.6)
        for column, dataset in enumerate(datasets):
            panel = totals[totals.dataset == dataset]
            draw_panel(axes[0, column], panel, "step")
            for (method, kind), best in panel[panel.is_best].groupby(["method", "paraphrases"]):
                mark = marker(method, kind)
                axes[0, column].plot(best.step, best.accuracy, ls="", ms=3.5, mew=0.9, zorder=4, clip_on=False, **mark)
            training_axis(axes[0, column], panel.step)
        add_legends(figure, totals)
        dot = Line2D([], [], ls="", marker="o", ms=3.5, color="0.25", label="best checkpoint of each run")
        figure.legend(handles=[dot], loc="outside lower right", handlelength=1)
    return figure


def datasets_to_draw(curves: pd.DataFrame, asked: str) -> list[str]:
    """The data sets of `curves`, in the paper's order.

    Args:
        curves: `direction_curves` or `total_curves`.
        asked: what the caller selected, for the error.

    Raises:
        ValueError: there are none, or a curve has a seed twice.
    """
    datasets = [dataset for dataset in DATASETS if (curves.dataset == dataset).any()]
    if not datasets:
        raise ValueError(f"no accuracy for {asked} in the frame; run the study first")
    refuse_repeated(curves, ARM)
    return datasets


def draw_panel(axes: Axes, panel: pd.DataFrame, x: str) -> None:
    if panel.empty:
        return
    arm, ylabel = ["method", "paraphrases"], axes.get_ylabel()  # seaborn writes its own
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
    axes.set(xlabel="", ylabel=ylabel)
