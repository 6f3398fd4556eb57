"""Where a run in training can go on from: distributed checkpoints, whole or not there, and the question of SIGTERM.

A checkpoint is a folder ``STAGING/resume/checkpoint-STEP`` with PyTorch's distributed checkpoint of weights and AdamW's
moments (it may be read by another number of processes), and ``state.json``, everything else that the loop knows. It is
written beside its place and renamed once all processes are done, so that a kill at any moment leaves the one before it.
What it does not hold follows from the step: masks, order of documents and learning rate are functions of it.

Also there are the weights that were best so far, ``STAGING/resume/best-STEP``, a plain Hugging Face folder.
"""

import json
import os
import re
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn
from torch.distributed import checkpoint as distributed_checkpoint
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from transformers import PreTrainedModel

from .runs import RESUME_FOLDER, RunConfig, write_atomically
from .runs.files import fsync

STATE = "state.json"


@dataclass
class State:
    """What the loop knows besides weights and moments.

    Attributes:
        step: Optimizer steps done.
        train_tokens: Seen in them.
        metrics: Rows so far.
        losses: Rows so far.
        generations: Rows by step.
        totals: Total accuracy by step.
        best_step: Whose weights are kept; None before there are any.
        wall_time_s: Spent so far, by all attempts.
        resumed_at: Steps at which an earlier attempt was taken up.
        sharding: What ``sharding.PolicyCheck`` saw; None without FSDP2.
        answers_before_from: The run that asked the base before fine-tuning (``base_answers``); None: this one.
    """

    step: int = 0
    train_tokens: int = 0
    metrics: list[dict] = field(default_factory=list)
    losses: list[dict] = field(default_factory=list)
    generations: dict[int, list[dict]] = field(default_factory=dict)
    totals: dict[int, float] = field(default_factory=dict)
    best_step: int | None = None
    wall_time_s: float = 0.0
    resumed_at: list[int] = field(default_factory=list)
    sharding: dict | None = None
    answers_before_from: str | None = None

    @classmethod
    def from_json(cls, values: dict) -> "State":
        """The inverse of ``asdict`` through JSON, which has no whole numbers as keys."""
        by_step = {name: {int(step): value for step, value in values[name].items()} for name in ("generations", "totals")}
        return cls(**values | by_step)


class Checkpoints:
    """The checkpoints of one run; every process has one, and all call ``save`` and ``load`` together.

    Args:
        staging: The run's staging folder, on a disk that all processes share.
        config: The run.
        accelerator: Says which process this is.
    """

    def __init__(self, staging: Path, config: RunConfig, accelerator: Accelerator):
        self.folder, self.config, self.accelerator = staging / RESUME_FOLDER, config, accelerator
        self._saved, self._needed = time.monotonic(), None

    def seconds_since_last(self) -> float:
        """Since a checkpoint was written, or this object was made."""
        return time.monotonic() - self._saved

    def best(self, step: int) -> Path:
        """Where the weights of a step are kept while they are the best."""
        return self.folder / f"best-{step}"

    def keep_best(self, model: PreTrainedModel, step: int) -> None:
        """Keep the weights of ``step``, and no others but those that the latest checkpoint needs; on one process."""
        path = self.best(step)
        partial = path.with_suffix(".partial")
        for old in (partial, path):
            shutil.rmtree(old, ignore_errors=True)
        model.save_pretrained(partial)
        partial.rename(path)
        for old in self.folder.glob("best-*"):
            if old not in (path, self.best(self._needed) if self._needed is not None else None):
                shutil.rmtree(old, ignore_errors=True)

    def hand_over_best(self, step: int, target: Path) -> None:
        """Put the weights of ``step`` at ``target`` as well; on one process. They stay until the run is published."""
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.best(step), target, copy_function=_link)

    def save(self, wrapped: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> Path:
        """Write a checkpoint and drop those before it.

        Returns:
            Its folder.
        """
        path = self.folder / f"checkpoint-{state.step}"
        partial = path.with_suffix(".partial")
        if self.accelerator.is_main_process:
            for old in (partial, path):
                shutil.rmtree(old, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        with _quiet():
            distributed_checkpoint.save(_tensors(wrapped, optimizer), checkpoint_id=partial, no_dist=self._alone)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            # Last, and with the size of every other file: where it is, the checkpoint is whole.
            files = {file.name: file.stat().st_size for file in partial.iterdir()}
            whole = {"run_id": self.config.run_id, "files": files, "state": asdict(state)}
            write_atomically(partial / STATE, json.dumps(whole, ensure_ascii=False))
            partial.rename(path)
            fsync(self.folder)
            self._prune(path, state)
        self.accelerator.wait_for_everyone()
        self._saved, self._needed = time.monotonic(), state.best_step
        return path

    def load(self, wrapped: nn.Module, optimizer: torch.optim.Optimizer) -> State:
        """Take up the latest whole checkpoint: weights and moments are changed in place.

        Returns:
            Its state, or a new one where there is none.
        """
        path = self._latest() if self.accelerator.is_main_process else None
        (path,) = broadcast_object_list([path])
        if path is None:
            return State()
        state = State.from_json(json.loads((path / STATE).read_text())["state"])
        state.resumed_at.append(state.step)
        self._needed = state.best_step
        tensors = _tensors(wrapped, optimizer)
        with _quiet():
            distributed_checkpoint.load(tensors, checkpoint_id=path, no_dist=self._alone)
        set_state_dict(
            wrapped, optimizer, model_state_dict=tensors["model"], optim_state_dict=tensors["optimizer"]
        )  # fmt: skip
        return state

    @property
    def _alone(self) -> bool:
        return self.accelerator.num_processes == 1

    def _latest(self) -> Path | None:
        found = {}
        for path in self.folder.glob("checkpoint-*"):
            if match := re.fullmatch(r"checkpoint-(\d+)", path.name):
                found[int(match[1])] = path
        for _, path in sorted(found.items(), reverse=True):
            flaw = self._flaw(path)
            if flaw is None:
                return path
            warnings.warn(f"{path} is passed over: {flaw}", stacklevel=2)
        return None

    def _flaw(self, path: Path) -> str | None:
        try:
            whole = json.loads((path / STATE).read_text())
            if whole["run_id"] != self.config.run_id:
                return f"it is of the run {whole['run_id']}"
            for name, size in whole["files"].items():
                if not (path / name).is_file() or (path / name).stat().st_size != size:
                    return f"{name} is missing or cut short"
            best = State.from_json(whole["state"]).best_step
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return f"{STATE} cannot be read ({error!r})"
        if best is not None and not self.best(best).is_dir():
            return f"the weights of its best step, {self.best(best).name}, are missing"
        return None

    def _prune(self, kept: Path, state: State) -> None:
        for path in self.folder.iterdir():
            if path != kept and not (state.best_step is not None and path == self.best(state.best_step)):
                shutil.rmtree(path, ignore_errors=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)  # 16 GB at the paper's scale
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def _tensors(wrapped: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict]:
    # accelerate's own optimizer only passes on; the helpers want the one beneath.
    model, moments = get_state_dict(wrapped, getattr(optimizer, "optimizer", optimizer))
    return {"model": model, "optimizer": moments}


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # Of one process, which is just what is meant.
        warnings.filterwarnings("ignore", message=".*torch.distributed is.*(disabled|unavailable|not initialized).*")
        yield


class Interrupted(BaseException):
    """SIGTERM came; what was done is kept. No error of the run, hence no ``Exception``."""


class Sigterm:
    """Makes SIGTERM a question that the loop asks between steps; within ``breaking`` it interrupts at once.

    Slurm and the launchers send it before they kill. Each process gets its own, at its own time: the loop has to agree
    with the others before it does anything together with them.
    """

    def __init__(self) -> None:
        self.came, self._breaks = False, False

    def __enter__(self) -> "Sigterm":
        self._is_main = threading.current_thread() is threading.main_thread()  # others may not set handlers
        if self._is_main:
            self._before = signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_main:
            signal.signal(signal.SIGTERM, self._before)

    def _handle(self, *_: object) -> None:
        self.came = True
        if self._breaks:
            self._breaks = False
            raise Interrupted

    @contextmanager
    def breaking(self) -> Iterator[None]:
        """Work that leaves nothing behind when it breaks off, and that no other process waits for.

        Raises:
            Interrupted: If SIGTERM came before or comes now. The caller ends the block and tells the others.
        """
        try:
            self._breaks = True
            if self.came:
                raise Interrupted
            yield
        finally:
            self._breaks = False

