"""A data set in a folder: ``documents.jsonl`` and ``questions.jsonl``, with the columns of the schema and maybe more.

``maskft build-wiki`` writes such folders. More columns (titles, addresses, cues) are for people and are not read here.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskft.data.schema import DOCUMENT_FEATURES, QUESTION_FEATURES, Corpus

VARIABLE = "MASKFT_BUILT"
FILES = {"documents.jsonl": DOCUMENT_FEATURES, "questions.jsonl": QUESTION_FEATURES}


def load(name: str, folder: str | Path | None = None) -> Corpus:
    """Load a data set from a folder.

    Args:
        name: One of `DATASETS`: whose categories the questions have.
        folder: The folder; None for the one that the environment variable ``MASKFT_BUILT`` names.

    Raises:
        ValueError: If no folder is named, a line is no JSON object or lacks a column, or `validate` refuses the rows.
        FileNotFoundError: If a file is not there.
    """
    folder = folder or os.environ.get(VARIABLE)
    if not folder:
        raise ValueError(f"source='built' reads a folder: set {VARIABLE} to one that `maskft build-wiki` wrote")
    return Corpus.from_rows(name, "built", *(_read(Path(folder, file), columns) for file, columns in FILES.items()))


def _read(path: Path, columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; a built data set has {' and '.join(FILES)}")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
                rows.append({column: row[column] for column in columns})
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(
                    f"{path}, line {number} is {line[:60]!r} ({error!r}), expected an object with "
                    f"{', '.join(columns)}; build the folder again"
                ) from None
    return rows
