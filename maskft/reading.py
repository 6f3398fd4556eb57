"""Files that a reader gives: text, JSON lines, questions with answers. Whatever is wrong in one is told by file and line."""

import json
import re
from pathlib import Path


def read_text(file: Path) -> str:
    """A file as UTF-8.

    Raises:
        ValueError: If it is binary or in another encoding.
    """
    content = file.read_bytes()
    if b"\0" in content:
        raise ValueError(f"{file} is no text: byte {content.index(0)} is 0; remove it, or save it as UTF-8 text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{file} is not UTF-8 (byte {error.start} is 0x{content[error.start]:02x}); "
            f"convert it, for example: iconv -f WINDOWS-1252 -t UTF-8 {file.name}"
        ) from None


def read_rows(file: Path) -> list[tuple[int, dict]]:
    """The objects of a JSON-lines file with their line numbers; empty lines are skipped.

    Raises:
        ValueError: If the file is not UTF-8 or a line is not a JSON object.
    """
    rows = []
    for number, line in enumerate(re.split(r"\r\n?|\n", read_text(file)), start=1):  # JSON has other line ends inside texts
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{file}, line {number} is not JSON ({error}); one object a line is expected") from None
        if not isinstance(row, dict):
            raise ValueError(f"{file}, line {number} is not a JSON object but {line.strip()[:40]!r}")
        rows.append((number, row))
    return rows


def read_question_rows(file: str | Path) -> list[tuple[str, dict]]:
    """The rows of a JSON-lines file of questions, each with its place, as ``FILE, line 3``.

    ``question`` and ``answer`` are texts, without white space around them; a row may hold more.

    Raises:
        ValueError: If the file is missing, is not UTF-8 JSON lines, holds no question, or a line lacks one of both.
    """
    path, rows = Path(file), []
    if not path.is_file():
        raise ValueError(f"there is no file {file}; expected JSON lines like {{\"question\": \"Who …?\", \"answer\": \"…\"}}")
    for number, row in read_rows(path):
        where = f"{path}, line {number}"
        for name in ("question", "answer"):
            if not isinstance(row.get(name), str):
                raise ValueError(f"{where}: {name} is {row.get(name)!r}; expected a text")
            if not row[name].strip():
                raise ValueError(f"{where}: the {name} is empty; a question and its answer are expected")
        rows.append((where, row | {name: row[name].strip() for name in ("question", "answer")}))
    if not rows:
        raise ValueError(f"{path} holds no question; expected JSON lines with question and answer")
    return rows
