"""From scored runs to the paper's tables: choice of checkpoint, mean and spread over seeds, files.

The long metrics frame has one row per run, step, category and metric, with the columns in `METRICS_COLUMNS`.
Checkpoints are chosen on the test questions, as the paper does (Appendix A.4): a best checkpoint is an optimistic
figure, so every table has a twin for the last one.
"""

from pathlib import Path

import pandas as pd

from maskft.metrics import METRICS, pick_best_step, total_accuracy
from maskft.paper import (
    BEFORE,
    CATEGORIES,
    CATEGORY_LABELS,
    DATASET_LABELS,
    DATASETS,
    METHOD_LABELS,
    METHODS,
    PARAPHRASE_LABELS,
    PARAPHRASES,
    PUBLISHED_ACCURACY,
    TABLE3,
    TABLE3_ROWS,
    TABLE_COLUMNS,
)
from maskft.provenance import Provenance, write_sidecar
from maskft.runs import write_atomically

METRICS_COLUMNS = (
    "run_id", "dataset", "method", "paraphrases", "base", "seed", "learning_rate", "step", "category", "metric",
    "value", "n_questions",
)  # fmt: skip
VERSUS_COLUMNS = (
    "dataset", "method", "paraphrases", "category", "metric", "paper", "obtained", "std", "n_seeds",
)  # fmt: skip
ARM = ["dataset", "method", "paraphrases"]
CELL = [*ARM, "category", "metric"]
NOT_RUN = "–"

TABLE3_CAPTION = (
    "Fine-tuning performance of arLLM, dLLM and masked arLLM on all three data sets: accuracy, mean and standard "
    "deviation over seeds. The paraphrases are the same-order ones. {}"
)
CHECKPOINT_CAPTIONS = {
    "best": "Each run is read at the checkpoint with its best total accuracy on these same test questions, as in the "
    "paper, which makes the figures optimistic.",
    "last": "Each run is read at its last checkpoint.",
}


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
    frame = _known_rows(frame)
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
    frame = _known_rows(frame)
    last = frame.groupby("run_id").step.max()
    if (last == 0).any():
        raise ValueError(f"runs {sorted(last[last == 0].index)} hold step 0 only; expected an evaluation after it")
    return frame[frame.step == frame.run_id.map(last)]


CHECKPOINTS = {"best": best_checkpoints, "last": last_checkpoints}


def before_fine_tuning(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows at step 0 with paraphrases `before`, one for each base, seed, category and metric.

    Runs of one method and seed start from one base and so repeat its row; masked AR's base is the AR's.
    """
    start = _known_rows(frame)
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
    frame = _known_rows(frame)
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


def versus_paper(frame: pd.DataFrame, checkpoint: str = "best") -> pd.DataFrame:
    """Table 3's cells, obtained beside published, tidy; every metric, the paper's number where it has one.

    Rows `before` come from step 0. A cell of Table 3 that has no run stays in, with nothing obtained and no seeds.

    Args:
        frame: the long metrics frame, whole.
        checkpoint: `best` or `last`.

    Returns:
        A frame with `VERSUS_COLUMNS`, in the paper's order.

    Raises:
        ValueError: see `best_checkpoints` and `summarise`.
        KeyError: another checkpoint than `best` or `last`.
    """
    obtained = pd.concat([summarise(before_fine_tuning(frame)), summarise(CHECKPOINTS[checkpoint](frame))])
    cells = {tuple(row) for row in obtained[CELL].itertuples(index=False)}
    cells |= {(*cell, metric) for cell in TABLE3 for metric in METRICS}
    order = [DATASETS, METHODS, PARAPHRASES, tuple(CATEGORY_LABELS), METRICS]
    ranked = sorted(cells, key=lambda cell: [names.index(name) for names, name in zip(order, cell, strict=True)])
    tidy = pd.DataFrame(ranked, columns=CELL).merge(obtained, on=CELL, how="left")
    tidy = tidy.rename(columns={"mean": "obtained"})
    tidy["n_seeds"] = tidy.n_seeds.fillna(0).astype(int)
    tidy["paper"] = [
        PUBLISHED_ACCURACY.get(tuple(cell), float("nan")) if metric == "accuracy" else float("nan")
        for *cell, metric in tidy[CELL].itertuples(index=False)
    ]
    return tidy[list(VERSUS_COLUMNS)]


def table3(frame: pd.DataFrame, checkpoint: str = "best", metric: str = "accuracy") -> pd.DataFrame:
    """Table 3 as the paper lays it out, in numbers.

    Args:
        frame: the long metrics frame, whole.
        checkpoint: `best` or `last`.
        metric: one of `metrics.METRICS`.

    Returns:
        One row per row of Table 3: `row` (the paper's words), `method`, `paraphrases`, then for each data set
        `DATASET/n_seeds` (the smallest of its cells) and for each category `DATASET/CATEGORY` and
        `DATASET/CATEGORY/std`. Cells without a run are NaN.

    Raises:
        ValueError: see `versus_paper`.
    """
    tidy = versus_paper(frame, checkpoint)
    tidy = tidy[tidy.metric == metric].set_index(["method", "paraphrases", "dataset", "category"])
    rows = []
    for method, paraphrases in TABLE3_ROWS:
        label = f"{METHOD_LABELS[method]} {PARAPHRASE_LABELS[paraphrases]}"
        row: dict[str, object] = {"row": label, "method": method, "paraphrases": paraphrases}
        for dataset in DATASETS:
            cells = {category: tidy.loc[(method, paraphrases, dataset, category)] for category in CATEGORIES[dataset]}
            row[f"{dataset}/n_seeds"] = min(int(cell.n_seeds) for cell in cells.values())
            for category, cell in cells.items():
                row[f"{dataset}/{category}"] = cell.obtained
                row[f"{dataset}/{category}/std"] = cell["std"]
        rows.append(row)
    return pd.DataFrame(rows)


def display_table3(table: pd.DataFrame) -> pd.DataFrame:
    """`table3`'s numbers as a reader sees them: "0.913 ± 0.02", the paper's headings, and the number of seeds.

    The spread is left out for one seed. Seeds are one number, or one for each data set where they differ.
    """

    def cell(mean: float, std: float) -> str:
        if pd.isna(mean):
            return NOT_RUN
        return f"{mean:.3f}" if pd.isna(std) else f"{mean:.3f} ± {std:.2f}"

    columns: dict[tuple[str, str], list[str]] = {("", ""): table["row"].tolist()}
    for dataset, category in TABLE_COLUMNS:
        name = f"{dataset}/{category}"
        columns[DATASET_LABELS[dataset], CATEGORY_LABELS[category]] = [
            cell(mean, std) for mean, std in zip(table[name], table[f"{name}/std"], strict=True)
        ]
    seeds = table[[f"{dataset}/n_seeds" for dataset in DATASETS]].itertuples(index=False)
    columns["", "Seeds"] = [", ".join(map(str, dict.fromkeys(n) if len(set(n)) == 1 else n)) for n in seeds]
    return pd.DataFrame(columns)


def write_table(
    record: pd.DataFrame,
    folder: Path,
    name: str,
    provenance: Provenance,
    *,
    display: pd.DataFrame | None = None,
    caption: str = "",
) -> dict[str, Path]:
    """Write a table as CSV (the record), Markdown and LaTeX (booktabs), with a provenance sidecar.

    Args:
        record: the numbers; floats get four decimals.
        folder: where the files go.
        name: their stem: `NAME.csv`, `.md`, `.tex`, `.json`.
        provenance: for the sidecar.
        display: what a reader sees, as strings; without it, the record with three decimals.
        caption: one paragraph, under the Markdown table and in the LaTeX one.

    Returns:
        Path by suffix.
    """
    folder = Path(folder)
    if display is None:
        display = pd.DataFrame({column: [_show(value) for value in record[column]] for column in record})
    flat = display.copy()
    flat.columns = [" ".join(column).strip() if isinstance(column, tuple) else str(column) for column in flat]
    markdown = flat.to_markdown(index=False, disable_numparse=True) + "\n" + (f"\n{caption}\n" if caption else "")
    styler = display.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis="columns")
    latex = styler.to_latex(
        column_format="l" + "r" * (display.shape[1] - 1),
        hrules=True,
        multicol_align="c",
        caption=_escape_latex(caption) or None,
        label=f"tab:{name}",
        position_float="centering",
    )
    csv = record.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    files = {"csv": csv, "md": markdown, "tex": latex}
    paths = {suffix: write_atomically(folder / f"{name}.{suffix}", text) for suffix, text in files.items()}
    paths["json"] = write_sidecar(folder / f"{name}.json", provenance, [path.name for path in paths.values()])
    return paths


def write_table3(frame: pd.DataFrame, folder: Path, provenance: Provenance) -> dict[str, Path]:
    """Write `table3` (best checkpoints), `table3_last` and `table3_vs_paper`; return the path of each CSV by name.

    Raises:
        ValueError: see `versus_paper`.
    """
    paths = {}
    for name, checkpoint in (("table3", "best"), ("table3_last", "last")):
        table = table3(frame, checkpoint)
        caption = TABLE3_CAPTION.format(CHECKPOINT_CAPTIONS[checkpoint])
        written = write_table(table, folder, name, provenance, display=display_table3(table), caption=caption)
        paths[name] = written["csv"]
    versus = write_table(versus_paper(frame), folder, "table3_vs_paper", provenance)
    return paths | {"table3_vs_paper": versus["csv"]}


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


def _known_rows(frame: pd.DataFrame) -> pd.DataFrame:
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


def _show(value: object) -> str:
    if isinstance(value, float):
        return NOT_RUN if pd.isna(value) else f"{value:.3f}"
    return str(value)


def _escape_latex(text: str) -> str:
    return "".join(f"\\{character}" if character in "&%$#_{}" else character for character in text)
