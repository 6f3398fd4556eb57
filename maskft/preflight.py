"""What can fail late, looked at before anything starts: models, their access and ids, data, disk; then each GPU.

``check_study`` runs where a study is launched, and looks at GPUs only where runs are trained on the same machine.
``check_device`` runs in each training process before weights are put on its GPU. Both tell everything that is wrong at once.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
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

from .data import load_corpus
from .launcher import Launcher, side_by_side, smallest_gpu_gib
from .models import base_folder, load_tokenizer, prompts_for
from .planning.hardware import MEMORY_SHARE, Gpu
from .planning.memory import GIB, Memory, answering_memory, training_memory
from .planning.plan import check_fits, setup_of
from .planning.shapes import Shape, n_parameters, shape_in, trained_shape
from .runs import RunConfig

DOWNLOAD = 2  # bytes a parameter of a model on the hub
CHECKPOINT = 12  # of a checkpoint: float32 weights and two moments, twice while it is replaced


class PreflightError(RuntimeError):
    """Something that the runs need is not there; nothing was started."""


def _raise(problems: Sequence[str]) -> None:
    if problems:
        raise PreflightError("nothing was started:\n" + "\n".join(f"- {problem}" for problem in dict.fromkeys(problems)))


def check_study(
    configs: Sequence[RunConfig], store: Path, *, launcher: Launcher | None = None, workers: int | None = None, at_once: int = 1,
    is_sharded: bool = False,
) -> None:  # fmt: skip
    """Models, ids, data and disk of runs that are to be trained, and the GPUs of this machine if they are trained here.

    Args:
        configs: The runs.
        store: Where they will be written; it need not exist yet.
        launcher: How a run is started on this machine; None: it is started on another.
        workers: Training processes side by side on this machine, as ``launcher.side_by_side``.
        at_once: Runs that are trained at the same time on other machines; each has checkpoints of its own.
        is_sharded: Whether a run's weights are spread over its processes (FSDP2).

    Raises:
        PreflightError: With everything that is wrong.
    """
    problems, shapes = [], {}
    for base, revision in {(config.base, config.base_revision): None for config in configs}:
        found = _look_at_base(base, revision)
        problems += found if isinstance(found, list) else []
        if isinstance(found, Shape):
            shapes[base] = found
            if not found.tied and any(config.embeddings == "untied" for config in configs if config.base == base):
                problems.append(f"{base} has an output projection of its own already, which embeddings='untied' would give it; use 'as_base'")
    for dataset, source, world, fingerprint, stride in {
        (c.dataset, c.source, c.world_seed, c.data_fingerprint, c.question_stride): None for c in configs
    }:
        problems += _look_at_data(dataset, source, world, fingerprint, stride)
    if launcher is not None and configs:
        try:
            at_once = len(side_by_side(launcher, workers, len(configs)))
        except ValueError as error:
            problems.append(str(error))
        problems += _look_at_gpus([config for config in configs if config.base in shapes], launcher)
    problems += _look_at_disk(configs, shapes, store, at_once, is_sharded)
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
        shape = shape_in(config)
        # As when it is loaded: a row of the embedding without a token can be the mask.
        prompts = prompts_for(load_tokenizer(folder, **hub), shape.vocabulary)
    except GatedRepoError:
        return [f"{base} is gated: accept its licence at {constants.ENDPOINT}/{base}, then log in with `hf auth login`"]
    except RevisionNotFoundError:
        return [f"{base} has no commit {revision}; give another one in a scale file"]
    except RepositoryNotFoundError:
        return [f"{base} is neither a folder nor a repository of the hub that this account can see (`hf auth login`)"]
    except (LocalEntryNotFoundError, OSError, ValueError, KeyError) as error:
        return [f"{base} cannot be read: {str(error).splitlines()[0]}; without the hub, name a folder in a scale file (maskft.named_scales)"]
    ids, size = prompts.ids, shape.vocabulary
    if beyond := [n for n in (ids.mask, ids.pad, ids.end, *ids.stop, *ids.begin) if n >= size]:
        return [f"{base}: ids {beyond} of its tokenizer lie beyond the {size} rows of its embedding; model and tokenizer differ"]
    return shape


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


def _look_at_gpus(configs: Sequence[RunConfig], launcher: Launcher) -> list[str]:
    """Memory by the plan, before a process waits for its weights only to be told. Nothing is asked of CUDA, which would take a GPU."""
    options, gib = launcher.options, smallest_gpu_gib()
    if launcher.kind != "gpu" or not gib or (launcher.num_processes > 1 and "--shard" not in options):
        return []
    here = Gpu("GPU(s) of this machine", flops=0, memory=gib * GIB, bandwidth=0, link=0)
    try:
        for batch in {config.train_batch_size for config in configs}:
            check_fits([config for config in configs if config.train_batch_size == batch], setup_of(launcher, batch, here))
    except ValueError as error:
        return [f"{error} (by `maskft plan`; training's options are --per-device-train-batch-size and --activation-checkpointing)"]
    return []


def _best(config: RunConfig, is_sharded: bool) -> int:
    """Bytes a parameter of the best weights that a run keeps: under FSDP2 those of the copy that answers."""
    return 2 if config.precision == "bf16" or (is_sharded and config.precision == "bf16_mixed") else 4


def _look_at_disk(
    configs: Sequence[RunConfig], shapes: dict[str, Shape], store: Path, at_once: int = 1, is_sharded: bool = False
) -> list[str]:
    """Each finished run keeps its best weights; a run in training has checkpoints, and a better one beside the best."""
    sizes = {base: n_parameters(shape) for base, shape in shapes.items()}
    trained = {(base, e): n_parameters(trained_shape(shape, e)) for base, shape in shapes.items() for e in ("as_base", "untied")}
    of_runs = sorted(((trained.get((config.base, config.embeddings), 0), _best(config, is_sharded)) for config in configs), reverse=True)
    kept = sum(best * size for size, best in of_runs)
    training = sum((best + 2 * CHECKPOINT) * size for size, best in of_runs[:at_once])
    hub = Path(constants.HF_HUB_CACHE)
    download = sum(
        DOWNLOAD * size for base, size in sizes.items()
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
                f"runs, checkpoints of {min(at_once, len(configs))} at a time, models to be downloaded); make room, or train fewer exhibits or fewer runs at a time"
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

    def needed(rows_at_once: int, checkpointing: bool) -> tuple[float, Memory]:
        training = training_memory(
            shape, gpus=shards, rows=rows_at_once, length=length, outputs=outputs * rows_at_once / rows, checkpointing=checkpointing,
            accumulates=rows_at_once * shards < config.train_batch_size,
        )  # fmt: skip
        # Of a model that is whole here there is no copy, but one would be less than the gradients of its training.
        return max(training.total, answering_memory(shape, gpus=shards, rows=1, length=length + config.max_new_tokens)), training

    (need, parts), (free, total) = needed(rows, checkpointing), torch.cuda.mem_get_info(device)
    room = min(MEMORY_SHARE * total, free)
    if need > room:
        problems.append(
            f"GPU {device.index or 0} ({torch.cuda.get_device_name(device)}) has {free / GIB:.1f} of {total / GIB:.1f} GiB free and about "
            f"{need / GIB:.1f} are needed; {_what_fits(lambda *setting: needed(*setting)[0] <= room, rows, checkpointing, shards)}"
            f", or end what else runs there ({os.getpid()} asks). Weights, gradients and moments alone take "
            f"{(parts.weights + parts.gradients + parts.optimizer) / GIB:.1f}; there is no AdamW in 8 bits or on the host here"
        )
    _raise(problems)


def _what_fits(does_fit: Callable[[int, bool], bool], rows: int, checkpointing: bool, shards: int) -> str:
    """Options of training with which a GPU has room: the smallest change of each kind; else more GPUs."""
    fewer = [rows >> n for n in range(1, rows.bit_length())]
    found = []
    if not checkpointing and does_fit(rows, True):
        found.append("--activation-checkpointing")
    for each, suffix in ((checkpointing, ""), (True, " --activation-checkpointing")):
        if most := next((n for n in fewer if does_fit(n, each)), None):
            found.append(f"--per-device-train-batch-size {most}{suffix}")
        if found:
            return f"use {' or '.join(found)}"
    return "use more GPUs" if shards > 1 else "use --shard on several GPUs"
