"""The learning-rate sweep as a table (Figure 5)."""

import pandas as pd

from maskft.paper import METHODS
from maskft.tables.ablations import best_by_arm


def learning_rate_sweep(frame: pd.DataFrame) -> pd.DataFrame:
    """Total accuracy of the best checkpoints by method and learning rate, mean over seeds (Figure 5).

    Returns:
        Columns method, learning_rate, best_step (median), total_accuracy, n_seeds.

    Raises:
        ValueError: see `best_by_arm`.
    """
    found = best_by_arm(frame, {"method": METHODS, "learning_rate": sorted(frame.learning_rate.unique())})
    return found[["method", "learning_rate", "best_step", "total_accuracy", "n_seeds"]]
