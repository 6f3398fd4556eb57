"""Run notebooks strictly: an unknown parameter is an error, and a failed notebook never replaces a good one.

papermill alone only warns of a parameter that a notebook does not have, and runs the defaults; so each looks itself
(``check_injected``). The percent scripts in
``notebooks/`` are the source; the executed ``.ipynb`` beside each is what a reader sees.
"""

import ast
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path

import jupytext
import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

from .provenance import Provenance
from .scales import REPOSITORY, Scale
from .study import Study, open_study

NOTEBOOKS = REPOSITORY / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"

__all__ = ["NOTEBOOKS", "check_injected", "check_parameters", "open_study", "parameters_of", "place_of", "provenance", "run_notebook", "run_notebooks"]


def provenance(notebook: str, study: Study) -> Provenance:
    """Where a table or figure of ``study`` comes from, for its sidecar."""
    run_ids = [config.run_id for config in study.configs]
    return Provenance(notebook, study.parameters, run_ids, study.command, study.commit)


def parameters_of(notebook: nbformat.NotebookNode, name: str) -> dict[str, object]:
    """Names and default values of the notebook's ``parameters`` cell.

    Raises:
        ValueError: Unless it has exactly one such cell, holding literals only (papermill pastes values as code).
    """
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ValueError(f"notebook {name} has {len(cells)} cells tagged parameters; expected one")
    found = {}
    for node in ast.parse(cells[0].source).body:
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0] if isinstance(node, ast.Assign) else None
        if not isinstance(target, ast.Name) or node.value is None:
            raise ValueError(f"notebook {name}: the parameters cell may hold only assignments of literals")
        found[target.id] = ast.literal_eval(node.value)
    return found


def check_parameters(name: str, given: Mapping[str, object], known: Mapping[str, object]) -> None:
    """Raise ValueError, naming what is allowed, if a parameter is unknown or has another type than its default."""
    for key, value in given.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ValueError(f"notebook {name} has no parameter {key!r}; {hint}It has {', '.join(known)}")
        if type(value) is not type(known[key]):
            raise ValueError(f"parameter {key}={value!r} of notebook {name} must be like {known[key]!r}")


def check_injected(cells: Sequence[str]) -> None:
    """Raise ValueError if papermill, which only warns of it, was given a parameter that the notebook does not have.

    Args:
        cells: What the kernel has run (IPython's ``In``): the notebook's own parameters, then papermill's.
    """
    assigned = [_assigned(cell) for cell in cells if cell.strip()]
    given = next((names for cell, names in zip(filter(str.strip, cells), assigned, strict=True) if cell.startswith("# Parameters")), {})
    check_parameters("(this one)", given, assigned[0] if given else {})


def _assigned(cell: str) -> dict[str, object]:
    """Names and values of a cell's assignments of literals."""
    found = {}
    with suppress(SyntaxError):  # a magic is no Python
        for node in ast.parse(cell).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                with suppress(ValueError):
                    found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def place_of(name: str, scale: Scale, *, folder: Path = NOTEBOOKS) -> Path:
    """Where the executed notebook of a scale goes: beside its script for the scale that it names itself, which is committed.

    Of another scale in a folder of that scale's, so that neither replaces the other's pictures.
    """
    own = parameters_of(jupytext.read(folder / f"{name}.py"), name)["scale"]
    if scale.output != REPOSITORY:
        return scale.output / "notebooks" / scale.folder
    return folder if scale.name == own else folder / scale.folder


def run_notebook(
    name: str, parameters: Mapping[str, object], *, folder: Path = NOTEBOOKS, target_folder: Path | None = None
) -> Path:
    """Execute ``folder/NAME.py`` with papermill and replace ``target_folder/NAME.ipynb`` (default: ``folder``) on success.

    Returns:
        The executed notebook.

    Raises:
        FileNotFoundError: If there is no such notebook.
        ValueError: If a parameter is unknown or of the wrong type; nothing is run.
        RuntimeError: If a cell fails. The good notebook stays, the failed one is kept as ``NAME.failed.ipynb``.
    """
    source = folder / f"{name}.py"
    if not source.is_file():
        known = sorted(path.stem for path in folder.glob("*.py"))
        raise FileNotFoundError(f"no notebook {name!r}; there are {', '.join(known)}")
    notebook = jupytext.read(source)
    defaults = parameters_of(notebook, name)
    check_parameters(name, parameters, defaults)
    # Without a change there is nothing to inject, and the executed notebook has the cells of its script.
    changed = {key: value for key, value in parameters.items() if value != defaults[key]}
    where = target_folder or folder
    where.mkdir(parents=True, exist_ok=True)
    target, failed, partial = (where / n for n in (f"{name}.ipynb", f"{name}.failed.ipynb", f".{name}.{os.getpid()}.ipynb"))
    try:
        papermill.execute_notebook(
            notebook, str(partial), parameters=changed, kernel_name="python3", cwd=str(folder), progress_bar=False,
            log_output=False, stdout_file=None,
        )  # fmt: skip
    except PapermillExecutionError as error:
        partial.replace(failed)
        raise RuntimeError(f"notebook {name} failed at cell {error.exec_count}: {error.ename}: {error.evalue}; see {failed.name}") from None
    finally:
        if partial.exists() and not _is_whole(partial):
            partial.unlink()
    _strip_run_details(partial)
    partial.replace(target)
    failed.unlink(missing_ok=True)
    return target


def run_notebooks(
    names: Sequence[str], parameters: Mapping[str, object], scale: Scale, *, at_a_time: int, folder: Path = NOTEBOOKS
) -> Iterator[tuple[str, Path | RuntimeError]]:
    """Execute many notebooks, ``at_a_time`` side by side, and give each as it is done: its name, and its file or how it failed.

    A kernel spends its time on one core, starting, importing and drawing. In threads of one process no two get the same ports.
    When it is stopped, the notebooks in work are finished and no other is begun.

    Raises:
        As ``run_notebook``, but for a cell that fails.
    """
    pool = ThreadPoolExecutor(at_a_time)
    try:
        # From the end of the list, where the longest are: none is left alone at last.
        targets = {name: place_of(name, scale, folder=folder) for name in reversed(names)}
        jobs = {pool.submit(run_notebook, name, parameters, folder=folder, target_folder=target): name for name, target in targets.items()}
        for job in as_completed(jobs):
            error = job.exception()
            yield jobs[job], error if isinstance(error, RuntimeError) else job.result()
    except KeyboardInterrupt:
        print("stopping: the notebooks in work are finished first", flush=True)
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _is_whole(path: Path) -> bool:
    notebook = nbformat.read(path, as_version=4)
    return all(cell.metadata.get("papermill", {}).get("status") == "completed" for cell in notebook.cells if cell.cell_type == "code")


def _strip_run_details(path: Path) -> None:
    """Drop what belongs to this execution alone, so that the same runs give the same notebook on every machine.

    Times, and the standard error: libraries warn there with paths of the machine. Widgets, which only a kernel can show
    and which have new ids every time.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    for number, cell in enumerate(notebook.cells):
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        cell["id"] = f"cell-{number}"
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr" and WIDGET not in o.get("data", {})]
    nbformat.write(notebook, path)
