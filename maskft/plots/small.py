"""A real model learning sixty facts: the four cells of NameDescription against epochs (the small scale)."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from maskft.paper import CATEGORIES, CATEGORY_LABELS, METHOD_LABELS, METHODS
from maskft.plots.style import METHOD_COLORS, STYLE, panels
from maskft.tables.curves import refuse_repeated


def cell_curves(frame: pd.DataFrame) -> Figure:
    """Accuracy in each cell of NameDescription against epochs, a panel a cell; thin lines are seeds, bold ones their mean.

    Args:
        frame: the long metrics frame, one learning rate for each method.

    Returns:
        The figure, 5.5 inches wide.

    Raises:
        ValueError: there is nothing to draw, or a method has a seed twice.
    """
    rows = frame[(frame.metric == "accuracy") & (frame.dataset == "name_description")]
    if rows.empty:
        raise ValueError("the frame holds no accuracy on name_description; there is nothing to draw")
    refuse_repeated(rows, ["method", "category", "epoch"])
    cells = CATEGORIES["name_description"]
    with plt.style.context(STYLE):
        figure, axes = panels(["cell"], [CATEGORY_LABELS[cell] for cell in cells], height=2.4)
        figure.supxlabel("epochs", fontsize=plt.rcParams["axes.labelsize"])
        axes[0, 0].set_ylabel("accuracy")
        for panel, cell in zip(axes[0], cells, strict=True):
            for method in (method for method in METHODS if (rows.method == method).any()):
                part = rows[(rows.category == cell) & (rows.method == method)]
                color = METHOD_COLORS[method]
                for _, seed in part.groupby("seed"):
                    panel.plot(seed.epoch, seed.value, color=color, linewidth=0.6, alpha=0.5)
                mean = part.groupby("epoch").value.mean()
                panel.plot(mean.index, mean, color=color, marker="o", markersize=3, linewidth=1.8, label=METHOD_LABELS[method])
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure
