"""Figures: one look (`style`), and a file for each kind of picture."""

from maskft.plots.dynamics import direction_curves, figure2, figure2_tokens
from maskft.plots.style import save_figure

__all__ = ["direction_curves", "figure2", "figure2_tokens", "save_figure"]
