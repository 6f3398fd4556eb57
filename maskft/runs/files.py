"""The file formats of runs: their fields, canonical JSON, hashes, whole writes and checked reads."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

RECORD_FIELDS = (
    "versions", "dtypes_seen", "seeds", "device", "n_processes", "per_device_train_batch_size", "wall_time_s",
    "started", "ended", "command", "git_commit",
)  # fmt: skip
METRIC_FIELDS = ("step", "epoch", "train_tokens", "category", "metric", "value", "n_questions")
CORPUS_TEXTS = ("question", "answer")  # of the data set, which has them under the question's id
GENERATION_FIELDS = (
    "step", "question_id", "category", *CORPUS_TEXTS, "generation", "accuracy", "rouge1_recall", "exact_match"
)  # fmt: skip
PROGRESS_FIELDS = ("run_id", "step", "total_steps", "phase", "weight_done", "updated")
RESUME_FOLDER = "resume"  # under a staging folder: what training needs to go on after a kill; dropped by publish()


class RecordError(ValueError):
    """A record on disk is unreadable, incomplete or not what was written."""


def canonical(value: Any) -> str:
    """`value` as JSON in the one spelling that is hashed. Raises ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_of(text: str | bytes) -> str:
    """Its sha256 in hexadecimal; text is hashed as UTF-8."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def fsync(path: Path) -> None:
    """Return when the file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Write a file so that a reader, or a kill, finds either the old content or the new, never a part.

    Args:
        path: the file; its folders are made.
        content: text is written as UTF-8.

    Returns:
        `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name holds the process, because two may write the same record at once; the last one wins with a whole file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        fsync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync(path.parent)
    return path


def to_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """JSON lines, each in its canonical spelling."""
    return "".join(canonical(row) + "\n" for row in rows)


def parse_rows(content: bytes, source: Path) -> list[dict[str, Any]]:
    """The objects of JSON lines. Raises RecordError, which names `source`, where a line is no object."""
    try:
        rows = [json.loads(line) for line in content.splitlines()]
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("a line is no object")
    except ValueError as error:
        raise RecordError(f"{source} is not JSON lines ({error}); restore it, or delete it and train again") from None
    return rows


def check_rows(rows: Sequence[Mapping[str, Any]], expected: Sequence[str], source: Path) -> None:
    """Raises ValueError if a row has other fields than `expected`."""
    for number, row in enumerate(rows, start=1):
        if set(row) != set(expected):
            raise ValueError(f"{source}, line {number} has fields {sorted(row)}; expected {sorted(expected)}")


def read_record(folder: Path) -> dict[str, Any]:
    """The run.json of a finished run folder.

    Raises:
        RecordError: it is missing, not JSON, or does not describe a complete run.
    """
    path = folder / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["status"] == "complete" and isinstance(record["files"], dict):
            return record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path} cannot be read ({error!r}); the run must be trained again") from None
    raise RecordError(f"{path} has status {record['status']!r}, not 'complete'; the run must be trained again")


def read_file_of(folder: Path, name: str, record: Mapping[str, Any]) -> bytes:
    """A file of a run folder. Raises RecordError if it is not there or not what `record` (its run.json) describes."""
    path = folder / name
    try:
        content = path.read_bytes()
    except OSError:
        raise RecordError(f"{path} cannot be read; the run must be trained again") from None
    if sha256_of(content) != record["files"].get(name, {}).get("sha256"):
        raise RecordError(f"{path} is not the file that run.json describes; the run must be trained again")
    return content
