"""Notebooks run strictly, stand in pairs, and their sources keep the rules of papermill."""

from dataclasses import replace
from pathlib import Path
from shutil import copy

import jupytext
import nbformat
import pytest

from maskft.notebooks import (
    NOTEBOOKS,
    check_injected,
    check_parameters,
    parameters_of,
    place_of,
    run_notebook,
    run_notebooks,
)
from maskft.runs import RecordStore
from maskft.scales import SMALL, TINY, TWO_CORES
from maskft.study import as_recorded, open_study

SOURCES = sorted(NOTEBOOKS.glob("*.py"))


def write(folder: Path, name: str, body: str) -> None:
    header = "# ---\n# jupyter:\n#   kernelspec:\n#     display_name: Python 3\n#     language: python\n#     name: python3\n# ---\n\n"
    (folder / f"{name}.py").write_text(f'{header}# %% tags=["parameters"]\nscale = "tiny"\nseeds = [0]\n\n# %%\n{body}\n')


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_script_and_notebook_hold_the_same_cells(source):
    script, notebook = jupytext.read(source), nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    # A reproduction with other parameters than the script's leaves them in a cell of their own.
    cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    assert [(c.cell_type, c.source) for c in script.cells] == [(c.cell_type, c.source) for c in cells]
    assert all(cell.execution_count for cell in cells if cell.cell_type == "code"), "not executed"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_notebook_has_the_parameters_that_the_command_passes_and_a_kernel(source):
    notebook = jupytext.read(source)
    assert set(parameters_of(notebook, source.stem)) == {"scale", "seeds", "world_seed", "from_records"}
    assert notebook.metadata.kernelspec.language == "python"


def test_a_misspelt_parameter_fails_before_anything_runs_and_names_the_right_one(tmp_path):
    write(tmp_path, "n", "open('ran', 'w')")
    with pytest.raises(ValueError, match="did you mean 'seeds'"):
        run_notebook("n", {"sede": 3}, folder=tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_notebook_looks_at_what_plain_papermill_put_in_before_it_runs(source):
    code = [cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code"]
    assert "parameters" not in code[1] and "check_injected(In)" in code[1].splitlines()


def test_what_plain_papermill_puts_in_is_checked_by_name_and_kind():
    """IPython's ``In`` begins with an empty cell; a person in Jupyter has put in nothing, and may name things as they like."""
    own, rest = "seeds = [0]  # run seeds\nscale = 'tiny'", "from maskft.notebooks import check_injected"
    check_injected(["", own, rest, "sede = 3"])
    check_injected(["", own, "# Parameters\nseeds = [1, 2]\n", "%matplotlib inline", rest])
    with pytest.raises(ValueError, match="has no parameter 'sede'; did you mean 'seeds'"):
        check_injected(["", own, "# Parameters\nsede = 3\n", rest])
    with pytest.raises(ValueError, match="seeds=3 .* must be like"):
        check_injected(["", own, "# Parameters\nseeds = 3\n", rest])


def test_a_parameter_of_another_type_is_refused():
    with pytest.raises(ValueError, match="seeds=3"):
        check_parameters("n", {"seeds": 3}, {"seeds": [0]})


def test_a_failed_notebook_never_replaces_a_good_one(tmp_path):
    write(tmp_path, "n", "print(seeds)")
    good = run_notebook("n", {"seeds": [1, 2]}, folder=tmp_path)
    before = good.read_bytes()
    assert b"[1, 2]" in before
    write(tmp_path, "n", "raise ValueError('no data')")
    with pytest.raises(RuntimeError, match="no data"):
        run_notebook("n", {}, folder=tmp_path)
    assert good.read_bytes() == before and (tmp_path / "n.failed.ipynb").exists()
    assert not list(tmp_path.glob(".n.*"))


def test_running_again_gives_the_same_bytes_whatever_is_warned(tmp_path):
    write(tmp_path, "n", "import os, sys\nprint(sum(seeds))\nprint(os.getpid(), file=sys.stderr)")
    first = run_notebook("n", {}, folder=tmp_path).read_bytes()
    assert run_notebook("n", {}, folder=tmp_path).read_bytes() == first


def test_an_unknown_notebook_names_those_there_are(tmp_path):
    write(tmp_path, "here", "pass")
    with pytest.raises(FileNotFoundError, match="here"):
        run_notebook("there", {}, folder=tmp_path)


def test_of_many_notebooks_side_by_side_one_that_fails_stops_no_other(tmp_path):
    """Two wait for each other: they are done at all only if they run at the same time."""
    meet = "import os, time\nopen({mine!r}, 'w')\nuntil = time.time() + 60\nwhile not os.path.exists({other!r}):\n    assert time.time() < until\n    time.sleep(0.05)"
    for name, body in (
        ("a", meet.format(mine="a", other="b")), ("b", meet.format(mine="b", other="a")), ("c", "raise ValueError('no data')"),
    ):  # fmt: skip
        write(tmp_path, name, body)
    made = dict(run_notebooks(["c", "a", "b"], {}, replace(TINY, output=tmp_path), at_a_time=2, folder=tmp_path))
    assert made["a"].name == "a.ipynb" and made["b"].is_file() and "no data" in str(made["c"])


def test_another_scale_does_not_replace_the_pictures_of_the_notebook_s_own(tmp_path):
    assert place_of("figure5", TINY) == place_of("small_scale", SMALL) == NOTEBOOKS
    assert place_of("figure5", SMALL) == NOTEBOOKS / "small"
    elsewhere = replace(TINY, name="mine", output=tmp_path)
    assert place_of("figure5", elsewhere) == tmp_path / "notebooks" / elsewhere.folder


@pytest.mark.parametrize("has_records", [True, False])
def test_the_small_scale_s_notebook_is_made_where_two_cores_trained_their_runs_and_nobody_has_a_gpu(has_records, tmp_path, monkeypatch):
    """What a GPU trained is drawn from the committed records then, and left out for a base that has none."""
    records = tmp_path / "paper_tables" / "small" / "records"
    records.mkdir(parents=True)
    two_cores = [run for run in RecordStore(SMALL.records).configs() if run.train_batch_size == TWO_CORES["train_batch_size"]]
    for run in two_cores:
        copy(SMALL.records / f"{run.run_id}.jsonl", records)
    here = replace(as_recorded(SMALL), output=tmp_path)  # with the fingerprints of data that may not be here

    def as_if_trained(exhibit, scale, seeds, world_seed, from_records, *, allow_missing=False):
        monkeypatch.setattr("maskft.study.get_scale", lambda name: SMALL if has_records and from_records else here)
        return open_study(exhibit, scale, seeds, world_seed, True, allow_missing=allow_missing)

    monkeypatch.setattr("maskft.notebooks.open_study", as_if_trained)
    code = [cell.source for cell in jupytext.read(NOTEBOOKS / "small_scale.py").cells if cell.cell_type == "code"]
    exec("\n".join([code[0], "from_records = False", *code[1:]]), {"In": [code[0]]})
    made = {path.stem for path in (tmp_path / "figures" / "small").glob("*.png")}
    tables = {path.stem for path in (tmp_path / "paper_tables" / "small").glob("*.csv")}
    assert made == ({"small_scale", "small_scale_gpu"} if has_records else {"small_scale"})
    assert tables == ({"small_scale", "small_sweep", "small_study"} if has_records else {"small_scale"})
    if has_records:
        assert (tmp_path / "paper_tables" / "small" / "small_sweep.csv").read_bytes() == (SMALL.tables / "small_sweep.csv").read_bytes()
