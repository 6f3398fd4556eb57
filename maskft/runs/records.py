"""Many runs at once: as one long table, and packed as records that can be committed."""

import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from maskft.runs.committed import RecordStore, Store
from maskft.runs.config import RunConfig
from maskft.runs.files import (
    CORPUS_TEXTS,
    GENERATION_FIELDS,
    METRIC_FIELDS,
    RecordError,
    sha256_of,
    to_lines,
    write_atomically,
)

CONFIG_COLUMNS = (
    "run_id", "dataset", "method", "paraphrases", "base", "seed", "learning_rate", "mask_ratio_low", "mask_ratio_high",
    "corruption", "embeddings", "world_seed",
)  # fmt: skip


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
        {**columns_of_run, **row}
        for config, store in found.items()
        if store is not None
        for columns_of_run in [_config_columns(config)]  # once a run: it hashes the configuration
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


def best_step(config: RunConfig, metrics: Iterable[Mapping[str, Any]]) -> int:
    """The step with the best total accuracy (Appendix A.4)."""
    # Not at the top: it loads scipy, which is slow, and only packing needs it.
    from maskft.metrics import pick_best_step, total_accuracy

    by_step: dict[int, dict[str, float]] = {}
    for row in metrics:
        if row["metric"] == "accuracy" and row["category"].endswith(("forward", "backward")):
            by_step.setdefault(row["step"], {})[row["category"]] = row["value"]
    return pick_best_step({step: total_accuracy(values) for step, values in by_step.items()}) if config.total_steps else 0


def steps_to_keep(config: RunConfig, metrics: Iterable[Mapping[str, Any]]) -> set[int]:
    """The steps whose generations a run keeps: the first, the two after it, the best (Appendix A.4) and the last."""
    return {*config.eval_steps[:3], config.total_steps, best_step(config, metrics)}


def steps_to_pack(config: RunConfig, metrics: Iterable[Mapping[str, Any]]) -> set[int]:
    """The steps whose generations a record keeps: those of `steps_to_keep` for seed 0, the best alone for other seeds."""
    return steps_to_keep(config, metrics) if config.seed == 0 else {best_step(config, metrics)}


def cut_paths(command: str) -> str:
    """A command whose absolute paths are cut to their last part: the rest says nothing on another machine.

    Example:
        >>> cut_paths("maskft bench gpu --output '/home/me/my runs/gpu' --config=/etc/a.yaml --shapes llama tests/a.py")
        'maskft bench gpu --output gpu --config=a.yaml --shapes llama tests/a.py'
    """
    return shlex.join(re.sub(r"^(-[^/]*=)?/.*/(?=[^/])", lambda start: start[1] or "", word) for word in shlex.split(command))


def pack_records(
    configs: Iterable[RunConfig],
    stores: Sequence[Store],
    target: Path | str,
    *,
    with_texts: bool = True,
    keep: Callable[[RunConfig, list[dict[str, Any]]], Collection[int]] = steps_to_pack,
) -> list[Path]:
    """Write finished runs as small records that can be committed, one file a run (format: package docstring).

    Absolute paths in the recorded command are cut to their last part (`cut_paths`). A record that has all these scores and
    answers already stays as it is: who reproduces a run changes nothing, not even its minutes.

    Args:
        configs: the runs.
        stores: searched in order for each run.
        target: the folder of the records; `RecordStore(target)` reads it.
        with_texts: keep the generations, which licences may forbid; ids and scores always stay.
        keep: the steps whose generations are kept, from a run's configuration and metrics.

    Returns:
        The files, written or already there.

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
        dropped = CORPUS_TEXTS if with_texts else (*CORPUS_TEXTS, "generation")
        for row in store.generations(config):
            if row["step"] in steps:
                kept.append({k: v for k, v in row.items() if k not in dropped})
        record = {**store.record(config), "kind": "run", "n_metrics": len(metrics), "n_generations": len(kept)}
        record.pop("files", None)  # sizes and hashes of files that are not committed
        record["command"] = cut_paths(str(record["command"]))
        lines = [record, *({"kind": "metric", **m} for m in metrics), *({"kind": "generation", **g} for g in kept)]
        lines[0]["sha256"] = sha256_of(to_lines(lines))
        path = Path(target) / f"{config.run_id}.jsonl"
        if not _has_all(path, config, lines[1:]):
            write_atomically(path, to_lines(lines))
        paths.append(path)
    return paths


def _has_all(path: Path, config: RunConfig, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there is a whole record of the run with these rows among its own."""
    try:
        if not RecordStore(path.parent).is_finished(config):
            return False
    except RecordError:  # damaged
        return False
    # Not splitlines(), which also splits at separators that a text may hold.
    return {to_lines([row]).rstrip("\n") for row in rows} <= set(path.read_text(encoding="utf-8").split("\n"))
