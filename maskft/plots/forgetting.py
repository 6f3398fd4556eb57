"""Why a run may store its documents and not answer about them: what is learned and what is forgotten, step by step."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from maskft.paper import DATASET_LABELS, DATASETS, METHOD_LABELS, METHODS
from maskft.plots.style import METHOD_COLORS, STYLE, panels, training_axis
from maskft.runs import BY_NAME, IN_DOCUMENT, OWN_WORLD

# What a run with the probe measures, and what stands for its data set's own categories.
MEASURES = {IN_DOCUMENT: "documents'\nfacts filled in", "answers": "questions about\nthe documents", OWN_WORLD: "questions about\nthe base's world"}


def forgetting_curves(frame: pd.DataFrame) -> pd.DataFrame:
    """Each measure of each run at each evaluation, the questions about the documents as their mean over categories.

    Args:
        frame: the long metrics frame of runs with ``probe="forgetting"``.

    Returns:
        Columns dataset, method, seed, step, and those of `MEASURES`.
    """
    rows = frame[(frame.metric == "accuracy") & ~frame.category.isin(BY_NAME)]
    measure = rows.category.where(rows.category.isin(MEASURES), "answers")
    index = ["dataset", "method", "seed", "step"]
    return rows.assign(measure=measure).pivot_table(index=index, columns="measure", values="value").reset_index()[[*index, *MEASURES]]


def forgetting(frame: pd.DataFrame) -> Figure:
    """Three rows of panels, a column for each data set; thin lines are seeds, bold ones their mean, colours are methods.

    Args:
        frame: as `forgetting_curves`.

    Raises:
        ValueError: there is nothing to draw.
    """
    curves = forgetting_curves(frame)
    if curves.empty:
        raise ValueError("the frame holds no accuracy; there is nothing to draw")
    datasets = [name for name in DATASETS if (curves.dataset == name).any()]
    with plt.style.context(STYLE):
        figure, axes = panels(list(MEASURES), [DATASET_LABELS[name] for name in datasets], height=4.6)
        for row, (measure, label) in zip(axes, MEASURES.items(), strict=True):
            row[0].set_ylabel(label)
            for panel, dataset in zip(row, datasets, strict=True):
                of_dataset = curves[curves.dataset == dataset]
                training_axis(panel, of_dataset.step)
                for method in (method for method in METHODS if (of_dataset.method == method).any()):
                    part, color = of_dataset[of_dataset.method == method], METHOD_COLORS[method]
                    for _, seed in part.groupby("seed"):
                        panel.plot(seed.step, seed[measure], color=color, linewidth=0.6, alpha=0.5)
                    mean = part.groupby("step")[measure].mean()
                    panel.plot(mean.index, mean, color=color, linewidth=1.8, label=METHOD_LABELS[method])
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure
