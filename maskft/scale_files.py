"""A scale like another with changes, from a JSON file: ``--scale my.json``. For own copies of models, other machines, trials.

``{"like": "paper", "bases": {"ar": "llama-folder"}, "max_steps": 2, "launcher": {"num_processes": 8}}`` is the paper's scale
with what it names changed. It has a name of its own (the file's, unless ``name`` is given), so its runs, tables and figures
stand beside the other's. Paths are relative to the file.
"""

import difflib
import json
from dataclasses import fields, replace
from pathlib import Path

from .launch import Launcher
from .scales import SCALES, Scale

KEYS = ("like", "name", "source", "bases", "control_base", "learning_rates", "settings", "method_settings", "max_steps", "launcher", "output")


def read_scale(path: Path) -> Scale:
    """The scale that a file describes.

    Args:
        path: JSON with an object of these, all but ``like`` optional: ``like`` (a scale), ``name``, ``source``; ``bases``,
            ``learning_rates``, ``settings`` and ``launcher`` (their entries replace the other's, the rest stays);
            ``method_settings``, ``control_base`` (null: none), ``max_steps`` (no run is longer), ``output`` (folder).

    Raises:
        ValueError: If the file is none, or a key or value is not allowed.
    """
    try:
        given = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"scale file {path} cannot be read: {error}") from None
    if not isinstance(given, dict):
        raise ValueError(f'scale file {path} must hold an object such as {{"like": "paper", "max_steps": 2}}')
    for key in given:
        _check(key, KEYS, f"scale file {path}")
    if given.get("like") not in SCALES:
        raise ValueError(f"scale file {path}: like={given.get('like')!r} is not one of {', '.join(SCALES)}")
    like, base = SCALES[given["like"]], path.parent.absolute()
    changes: dict[str, object] = {key: given[key] for key in ("source", "control_base", "method_settings") if key in given}
    for key in ("bases", "learning_rates", "settings"):
        merged = {**getattr(like, key), **given.get(key, {})}
        if key != "settings":
            for name in given.get(key, {}):
                _check(name, ("ar", "dllm", "masked_ar"), f"scale file {path}, {key}")
        changes[key] = merged
    for name, where in given.get("bases", {}).items():
        if (base / where).is_dir():  # a folder beside the file; else a shipped base or a name on the hub
            changes["bases"][name] = str(base / where)
    if "max_steps" in given:
        most = given["max_steps"]
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            raise ValueError(f"scale file {path}: max_steps={most!r} must be a whole number from 1")
        changes["eval_steps"] = {
            arm: {method: _cut(steps, most) for method, steps in by_method.items()} for arm, by_method in like.eval_steps.items()
        }
    launcher = given.get("launcher", {})
    for key in launcher:
        _check(key, [spec.name for spec in fields(Launcher)], f"scale file {path}, launcher")
    if launcher:
        converted = {"options": tuple, "config_file": lambda file: base / file}
        changes["launcher"] = replace(like.launcher, **{key: converted.get(key, lambda v: v)(v) for key, v in launcher.items()})
    changes["output"] = base / given["output"] if "output" in given else like.output
    return replace(like, name=given.get("name", path.stem), **changes)


def _cut(steps: tuple[int, ...], most: int) -> tuple[int, ...]:
    return steps if steps[-1] <= most else (*(step for step in steps if step < most), most)


def _check(name: str, known, where: str) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"{where}: {name!r} is not known; {hint}There are {', '.join(known)}")
