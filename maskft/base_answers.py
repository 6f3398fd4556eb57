"""What a base answers before fine-tuning, which is asked once: other runs of it have the same answers at step 0."""

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch

from .devices import device_name
from .execution import Execution
from .provenance import code_fingerprint
from .runs import RecordError, RunConfig, RunStore

CODE = code_fingerprint()  # of what this process imported: the files may change while runs go on
PACKAGES = ("maskft", "torch", "transformers", "accelerate", "datasets")
# Fields that change nothing before the first optimizer step. Any other, and any that is added, has to be the same.
OF_TRAINING = (
    "paraphrases", "mask_ratio", "mask_ratio_scope", "mask_count", "loss_normaliser", "corruption", "learning_rate", "betas",
    "weight_decay", "max_grad_norm", "warmup_ratio", "train_batch_size", "eval_steps", "seed", "probe",
)  # fmt: skip


def describe_origin(device: torch.device, n_processes: int, execution: Execution) -> dict[str, Any]:
    """What a run's record says of all that could give the same weights other answers: code, packages, device, processes."""
    return {
        "code_fingerprint": CODE,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "device": device_name(device),
        "n_processes": n_processes,
        "is_sharded": execution.shard,
        "compile_layers": execution.compile_layers,
    }


def find_base_answers(store: RunStore, config: RunConfig, origin: Mapping[str, Any]) -> tuple[str, list[dict]] | None:
    """The generation rows of step 0 of a finished run that asked the same model the same questions in the same way.

    AR and masked AR are one model before their first step. A damaged run is passed over.

    Args:
        store: Where finished runs are.
        config: The run that needs the answers.
        origin: Of this process (`describe_origin`). The other's is the same, so its answers are those that would be given here.

    Returns:
        The other run's id and its rows; None if there is none.
    """
    asked = _asked(config)
    for other in store.configs(config.dataset):
        if _asked(other) == asked:
            try:
                record = store.record(other)
                if all(record.get(name) == value for name, value in origin.items()):
                    return other.run_id, [row for row in store.generations(other) if row["step"] == 0]
            except RecordError:
                continue
    return None


def _asked(config: RunConfig) -> dict[str, Any]:
    """What decides a run's answers before its first step."""
    values = {name: value for name, value in asdict(config).items() if name not in OF_TRAINING}
    return values | {"method": "dllm" if config.method == "dllm" else "ar"}
