"""What a run is: its configuration, its identity, and the records it leaves.

A run is a value. `RunConfig` holds everything that can change a number, `RunConfig.run_id` names it, and a run that is
finished under that name is never trained again. Two places hold finished runs, behind the one interface `Store`:
`RunStore`, the working folders that training writes, and `RecordStore`, the small records that are committed beside the
tables and figures. This file knows no model, no tensor and no metric.

A run folder `ROOT/RUN_ID/` holds four files (and whatever else training chose to leave):

| file | one line holds |
| --- | --- |
| `run.json` | one object: `RECORD_FIELDS`, and the fields that `RunStore.publish` adds |
| `metrics.jsonl` | `METRIC_FIELDS`: one score of one category at one optimizer step |
| `losses.jsonl` | what training logs of its steps |
| `generations.jsonl` | `GENERATION_FIELDS`: one scored answer at one optimizer step |

A record `ROOT/RUN_ID.jsonl` holds the same in one file: a first line `{"kind": "run", ...}` with run.json and the
sha256 of everything in the file, then `{"kind": "metric", ...}` lines, then `{"kind": "generation", ...}` lines of a few
steps.

Beside its run folders a `RunStore` has hidden ones: `.partial/RUN_ID/` (a run in training; survives a kill, so that it
can resume), `.locks/`, `.corrupt/`, `.progress/PID.json` (`PROGRESS_FIELDS`), `.failed/RUN_ID.txt` (a traceback).
"""

import difflib
import hashlib
import json
import math
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, no_type_check, runtime_checkable

import pandas as pd
from filelock import FileLock, Timeout

RECORD_FIELDS = (
    "versions", "dtypes_seen", "seeds", "device", "n_processes", "per_device_train_batch_size", "wall_time_s",
    "started", "ended", "command", "git_commit",
)  # fmt: skip
METRIC_FIELDS = ("step", "epoch", "train_tokens", "category", "metric", "value", "n_questions")
GENERATION_TEXTS = ("question", "answer", "generation")
GENERATION_FIELDS = (
    "step", "question_id", "category", *GENERATION_TEXTS, "accuracy", "rouge1_recall", "exact_match"
)  # fmt: skip
PROGRESS_FIELDS = ("run_id", "step", "total_steps", "phase", "weight_done", "updated")
CONFIG_COLUMNS = (
    "run_id", "dataset", "method", "paraphrases", "base", "seed", "learning_rate", "mask_ratio_low", "mask_ratio_high",
    "corruption", "world_seed",
)  # fmt: skip
RESUME_FOLDER = "resume"  # under a staging folder: what training needs to go on after a kill; dropped by publish()

# A field added after results were committed goes here with the value that means "as before". A configuration that has
# this value is hashed without the field, so that the identities of committed runs stay what they are.
HASH_NEUTRAL_DEFAULTS: Mapping[str, Any] = {}


class RecordError(ValueError):
    """A record on disk is unreadable, incomplete or not what was written."""


# --- the configuration -----------------------------------------------------------------------------------------------


def _text(default: Any = MISSING) -> Any:
    return field(default=default, metadata={"rule": "a non-empty string", "type": str, "ok": lambda v: v.strip() != ""})


def _one_of(*allowed: str, default: Any = MISSING) -> Any:
    rule = f"one of {', '.join(allowed)}"
    return field(default=default, metadata={"rule": rule, "type": str, "ok": lambda v: v in allowed})


def _whole(minimum: int, default: Any = MISSING) -> Any:
    rule = f"a whole number of at least {minimum}"
    return field(default=default, metadata={"rule": rule, "type": int, "ok": lambda v: v >= minimum})


def _real(rule: str, ok: Callable[[float], bool], default: Any = MISSING) -> Any:
    return field(default=default, metadata={"rule": rule, "type": float, "ok": lambda v: math.isfinite(v) and ok(v)})


def _several(type_: type, rule: str, ok: Callable[[tuple], bool], default: Any = MISSING) -> Any:
    return field(default=default, metadata={"rule": rule, "type": type_, "several": True, "ok": ok})


# Fields are checked and converted below (JSON has lists for tuples, 1 for 1.0), which a type checker would forestall.
@no_type_check
@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that can change a number, and nothing else. The paper's settings are Appendix A.4.

    How a run is launched is left out on purpose: the batch size is the global one, so that the identity of a run does
    not depend on the number of processes. The row "before fine-tuning" of a table is step 0 of a run.

    Args:
        dataset: which documents and questions.
        source: `synthetic` for the tiny world, `original` for the published data sets.
        world_seed: which synthetic world.
        data_fingerprint: hash of the documents and questions, as the loader reports it.
        paraphrases: which rewordings are trained on beside the statements.
        method: the training objective.
        base: the model before fine-tuning: a shipped base such as `tiny-ar`, a hub name, or a folder.
        base_revision: its commit or content hash.
        mask_ratio: ends of the uniform law of t; equal ends are a fixed ratio.
        mask_ratio_scope: one ratio for each batch or for each sample.
        mask_count: mask each token with probability t, or exactly the nearest count.
        loss_normaliser: for Eq. 1: `maskable` divides each sample's sum by its maskable tokens and averages over the
            batch, `length` divides the batch's sum by its tokens without padding, `sum` averages the sums as printed.
        corruption: `random_token` replaces every token of masked AR's first copy (the control of Figure 9).
        learning_rate: after the warmup, constant.
        betas: of AdamW.
        weight_decay: of AdamW, biases and norms excepted.
        max_grad_norm: gradients are clipped to it.
        warmup_ratio: share of all updates with a rising learning rate.
        train_batch_size: documents of one optimizer step, over all processes.
        precision: `bf16_mixed` keeps float32 master weights, `bf16` does not.
        eval_steps: true optimizer steps, ascending from 0; the last is the last step trained.
        seed: of masks, batches and dropout.
        max_new_tokens: longest answer.
        block_length: of the block-wise sampler, dLLM only.
        sampler_steps: denoising steps of an answer, dLLM only.
        eval_batch_size: questions answered together.

    Raises:
        ValueError: a field is not what it may be, or fields do not go together.
        TypeError: a field without a default is missing.
    """

    dataset: str = _one_of("name_description", "biography", "wiki")
    source: str = _one_of("synthetic", "original")
    world_seed: int = _whole(0, 0)
    data_fingerprint: str = _text()
    paraphrases: str = _one_of("none", "same_order", "permute_order", default="none")
    method: str = _one_of("ar", "dllm", "masked_ar")
    base: str = _text()
    base_revision: str = _text()
    mask_ratio: tuple[float, float] = _several(
        float, "two numbers with 0 <= low <= high <= 1", lambda v: len(v) == 2 and 0 <= v[0] <= v[1] <= 1, (0.05, 0.95)
    )
    mask_ratio_scope: str = _one_of("batch", "sample", default="batch")
    mask_count: str = _one_of("bernoulli", "exact", default="bernoulli")
    loss_normaliser: str = _one_of("maskable", "length", "sum", default="maskable")
    corruption: str = _one_of("mask", "random_token", default="mask")
    learning_rate: float = _real("a number above 0", lambda v: v > 0)
    betas: tuple[float, float] = _several(
        float, "two numbers from 0 to below 1", lambda v: len(v) == 2 and all(0 <= b < 1 for b in v), (0.9, 0.95)
    )
    weight_decay: float = _real("a number of at least 0", lambda v: v >= 0, 0.1)
    max_grad_norm: float = _real("a number above 0", lambda v: v > 0, 1.0)
    warmup_ratio: float = _real("a number from 0 to 1", lambda v: 0 <= v <= 1, 0.02)
    train_batch_size: int = _whole(1, 64)
    precision: str = _one_of("float32", "bf16_mixed", "bf16", default="bf16_mixed")
    eval_steps: tuple[int, ...] = _several(
        int, "ascending whole numbers that begin with 0", lambda v: v[:1] == (0,) and list(v) == sorted(set(v))
    )
    seed: int = _whole(0, 0)
    max_new_tokens: int = _whole(1, 128)
    block_length: int = _whole(1, 4)
    sampler_steps: int = _whole(1, 128)
    eval_batch_size: int = _whole(1, 100)

    def __post_init__(self) -> None:
        for spec in fields(self):
            given, rule = getattr(self, spec.name), spec.metadata
            try:
                if rule.get("several"):
                    value = tuple(_typed(item, rule["type"]) for item in given)
                else:
                    value = _typed(given, rule["type"])
                if not rule["ok"](value):
                    raise ValueError
            except (TypeError, ValueError):
                raise ValueError(f"{spec.name}={given!r} is not {rule['rule']}") from None
            # 1 and 1.0, a list and a tuple are one value and must have one hash.
            object.__setattr__(self, spec.name, value)
        if self.corruption == "random_token" and self.method != "masked_ar":
            raise ValueError(
                f"corruption='random_token' with method={self.method!r}: only masked_ar has a first copy to replace; "
                "use method='masked_ar' or corruption='mask'"
            )
        if self.method == "dllm":
            if self.mask_ratio[1] == 0:
                raise ValueError("mask_ratio=(0, 0) with method='dllm': Eq. 1 divides by the ratio; use one above 0")
            n_blocks, left = divmod(self.max_new_tokens, self.block_length)
            if left or self.sampler_steps % n_blocks:
                raise ValueError(
                    f"max_new_tokens={self.max_new_tokens}, block_length={self.block_length}, sampler_steps="
                    f"{self.sampler_steps}: blocks must fill the answer and share the steps evenly; use a multiple of "
                    f"block_length, and a multiple of the number of blocks"
                )

    @property
    def total_steps(self) -> int:
        """The last optimizer step trained."""
        return self.eval_steps[-1]

    @property
    def run_id(self) -> str:
        """The run's name, readable first and unique second: `METHOD-DATASET-PARAPHRASES-sSEED-HASH`."""
        hashed = asdict(self)
        for name, neutral in HASH_NEUTRAL_DEFAULTS.items():
            if hashed[name] == neutral:
                del hashed[name]
        return f"{self.method}-{self.dataset}-{self.paraphrases}-s{self.seed}-{_sha256(_canonical(hashed))[:8]}"

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them: tuples are lists."""
        return json.loads(_canonical(asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunConfig":
        """The inverse of `to_dict`.

        Raises:
            ValueError: an unknown field (the message names those spelled alike), a missing one, or a wrong value.
        """
        known = [spec.name for spec in fields(cls)]
        for name in values:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=3) or known
                raise ValueError(f"unknown field {name!r} of a run configuration; did you mean {', '.join(close)}?")
        missing = [s.name for s in fields(cls) if s.default is MISSING and s.name not in values]
        if missing:
            raise ValueError(f"a run configuration lacks {', '.join(missing)}; give every field without a default")
        return cls(**values)


def _typed(value: Any, type_: type) -> Any:
    """`value` as `type_`, refusing what Python would convert without a word (True to 1, "1" to 1.0, 1.5 to 1)."""
    if isinstance(value, bool) or (type_ is str) != isinstance(value, str):
        raise TypeError
    if type_ is str:
        return value
    converted = type_(value)
    if not math.isfinite(converted) or converted != value:
        raise ValueError
    return converted


# --- files -----------------------------------------------------------------------------------------------------------


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _sha256(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or a kill, finds either the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name holds the process, because two may write the same record at once; the last one wins with a whole file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    _fsync(temporary)
    os.replace(temporary, path)
    _fsync(path.parent)


def _parse_rows(content: bytes, source: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in content.splitlines()]
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("a line is no object")
    except ValueError as error:
        raise RecordError(f"{source} is not JSON lines ({error}); restore it, or delete it and train again") from None
    return rows


def _check_rows(rows: Sequence[Mapping[str, Any]], expected: Sequence[str], source: Path) -> None:
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


def _read_file_of(folder: Path, name: str, record: Mapping[str, Any]) -> bytes:
    path = folder / name
    try:
        content = path.read_bytes()
    except OSError:
        raise RecordError(f"{path} cannot be read; the run must be trained again") from None
    if _sha256(content) != record["files"].get(name, {}).get("sha256"):
        raise RecordError(f"{path} is not the file that run.json describes; the run must be trained again")
    return content


# --- stores ----------------------------------------------------------------------------------------------------------


@runtime_checkable
class Store(Protocol):
    """Where finished runs are read from; `RunStore` and `RecordStore` are the two."""

    root: Path

    def is_finished(self, config: RunConfig) -> bool: ...
    def record(self, config: RunConfig) -> dict[str, Any]: ...
    def metrics(self, config: RunConfig) -> list[dict[str, Any]]: ...
    def generations(self, config: RunConfig) -> list[dict[str, Any]]: ...


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
        return _parse_rows(_read_file_of(folder, name, read_record(folder)), folder / name)

    def _flaw(self, config: RunConfig) -> str | None:
        folder = self.folder(config)
        try:
            record = read_record(folder)
            if RunConfig.from_dict(record["config"]) != config:
                return f"{folder / 'run.json'} holds another configuration"
            for name, expected in record["files"].items():
                if not (folder / name).is_file() or (folder / name).stat().st_size != expected["bytes"]:
                    return f"{folder / name} is missing or has another size than run.json says"
            if len(_parse_rows(_read_file_of(folder, "metrics.jsonl", record), folder)) != record["n_metrics"]:
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
            yield self.begin(config) if is_held and not self.is_finished(config) else None

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
            rows[name] = _parse_rows(path.read_bytes(), path)
            if expected:
                _check_rows(rows[name], expected, path)
        unevaluated = set(config.eval_steps) - {row["step"] for row in rows["metrics"]}
        if unevaluated:
            raise ValueError(f"{config.run_id} has no metrics at steps {sorted(unevaluated)}; evaluate them first")

        files = {}
        for path in sorted(staging.rglob("*")):
            name = path.relative_to(staging)
            if path.is_file() and name.parts[0] not in (RESUME_FOLDER, "run.json"):
                _fsync(path)
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
        _fsync(self.root)
        # After the rename: a kill in between must not lose what training could resume from.
        shutil.rmtree(folder / RESUME_FOLDER, ignore_errors=True)
        self.failure_path(config).unlink(missing_ok=True)
        return folder

    def report_progress(self, config: RunConfig, *, step: int, phase: str, weight_done: float) -> None:
        """Say how far this process is with a run (`PROGRESS_FIELDS`).

        Args:
            config: the run.
            step: the optimizer step it is at.
            phase: what it does, in a word: "training", "evaluation".
            weight_done: the share of the run's expected cost that is done, 0 to 1.
        """
        values = (config.run_id, step, config.total_steps, phase, weight_done, time.time())
        path = self.root / ".progress" / f"{os.getpid()}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        # No fsync: this is written often, and worth nothing after a power cut.
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(dict(zip(PROGRESS_FIELDS, values, strict=True))))
        os.replace(temporary, path)

    def report_failure(self, config: RunConfig, text: str) -> None:
        """Leave the traceback of a failed run where whoever launched it looks."""
        write_atomically(self.failure_path(config), text)


class RecordStore:
    """The committed records: one JSON-lines file a run, written by `pack_records`, only read here."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def path(self, config: RunConfig) -> Path:
        """The run's file."""
        return self.root / f"{config.run_id}.jsonl"

    def is_finished(self, config: RunConfig) -> bool:
        """Whether the run's record is here. Raises RecordError if it is here and damaged."""
        return self.path(config).exists() and bool(self._read(config))

    def missing(self, configs: Iterable[RunConfig]) -> list[RunConfig]:
        """Those of `configs` without a record, each once, in their order. Raises RecordError."""
        return [config for config in dict.fromkeys(configs) if not self.is_finished(config)]

    def record(self, config: RunConfig) -> dict[str, Any]:
        """The run's run.json, and what the record says about itself. Raises RecordError."""
        return self._read(config)[0]

    def metrics(self, config: RunConfig) -> list[dict[str, Any]]:
        """As `RunStore.metrics`. Raises RecordError."""
        return self._rows(config, "metric")

    def generations(self, config: RunConfig) -> list[dict[str, Any]]:
        """As `RunStore.generations`, of the steps that were kept, perhaps without texts. Raises RecordError."""
        return self._rows(config, "generation")

    def _rows(self, config: RunConfig, kind: str) -> list[dict[str, Any]]:
        rows = [row for row in self._read(config) if row["kind"] == kind]
        return [{name: value for name, value in row.items() if name != "kind"} for row in rows]

    def _read(self, config: RunConfig) -> list[dict[str, Any]]:
        path = self.path(config)
        restore = "restore it from version control, or delete it, train the run and pack it again"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise RecordError(f"{path} cannot be read ({error}); {restore}") from None
        lines = _parse_rows(content, path)
        try:
            sha256 = lines[0].pop("sha256")
            kinds = [line["kind"] for line in lines]
            expected = ["run", *["metric"] * lines[0]["n_metrics"], *["generation"] * lines[0]["n_generations"]]
            is_whole = kinds == expected and sha256 == _sha256(_joined(lines))
            is_ours = is_whole and RunConfig.from_dict(lines[0]["config"]) == config
        except (IndexError, KeyError, TypeError, AttributeError):
            is_whole = is_ours = False
        if not is_whole:
            raise RecordError(f"{path} was cut short or changed after it was written; {restore}")
        if not is_ours:
            raise RecordError(f"{path} holds another configuration than its name says; {restore}")
        return lines


def _joined(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(_canonical(row) + "\n" for row in rows)


# --- reading and packing many runs -----------------------------------------------------------------------------------


def find_store(stores: Sequence[Store], config: RunConfig) -> Store | None:
    """The first store that has the run finished, or None."""
    return next((store for store in stores if store.is_finished(config)), None)


def _config_columns(config: RunConfig) -> dict[str, Any]:
    low, high = config.mask_ratio
    values = {**asdict(config), "run_id": config.run_id, "mask_ratio_low": low, "mask_ratio_high": high}
    return {name: values[name] for name in CONFIG_COLUMNS}


def _read_long(
    stores: Sequence[Store], configs: Iterable[RunConfig], what: str, columns: Sequence[str], allow_missing: bool
) -> pd.DataFrame:
    found = {config: find_store(stores, config) for config in dict.fromkeys(configs)}
    missing = [config.run_id for config, store in found.items() if store is None]
    if missing and not allow_missing:
        places = ", ".join(str(store.root) for store in stores)
        raise LookupError(f"not finished in {places}: {', '.join(missing)}; train them, or pass allow_missing=True")
    rows = [
        {**_config_columns(config), **row}
        for config, store in found.items()
        if store is not None
        for row in getattr(store, what)(config)
    ]
    return pd.DataFrame(rows, columns=[*CONFIG_COLUMNS, *columns])


def read_metrics(stores: Sequence[Store], configs: Iterable[RunConfig], *, allow_missing: bool = False) -> pd.DataFrame:
    """Metrics of many runs as one long table: the columns that tell runs apart, then `METRIC_FIELDS`.

    Args:
        stores: searched in order for each run; the first that has it finished is read.
        configs: the runs.
        allow_missing: leave out runs that no store has, instead of raising.

    Raises:
        LookupError: runs are missing; the message names them.
        RecordError: a committed record is damaged.
    """
    return _read_long(stores, configs, "metrics", METRIC_FIELDS, allow_missing)


def read_generations(
    stores: Sequence[Store], configs: Iterable[RunConfig], *, allow_missing: bool = False
) -> pd.DataFrame:
    """Generations of many runs as one long table, as `read_metrics`, with `GENERATION_FIELDS`.

    Texts that a record left out are missing values. Raises as `read_metrics`.
    """
    return _read_long(stores, configs, "generations", GENERATION_FIELDS, allow_missing)


def steps_to_keep(config: RunConfig, metrics: Iterable[Mapping[str, Any]]) -> set[int]:
    """The steps whose generations a record keeps: the first, the two after it, the best (Appendix A.4) and the last."""
    # Not at the top: it loads scipy, which is slow, and only packing needs it.
    from maskft.metrics import pick_best_step, total_accuracy

    by_step: dict[int, dict[str, float]] = {}
    for row in metrics:
        if row["metric"] == "accuracy" and row["category"].endswith(("forward", "backward")):
            by_step.setdefault(row["step"], {})[row["category"]] = row["value"]
    steps = {*config.eval_steps[:3], config.total_steps}
    if config.total_steps > 0:
        steps.add(pick_best_step({step: total_accuracy(values) for step, values in by_step.items()}))
    return steps


def pack_records(
    configs: Iterable[RunConfig],
    stores: Sequence[Store],
    target: Path | str,
    *,
    with_texts: bool = True,
    keep: Callable[[RunConfig, list[dict[str, Any]]], Collection[int]] = steps_to_keep,
) -> list[Path]:
    """Write finished runs as small records that can be committed, one file a run (format: module docstring).

    Absolute paths in the recorded command are cut to their last part: they say nothing on another machine.

    Args:
        configs: the runs.
        stores: searched in order for each run.
        target: the folder of the records; `RecordStore(target)` reads it.
        with_texts: keep questions, answers and generations, which licences may forbid; ids and scores always stay.
        keep: the steps whose generations are kept, from a run's configuration and metrics.

    Returns:
        The files written.

    Raises:
        LookupError: a run is finished in no store; nothing is written.
        RecordError: a run's files are damaged.
    """
    found = {config: find_store(stores, config) for config in dict.fromkeys(configs)}
    missing = [config.run_id for config, store in found.items() if store is None]
    if missing:
        raise LookupError(f"cannot pack runs that are not finished: {', '.join(missing)}; train them first")
    paths = []
    for config, store in found.items():
        metrics, kept = store.metrics(config), []
        steps = keep(config, metrics)
        for row in store.generations(config):
            if row["step"] in steps:
                kept.append({k: v for k, v in row.items() if with_texts or k not in GENERATION_TEXTS})
        record = {**store.record(config), "kind": "run", "n_metrics": len(metrics), "n_generations": len(kept)}
        record.pop("files", None)  # sizes and hashes of files that are not committed
        record["command"] = re.sub(r"(^|[\s='\"])/\S*/(?=\S)", r"\1", str(record["command"]))
        lines = [record, *({"kind": "metric", **m} for m in metrics), *({"kind": "generation", **g} for g in kept)]
        lines[0]["sha256"] = _sha256(_joined(lines))
        path = Path(target) / f"{config.run_id}.jsonl"
        write_atomically(path, _joined(lines))
        paths.append(path)
    return paths
