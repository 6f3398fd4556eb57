"""Write a table: CSV is the record, Markdown and LaTeX are views of it, and a sidecar says where it comes from."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from maskft.provenance import Provenance, write_sidecar
from maskft.runs import write_atomically

NOT_RUN = "–"
WIDEST = 100  # characters of a row that a LaTeX page holds


def write_table(
    record: pd.DataFrame,
    folder: Path,
    name: str,
    provenance: Provenance,
    *,
    display: pd.DataFrame | None = None,
    caption: str = "",
    column_format: str = "",
    beside: Sequence[str] = (),
) -> dict[str, Path]:
    """Write a table as CSV (the record), Markdown and LaTeX (booktabs), with a provenance sidecar.

    Args:
        record: the numbers; floats get four decimals.
        folder: where the files go.
        name: their stem: `NAME.csv`, `.md`, `.tex`, `.json`.
        provenance: for the sidecar.
        display: what a reader sees, as strings; without it, the record with three decimals.
        caption: one paragraph, under the Markdown table and in the LaTeX one.
        column_format: LaTeX's, where columns hold sentences; without it, names on the left and numbers on the right, and
            a table of more than 100 characters a row is scaled to the text's width (package graphicx).
        beside: further files of the folder that the sidecar speaks for.

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
        column_format=column_format or "l" + "r" * (display.shape[1] - 1),
        hrules=True,
        multicol_align="c",
        caption=_escape_latex(caption) or None,
        label=f"tab:{name}",
        position_float="centering",
    )
    if not column_format and flat.astype(str).map(len).sum(axis="columns").max() > WIDEST:
        latex = latex.replace(r"\begin{tabular}", "\\resizebox{\\textwidth}{!}{%\n\\begin{tabular}")
        latex = latex.replace(r"\end{tabular}", r"\end{tabular}}")
    csv = record.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    files = {"csv": csv, "md": markdown, "tex": latex}
    paths = {suffix: write_atomically(folder / f"{name}.{suffix}", text) for suffix, text in files.items()}
    paths["json"] = write_sidecar(folder / f"{name}.json", provenance, [*(path.name for path in paths.values()), *beside])
    return paths


def _show(value: object) -> str:
    if isinstance(value, float):
        return NOT_RUN if pd.isna(value) else f"{value:.3f}"
    return str(value)


def _escape_latex(text: str) -> str:
    return "".join(f"\\{character}" if character in "&%$#_{}" else character for character in text)
