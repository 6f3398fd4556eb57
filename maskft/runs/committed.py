"""The committed records: runs made small enough to be kept beside the tables; and what both kinds of store can be asked."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from maskft.runs.config import RunConfig
from maskft.runs.files import RecordError, parse_rows, sha256_of, to_lines

RESTORE = "restore it from version control, or delete it, train the run and pack it again"


@runtime_checkable
class Store(Protocol):
    """Where finished runs are read from; `RunStore` and `RecordStore` are the two."""

    root: Path

    def is_finished(self, config: RunConfig) -> bool: ...
    def record(self, config: RunConfig) -> dict[str, Any]: ...
    def metrics(self, config: RunConfig) -> list[dict[str, Any]]: ...
    def generations(self, config: RunConfig) -> list[dict[str, Any]]: ...


class RecordStore:
    """The committed records: one JSON-lines file a run, written by `pack_records`, only read here."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._known: dict[Path, tuple[tuple[int, int], list[dict[str, Any]]]] = {}  # what was read, and of which file

    def path(self, config: RunConfig) -> Path:
        """The run's file."""
        return self.root / f"{config.run_id}.jsonl"

    def is_finished(self, config: RunConfig) -> bool:
        """Whether the run's record is here. Raises RecordError if it is here and damaged."""
        return self.path(config).exists() and bool(self._read(config))

    def missing(self, configs: Iterable[RunConfig]) -> list[RunConfig]:
        """Those of `configs` without a record, each once, in their order. Raises RecordError."""
        return [config for config in dict.fromkeys(configs) if not self.is_finished(config)]

    def configs(self) -> list[RunConfig]:
        """The configurations of all records, by file name; of each the first line alone is read. Raises RecordError."""
        found = []
        for path in sorted(self.root.glob("*.jsonl")):
            try:
                with path.open(encoding="utf-8") as lines:
                    found.append(RunConfig.from_dict(json.loads(lines.readline())["config"]))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise RecordError(f"{path} does not begin with a run ({error!r}); {RESTORE}") from None
        return found

    def record(self, config: RunConfig) -> dict[str, Any]:
        """The run's run.json, and what the record says about itself. Raises RecordError."""
        return dict(self._read(config)[0])

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
        try:
            stat = path.stat()
            state = stat.st_mtime_ns, stat.st_size
            # An exhibit asks several times for each record, and to parse and to hash one is most of its time.
            if path in self._known and self._known[path][0] == state:
                return self._known[path][1]
            content = path.read_bytes()
        except OSError as error:
            raise RecordError(f"{path} cannot be read ({error}); {RESTORE}") from None
        lines = parse_rows(content, path)
        try:
            sha256 = lines[0].pop("sha256")
            kinds = [line["kind"] for line in lines]
            expected = ["run", *["metric"] * lines[0]["n_metrics"], *["generation"] * lines[0]["n_generations"]]
            is_whole = kinds == expected and sha256 == sha256_of(to_lines(lines))
            is_ours = is_whole and RunConfig.from_dict(lines[0]["config"]) == config
        except (IndexError, KeyError, TypeError, AttributeError):
            is_whole = is_ours = False
        if not is_whole:
            raise RecordError(f"{path} was cut short or changed after it was written; {RESTORE}")
        if not is_ours:
            raise RecordError(f"{path} holds another configuration than its name says; {RESTORE}")
        self._known[path] = state, lines
        return lines
