"""A scale by its name: one of the three, the small one of another base, or one like another with changes, from a file.

A file, ``--scale my.json``, is for own copies of models, other machines, trials:

``{"like": "paper", "bases": {"ar": "llama-folder"}, "max_steps": 2, "launcher": {"num_processes": 8}}`` is the paper's scale
with what it names changed. It has a name of its own (the file's, unless ``name`` is given), so its runs, tables and figures
stand beside the other's. Paths are relative to the file.
"""

import difflib
import json
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

from . import small_weights
from .launch import Launcher
from .models import hub_commit, revision_of
from .scales import SCALES, Scale

KEYS = ("like", "name", "source", "bases", "control_base", "learning_rates", "settings", "method_settings", "max_steps", "launcher", "output")


def get_scale(name: str) -> Scale:
    """The scale called ``name``, or one like another with changes, from a file (``read_scale``).

    ``small:BASE`` is the small scale from another instruct model, a folder or a repository of the hub, whose newest commit
    then pins it. The small scale has a dLLM where ``maskft adapt`` has made one of its base.

    Raises:
        ValueError: If there is none, or the file holds something else than changes of a scale.
        FileNotFoundError, ConnectionError: If a base is no folder and not to be had from the hub.
    """
    if name.endswith(".json"):
        return read_scale(Path(name))
    return _named_scale(name)


@cache
def _named_scale(name: str) -> Scale:
    kind, colon, base = name.partition(":")
    if kind not in SCALES or (colon and (kind != "small" or not base)):
        raise ValueError(f"scale {name!r} is not one of {', '.join(SCALES)}, small:BASE, nor a file NAME.json")
    scale = SCALES[kind]
    if colon:
        revision = revision_of(base) if Path(base).is_dir() else hub_commit(base)
        scale = replace(scale, name=name, bases={"ar": base, "masked_ar": base}, revisions={base: revision})
    dllm = small_weights.adapted_name(scale.bases["ar"])
    if kind == "small" and (small_weights.model_folder(dllm) / "config.json").is_file():
        scale = replace(scale, bases={**scale.bases, "dllm": dllm}, revisions={**scale.revisions, dllm: revision_of(dllm)})
    return scale


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
