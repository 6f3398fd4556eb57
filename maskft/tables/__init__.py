"""From scored runs to the paper's tables: choice of checkpoint, mean and spread over seeds, files."""

from maskft.tables.accuracy import LAYOUTS, accuracy_table, display_table, versus_paper, write_accuracy_table
from maskft.tables.checkpoints import before_fine_tuning, best_checkpoints, last_checkpoints, summarise
from maskft.tables.sweep import learning_rate_sweep
from maskft.tables.write import write_table

__all__ = [
    "LAYOUTS",
    "accuracy_table",
    "before_fine_tuning",
    "best_checkpoints",
    "display_table",
    "last_checkpoints",
    "learning_rate_sweep",
    "summarise",
    "versus_paper",
    "write_accuracy_table",
    "write_table",
]
