"""Where a table or figure comes from: the notebook, its parameters, the runs and the commit, in a file beside it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from maskft.runs import write_atomically
from maskft.runs.files import canonical, sha256_of


@dataclass(frozen=True)
class Provenance:
    """Where a table or figure comes from; written beside it.

    Attributes:
        notebook: the notebook that builds it.
        parameters: the notebook's parameters.
        run_ids: the runs it shows.
        command: the command that builds it again.
        commit: the commit of the code, see `current_commit`.
    """

    notebook: str
    parameters: Mapping[str, object]
    run_ids: Sequence[str]
    command: str
    commit: str | None = field(default_factory=lambda: current_commit())


def current_commit() -> str | None:
    """The commit checked out around this file, with `-dirty` where tracked files differ; None outside a checkout.

    A copy of the code without its repository (a container's, a compute node's) is told by `MASKFT_COMMIT`.
    """
    if told := os.environ.get("MASKFT_COMMIT"):
        return told
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def code_fingerprint() -> str:
    """16 hex digits that change with any change of the package's code: sha256 over the paths and contents of its modules."""
    package = Path(__file__).parent
    modules = [[str(path.relative_to(package)), path.read_text(encoding="utf-8")] for path in sorted(package.rglob("*.py"))]
    return sha256_of(canonical(modules))[:16]


def write_sidecar(path: Path, provenance: Provenance, files: Sequence[str]) -> Path:
    """Write `provenance` as JSON, with the names of the files it describes and the versions that made them."""
    packages = ("maskft", "matplotlib", "numpy", "pandas", "rouge-score", "scipy", "torch", "transformers")
    record = asdict(provenance) | {
        "run_ids": sorted(provenance.run_ids),
        "files": sorted(files),
        "made_by": {"python": sys.version.split()[0]} | {package: _version(package) for package in packages},
    }
    return write_atomically(path, json.dumps(record, indent=1, sort_keys=True, default=str) + "\n")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
