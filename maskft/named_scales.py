"""A scale by its name: one of the three, the small one of another base, or one like another with changes, from a file.

A file, ``--scale my.json``, is for own copies of models, other machines, trials:

``{"like": "paper", "bases": {"ar": "llama-folder"}, "max_steps": 2, "launcher": {"num_processes": 8}}`` is the paper's scale
with what it names changed. It has a name of its own (the file's, unless ``name`` is given), so its runs, tables and figures
stand beside the other's. Paths are relative to the file.
"""

import difflib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

from .bases import adapted_name, hub_commit, model_folder, revision_of
from .data import DATASETS
from .execution import execution_of
from .paper import METHODS
from .runs import RunConfig
from .scales import SCALES, Scale

WORDS = {str: "a text", str | None: "a text or null", int: "a whole number", float: "a number", dict: "an object", list: "a list of texts"}
KINDS = {
    "like": str, "name": str, "source": str, "bases": dict, "revisions": dict, "control_base": str | None, "learning_rates": dict,
    "settings": dict, "method_settings": dict, "dataset_settings": dict, "max_steps": int, "launcher": dict, "output": str,
}  # fmt: skip
LAUNCHER_KINDS = {
    "kind": str, "config_file": str, "num_processes": int, "num_machines": int, "runs_per_gpu": int, "gib_per_run": float, "options": list,
}  # fmt: skip
# What a run is about is the exhibit's to say; its base, rate and steps have keys of their own.
SETTINGS = tuple(
    spec.name for spec in fields(RunConfig) if spec.name not in (
        "dataset", "source", "world_seed", "data_fingerprint", "paraphrases", "method", "base", "base_revision", "learning_rate",
        "eval_steps", "seed",
    )
)  # fmt: skip


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
        if Path(base).is_dir():  # by its whole path: a notebook runs in a folder of its own
            base = str(Path(base).resolve())
            name = f"{kind}:{base}"
        revision = revision_of(base) if Path(base).is_dir() else hub_commit(base)
        scale = replace(scale, name=name, bases={"ar": base, "masked_ar": base}, revisions={base: revision})
    dllm = adapted_name(scale.bases["ar"])
    if kind == "small" and _is_adapted_from(model_folder(dllm), scale.bases["ar"]):
        scale = replace(scale, bases={**scale.bases, "dllm": dllm}, revisions={**scale.revisions, dllm: revision_of(dllm)})
    return scale


def _is_adapted_from(folder: Path, base: str) -> bool:
    """Whether ``folder`` has a dLLM that ``maskft adapt`` made of ``base``, and not of another of that name."""
    if not (folder / "config.json").is_file():
        return False
    record = folder / "adaptation.json"
    made_of = json.loads(record.read_text())["settings"]["base"] if record.is_file() else base
    if made_of != base:
        warnings.warn(f"{folder} was made of {made_of}, so there is no dLLM of {base}; make one: maskft adapt {base} --to dllm --output {folder}", stacklevel=3)
    return made_of == base


def read_scale(path: Path) -> Scale:
    """The scale that a file describes.

    Args:
        path: JSON with an object of these, all but ``like`` optional: ``like`` (a scale), ``name`` (a folder's, of no other
            scale), ``source``; ``bases``, ``revisions`` (commit by base, for other ones of the hub), ``learning_rates``,
            ``settings`` and ``launcher`` (their entries replace the other's, ``settings`` those by data set too, the rest
            stays); ``method_settings`` (with it the other's ``dataset_settings`` go too), ``dataset_settings``, ``control_base`` (null: none), ``max_steps`` (no
            run is longer), ``output`` (folder).

    Raises:
        ValueError: If the file is none, or a key or value is not allowed. Values of ``settings`` and ``learning_rates`` are
            checked when runs are made of them.
    """
    given = _read(path)
    like, base, changes = SCALES[given["like"]], path.parent.absolute(), {}
    if "method_settings" in given:  # what is said more closely would hide it
        changes["dataset_settings"] = {}
    elif said := given.get("settings"):
        changes["dataset_settings"] = {
            dataset: {method: {key: value for key, value in settings.items() if key not in said} for method, settings in by_method.items()}
            for dataset, by_method in like.dataset_settings.items()
        }
    for key in ("source", "control_base", "method_settings", "dataset_settings"):
        if key in given:
            changes[key] = given[key]
    for key in ("bases", "revisions", "learning_rates", "settings"):
        changes[key] = {**getattr(like, key), **given.get(key, {})}
    for name, where in given.get("bases", {}).items():
        if (base / where).is_dir():  # a folder beside the file; else a shipped base or a name on the hub
            changes["bases"][name] = str(base / where)
    if "max_steps" in given:
        changes["eval_steps"] = {
            arm: {method: _cut(steps, given["max_steps"]) for method, steps in by_method.items()}
            for arm, by_method in like.eval_steps.items()
        }
    if launcher := given.get("launcher"):
        converted = {"options": tuple, "config_file": lambda file: base / file}
        changes["launcher"] = replace(like.launcher, **{key: converted.get(key, lambda v: v)(v) for key, v in launcher.items()})
    changes["output"] = base / given["output"] if "output" in given else like.output
    return replace(like, name=given.get("name", path.stem), **changes)


def _cut(steps: tuple[int, ...], most: int) -> tuple[int, ...]:
    return steps if steps[-1] <= most else (*(step for step in steps if step < most), most)


def _read(path: Path) -> dict:
    """The file's object, of which every key and the kind of every value is allowed. Raises ValueError."""
    try:
        given = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"scale file {path} cannot be read: {error}") from None
    where = f"scale file {path}"
    if not isinstance(given, dict):
        raise ValueError(f'{where} must hold an object such as {{"like": "paper", "max_steps": 2}}')
    _check(given, KINDS, where)
    if given.get("like") not in SCALES:
        raise ValueError(f"{where}: like={given.get('like')!r} is not one of {', '.join(SCALES)}")
    name = given.get("name", path.stem)
    if name in SCALES or not re.fullmatch(r"\w[\w. -]*", name):
        raise ValueError(
            f"{where}: its name {name!r} must be one for a folder, and of no other scale; rename the file, or give it a name, "
            'for example "name": "my_trial"'
        )
    if given.get("max_steps", 1) < 1:
        raise ValueError(f"{where}: max_steps={given['max_steps']} must be a whole number from 1")
    for key, kinds in (("bases", dict.fromkeys(METHODS, str)), ("learning_rates", dict.fromkeys(METHODS, float)), ("launcher", LAUNCHER_KINDS)):
        _check(given.get(key, {}), kinds, f"{where}, {key}")
    _check(given.get("dataset_settings", {}), dict.fromkeys(DATASETS, dict), f"{where}, dataset_settings")
    settings = [given.get("settings", {})]
    for key, by_method in {"method_settings": given.get("method_settings", {}), **given.get("dataset_settings", {})}.items():
        _check(by_method, dict.fromkeys(METHODS, dict), f"{where}, {key}")
        settings += by_method.values()
    for values in settings:
        _check(values, dict.fromkeys(SETTINGS, object), f"{where}, settings")
    for base, commit in given.get("revisions", {}).items():
        if not isinstance(commit, str):
            raise ValueError(f"{where}, revisions: {base}={commit!r} must be a commit, a text")
    launcher = given.get("launcher", {})
    if not all(isinstance(option, str) for option in launcher.get("options", [])):
        raise ValueError(f'{where}, launcher: options={launcher["options"]!r} must be texts, for example ["--shard"]')
    try:
        execution_of(launcher.get("options", []))
    except ValueError as error:
        raise ValueError(f"{where}, launcher: {error}") from None
    if "config_file" in launcher and not (path.parent / launcher["config_file"]).is_file():
        raise ValueError(f"{where}, launcher: there is no file {path.parent / launcher['config_file']}; paths are relative to the scale file")
    return given


def _check(given: Mapping, kinds: Mapping[str, type], where: str) -> None:
    """Raises ValueError at the first key that ``kinds`` lacks or whose value is of another kind."""
    for key, value in given.items():
        if key not in kinds:
            close = difflib.get_close_matches(key, kinds, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ValueError(f"{where}: {key!r} is not known; {hint}There are {', '.join(kinds)}")
        kind = kinds[key]
        allowed = (int, float) if kind is float else kind
        if not isinstance(value, allowed) or (isinstance(value, bool) and kind in (int, float)):
            raise ValueError(f"{where}: {key}={value!r} must be {WORDS[kind]}")
