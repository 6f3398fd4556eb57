"""Figures 4 and 9 in numbers: what each arm of an ablation reaches at its best checkpoints."""

from collections.abc import Sequence

import pandas as pd

from maskft.metrics import direction_accuracy, total_accuracy
from maskft.paper import DATASETS, METHODS
from maskft.tables.checkpoints import best_checkpoints

RANDOM_TOKEN = "random_token"  # masked AR with random tokens for its masked copy, as an arm beside the methods


def fixed_ratio_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Best total accuracy of each mask ratio, and both directions there (Figure 4).

    Args:
        frame: the long metrics frame of runs that differ in method, mask ratio and seed.

    Returns:
        Columns method, mask_ratio ("0.25", or "0.05-0.95" where it is drawn for each batch), and those of
        `best_by_arm`; fixed ratios in their order, then the random one.

    Raises:
        ValueError: see `best_by_arm`.
    """
    fixed = frame.mask_ratio_low == frame.mask_ratio_high
    low, high = frame.mask_ratio_low.map("{:g}".format), frame.mask_ratio_high.map("{:g}".format)
    named = frame.assign(mask_ratio=low.where(fixed, low + "-" + high))
    order = named.assign(is_random=~fixed).sort_values(["is_random", "mask_ratio_low"]).mask_ratio.unique()
    return best_by_arm(named, {"method": METHODS, "mask_ratio": order})


def random_token_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Best total accuracy of AR, masked AR and the random-token control, and both directions there (Figure 9).

    Args:
        frame: the long metrics frame of runs that differ in data set, method, corruption, paraphrases and seed.

    Returns:
        Columns dataset, method (`random_token` for the control), paraphrases, and those of `best_by_arm`.

    Raises:
        ValueError: see `best_by_arm`.
    """
    named = frame.assign(method=name_control(frame))
    kinds = ("none", "same_order", "permute_order")
    return best_by_arm(named, {"dataset": DATASETS, "method": (*METHODS, RANDOM_TOKEN), "paraphrases": kinds})


def name_control(frame: pd.DataFrame) -> pd.Series:
    """The method of each row, `random_token` for masked AR with random tokens for its masked copy (Figure 9)."""
    # A plain AR run has a corruption too, the default, that it makes no use of.
    control = (frame.method == "masked_ar") & (frame.corruption == RANDOM_TOKEN)
    return frame.method.where(~control, RANDOM_TOKEN)


def best_by_arm(frame: pd.DataFrame, arms: dict[str, Sequence]) -> pd.DataFrame:
    """Forward, backward and total accuracy of the best checkpoints of each arm, mean over seeds (Figures 4, 5 and 9).

    Args:
        frame: the long metrics frame.
        arms: the columns that tell arms apart, and the order of their values.

    Returns:
        The columns of `arms`, best_step (median), forward, backward, total_accuracy, total_std (ddof = 1, NaN for one
        seed), n_seeds.

    Raises:
        ValueError: an arm has a seed twice, or see `best_checkpoints`.
    """
    best, rows = best_checkpoints(frame), []
    columns = [*arms, "seed", "step"]
    for key, run in best[best.metric == "accuracy"].groupby([*columns, "run_id"], sort=False):
        by_category = dict(zip(run.category, run.value, strict=True))
        scores = direction_accuracy(by_category) | {"total_accuracy": total_accuracy(by_category)}
        rows.append(dict(zip(columns, key, strict=False)) | scores)
    runs = pd.DataFrame(rows, columns=[*columns, "forward", "backward", "total_accuracy"])
    if (twice := runs.duplicated([*arms, "seed"])).any():
        arm = "/".join(map(str, runs.loc[twice.idxmax(), list(arms)]))
        raise ValueError(f"{arm} has a seed more than once; expected one run for each seed: filter the frame first")
    for column, order in arms.items():
        runs[column] = pd.Categorical(runs[column], categories=list(order), ordered=True)
    found = runs.groupby(list(arms), observed=True).agg(
        best_step=("step", "median"), forward=("forward", "mean"), backward=("backward", "mean"),
        total_std=("total_accuracy", "std"), total_accuracy=("total_accuracy", "mean"), n_seeds=("seed", "size"),
    ).reset_index()  # fmt: skip
    found = found.astype({column: frame[column].dtype for column in arms})
    return found[[*arms, "best_step", "forward", "backward", "total_accuracy", "total_std", "n_seeds"]]
