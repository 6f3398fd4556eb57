"""Figures: one look for all of them, the same bytes for the same numbers, and Figure 2.

Colour is the method (Okabe and Ito's palette, told apart by colour-blind readers), line style is the paraphrases.
Thin lines are seeds, bold ones their mean.
"""

import io
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from maskft.metrics import direction_accuracy
from maskft.paper import DATASET_LABELS, DATASETS, METHOD_LABELS, METHODS
from maskft.provenance import Provenance, write_sidecar
from maskft.runs import write_atomically

STYLE = str(files("maskft") / "assets" / "maskft.mplstyle")
METHOD_COLORS = {"ar": "#D55E00", "dllm": "#0072B2", "masked_ar": "#009E73"}
LINE_STYLES = {"none": "", "same_order": (4, 1.6), "permute_order": (1, 1.4)}  # dashes, as seaborn takes them
LINE_LABELS = {
    "none": "no paraphrases",
    "same_order": "paraphrases",
    "permute_order": "permuted paraphrases",
}
AXIS_LABELS = {"step": "optimizer step", "train_tokens": "training tokens"}
DIRECTIONS = ("forward", "backward")
MAX_TICKS = 4


def save_figure(figure: Figure, folder: Path, name: str, provenance: Provenance) -> dict[str, Path]:
    """Write a figure as PDF and PNG (200 dpi) with a provenance sidecar.

    The files hold no date and no program name, so that the same numbers give the same bytes.

    Args:
        figure: what to write; it is not closed.
        folder: where the files go.
        name: their stem: `NAME.pdf`, `.png`, `.json`.
        provenance: for the sidecar.

    Returns:
        Path by suffix.
    """
    paths = {}
    no_trace = {"pdf": {"CreationDate": None, "Creator": None, "Producer": None}, "png": {"Software": None}}
    for suffix, metadata in no_trace.items():
        buffer = io.BytesIO()
        with plt.style.context(STYLE):  # fonts and dpi are read at drawing time, not when the figure is made
            figure.savefig(buffer, format=suffix, metadata=metadata)
        paths[suffix] = write_atomically(Path(folder) / f"{name}.{suffix}", buffer.getvalue())
    paths["json"] = write_sidecar(Path(folder) / f"{name}.json", provenance, [path.name for path in paths.values()])
    return paths


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
                _draw_panel(axes[row, column], panel, x)
            axes[0, column].set_title(DATASET_LABELS[dataset])
            _training_axis(axes[1, column], curves[curves.dataset == dataset][x])
        for row, direction in enumerate(DIRECTIONS):
            axes[row, 0].set_ylabel(f"{direction} accuracy")
            axes[row, 0].set(ylim=(-0.03, 1.03), yticks=np.linspace(0, 1, 6))
        figure.supxlabel(AXIS_LABELS[x], fontsize=plt.rcParams["axes.labelsize"])
        _legends(figure, curves)
    return figure


def figure2_tokens(frame: pd.DataFrame, paraphrases: Sequence[str] = ("none", "same_order")) -> Figure:
    """Figure 2 against training tokens.

    Raises:
        ValueError: see `figure2`.
    """
    return figure2(frame, "train_tokens", paraphrases)


def _draw_panel(axes: Axes, panel: pd.DataFrame, x: str) -> None:
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


def _training_axis(axes: Axes, values: pd.Series) -> None:
    positive = values[values > 0]
    if positive.empty:
        return
    first, last = float(positive.min()), float(positive.max())
    axes.set_xscale("symlog", linthresh=first, linscale=0.5)
    axes.set_xlim(0, last)
    powers = range(int(np.ceil(np.log10(first))), int(np.floor(np.log10(last))) + 1)
    ticks = [10.0**power for power in powers] or [first]
    axes.xaxis.set_major_locator(FixedLocator([0, *ticks[:: -(-len(ticks) // MAX_TICKS)]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _short(value: float) -> str:
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


def _legends(figure: Figure, curves: pd.DataFrame) -> None:
    methods = [method for method in METHODS if (curves.method == method).any()]
    kinds = [kind for kind in LINE_STYLES if (curves.paraphrases == kind).any()]
    lines = [Line2D([], [], color=METHOD_COLORS[method], label=METHOD_LABELS[method]) for method in methods]
    styles = [Line2D([], [], color="0.25", label=LINE_LABELS[kind]) for kind in kinds]
    for kind, line in zip(kinds, styles, strict=True):
        line.set_dashes(LINE_STYLES[kind])
    figure.legend(handles=lines, loc="outside upper left", ncols=len(lines), columnspacing=1.2, handlelength=1.8)
    figure.legend(handles=styles, loc="outside upper right", ncols=len(styles), columnspacing=1.2, handlelength=2.6)
