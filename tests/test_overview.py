"""The README's map of exhibits and table of benchmarks are made from the records, and current."""

import json

import pytest

from maskft.exhibits import EXHIBITS
from maskft.overview import (
    BEGIN,
    BENCHMARKS,
    BENCHMARKS_BEGIN,
    BENCHMARKS_END,
    END,
    PARTS,
    README,
    ROWS,
    benchmark_table,
    exhibit_map,
    write_benchmarks,
    write_overview,
)
from maskft.scales import TINY


def test_every_exhibit_has_its_row():
    assert set(ROWS) == set(EXHIBITS)


def test_the_readme_holds_the_current_map():
    between = README.read_text().partition(BEGIN)[2].partition(END)[0]
    assert between.strip() == exhibit_map(TINY), "run: maskft overview"


def test_the_readme_holds_the_current_benchmarks():
    between = README.read_text().partition(BENCHMARKS_BEGIN)[2].partition(BENCHMARKS_END)[0]
    assert between.strip() == benchmark_table(), "run: maskft overview"


def test_every_benchmark_has_a_record_that_others_can_read():
    records = {file.stem: json.loads(file.read_text()) for file in BENCHMARKS.glob("*.json")}
    assert set(records) == set(PARTS)
    for name, record in records.items():
        assert record["benchmark"] == name
        assert {"ratio", "goal", "peer", "hardware", "command", "date", "medians"} <= set(record)
        assert record["command"].startswith(f"python tests/benchmarks/{name}.py")


def test_a_benchmark_is_a_row_with_its_parts(tmp_path):
    """Two modes of 16 questions: 0.4 and 0.2 seconds, twice as fast at 0.6 of the accuracy before, 0.7."""
    medians = {"exact": {"speed": 1.0, "accuracy": 0.7}, "fast": {"speed": 2.0, "accuracy": 0.6}}
    record = {
        "benchmark": "approximate_diffusion", "ratio": 2.0, "goal": 1, "what": "speed", "peer": "the exact one",
        "medians": medians, "hardware": "a core", "date": "2026-01-01", "command": "python x.py",
    }  # fmt: skip
    (tmp_path / "approximate_diffusion.json").write_text(json.dumps(record))
    readme = tmp_path / "README.md"
    readme.write_text(f"before {BENCHMARKS_BEGIN}{BENCHMARKS_END}")
    write_benchmarks(readme, tmp_path)
    parts = "exact 1.0 (accuracy 0.7); fast 2.0 (accuracy 0.6)"
    row = f"| 2.00 | 1 | speed | the exact one | {parts} | a core, 2026-01-01 | `python x.py` |"
    assert row in readme.read_text().splitlines()


def test_only_what_lies_between_the_comments_is_replaced(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before {BEGIN} old {END} after")
    write_overview(TINY, readme)
    assert readme.read_text() == f"before {BEGIN}\n{exhibit_map(TINY)}\n{END} after"
    readme.write_text(f"before {END}")
    with pytest.raises(ValueError, match="lacks"):
        write_overview(TINY, readme)
    assert readme.read_text() == f"before {END}"
