"""Where an arm in training goes on from: one file, whole or not there.

A run of the study has a folder that several processes write (``checkpoints``); an arm has one process. What the file does
not hold follows from the step: masks, order of passages and learning rate are functions of it. Knows nothing of models.
"""

import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..runs.files import fsync


class Checkpoint:
    """A file that is replaced from time to time.

    Args:
        path: Its place. The name says whose it is, so that another request's is never taken up.
        minutes: Between two writes; 0: after every step.
        say: Takes a line where it cannot be read or written.
    """

    def __init__(self, path: Path, *, minutes: float = 10.0, say: Callable[[str], None] = print):
        self.path, self.minutes, self.say = path, minutes, say
        self._saved = time.monotonic()

    def is_due(self) -> bool:
        """Whether the time between two writes has passed."""
        return time.monotonic() - self._saved >= 60 * self.minutes

    def save(self, state: dict[str, Any]) -> None:
        """Put ``state``, tensors and plain values, in place of what was there. A disk without room for it is told, and no error."""
        self._saved = time.monotonic()
        partial = self.path.with_suffix(".partial")
        try:
            size, free = _size(state), shutil.disk_usage(self.path.parent).free
            if free < 2 * size:  # the result, which is smaller, must fit beside it
                raise OSError(f"it takes {size / 2**30:.2f} GiB of {free / 2**30:.2f} free, and the result needs room as well")
            torch.save(state, partial)
            fsync(partial)
            partial.replace(self.path)
            fsync(self.path.parent)
        except (OSError, RuntimeError) as error:  # a failed write is a RuntimeError of torch's
            partial.unlink(missing_ok=True)
            self.say(f"note: no checkpoint was written ({error}); training goes on")

    def load(self) -> dict[str, Any] | None:
        """What was saved last, on the CPU; None where there is none, or it is damaged, which is told."""
        if not self.path.exists():
            return None
        try:
            with zipfile.ZipFile(self.path) as archive:
                if damaged := archive.testzip():  # torch writes checksums and does not compare them
                    raise zipfile.BadZipFile(f"{damaged} is not what was written")
            return torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # a reader of damaged bytes may raise anything
            self.say(f"note: the checkpoint {self.path.name} is passed over ({error}); training starts anew")
            return None

    def drop(self) -> None:
        """Remove the file, if it is there."""
        self.path.unlink(missing_ok=True)


def _size(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    return sum(map(_size, value.values())) if isinstance(value, dict) else 0
