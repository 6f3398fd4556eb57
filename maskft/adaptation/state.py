"""What a stopped adaptation goes on from: weights, the optimizer's moments, and where it was."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel


def save_state(folder: Path, model: PreTrainedModel, optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Everything that the next step needs, in a folder that is whole or not there."""
    new, old = folder.with_name("resume.new"), folder.with_name("resume.old")
    for place in (new, old):
        shutil.rmtree(place, ignore_errors=True)
    new.mkdir(parents=True)
    weights = dict(model.named_parameters())
    save_file({name: value.detach().contiguous() for name, value in weights.items()}, new / "weights.safetensors")
    moments = {f"{key}.{name}": optimizer.state[value][key] for name, value in weights.items() for key in optimizer.state[value]}
    save_file(moments, new / "optimizer.safetensors")
    (new / "state.json").write_text(json.dumps(state, indent=1) + "\n")
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def restore_state(folder: Path) -> None:
    """Bring back what a kill between the two renamings of ``save_state`` left under another name."""
    if not folder.exists():
        for place in (folder.with_name("resume.new"), folder.with_name("resume.old")):
            if (place / "state.json").is_file():
                place.rename(folder)
                return


@torch.no_grad()
def load_state(folder: Path, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
    """Put back what ``save_state`` wrote."""
    weights = dict(model.named_parameters())
    for name, value in load_file(folder / "weights.safetensors").items():
        weights[name].copy_(value)
    for key, value in load_file(folder / "optimizer.safetensors").items():
        kind, _, name = key.partition(".")
        # Fused AdamW counts its steps where the weights are.
        optimizer.state[weights[name]][kind] = value.to(weights[name].device)
