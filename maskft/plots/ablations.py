"""What mask ratios and masks themselves do: fixed ratios (Figure 4) and random tokens for masks (Figure 9)."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D

from maskft.paper import DATASET_LABELS, DATASETS, METHOD_LABELS
from maskft.plots.dynamics import DIRECTIONS, direction_curves
from maskft.plots.style import LINE_LABELS, LINE_STYLES, METHOD_COLORS, STYLE, line_style, panels, training_axis
from maskft.tables.ablations import RANDOM_TOKEN, name_control
from maskft.tables.curves import refuse_repeated

SEQUENTIAL = plt.get_cmap("magma")  # dark to light, so that grey print keeps the order; none of the methods' colours
DARKEST, LIGHTEST = 0.15, 0.8  # darker ones look black, lighter ones are lost on white
# The control is another way of fine-tuning beside AR and masked AR, so it takes a further colour of their palette.
ARM_COLORS = {**METHOD_COLORS, RANDOM_TOKEN: "#CC79A7"}
ARM_LABELS = {**METHOD_LABELS, RANDOM_TOKEN: "random tokens"}


def figure4(frame: pd.DataFrame) -> Figure:
    """Fixed mask ratios beside the random one: a column for each method, a row for each direction (Figure 4).

    Args:
        frame: the long metrics frame of dLLM and masked AR on NameDescription; runs with equal `mask_ratio_low` and
            `mask_ratio_high` are the fixed ones.

    Returns:
        The figure, 5.5 inches wide.

    Raises:
        ValueError: a column is missing, there is nothing to draw, or a mask ratio has a seed twice.
    """
    curves = arm_curves(frame, ["mask_ratio_low", "mask_ratio_high"])
    is_fixed = curves.mask_ratio_low == curves.mask_ratio_high
    curves["arm"] = curves.mask_ratio_low.where(is_fixed, "random")
    refuse_repeated(curves, ["dataset", "method", "arm", "paraphrases"])
    ratios = sorted(curves.mask_ratio_low[is_fixed].unique())
    # Black at 0, as in the paper, where nothing is masked.
    colors = {ratio: SEQUENTIAL(DARKEST + (LIGHTEST - DARKEST) * ratio) if ratio else "black" for ratio in ratios}
    methods = [method for method in ("dllm", "masked_ar") if (curves.method == method).any()]
    with plt.style.context(STYLE):
        figure, axes = panels(DIRECTIONS, [METHOD_LABELS[method] for method in methods], height=4.0)
        for column, method in enumerate(methods):
            palette = colors | {"random": METHOD_COLORS[method]}
            of_method = curves[curves.method == method]
            for row, direction in enumerate(DIRECTIONS):
                panel = of_method[of_method.direction == direction]
                draw_arms(axes[row, column], panel, "arm", palette, widths={"random": 2.4})
            training_axis(axes[-1, column], of_method.step)
        fixed = [Line2D([], [], color=colors[ratio], label=f"{ratio:g}") for ratio in ratios]
        drawn = curves.loc[~is_fixed, ["mask_ratio_low", "mask_ratio_high"]].drop_duplicates()
        label = "random, " + " or ".join(f"U({low:g}, {high:g})" for low, high in drawn.itertuples(index=False))
        random = tuple(Line2D([], [], color=METHOD_COLORS[method], linewidth=2.4) for method in methods)
        handles, labels = [*fixed, random], [*(line.get_label() for line in fixed), label]
        if drawn.empty:
            handles, labels = fixed, labels[:-1]
        figure.legend(
            handles, labels, title="mask ratio t", title_fontsize=plt.rcParams["legend.fontsize"], ncols=len(handles),
            loc="outside upper center", handler_map={tuple: HandlerTuple(ndivide=None, pad=0.3)}, handlelength=2.2,
        )  # fmt: skip
    return figure


def figure9(frame: pd.DataFrame) -> Figure:
    """The random-token control beside masked AR and AR: a column for each data set, a row for each direction (Figure 9).

    Args:
        frame: the long metrics frame; the control is masked AR with `corruption` = `random_token`.

    Returns:
        The figure, 5.5 inches wide.

    Raises:
        ValueError: a column is missing, there is nothing to draw, or an arm has a seed twice.
    """
    curves = arm_curves(frame, ["corruption"])
    curves["arm"] = name_control(curves)
    refuse_repeated(curves, ["dataset", "arm", "paraphrases"])
    datasets = [dataset for dataset in DATASETS if (curves.dataset == dataset).any()]
    arms = [arm for arm in ARM_COLORS if (curves.arm == arm).any()]
    kinds = [kind for kind in LINE_STYLES if (curves.paraphrases == kind).any()]
    with plt.style.context(STYLE):
        figure, axes = panels(DIRECTIONS, [DATASET_LABELS[dataset] for dataset in datasets])
        for column, dataset in enumerate(datasets):
            of_dataset = curves[curves.dataset == dataset]
            for row, direction in enumerate(DIRECTIONS):
                draw_arms(axes[row, column], of_dataset[of_dataset.direction == direction], "arm", ARM_COLORS)
            training_axis(axes[-1, column], of_dataset.step)
        lines = [Line2D([], [], color=ARM_COLORS[arm], label=ARM_LABELS[arm]) for arm in arms]
        styles = [Line2D([], [], color="0.25", linestyle=line_style(kind), label=LINE_LABELS[kind]) for kind in kinds]
        spacing = {"columnspacing": 0.9, "handletextpad": 0.5}
        figure.legend(handles=lines, loc="outside upper left", ncols=len(lines), handlelength=1.5, **spacing)
        figure.legend(handles=styles, loc="outside upper right", ncols=len(styles), handlelength=2.2, **spacing)
    return figure


def arm_curves(
    frame: pd.DataFrame, columns: Sequence[str], curves_of: Callable[[pd.DataFrame], pd.DataFrame] = direction_curves
) -> pd.DataFrame:
    """Accuracy of each run at each evaluation, with further columns of the frame that tell runs apart.

    Args:
        frame: the long metrics frame.
        columns: the further columns.
        curves_of: `direction_curves` or `total_curves`.

    Raises:
        ValueError: a column is missing, or the frame has no accuracy.
    """
    if missing := [column for column in columns if column not in frame]:
        raise ValueError(f"the metrics frame lacks {missing}; read it with maskft.runs.read_metrics")
    curves = curves_of(frame)
    if curves.empty:
        raise ValueError("no accuracy in the frame; run the study first")
    return curves.join(frame.drop_duplicates("run_id").set_index("run_id")[list(columns)], on="run_id")


def draw_arms(
    axes: Axes, panel: pd.DataFrame, hue: str, palette: Mapping, widths: Mapping = {}, marked: Sequence = ()
) -> None:
    """Draw each arm's mean over seeds, bold, and its seeds, thin. A mean stands where every seed was evaluated.

    Args:
        axes: where to.
        panel: columns `hue`, paraphrases, seed, step, accuracy.
        hue: the column that has a colour for each value; line style is the paraphrases.
        palette: the colours.
        widths: line width of a mean, where it is not the usual one.
        marked: values of `hue` whose mean has a dot at each evaluation.
    """
    # Not sorted: values of `hue` may be numbers and a word.
    for (value, kind), arm in panel.groupby([hue, "paraphrases"], sort=False):
        look = {"color": palette[value], "linestyle": line_style(kind)}
        seeds = arm.pivot(index="step", columns="seed", values="accuracy").sort_index()
        if seeds.shape[1] > 1:
            axes.plot(seeds.index, seeds, linewidth=0.6, alpha=0.4, zorder=2, **look)
        mean = seeds.mean(axis="columns", skipna=False).dropna()
        if value in marked:  # a dot at the last evaluation stands on the edge of the axes
            look |= {"marker": "o", "markersize": 3.2, "clip_on": False}
        axes.plot(mean.index, mean, linewidth=widths.get(value, plt.rcParams["lines.linewidth"]), zorder=3, **look)
