"""Every answer that was received, so that nobody is asked the same thing twice: JSON lines, one an answer.

Knows neither wikis nor language models. A killed process leaves at most one torn line at the end, which the next one
cuts off; going on where it stopped is then asking again from the start, and finding the answers here.
"""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOM = 2**20  # bytes that must be free before something is asked for: an answer has a few kilobytes


class Journal:
    """Answers by request, on disk as soon as they are put. Threads may share it; two processes may not.

    Args:
        path: The file; it and its folders are made.

    Raises:
        ValueError: If the file holds something else than a journal; the message names the line.
        OSError: If it cannot be read or written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        content = self.path.read_bytes() if self.path.is_file() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):  # the process was killed, or the disk was full, in the middle of a line
            os.truncate(self.path, len(whole))
        self._entries: dict[str, dict[str, Any]] = {}
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                entry = json.loads(line)
                self._entries[entry["key"]] = {"answer": entry["answer"], "time": entry["time"]}
            except (ValueError, KeyError, TypeError):
                raise ValueError(
                    f"{self.path}, line {number} is no entry of a journal: {line[:60]!r}; remove this line, what it "
                    "held is asked for again"
                ) from None

    def __len__(self) -> int:
        return len(self._entries)

    def answers(self) -> Iterator[Any]:
        """All answers, oldest first."""
        return iter([entry["answer"] for entry in self._entries.values()])

    def get(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """The ``answer`` to a request and the ``time`` (UTC, ISO 8601) it was put, or None."""
        return self._entries.get(_key(request))

    def put(self, request: Mapping[str, Any], answer: Any) -> dict[str, Any]:
        """Keep an answer; it is on disk when this returns.

        Returns:
            What `get` will return.

        Raises:
            OSError: If it cannot be written, for want of room for example.
        """
        entry = {"answer": answer, "time": datetime.now(UTC).isoformat(timespec="seconds")}
        line = json.dumps({"key": _key(request), **entry}) + "\n"
        with self._lock:
            try:
                with self.path.open("ab") as file:
                    file.write(line.encode())
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise self._unwritable(error) from error
            self._entries[_key(request)] = entry
        return entry

    def check_room(self) -> None:
        """Look whether another answer can be kept, before it is paid for.

        Raises:
            OSError: If less than a MiB is free.
        """
        if shutil.disk_usage(self.path.parent).free < ROOM:
            raise self._unwritable(OSError(28, "less than 1 MiB is free"))

    def _unwritable(self, error: OSError) -> OSError:
        return OSError(
            f"cannot write {self.path} ({error.strerror}); the {len(self)} answers before this one are kept: make room "
            "and run the same command again"
        )


def _key(request: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
