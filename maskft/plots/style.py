"""One look for all figures, and the same bytes for the same numbers.

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
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from maskft.paper import METHOD_LABELS, METHODS
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
MARKERS = {"none": "o", "same_order": "o", "permute_order": "s"}  # filled without paraphrases, open with
AXIS_LABELS = {"step": "optimizer step", "train_tokens": "training tokens"}
MAX_TICKS = 4

# Loaded now: a backend that is loaded inside a style context loses its interactive mode when the context ends, and a
# notebook then shows its first figure only.
plt.switch_backend(plt.get_backend())


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


def marker(method: str, paraphrases: str) -> dict[str, str]:
    """How a point of this method and kind looks, as arguments of `Axes.plot`."""
    color = METHOD_COLORS[method]
    face = color if paraphrases == "none" else "white"
    return {"marker": MARKERS[paraphrases], "color": color, "markerfacecolor": face}


def panels(
    rows: Sequence[str], titles: Sequence[str], height: float | None = None, x: str = "step"
) -> tuple[Figure, np.ndarray]:
    """Axes with a row for each kind of accuracy and a column for each title, all from 0 to 1 against `x`."""
    size = (plt.rcParams["figure.figsize"][0], height or plt.rcParams["figure.figsize"][1])
    figure, axes = plt.subplots(len(rows), len(titles), figsize=size, sharex="col", sharey=True, squeeze=False)
    for top, title in zip(axes[0], titles, strict=True):
        top.set_title(title)
    for left, name in zip(axes[:, 0], rows, strict=True):
        left.set(ylabel=f"{name} accuracy", ylim=(-0.03, 1.03), yticks=np.linspace(0, 1, 6))
    figure.supxlabel(AXIS_LABELS[x], fontsize=plt.rcParams["axes.labelsize"])
    return figure, axes


def line_style(paraphrases: str) -> str | tuple:
    """The paraphrases' line style as matplotlib takes it."""
    dashes = LINE_STYLES[paraphrases]
    return (0, dashes) if dashes else "-"


def training_axis(axes: Axes, values: pd.Series) -> None:
    positive = values[values > 0]
    if positive.empty:
        return
    first, last = float(positive.min()), float(positive.max())
    axes.set_xscale("symlog", linthresh=first, linscale=0.5)
    axes.set_xlim(0, last)
    powers = 10.0 ** np.arange(np.floor(np.log10(first)), np.floor(np.log10(last)) + 1)
    ticks = [power for power in powers if first <= power <= last]
    if len(ticks) < 2:  # one number says nothing about a logarithmic axis
        ticks = [tick for power in powers for tick in (power, 2 * power, 5 * power) if first <= tick <= last] or [first]
        ticks = ticks[:: 1 + (len(ticks) > 3)]  # they stand closer than powers
    axes.xaxis.set_major_locator(FixedLocator([0, *ticks[:: -(-len(ticks) // MAX_TICKS)]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _short(value: float) -> str:
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


def add_legends(figure: Figure, curves: pd.DataFrame) -> None:
    methods = [method for method in METHODS if (curves.method == method).any()]
    kinds = [kind for kind in LINE_STYLES if (curves.paraphrases == kind).any()]
    lines = [Line2D([], [], color=METHOD_COLORS[method], label=METHOD_LABELS[method]) for method in methods]
    styles = [Line2D([], [], color="0.25", label=LINE_LABELS[kind]) for kind in kinds]
    for kind, line in zip(kinds, styles, strict=True):
        line.set_dashes(LINE_STYLES[kind])
    figure.legend(handles=lines, loc="outside upper left", ncols=len(lines), columnspacing=1.2, handlelength=1.8)
    figure.legend(handles=styles, loc="outside upper right", ncols=len(styles), columnspacing=1.2, handlelength=2.6)
