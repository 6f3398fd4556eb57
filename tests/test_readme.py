"""The README's Python runs as it is printed: each block by itself, in an empty folder. Links of its pages lead somewhere."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "maskft").rglob("*.md"))]
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[-1][:40])
def test_a_block_of_python_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), names)
    if "trainer" in names:
        # Two documents, some steps: the model learns to write them back.
        log = [row["loss"] for row in names["trainer"].state.log_history if "loss" in row]
        assert len(log) >= 2 and log[-1] < log[0] / 2, log


def test_both_trainers_are_shown():
    assert sum("import Trainer," in block for block in BLOCKS) == 1 and sum("SFTTrainer" in block for block in BLOCKS) == 1


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub writes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if "://" not in link]
    for link in links:
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists() and (not anchor or anchor in anchors(target)), f"{page.name}: {link}"


def test_every_page_beside_the_code_is_linked_from_the_readme_and_packaged():
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["maskft"]
    found = {page for pattern in packaged for page in (ROOT / "maskft").glob(pattern)}
    for page in PAGES[1:]:
        name = page.relative_to(ROOT / "maskft")
        assert page in found, name
        assert f"(maskft/{name})" in README or f"(maskft/{name.parent})" in README, name
