"""The README's Python runs as it is printed: each block by itself, in an empty folder."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
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
