"""From scored runs to the paper's tables: choice of checkpoint, mean and spread over seeds, files."""

from maskft.tables.ablations import fixed_ratio_table, random_token_table
from maskft.tables.accuracy import LAYOUTS, accuracy_table, display_table, versus_paper, write_accuracy_table
from maskft.tables.checkpoints import before_fine_tuning, best_checkpoints, last_checkpoints, summarise
from maskft.tables.convergence import (
    convergence_fits,
    convergence_table,
    convergence_versus_paper,
    display_convergence,
    mean_curves,
    write_convergence_table,
)
from maskft.tables.sweep import learning_rate_sweep
from maskft.tables.write import write_table

__all__ = [
    "LAYOUTS",
    "accuracy_table",
    "before_fine_tuning",
    "best_checkpoints",
    "convergence_fits",
    "convergence_table",
    "convergence_versus_paper",
    "display_convergence",
    "display_table",
    "fixed_ratio_table",
    "last_checkpoints",
    "learning_rate_sweep",
    "mean_curves",
    "random_token_table",
    "summarise",
    "versus_paper",
    "write_accuracy_table",
    "write_convergence_table",
    "write_table",
]
