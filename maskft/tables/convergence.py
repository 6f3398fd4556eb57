"""How fast the methods learn: A (1 - exp(-k x)) fitted to the accuracy curves (Table 4)."""

from pathlib import Path

import numpy as np
import pandas as pd

from maskft.metrics import determines, fit_convergence
from maskft.paper import (
    DATASET_LABELS,
    DATASETS,
    METHOD_LABELS,
    PARAPHRASE_LABELS,
    STEPS_PER_EPOCH,
    TABLE4,
    true_rate,
)
from maskft.provenance import Provenance
from maskft.tables.checkpoints import ARM
from maskft.tables.curves import refuse_repeated
from maskft.tables.write import NOT_RUN, write_table

CURVE = [*ARM, "direction"]
UNITS = {"A": "accuracy", "k": "1 / optimizer step"}
FIT_COLUMNS = (*CURVE, "A", "A_error", "k", "k_error", "n_seeds")
# What the twin's columns are called in the file, so that all twins are read alike; the deviation is the fit's standard error.
AS_IN_TABLE3 = {"direction": "category", "parameter": "metric", "std_error": "std"}
VERSUS_COLUMNS = (*CURVE, "parameter", "paper", "obtained", "std_error", "n_seeds", "unit")

CAPTION = (
    "To compare the rate of convergence, A (1 - exp(-k x)) is fitted to accuracy against true optimizer steps x, on the "
    "mean curve over seeds: A is accuracy at convergence, which may exceed 1, and k the rate of convergence. After each "
    "stands its standard error in the fit, which is not the spread over seeds. A dash stands for what was not run, and "
    "for what the points do not determine, because it is less than two standard errors from 0: A where a curve has not "
    "bent, k where it has not, or is at its end from the first evaluation on. k at different batch sizes and scales is "
    "not comparable in absolute terms, only across methods."
)
VERSUS_CAPTION = (
    "The paper's k of runs with paraphrases is per nominal step, and stands here per true optimizer step, multiplied by "
    + ", ".join(f"{nominal}/{true} ({DATASET_LABELS[name]})" for name, (nominal, true) in STEPS_PER_EPOCH.items())
    + ". It is of 8-billion-parameter models at batch size 64: compare how methods stand to each other, not k itself."
)


def mean_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """The mean over seeds of each accuracy curve, at the evaluations that every seed has.

    Args:
        curves: accuracy of each run, direction and evaluation (`curves.direction_curves`).

    Returns:
        Columns data set, method, paraphrases, direction, step, accuracy, n_seeds.

    Raises:
        ValueError: a curve has a seed twice.
    """
    refuse_repeated(curves, ARM)
    means = curves.groupby([*CURVE, "step"]).agg(accuracy=("accuracy", "mean"), n_seeds=("seed", "size")).reset_index()
    return means[means.n_seeds == means.groupby(CURVE).n_seeds.transform("max")].reset_index(drop=True)


def convergence_fits(points: pd.DataFrame) -> pd.DataFrame:
    """A (1 - exp(-k x)) fitted to each mean curve (Table 4); k is per true optimizer step.

    Args:
        points: `mean_curves`.

    Returns:
        Columns data set, method, paraphrases, direction, A, A_error, k, k_error, n_seeds, one row for each curve; the
        errors are standard errors. `is_determined` says which of these numbers mean something.

    Raises:
        ValueError: a curve has fewer than three points after step 0.
    """
    rows = []
    for curve, at in points.groupby(CURVE):
        try:
            a, k, a_error, k_error = fit_convergence(at.step.to_numpy(), at.accuracy.to_numpy())
        except ValueError as error:
            raise ValueError(f"{'/'.join(curve)}: {error}") from None
        rows.append((*curve, a, a_error, k, k_error, at.n_seeds.iloc[0]))
    return pd.DataFrame(rows, columns=FIT_COLUMNS)


def is_determined(fits: pd.DataFrame, parameter: str) -> pd.Series:
    """Where the points determine `A` or `k`: the value is at least two standard errors from 0.

    It is infinite or of any size where the curve has not bent, and for k where it is at its end from the first
    evaluation on. A curve of zeros determines A, which is 0, and no k.
    """
    return determines(fits[parameter], fits[f"{parameter}_error"])


def convergence_versus_paper(fits: pd.DataFrame) -> pd.DataFrame:
    """The fits beside the paper's, tidy, in the paper's order of rows within each data set (Table 4).

    Args:
        fits: `convergence_fits`.

    Returns:
        Columns data set, method, paraphrases, direction, parameter (`A` or `k`), paper, obtained, std_error, n_seeds,
        unit. The paper's k is per true optimizer step (`paper.true_rate`). `obtained` and `std_error` are NaN where
        there is no run, with no seeds, and where the points do not determine the parameter.

    Raises:
        ValueError: a curve has two fits.
    """
    if fits.duplicated(CURVE).any():
        raise ValueError(f"{'/'.join(fits[fits.duplicated(CURVE)].iloc[0][CURVE])} has two fits; expected one base")
    rows = []
    for dataset, method, paraphrases, direction in sorted(TABLE4, key=lambda cell: DATASETS.index(cell[0])):
        a, k = TABLE4[dataset, method, paraphrases, direction]
        cell = (dataset, method, paraphrases, direction)
        rows += [(*cell, "A", a, UNITS["A"]), (*cell, "k", true_rate(k, dataset, paraphrases), UNITS["k"])]
    tidy = pd.DataFrame(rows, columns=[*CURVE, "parameter", "paper", "unit"])
    parts = []
    for parameter in UNITS:
        found = fits[[*CURVE, "n_seeds"]].assign(parameter=parameter)
        known = is_determined(fits, parameter)
        parts.append(
            found.assign(obtained=fits[parameter].where(known), std_error=fits[f"{parameter}_error"].where(known))
        )
    tidy = tidy.merge(pd.concat(parts), on=[*CURVE, "parameter"], how="left")
    tidy["n_seeds"] = tidy.n_seeds.fillna(0).astype(int)
    return tidy[list(VERSUS_COLUMNS)]


def convergence_table(fits: pd.DataFrame) -> pd.DataFrame:
    """Table 4 as the paper lays it out, in numbers.

    Args:
        fits: `convergence_fits`.

    Returns:
        One row per row of the paper's: `row` (its words), `method`, `paraphrases`, then for each data set
        `DATASET/n_seeds` and for each direction and parameter `DATASET/DIRECTION/PARAMETER` and
        `DATASET/DIRECTION/PARAMETER/std_error`; NaN as in `convergence_versus_paper`.

    Raises:
        ValueError: see `convergence_versus_paper`.
    """
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for cell in convergence_versus_paper(fits).itertuples():
        label = f"{METHOD_LABELS[cell.method]} {PARAPHRASE_LABELS[cell.paraphrases]}"
        start = {"row": label, "method": cell.method, "paraphrases": cell.paraphrases}
        row = rows.setdefault((cell.method, cell.paraphrases), start)
        name = f"{cell.dataset}/{cell.direction}/{cell.parameter}"
        row |= {f"{cell.dataset}/n_seeds": cell.n_seeds, name: cell.obtained, f"{name}/std_error": cell.std_error}
    return pd.DataFrame(rows.values())


def display_convergence(table: pd.DataFrame) -> pd.DataFrame:
    """`convergence_table`'s numbers as a reader sees them: "0.913 ± 0.020" and "0.0093 ± 0.0005", or a dash."""
    shown: dict[tuple[str, str, str], list[str]] = {("", "", ""): table["row"].tolist()}
    for dataset, dataset_label in DATASET_LABELS.items():
        for direction in ("forward", "backward"):
            for parameter in UNITS:
                name = f"{dataset}/{direction}/{parameter}"
                shown[dataset_label, direction.capitalize(), parameter] = [
                    _cell(parameter, *values) for values in table[[name, f"{name}/std_error"]].itertuples(index=False)
                ]
    seeds = table[[f"{dataset}/n_seeds" for dataset in DATASET_LABELS]].itertuples(index=False)
    shown["", "", "Seeds"] = [", ".join(map(str, dict.fromkeys(n) if len(set(n)) == 1 else n)) for n in seeds]
    return pd.DataFrame(shown)


def _cell(parameter: str, value: float, error: float) -> str:
    if np.isnan(value):
        return NOT_RUN
    return f"{value:.3f} ± {error:.3f}" if parameter == "A" else f"{value:#.2g} ± {error:.1g}"


def write_convergence_table(fits: pd.DataFrame, folder: Path, provenance: Provenance) -> dict[str, Path]:
    """Write `table4` and `table4_vs_paper`; return the path of each CSV by name.

    Args:
        fits: `convergence_fits`.
        folder: where the files go.
        provenance: for the sidecars.

    Raises:
        ValueError: see `convergence_versus_paper`.
    """
    table, versus = convergence_table(fits), convergence_versus_paper(fits).rename(columns=AS_IN_TABLE3)
    shown = versus.assign(**{name: _readable(versus[name]) for name in ("paper", "obtained", "std")})
    files = {
        "table4": write_table(
            # Rates are small: four significant digits, where a record's four decimals would leave one or none.
            table.apply(lambda column: _exact(column) if "/k" in column.name else column),
            folder, "table4", provenance, display=display_convergence(table), caption=CAPTION,
        ),
        "table4_vs_paper": write_table(
            versus.assign(**{name: _exact(versus[name]) for name in ("paper", "obtained", "std")}),
            folder, "table4_vs_paper", provenance, display=shown, caption=VERSUS_CAPTION,
        ),
    }  # fmt: skip
    return {name: paths["csv"] for name, paths in files.items()}


def _exact(numbers: pd.Series) -> pd.Series:
    return numbers.map("{:.4g}".format, na_action="ignore")


def _readable(numbers: pd.Series) -> pd.Series:
    return numbers.map("{:.3g}".format, na_action="ignore").fillna(NOT_RUN)
