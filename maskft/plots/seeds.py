"""What the random seed changes: each seed's curve (Figures 7 and 8), and the spread over seeds in numbers."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from maskft.paper import DATASET_LABELS, DATASETS, METHOD_LABELS
from maskft.plots.dynamics import DIRECTIONS, datasets_to_draw, direction_curves, total_curves
from maskft.plots.style import LINE_LABELS, LINE_STYLES, METHOD_COLORS, STYLE, panels, training_axis

CURVE = ["dataset", "paraphrases", "direction", "method"]


def seed_curves(frame: pd.DataFrame, method: str) -> Figure:
    """Every seed's curve of one method: data sets and paraphrases by column, directions by row (Figures 7 and 8).

    "Random seed determines the sampling of mask ratio and masked tokens. Each line represent a random seed." Here it
    draws the order of documents too. A seed has one shade of its method's colour in all panels; the bold line is the
    mean, where every seed was evaluated.

    Args:
        frame: the long metrics frame, one base and one learning rate.
        method: whose curves to draw: `dllm` in Figure 7, `masked_ar` in Figure 8.

    Returns:
        The figure, 5.5 inches wide.

    Raises:
        ValueError: there is nothing to draw, or a curve has a seed twice.
    """
    curves = direction_curves(frame[frame.method == method])
    datasets = datasets_to_draw(curves, f"method {method!r}")
    kinds = [kind for kind in LINE_STYLES if (curves.paraphrases == kind).any()]
    seeds = sorted(curves.seed.unique())
    # From the method's colour towards black, which is left out; the mean lies pale below the lines that it is about.
    tones = dict(zip(seeds, seaborn.blend_palette([METHOD_COLORS[method], "black"], len(seeds) + 1)[:-1], strict=True))
    mean = {"color": METHOD_COLORS[method], "alpha": 0.3, "lw": 3.5, "solid_capstyle": "butt"}
    columns = [(dataset, kind) for dataset in datasets for kind in kinds]
    with plt.style.context(STYLE):
        figure, axes = panels(DIRECTIONS, [f"{DATASET_LABELS[dataset]}\n{LINE_LABELS[kind]}" for dataset, kind in columns])
        for column, (dataset, kind) in enumerate(columns):
            arm = curves[(curves.dataset == dataset) & (curves.paraphrases == kind)]
            for row, direction in enumerate(DIRECTIONS):
                panel = arm[arm.direction == direction]
                by_step = panel.pivot(index="step", columns="seed", values="accuracy")
                for seed in by_step:
                    one = by_step[seed].dropna()
                    axes[row, column].plot(one, color=tones[seed], lw=0.8, dashes=LINE_STYLES[kind] or (None, None))
                axes[row, column].plot(by_step.dropna().mean(axis="columns"), zorder=1.5, **mean)
            training_axis(axes[1, column], arm.step)
        lines = [Line2D([], [], color=tones[seed], lw=0.8, label=f"seed {seed}") for seed in seeds]
        lines.insert(0, Line2D([], [], label=f"{METHOD_LABELS[method]}, mean", **mean))
        figure.legend(handles=lines, loc="outside upper left", ncols=len(lines), columnspacing=1.2, handlelength=1.8)
    return figure


def seed_spread(frame: pd.DataFrame) -> pd.DataFrame:
    """Standard deviation over seeds of forward and backward accuracy (Figures 7 and 8).

    "We found slightly larger variability across the seed in masked arLLM than dLLM."

    Args:
        frame: the long metrics frame, one base and one learning rate for each method.

    Returns:
        Columns data set, paraphrases, direction, method, `best` (each seed at its own best checkpoint), `largest` (over
        the evaluations that every seed has), `n_seeds`; in the paper's order. Deviations have ddof = 1, so one seed has
        none (NaN). `best` can exceed `largest` where seeds are at their best at different steps.

    Raises:
        ValueError: there is nothing to compare, a curve has a seed twice, or a run has no evaluation after step 0.
    """
    curves = direction_curves(frame)
    datasets_to_draw(curves, "any run")
    totals = total_curves(frame)
    curves = curves.merge(totals[["run_id", "step", "is_best"]], on=["run_id", "step"])
    curves["dataset"] = pd.Categorical(curves.dataset, DATASETS)
    curves["direction"] = pd.Categorical(curves.direction, DIRECTIONS)
    rows = []
    for key, arm in curves.groupby(CURVE, observed=True):
        by_step = arm.pivot(index="step", columns="seed", values="accuracy")
        largest = by_step.dropna().std(axis="columns").max()
        rows.append((*key, arm[arm.is_best].accuracy.std(), largest, by_step.shape[1]))
    return pd.DataFrame(rows, columns=[*CURVE, "best", "largest", "n_seeds"])
