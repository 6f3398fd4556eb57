"""The working folders: who trains a run, what it has left so far, and what is published when it is finished."""

import hashlib
import json
import os
import shutil
import socket
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from maskft.runs.config import RunConfig
from maskft.runs.files import (
    GENERATION_FIELDS,
    METRIC_FIELDS,
    PROGRESS_FIELDS,
    RECORD_FIELDS,
    RESUME_FOLDER,
    check_rows,
    fsync,
    parse_rows,
    read_file_of,
    read_record,
    write_atomically,
)

WORKER = "MASKFT_WORKER"  # the environment variable by which a launcher names the training process that it starts


class RunStore:
    """The working store: one folder a run, written by training, complete or not there at all.

    Example:
        What a training process does with each configuration it was given:

        >>> with store.claim(config) as staging:                                         # doctest: +SKIP
        ...     if staging is not None:    # neither finished nor in another process's hands
        ...         record = train(config, staging)
        ...         store.publish(config, staging, record)
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def folder(self, config: RunConfig) -> Path:
        """Where the finished run is, or will be."""
        return self.root / config.run_id

    def failure_path(self, config: RunConfig) -> Path:
        """Where the traceback of a failed run is, until the run succeeds."""
        return self.root / ".failed" / f"{config.run_id}.txt"

    # Reading

    def is_finished(self, config: RunConfig) -> bool:
        """Whether the run is here and whole. A damaged run warns and counts as not finished."""
        folder = self.folder(config)
        if not folder.exists():
            return False
        flaw = self._flaw(config)
        if flaw:
            warnings.warn(f"run {config.run_id} is damaged and counts as not finished: {flaw}", stacklevel=2)
        return flaw is None

    def missing(self, configs: Iterable[RunConfig]) -> list[RunConfig]:
        """Those of `configs` that are not finished, each once, in their order."""
        return [config for config in dict.fromkeys(configs) if not self.is_finished(config)]

    def configs(self, dataset: str) -> list[RunConfig]:
        """The configurations of the finished runs of a data set, by folder name; damaged ones are left out."""
        found = []
        for path in sorted(self.root.glob(f"*-{dataset}-*/run.json")):
            with suppress(ValueError, KeyError, TypeError):
                found.append(RunConfig.from_dict(read_record(path.parent)["config"]))
        return found

    def record(self, config: RunConfig) -> dict[str, Any]:
        """The run's run.json. Raises RecordError."""
        return read_record(self.folder(config))

    def metrics(self, config: RunConfig) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl (`METRIC_FIELDS`). Raises RecordError."""
        return self._rows(config, "metrics.jsonl")

    def generations(self, config: RunConfig) -> list[dict[str, Any]]:
        """The rows of generations.jsonl (`GENERATION_FIELDS`). Raises RecordError."""
        return self._rows(config, "generations.jsonl")

    def _rows(self, config: RunConfig, name: str) -> list[dict[str, Any]]:
        folder = self.folder(config)
        return parse_rows(read_file_of(folder, name, read_record(folder)), folder / name)

    def _flaw(self, config: RunConfig) -> str | None:
        folder = self.folder(config)
        try:
            record = read_record(folder)
            if RunConfig.from_dict(record["config"]) != config:
                return f"{folder / 'run.json'} holds another configuration"
            for name, expected in record["files"].items():
                if not (folder / name).is_file() or (folder / name).stat().st_size != expected["bytes"]:
                    return f"{folder / name} is missing or has another size than run.json says"
            if len(parse_rows(read_file_of(folder, "metrics.jsonl", record), folder)) != record["n_metrics"]:
                return f"{folder / 'metrics.jsonl'} has not the {record['n_metrics']} rows that run.json says"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return str(error)
        return None

    # Writing

    @contextmanager
    def lock(self, config: RunConfig, *, blocking: bool = True) -> Iterator[bool]:
        """Hold the run against other processes; the value says whether it is held.

        The lock is the kernel's (`flock`), so it ends with the process that holds it, however that ends.

        Args:
            config: the run.
            blocking: wait for as long as it takes (the value is then always True). If false, wait no longer than it
                takes `is_running` of another process to look at the lock.
        """
        path = self.root / ".locks" / f"{config.run_id}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=-1 if blocking else 0.1, poll_interval=0.02)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def is_running(self, config: RunConfig) -> bool:
        """Whether some process holds the run."""
        path = self.root / ".locks" / f"{config.run_id}.lock"
        if not path.exists():
            return False
        try:
            with FileLock(path, timeout=0):
                return False
        except Timeout:
            return True

    @contextmanager
    def claim(self, config: RunConfig) -> Iterator[Path | None]:
        """Take the run if it is free and not finished: the value is its staging folder, else None."""
        with self.lock(config, blocking=False) as is_held:
            # In this order: another process may have finished the run while we waited for its lock.
            staging = self.begin(config) if is_held and not self.is_finished(config) else None
            if staging is not None:
                # At once, so that whoever finds this process dead knows which run it had.
                self.report_progress(config, step=0, phase="start", weight_done=0.0)
            yield staging

    def begin(self, config: RunConfig) -> Path:
        """The staging folder of the run, with what an earlier attempt left there; the lock must be held.

        A damaged run folder is moved to `.corrupt/RUN_ID-N` with a warning.

        Raises:
            FileExistsError: the run is finished.
        """
        folder, staging = self.folder(config), self.root / ".partial" / config.run_id
        if folder.exists():
            flaw = self._flaw(config)
            if flaw is None:
                raise FileExistsError(f"{folder} is a finished run; delete it if it must be trained again")
            corrupt = self.root / ".corrupt"
            corrupt.mkdir(exist_ok=True)
            n = 1 + len(list(corrupt.glob(f"{config.run_id}-*")))
            folder.rename(corrupt / f"{config.run_id}-{n}")
            warnings.warn(f"moved a damaged run to {corrupt / folder.name}-{n}: {flaw}", stacklevel=2)
        staging.mkdir(parents=True, exist_ok=True)
        return staging

    def publish(self, config: RunConfig, staging: Path, record: Mapping[str, Any]) -> Path:
        """Make a trained run visible, in one step; the lock must be held. A note of an earlier failure is removed.

        run.json gets `record` and: `run_id`, `status` ("complete"), `config`, `data_fingerprint`, `n_metrics`,
        `n_generations`, and `files`, the size and sha256 of every other file.

        Args:
            config: the run.
            staging: what `begin` returned, now with metrics.jsonl, losses.jsonl and generations.jsonl.
            record: what was measured of the run: `RECORD_FIELDS`, all of them.

        Returns:
            The run's folder.

        Raises:
            FileExistsError: the run is finished already.
            ValueError: `record` lacks a field, a file has other fields than documented, or a step of
                `config.eval_steps` has no metric.
            FileNotFoundError: one of the three files is missing.
        """
        lacking = [name for name in RECORD_FIELDS if name not in record]
        if lacking:
            raise ValueError(f"the record of {config.run_id} lacks {', '.join(lacking)}; training must report them")
        if self.folder(config).exists():
            self.begin(config)
        rows = {}
        for name, expected in (("metrics", METRIC_FIELDS), ("generations", GENERATION_FIELDS), ("losses", None)):
            path = staging / f"{name}.jsonl"
            rows[name] = parse_rows(path.read_bytes(), path)
            if expected:
                check_rows(rows[name], expected, path)
        unevaluated = set(config.eval_steps) - {row["step"] for row in rows["metrics"]}
        if unevaluated:
            raise ValueError(f"{config.run_id} has no metrics at steps {sorted(unevaluated)}; evaluate them first")

        files = {}
        for path in sorted(staging.rglob("*")):
            name = path.relative_to(staging)
            if path.is_file() and name.parts[0] not in (RESUME_FOLDER, "run.json"):
                fsync(path)
                with path.open("rb") as content:
                    files[str(name)] = {
                        "bytes": path.stat().st_size,
                        "sha256": hashlib.file_digest(content, "sha256").hexdigest(),
                    }
        whole = {
            **record,
            "run_id": config.run_id,
            "status": "complete",
            "config": config.to_dict(),
            "data_fingerprint": config.data_fingerprint,
            "n_metrics": len(rows["metrics"]),
            "n_generations": len(rows["generations"]),
            "files": files,
        }
        write_atomically(staging / "run.json", json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        folder = staging.rename(self.folder(config))
        fsync(self.root)
        # After the rename: a kill in between must not lose what training could resume from.
        shutil.rmtree(folder / RESUME_FOLDER, ignore_errors=True)
        self.failure_path(config).unlink(missing_ok=True)
        return folder

    def report_progress(self, config: RunConfig, *, step: int, phase: str, weight_done: float) -> None:
        """Say how far this process is with a run (`PROGRESS_FIELDS`).

        Args:
            config: the run.
            step: the optimizer step it is at.
            phase: what it does, in a word: "start", "training", "evaluation".
            weight_done: the share of the run's expected cost that is done, 0 to 1.
        """
        values = (config.run_id, step, config.total_steps, phase, weight_done, time.time())
        # Two machines on one store may give two processes the same number.
        name = os.environ.get(WORKER) or f"{socket.gethostname()}-{os.getpid()}"
        path = self._note_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        # No fsync: this is written often, and worth nothing after a power cut.
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(dict(zip(PROGRESS_FIELDS, values, strict=True))))
        os.replace(temporary, path)

    def _note_path(self, worker: str) -> Path:
        return self.root / ".progress" / f"{worker}.json"

    def run_of_worker(self, worker: str) -> str | None:
        """The id of the run that a process, named by its launcher (`WORKER`), took last; None if it took none."""
        try:
            return json.loads(self._note_path(worker).read_text())["run_id"]
        except (OSError, ValueError, KeyError):
            return None

    def progress(self) -> dict[str, dict[str, Any]]:
        """The latest note (`PROGRESS_FIELDS`, and `worker`) of each run that has one, by run id."""
        latest: dict[str, dict[str, Any]] = {}
        for path in (self.root / ".progress").glob("*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):  # a note is a courtesy, never a condition
                note = json.loads(path.read_text())
                note |= {name: float(note[name]) for name in ("weight_done", "updated")} | {"worker": path.stem}
                # Of several attempts at a run, the latest note counts.
                if note["updated"] >= latest.get(note["run_id"], note)["updated"]:
                    latest[note["run_id"]] = note
        return latest

    def report_failure(self, config: RunConfig, text: str) -> None:
        """Leave the traceback of a failed run where whoever launched it looks."""
        write_atomically(self.failure_path(config), text)
