"""Figures: one look (`style`), and a file for each kind of picture."""

from maskft.plots.ablations import figure4, figure9
from maskft.plots.dynamics import direction_curves, figure2, figure2_tokens, figure6, total_curves
from maskft.plots.fits import table4_fits
from maskft.plots.forgetting import forgetting, forgetting_curves
from maskft.plots.prompt import figure3
from maskft.plots.schedule import schedule_chart
from maskft.plots.schematic import direction_marks, example_questions, figure1
from maskft.plots.seeds import seed_curves, seed_spread
from maskft.plots.small import cell_curves
from maskft.plots.style import save_figure
from maskft.plots.sweep import figure5

__all__ = [
    "cell_curves",
    "direction_curves",
    "direction_marks",
    "example_questions",
    "figure1",
    "figure2",
    "figure2_tokens",
    "figure3",
    "figure4",
    "figure5",
    "figure6",
    "figure9",
    "forgetting",
    "forgetting_curves",
    "save_figure",
    "schedule_chart",
    "seed_curves",
    "seed_spread",
    "table4_fits",
    "total_curves",
]
