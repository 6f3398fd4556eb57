"""Tables 1, 2 and 3, which have one form, and their comparison with the paper."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from maskft.metrics import METRICS
from maskft.paper import (
    CATEGORIES,
    CATEGORY_LABELS,
    DATASET_LABELS,
    DATASETS,
    METHOD_LABELS,
    METHODS,
    PARAPHRASE_LABELS,
    PARAPHRASES,
    PUBLISHED_ACCURACY,
    TABLE1,
    TABLE2,
    TABLE3,
    Cell,
)
from maskft.provenance import Provenance
from maskft.tables.checkpoints import CELL, CHECKPOINTS, before_fine_tuning, summarise
from maskft.tables.write import NOT_RUN, write_table

VERSUS_COLUMNS = (
    "dataset", "method", "paraphrases", "category", "metric", "paper", "obtained", "std", "n_seeds",
)  # fmt: skip

CHECKPOINT_CAPTIONS = {
    "best": "Each run is read at the checkpoint with its best total accuracy on these same test questions, as in the "
    "paper, which makes the figures optimistic.",
    "last": "Each run is read at its last checkpoint.",
}


@dataclass(frozen=True)
class Layout:
    """What one of the paper's tables shows.

    Attributes:
        name: its name and the stem of its files.
        published: the paper's cells, in the paper's order of rows and columns.
        caption: what it is, one sentence.
        paraphrase_labels: how it calls the kinds of paraphrases.
    """

    name: str
    published: Mapping[Cell, float]
    caption: str
    paraphrase_labels: Mapping[str, str]

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Method and paraphrases of each row."""
        return list(dict.fromkeys((method, paraphrases) for _, method, paraphrases, _ in self.published))

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """Categories of each data set."""
        datasets = dict.fromkeys(dataset for dataset, *_ in self.published)
        return {dataset: CATEGORIES[dataset] for dataset in datasets}


OF_SEEDS = "accuracy, mean and standard deviation over seeds."
LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout(
            "table1",
            TABLE1,
            f"Fine-tuning performance of arLLM on NameDescription and Biography: {OF_SEEDS}",
            PARAPHRASE_LABELS,
        ),
        Layout(
            "table2",
            TABLE2,
            f"Fine-tuning performance of arLLM on Wiki: {OF_SEEDS}",
            PARAPHRASE_LABELS | {"same_order": "w same-order paraphrases"},
        ),
        Layout(
            "table3",
            TABLE3,
            f"Fine-tuning performance of arLLM, dLLM and masked arLLM on all three data sets: {OF_SEEDS} "
            "The paraphrases are the same-order ones.",
            PARAPHRASE_LABELS,
        ),
    )
}


def versus_paper(
    frame: pd.DataFrame, checkpoint: str = "best", published: Mapping[Cell, float] | None = None
) -> pd.DataFrame:
    """The cells of a table, obtained beside published, tidy; every metric, the paper's number where it has one.

    Rows `before` come from step 0. A published cell that has no run stays in, with nothing obtained and no seeds.

    Args:
        frame: the long metrics frame, whole.
        checkpoint: `best` or `last`.
        published: the cells of the paper's table. With it no other cell is given; without it, those of Table 3 and all
            that the frame has beside them.

    Returns:
        A frame with `VERSUS_COLUMNS`, in the paper's order.

    Raises:
        ValueError: see `best_checkpoints` and `summarise`.
        KeyError: another checkpoint than `best` or `last`.
    """
    obtained = pd.concat([summarise(before_fine_tuning(frame)), summarise(CHECKPOINTS[checkpoint](frame))])
    cells = {(*cell, metric) for cell in published or TABLE3 for metric in METRICS}
    if published is None:
        cells |= {tuple(row) for row in obtained[CELL].itertuples(index=False)}
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


def accuracy_table(
    layout: Layout, frame: pd.DataFrame, checkpoint: str = "best", metric: str = "accuracy"
) -> pd.DataFrame:
    """One of Tables 1 to 3 as the paper lays it out, in numbers.

    Args:
        layout: which table.
        frame: the long metrics frame, whole.
        checkpoint: `best` or `last`.
        metric: one of `metrics.METRICS`.

    Returns:
        One row per row of the table: `row` (the paper's words), `method`, `paraphrases`, then for each data set
        `DATASET/n_seeds` (the smallest of its cells) and for each category `DATASET/CATEGORY` and
        `DATASET/CATEGORY/std`. Cells without a run are NaN.

    Raises:
        ValueError: see `versus_paper`.
    """
    tidy = versus_paper(frame, checkpoint, layout.published)
    tidy = tidy[tidy.metric == metric].set_index(["method", "paraphrases", "dataset", "category"])
    rows = []
    for method, paraphrases in layout.rows:
        label = f"{METHOD_LABELS[method]} {layout.paraphrase_labels[paraphrases]}"
        row: dict[str, object] = {"row": label, "method": method, "paraphrases": paraphrases}
        for dataset, categories in layout.columns.items():
            cells = {category: tidy.loc[(method, paraphrases, dataset, category)] for category in categories}
            row[f"{dataset}/n_seeds"] = min(int(cell.n_seeds) for cell in cells.values())
            for category, cell in cells.items():
                row[f"{dataset}/{category}"] = cell.obtained
                row[f"{dataset}/{category}/std"] = cell["std"]
        rows.append(row)
    return pd.DataFrame(rows)


def display_table(layout: Layout, table: pd.DataFrame) -> pd.DataFrame:
    """`accuracy_table`'s numbers as a reader sees them: "0.913 ± 0.02", the paper's headings, and the number of seeds.

    The spread is left out for one seed. Seeds are one number, or one for each data set where they differ.
    """

    def cell(mean: float, std: float) -> str:
        if pd.isna(mean):
            return NOT_RUN
        return f"{mean:.3f}" if pd.isna(std) else f"{mean:.3f} ± {std:.2f}"

    columns: dict[tuple[str, str], list[str]] = {("", ""): table["row"].tolist()}
    for dataset, categories in layout.columns.items():
        for category in categories:
            name = f"{dataset}/{category}"
            columns[DATASET_LABELS[dataset], CATEGORY_LABELS[category]] = [
                cell(mean, std) for mean, std in zip(table[name], table[f"{name}/std"], strict=True)
            ]
    seeds = table[[f"{dataset}/n_seeds" for dataset in layout.columns]].itertuples(index=False)
    columns["", "Seeds"] = [", ".join(map(str, dict.fromkeys(n) if len(set(n)) == 1 else n)) for n in seeds]
    return pd.DataFrame(columns)


def questions_caption(layout: Layout, frame: pd.DataFrame) -> str:
    """Which methods were asked a part of a data set's questions; empty where all were asked as many."""
    parts = []
    for dataset, categories in layout.columns.items():
        rows = frame[(frame.dataset == dataset) & frame.category.isin(categories)]
        asked = rows.groupby(["method", "category"]).n_questions.max().groupby("method").sum()
        parts += [f"{METHOD_LABELS[method]} {n} of {asked.max()} on {DATASET_LABELS[dataset]}" for method, n in asked.items() if n < asked.max()]
    return f" Questions asked: {', '.join(parts)}." if parts else ""


def write_accuracy_table(
    layout: Layout, frame: pd.DataFrame, folder: Path, provenance: Provenance
) -> dict[str, Path]:
    """Write a table: `NAME` (best checkpoints), `NAME_last` and `NAME_vs_paper`; return the path of each CSV by name.

    Raises:
        ValueError: see `versus_paper`.
    """
    paths, asked = {}, questions_caption(layout, frame)
    for name, checkpoint in ((layout.name, "best"), (f"{layout.name}_last", "last")):
        table = accuracy_table(layout, frame, checkpoint)
        caption = f"{layout.caption} {CHECKPOINT_CAPTIONS[checkpoint]}{asked}"
        written = write_table(table, folder, name, provenance, display=display_table(layout, table), caption=caption)
        paths[name] = written["csv"]
    name = f"{layout.name}_vs_paper"
    return paths | {name: write_table(versus_paper(frame, published=layout.published), folder, name, provenance)["csv"]}
