"""Runs on a cluster as bars: which slot, from when to when, and what of it answers questions."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from maskft.paper import METHOD_LABELS, METHODS
from maskft.plots.style import METHOD_COLORS, STYLE

PALE = 0.35  # opacity of the part that answers questions


def schedule_chart(schedules: Mapping[str, pd.DataFrame]) -> Figure:
    """A panel for each schedule (`planning.schedule`), a bar for each run, pale where it answers questions.

    A bar's height is the share of the cluster that its run takes.

    Raises:
        ValueError: there is nothing to draw.
    """
    if not schedules:
        raise ValueError("no schedule to draw")
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, len(schedules), figsize=(plt.rcParams["figure.figsize"][0], 2.2), sharey=True, squeeze=False)
        for panel, (title, placed) in zip(axes[0], schedules.items(), strict=True):
            height = 1 / (placed.slot.max() + 1)
            for method in METHODS:
                rows = placed[placed.method == method].itertuples()
                trained, answered = [], []
                for row in rows:
                    turn = row.end - row.evaluation
                    trained.append(Rectangle((row.start, row.slot * height), turn - row.start, height))
                    answered.append(Rectangle((turn, row.slot * height), row.evaluation, height))
                line = {"edgecolor": "white", "linewidth": 0.2, "facecolor": METHOD_COLORS[method]}
                panel.add_collection(PatchCollection(trained, **line))
                panel.add_collection(PatchCollection(answered, alpha=PALE, **line))
            panel.set(xlim=(0, placed.end.max()), ylim=(0, 1), title=title, xlabel="hours", yticks=[0, 0.5, 1])
        axes[0, 0].set_ylabel("share of the cluster")
        handles = [Patch(color=METHOD_COLORS[method], label=METHOD_LABELS[method]) for method in METHODS]
        handles.append(Patch(color="0.3", alpha=PALE, label="answering questions"))
        figure.legend(handles=handles, ncols=len(handles), loc="outside upper center", columnspacing=1.2)
    return figure
