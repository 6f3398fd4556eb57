"""Pictures of one sentence: its masks over t, what each token costs each method, and the canvas of the sampler."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from maskft.paper import METHOD_LABELS
from maskft.plots.style import METHOD_COLORS, STYLE

if TYPE_CHECKING:
    from maskft.samplers import Commit

WIDTH = 5.5
MASKED, VISIBLE = "0.78", "white"


def label_tokens(texts: Sequence[str]) -> list[str]:
    """Tokens as short labels: without the space before them, line ends as a sign."""
    return [text.strip(" ").replace("\n", "⏎") or "␣" for text in texts]


def _token_axis(axes: Axes, texts: Sequence[str], shift: float = 0.0) -> None:
    places = np.arange(len(texts)) + shift
    axes.set_xticks(places, label_tokens(texts), rotation=55, ha="right", rotation_mode="anchor", parse_math=False)
    axes.grid(False)


def draw_masks(texts: Sequence[str], is_masked: Sequence[Sequence[bool]], ratios: Sequence[float]) -> Figure:
    """Which tokens are masked at several ratios t: a row each, grey where masked (Eq. 1).

    Args:
        texts: The tokens.
        is_masked: For each ratio, whether each token is masked.
        ratios: The values of t.

    Raises:
        ValueError: If rows and ratios, or tokens and columns, are not as many.
    """
    grid = np.asarray(is_masked, dtype=float)
    if grid.shape != (len(ratios), len(texts)):
        raise ValueError(f"is_masked has shape {grid.shape}; expected a row for each of {len(ratios)} ratios and a column for each of {len(texts)} tokens")
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.17 * len(ratios)))
        axes.pcolormesh(grid, cmap=ListedColormap([VISIBLE, MASKED]), vmin=0, vmax=1, edgecolors="0.88", linewidth=0.5)
        _token_axis(axes, texts, shift=0.5)
        axes.set_yticks(np.arange(len(ratios)) + 0.5, [f"{ratio:.2f}" for ratio in ratios])
        axes.set_ylabel("mask ratio t")
        axes.invert_yaxis()
    return figure


def draw_token_losses(texts: Sequence[str], losses: Mapping[str, Sequence[float]], is_masked: Sequence[bool]) -> Figure:
    """Cross-entropy of each token of one sentence under each method: a row each, on one scale.

    Args:
        texts: The tokens.
        losses: By method, a loss for each token; NaN where a token is no target.
        is_masked: Which tokens the masked methods do not see; shaded.

    Raises:
        ValueError: If a method is unknown or has another number of losses than there are tokens.
    """
    for method, values in losses.items():
        if method not in METHOD_COLORS or len(values) != len(texts):
            raise ValueError(f"{method!r} has {len(values)} losses; expected one of {list(METHOD_COLORS)} with {len(texts)}")
    with plt.style.context(STYLE):
        figure, rows = plt.subplots(
            len(losses), sharex=True, sharey=True, squeeze=False, figsize=(WIDTH, 0.8 + 0.85 * len(losses))
        )
        for (method, values), axes in zip(losses.items(), rows[:, 0], strict=True):
            for position in np.flatnonzero(is_masked):
                axes.axvspan(position - 0.5, position + 0.5, color="0.93", linewidth=0, zorder=0)
            is_target = ~np.isnan(np.asarray(values, dtype=float))
            targets, no_target = np.flatnonzero(is_target), np.flatnonzero(~is_target)
            axes.bar(targets, np.asarray(values)[targets], color=METHOD_COLORS[method], width=0.7)
            axes.set_title(METHOD_LABELS[method], loc="left", pad=3)
            if len(no_target):  # a line without points has no extent, and the layout needs one
                axes.plot(no_target, np.zeros(len(no_target)), "x", color="0.55", markersize=3.5, clip_on=False)
            axes.set_xlim(-0.6, len(texts) - 0.4)
        _token_axis(rows[-1, 0], texts)
        for axes in rows[:, 0]:
            axes.grid(True, axis="y")
        figure.supylabel("cross-entropy (nats)", fontsize=plt.rcParams["axes.labelsize"])
    return figure


def draw_canvas(commits: "Sequence[Commit]", texts: Sequence[str], block_length: int) -> Figure:
    """The canvas of the diffusion sampler, a row for each step: masked, just committed (with its confidence), final.

    The final token of each position stands below. Blocks that were never reached are left out.

    Args:
        commits: Those of one row, in order.
        texts: The token of each commit, as text.
        block_length: Tokens of a block; a line separates blocks.

    Raises:
        ValueError: If there is no commit, commits belong to several rows, or a commit has no text.
    """
    if not commits or len({commit.row for commit in commits}) > 1 or len(texts) != len(commits):
        raise ValueError(f"{len(commits)} commits and {len(texts)} texts; expected the commits of one row, and a text for each")
    steps = sorted({commit.step for commit in commits})
    n_positions = len(commits)  # a block is filled before the next one is begun
    confidence = np.full((len(steps), n_positions), np.nan)
    is_masked = np.ones((len(steps), n_positions))
    for commit in commits:
        row = steps.index(commit.step)
        confidence[row, commit.position] = commit.confidence
        is_masked[row:, commit.position] = 0
    shade = seaborn.light_palette(METHOD_COLORS["dllm"], as_cmap=True)
    shade = ListedColormap(shade(np.linspace(0.1, 0.6, 256)))  # black digits must be legible on the darkest
    size = min(6.5, 72 * (WIDTH - 0.8) / n_positions / 3)  # "0.97" is about 2.5 times as wide as its font is high
    lines = {"edgecolors": "0.88", "linewidth": 0.5}
    by_position = [text for _, text in sorted(zip([c.position for c in commits], texts, strict=True))]
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(figsize=(WIDTH, 1.1 + 0.2 * len(steps)))
        axes.pcolormesh(is_masked, cmap=ListedColormap([VISIBLE, MASKED]), vmin=0, vmax=1, **lines)
        axes.pcolormesh(np.ma.masked_invalid(confidence), cmap=shade, vmin=0, vmax=1, **lines)
        for commit in commits:
            place = (commit.position + 0.5, steps.index(commit.step) + 0.5)
            axes.text(*place, f"{commit.confidence:.2f}", ha="center", va="center_baseline", fontsize=size)
        axes.vlines(range(block_length, n_positions, block_length), 0, len(steps), color="0.25", linewidth=1)
        _token_axis(axes, by_position, shift=0.5)
        axes.set_yticks(np.arange(len(steps)) + 0.5, [step + 1 for step in steps])
        axes.set(ylim=(len(steps), 0), ylabel="step")
    return figure
