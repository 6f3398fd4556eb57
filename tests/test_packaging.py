"""What a newcomer installs: one set of requirements in three files, and assets of the promised size."""

import re
import tomllib
from pathlib import Path

import yaml

from maskft.bases import ASSETS, SHIPPED
from maskft.provenance import current_commit

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"matplotlib-base": "matplotlib"}


def requirements() -> dict[str, str]:
    listed = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    return dict(re.fullmatch(r"([a-z0-9-]+)(.*)", item).groups() for item in listed)


def test_environment_and_pyproject_ask_for_the_same_ranges():
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    flat = [e for e in entries if isinstance(e, str)] + [e for d in entries if isinstance(d, dict) for e in d["pip"]]
    split = [re.fullmatch(r"([a-z0-9-]+)(.*)", e).groups() for e in flat if not e.startswith(("--", "pip"))]
    found = {CONDA_NAMES.get(name, name): spec for name, spec in split}
    assert found.pop("python") == PROJECT["requires-python"]
    assert found == requirements()


def test_constraints_name_a_version_within_every_range():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.lower().split("==") for line in lines if "==" in line)
    for name, spec in requirements().items():
        lowest = [int(part) for part in spec.removeprefix(">=").split(".")]
        assert [int(part) for part in pinned[name].split(".")] >= lowest, name


def test_shipped_bases_are_there_and_small():
    for base in SHIPPED:
        files = list((ASSETS / base).glob("*"))
        assert {"model.safetensors", "config.json", "tokenizer.json", "pretraining.json"} <= {file.name for file in files}
        assert sum(file.stat().st_size for file in files) < 10e6


def test_a_copy_without_a_repository_is_told_its_commit(monkeypatch):
    assert current_commit() != "0123abc"
    monkeypatch.setenv("MASKFT_COMMIT", "0123abc")
    assert current_commit() == "0123abc"
