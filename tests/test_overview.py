"""The README's map of exhibits is made from the records, and current."""

import pytest

from maskft.exhibits import EXHIBITS
from maskft.overview import BEGIN, END, README, ROWS, exhibit_map, write_overview
from maskft.scales import TINY


def test_every_exhibit_has_its_row():
    assert set(ROWS) == set(EXHIBITS)


def test_the_readme_holds_the_current_map():
    between = README.read_text().partition(BEGIN)[2].partition(END)[0]
    assert between.strip() == exhibit_map(TINY), "run: maskft overview"


def test_only_what_lies_between_the_comments_is_replaced(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before {BEGIN} old {END} after")
    write_overview(TINY, readme)
    assert readme.read_text() == f"before {BEGIN}\n{exhibit_map(TINY)}\n{END} after"
    readme.write_text(f"before {END}")
    with pytest.raises(ValueError, match="lacks"):
        write_overview(TINY, readme)
    assert readme.read_text() == f"before {END}"
