"""Tables 2 and 3 in one small Markdown table for the README: each row of ours beside the paper's."""

from pathlib import Path

import pandas as pd

from maskft.paper import BEFORE, CATEGORIES, DATASET_LABELS, DATASETS

CONTROL = "control base"
ROWS = {
    ("ar", BEFORE): "before (AR)",
    ("ar", "none"): "plain AR",
    ("ar", "same_order"): "plain AR, same-order paraphrases",
    ("ar", "permute_order"): "plain AR, permute-order paraphrases",
    ("dllm", "none"): "dLLM",
    ("dllm", "same_order"): "dLLM, same-order paraphrases",
    ("masked_ar", "none"): "masked AR",
    ("masked_ar", "same_order"): "masked AR, same-order paraphrases",
    (CONTROL, "none"): "masked AR, from a base without masked passages",
}
SOURCES = {"table3_vs_paper": None, "table2_vs_paper": None, "table3_control_vs_paper": CONTROL}  # and what its method is called here


def summary_table(folder: Path) -> str:
    """Accuracy at the best checkpoint, the mean over seeds, by method, paraphrases and data set, beside the paper's.

    Rows that were not run are left out, cells that were not are a dash. A cell's categories are in the order of ``CATEGORIES``.

    Args:
        folder: The tables of a scale.

    Returns:
        The table's lines.

    Raises:
        OSError: If Table 3 or Table 2 was not written yet.
    """
    found: dict[tuple[str, str, str, str], pd.Series] = {}
    for name, called in SOURCES.items():
        file = folder / f"{name}.csv"
        if called and not file.exists():
            continue  # a scale without a control base
        table = pd.read_csv(file)
        for _, row in table[table["metric"] == "accuracy"].iterrows():
            found[row["dataset"], called or row["method"], row["paraphrases"], row["category"]] = row
    head = ["", *(label for dataset in DATASETS for label in (DATASET_LABELS[dataset], "paper"))]
    lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for (method, paraphrases), label in ROWS.items():
        cells = [
            _cell([found.get((dataset, method, paraphrases, category)) for category in CATEGORIES[dataset]], column)
            for dataset in DATASETS for column in ("obtained", "paper")
        ]  # fmt: skip
        if any(obtained != "–" for obtained in cells[::2]):
            lines.append(f"| {' | '.join([label, *cells])} |")
    return "\n".join(lines)


def _cell(rows: list[pd.Series | None], column: str) -> str:
    values = [row[column] for row in rows if row is not None and not pd.isna(row[column])]
    return " / ".join(f"{value:.2f}" for value in values) if len(values) == len(rows) else "–"
