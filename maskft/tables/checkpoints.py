"""Which checkpoint of a run a table reports, and the mean and spread of a cell over seeds.

The long metrics frame has one row per run, step, category and metric, with the columns in `METRICS_COLUMNS`.
Checkpoints are chosen on the test questions, as the paper does (Appendix A.4): a best checkpoint is an optimistic
figure, so every table has a twin for the last one.
"""

import pandas as pd

from maskft.metrics import pick_best_step, total_accuracy
from maskft.paper import BEFORE, TABLE_COLUMNS

METRICS_COLUMNS = (
    "run_id", "dataset", "method", "paraphrases", "base", "seed", "learning_rate", "step", "category", "metric",
    "value", "n_questions",
)  # fmt: skip
ARM = ["dataset", "method", "paraphrases"]
CELL = [*ARM, "category", "metric"]


def best_checkpoints(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of each run at the step with its best total accuracy (Appendix A.4); the choice is per run, so per seed.

    Args:
        frame: the long metrics frame.

    Returns:
        The rows at the chosen steps, all metrics, in the frame's order.

    Raises:
        ValueError: columns are missing, a run is in the frame twice, has no step after 0, or has a step without every
            category's accuracy.
    """
    frame = known_rows(frame)
    chosen = {}
    for run_id, run in frame[frame.metric == "accuracy"].groupby("run_id", sort=False):
        by_step = run.pivot(index="step", columns="category", values="value")
        chosen[run_id] = pick_best_step({step: total_accuracy(row.to_dict()) for step, row in by_step.iterrows()})
    return frame[frame.step == frame.run_id.map(chosen)]


def last_checkpoints(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of each run at its last step.

    Raises:
        ValueError: columns are missing, a run is in the frame twice, or has no step after 0.
    """
    frame = known_rows(frame)
    last = frame.groupby("run_id").step.max()
    if (last == 0).any():
        raise ValueError(f"runs {sorted(last[last == 0].index)} hold step 0 only; expected an evaluation after it")
    return frame[frame.step == frame.run_id.map(last)]


CHECKPOINTS = {"best": best_checkpoints, "last": last_checkpoints}


def before_fine_tuning(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows at step 0 with paraphrases `before`, one for each base, seed, category and metric.

    Runs of one method and seed start from one base and so repeat its row; masked AR's base is the AR's.
    """
    start = known_rows(frame)
    start = start[(start.step == 0) & (start.method != "masked_ar")]
    repeated = ["dataset", "method", "base", "seed", "category", "metric"]
    return start.assign(paraphrases=BEFORE).drop_duplicates(repeated).assign(learning_rate=0.0)


def summarise(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread over seeds of each cell and metric.

    Args:
        frame: rows at one checkpoint of each run.

    Returns:
        Columns data set, method, paraphrases, category, metric, `mean`, `std` (ddof = 1; NaN for one seed), `n_seeds`.

    Raises:
        ValueError: columns are missing, or a cell mixes bases or learning rates, or has a seed twice.
    """
    frame = known_rows(frame)
    for arm, rows in frame.groupby(ARM):
        for column in ("base", "learning_rate"):
            if rows[column].nunique() > 1:
                raise ValueError(
                    f"{'/'.join(arm)} mixes {column} {sorted(rows[column].unique().tolist())}; "
                    f"expected one: filter the frame before it becomes a table"
                )
    twice = frame[frame.duplicated([*CELL, "seed"], keep=False)]
    if len(twice):
        arm = "/".join(twice.iloc[0][ARM])
        raise ValueError(
            f"{arm} has seed {twice.iloc[0].seed} more than once (runs {sorted(twice.run_id.unique())}); "
            "expected one run and one step for each seed"
        )
    return frame.groupby(CELL).value.agg(mean="mean", std="std", n_seeds="count").reset_index()


def known_rows(frame: pd.DataFrame) -> pd.DataFrame:
    missing = sorted(set(METRICS_COLUMNS) - set(frame.columns))
    if missing:
        raise ValueError(f"the metrics frame lacks {missing}; expected the columns {list(METRICS_COLUMNS)}")
    known = [cell in TABLE_COLUMNS for cell in zip(frame.dataset, frame.category, strict=True)]
    frame = frame[pd.Series(known, index=frame.index, dtype=bool)]  # an empty list would select columns
    twice = frame[frame.duplicated(["run_id", "step", "category", "metric"])]
    if len(twice):
        raise ValueError(
            f"runs {sorted(twice.run_id.unique())} score a step and category more than once; "
            "expected one row for each: read each run's record once"
        )
    return frame
