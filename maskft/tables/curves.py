"""Accuracy of each run at each evaluation, by direction: what every curve, fit and claim about training starts from."""

from collections.abc import Sequence

import pandas as pd

from maskft.metrics import direction_accuracy

TRAINING_MEASURES = ("step", "train_tokens")


def direction_curves(frame: pd.DataFrame, x: str = "step") -> pd.DataFrame:
    """Forward and backward accuracy of each run at each evaluation (Figure 2).

    "For the NameDescription dataset, forward and backward accuracy are the average of N2D and D2N types."

    Args:
        frame: the long metrics frame; with x = "train_tokens" it needs that column too.
        x: `step` or `train_tokens`.

    Returns:
        Columns run_id, data set, method, paraphrases, seed, step, x, direction, accuracy.

    Raises:
        ValueError: x is neither, or the frame lacks its column.
    """
    if x not in TRAINING_MEASURES or x not in frame:
        raise ValueError(f"x is {x!r}; expected one of {list(TRAINING_MEASURES)}, and a column of that name in the frame")
    rows = []
    keys = list(dict.fromkeys(["run_id", "dataset", "method", "paraphrases", "seed", "step", x]))
    for key, group in frame[frame.metric == "accuracy"].groupby(keys):
        point = dict(zip(keys, key, strict=True))
        by_direction = direction_accuracy(dict(zip(group.category, group.value, strict=True)))
        rows += [point | {"direction": direction, "accuracy": value} for direction, value in by_direction.items()]
    return pd.DataFrame(rows, columns=[*keys, "direction", "accuracy"])


def refuse_repeated(curves: pd.DataFrame, arm: Sequence[str]) -> None:
    """Raise ValueError if an arm has two runs of one seed: their mean would be no mean over seeds."""
    point = [*arm, "step", "seed", *(["direction"] if "direction" in curves else [])]
    twice = curves[curves.duplicated(point)]
    if len(twice):
        name = "/".join(map(str, twice.iloc[0][list(arm)]))
        raise ValueError(
            f"{name} has seed {twice.iloc[0].seed} more than once; expected one run for each seed: filter the frame first"
        )
