"""Base models by name: where each lies and what pins its weights. Nothing is loaded here, so that whoever names runs or reads
records waits for no library of models.

A base is one of the shipped tiny bases, the small base and what was made of it, a folder, or a repository of the Hugging Face
hub.
"""

import hashlib
from functools import cache
from pathlib import Path

from .cache import cache_folder

ASSETS = Path(__file__).parent / "assets"
SHIPPED = ("tiny-ar", "tiny-ar-no-demask", "tiny-dllm")
SMALL_BASE = "smollm2-135m-q4"  # the small one, which a Python package carries (``small_weights``)
ADAPTED = "-dllm"  # behind the name of a base that was made a masked diffusion model
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# The rounded weights pin the base: what a later transformers writes beside them may differ.
SMALL_REVISION = f"q4_1-{GGUF_SHA256[:16]}"


def model_folder(name: str) -> Path:
    """Where a model that was converted or adapted on this machine lies, whether it is there or not."""
    return cache_folder() / "models" / name


def adapted_name(base: str) -> str:
    """Name of the masked diffusion model that ``maskft adapt`` makes of ``base``."""
    return f"{Path(base).name}{ADAPTED}"


def find_base(base: str) -> Path | str:
    """Where a base lies: the package's assets, the cache, a folder, or (returned unchanged) a repository of the hub.

    The small base is in the cache once it was converted (``models.base_folder`` sees to that).

    Raises:
        FileNotFoundError: If a shipped base is not there.
    """
    if base in SHIPPED:
        folder = ASSETS / base
        if not (folder / "model.safetensors").is_file():
            raise FileNotFoundError(f"shipped base {base!r} is missing; run `maskft pretrain-tiny` to make it")
        return folder
    if base == Path(base).name and (cached := model_folder(base)).is_dir():
        return cached
    return Path(base) if Path(base).is_dir() else base


def revision_of(base: str) -> str:
    """What pins the weights of a base on this machine: 16 hex digits over its weight files and config.

    Raises:
        FileNotFoundError: If ``base`` is no shipped base and no folder; a hub repository is pinned by its commit, which
            the scale gives.
    """
    if base == SMALL_BASE:
        return SMALL_REVISION
    folder = find_base(base)
    if not isinstance(folder, Path):
        raise FileNotFoundError(f"base {base!r} is not one of {', '.join(SHIPPED)} and not a folder")
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("config.json"), *folder.glob("tokenizer.json")])
    return _digest(tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files))


@cache
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Hash of contents; with size and time as arguments, so that 16 GB are read again only when they changed."""
    digest = hashlib.sha256()
    for file, _, _ in files:
        with file.open("rb") as content:
            while part := content.read(1 << 24):
                digest.update(part)
    return digest.hexdigest()[:16]


def hub_commit(name: str) -> str:
    """The newest commit of a hub repository, or without a network the one in the local cache.

    Raises:
        ConnectionError: If there is neither.
    """
    from transformers.utils.hub import cached_file, extract_commit_hash

    try:
        return extract_commit_hash(cached_file(name, "config.json"), None)
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise ConnectionError(f"{name!r} is no folder, and the hub does not give it: {reason}") from None
