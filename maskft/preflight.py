"""What can fail late, looked at before anything starts: models, their access and ids, data, disk; then each GPU.

``check_study`` runs where a study is launched and knows no GPU, which may be another machine's. ``check_device`` runs in each
training process before weights are loaded. Both tell everything that is wrong at once.
"""

import json
import os
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import AutoTokenizer

from . import llada
from .data import load_corpus
from .models import base_folder, prompts_for
from .planning.hardware import MEMORY_SHARE
from .planning.memory import GIB, answering_memory, training_memory
from .planning.shapes import Shape, n_parameters, shape_in
from .runs import RunConfig

BEST = 2  # bytes a parameter of the best weights that a run keeps in bf16; one set more while they are replaced
CHECKPOINT = 12  # of a checkpoint: float32 weights and two moments, twice while it is replaced


class PreflightError(RuntimeError):
    """Something that the runs need is not there; nothing was started."""


def _raise(problems: Sequence[str]) -> None:
    if problems:
        raise PreflightError("nothing was started:\n" + "\n".join(f"- {problem}" for problem in dict.fromkeys(problems)))


def check_study(configs: Sequence[RunConfig], store: Path) -> None:
    """Models, ids, data and disk of runs that are to be trained.

    Args:
        configs: The runs.
        store: Where they will be written; it need not exist yet.

    Raises:
        PreflightError: With everything that is wrong.
    """
    problems, shapes = [], {}
    for base, revision in {(config.base, config.base_revision): None for config in configs}:
        found = _look_at_base(base, revision)
        problems += found if isinstance(found, list) else []
        if isinstance(found, Shape):
            shapes[base] = found
    for dataset, source, world, fingerprint, stride in {
        (c.dataset, c.source, c.world_seed, c.data_fingerprint, c.question_stride): None for c in configs
    }:
        problems += _look_at_data(dataset, source, world, fingerprint, stride)
    problems += _look_at_disk(configs, shapes, store)
    _raise(problems)


@cache
def _look_at_base(base: str, revision: str) -> Shape | list[str]:
    """The base's shape, or what is wrong with it."""
    try:
        folder = base_folder(base)
        if isinstance(folder, Path):
            config, lacking = json.loads((folder / "config.json").read_text()), _missing_files(folder)
            if lacking:
                return [f"{base} lacks {', '.join(lacking)}; get its files again"]
        else:
            config = json.loads(Path(hf_hub_download(base, "config.json", revision=revision)).read_text())
        hub = {} if isinstance(folder, Path) else {"revision": revision}
        llama = llada.llama_config(config).to_dict() if config.get("model_type") == "llada" else config
        # As when it is loaded: a row of the embedding without a token can be the mask.
        prompts = prompts_for(AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **hub), llama["vocab_size"])
    except GatedRepoError:
        return [f"{base} is gated: accept its licence at {constants.ENDPOINT}/{base}, then log in with `hf auth login`"]
    except RevisionNotFoundError:
        return [f"{base} has no commit {revision}; give another one in a scale file"]
    except RepositoryNotFoundError:
        return [f"{base} is neither a folder nor a repository of the hub that this account can see (`hf auth login`)"]
    except (LocalEntryNotFoundError, OSError, ValueError, KeyError) as error:
        return [f"{base} cannot be read: {str(error).splitlines()[0]}; without the hub, name a folder in a scale file (maskft.named_scales)"]
    ids, size = prompts.ids, llama["vocab_size"]
    if beyond := [n for n in (ids.mask, ids.pad, ids.end, *ids.stop, *ids.begin) if n >= size]:
        return [f"{base}: ids {beyond} of its tokenizer lie beyond the {size} rows of its embedding; model and tokenizer differ"]
    return shape_in(llama)


def _missing_files(folder: Path) -> list[str]:
    index = folder / "model.safetensors.index.json"
    names = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {"model.safetensors"}
    return sorted(name for name in names if not (folder / name).is_file())


def _look_at_data(dataset: str, source: str, world_seed: int, fingerprint: str, stride: int) -> list[str]:
    try:
        corpus = load_corpus(dataset, source=source, world_seed=world_seed)
        corpus.asked_questions(stride)
    except (OSError, ValueError) as error:
        return [f"{dataset} ({source}): {error}"]
    if corpus.fingerprint != fingerprint:
        return [f"{dataset} ({source}) has fingerprint {corpus.fingerprint}, the runs were asked for with {fingerprint}; ask again"]
    return []


def _look_at_disk(configs: Sequence[RunConfig], shapes: dict[str, Shape], store: Path) -> list[str]:
    """Each finished run keeps its best weights; one run at a time has checkpoints, and a better one beside the best."""
    sizes = {base: n_parameters(shape) for base, shape in shapes.items()}
    kept = sum(BEST * sizes.get(config.base, 0) for config in configs)
    training = max(((BEST + 2 * CHECKPOINT) * size for size in sizes.values()), default=0)
    hub = Path(constants.HF_HUB_CACHE)
    download = sum(
        BEST * size for base, size in sizes.items()
        if not isinstance(base_folder(base), Path) and not _is_cached(base, configs)
    )  # fmt: skip
    needed: dict[int, tuple[Path, int]] = {}
    for path, size in ((store, kept + training), (hub, download)):
        path = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
        device = path.stat().st_dev
        needed[device] = path, needed.get(device, (path, 0))[1] + size
    problems = []
    for path, size in needed.values():
        if size > (free := shutil.disk_usage(path).free):
            problems.append(
                f"{path} has {free / GIB:.1f} GiB free and {size / GIB:.1f} GiB are needed (best weights of {len(configs)} "
                f"runs, one run's checkpoints, models to be downloaded); make room, or train fewer exhibits at a time"
            )
    return problems


def _is_cached(base: str, configs: Sequence[RunConfig]) -> bool:
    revision = next(config.base_revision for config in configs if config.base == base)
    names = ("model.safetensors", "model.safetensors.index.json")
    return any(isinstance(try_to_load_from_cache(base, name, revision=revision), str) for name in names)


def check_device(
    device: torch.device, config: RunConfig, *, shape: Shape, shards: int, rows: int, length: int, outputs: int, checkpointing: bool
) -> None:
    """This process's GPU: bf16, and memory by the estimate of ``planning.memory``. A CPU always passes.

    Args:
        device: Where this process computes.
        config: The run.
        shape: Of its base.
        shards: Processes that the model is spread over, each of which answers with a whole copy; 1: it is whole here.
        rows: Documents at once.
        length: Tokens of the longest sequence.
        outputs: Supervised positions at once, at most.
        checkpointing: Whether activations are computed again.

    Raises:
        PreflightError: If the GPU cannot do it.
    """
    if device.type != "cuda":
        return
    problems = []
    if config.precision != "float32" and not torch.cuda.is_bf16_supported(including_emulation=False):
        problems.append(f"{torch.cuda.get_device_name(device)} has no bfloat16; use precision='float32' or an Ampere GPU or newer")
    training = training_memory(shape, gpus=shards, rows=rows, length=length, outputs=outputs, checkpointing=checkpointing).total
    # Of a model that is whole here there is no copy, but one would be less than the gradients of its training.
    need = max(training, answering_memory(shape, gpus=shards, rows=1, length=length + config.max_new_tokens))
    free, total = torch.cuda.mem_get_info(device)
    if need > MEMORY_SHARE * total or need > free:
        problems.append(
            f"GPU {device.index} ({torch.cuda.get_device_name(device)}) has {free / GIB:.1f} of {total / GIB:.1f} GiB free and about "
            f"{need / GIB:.1f} are needed; use --activation-checkpointing, a smaller --per-device-train-batch-size, "
            f"{'more GPUs' if shards > 1 else '--shard on several GPUs'}, or end what else runs there ({os.getpid()} asks)"
        )
    _raise(problems)
