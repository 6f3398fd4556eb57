"""The learning-rate sweep as a table (Figure 5)."""

import pandas as pd

from maskft.metrics import total_accuracy
from maskft.tables.checkpoints import best_checkpoints


def learning_rate_sweep(frame: pd.DataFrame) -> pd.DataFrame:
    """Total accuracy of the best checkpoints by method and learning rate, mean over seeds (Figure 5).

    Returns:
        Columns method, learning_rate, best_step (median), total_accuracy, n_seeds.

    Raises:
        ValueError: see `best_checkpoints`.
    """
    best = best_checkpoints(frame)
    rows = []
    for (method, rate, step, _), run in best[best.metric == "accuracy"].groupby(
        ["method", "learning_rate", "step", "run_id"], sort=False
    ):
        rows.append((method, rate, step, total_accuracy(dict(zip(run.category, run.value, strict=True)))))
    runs = pd.DataFrame(rows, columns=["method", "learning_rate", "best_step", "total_accuracy"])
    found = runs.groupby(["method", "learning_rate"]).agg(
        best_step=("best_step", "median"), total_accuracy=("total_accuracy", "mean"), n_seeds=("total_accuracy", "size")
    )
    return found.reset_index()
