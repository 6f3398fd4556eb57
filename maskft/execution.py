"""How a run is computed: options of the training module, the launcher's business and no part of a run's identity."""

import argparse
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Execution:
    """How a run is computed. The batch, its masks and its loss are the same whatever is said here.

    Attributes:
        shard: Spread weights, gradients and moments over the processes with FSDP2 (``sharding``), instead of a copy each.
        per_device_train_batch_size: Most documents of a process at once; a larger share is taken in parts whose
            gradients add up. None: all at once.
        activation_checkpointing: Compute a layer's activations again in the backward pass instead of keeping them.
        compile_layers: Fuse the kernels of each layer by ``torch.compile``: half a minute at the start, less time and memory a step.
        checkpoint_minutes: How often a run keeps what it needs to go on from (``checkpoints``).

    Raises:
        ValueError: If a number is not positive (minutes may be 0: after every step).
    """

    shard: bool = False
    per_device_train_batch_size: int | None = None
    activation_checkpointing: bool = False
    compile_layers: bool = False
    checkpoint_minutes: float = 10.0

    def __post_init__(self):
        if self.per_device_train_batch_size is not None and self.per_device_train_batch_size < 1:
            raise ValueError(f"per_device_train_batch_size={self.per_device_train_batch_size} must be at least 1")
        if not self.checkpoint_minutes >= 0:
            raise ValueError(f"checkpoint_minutes={self.checkpoint_minutes} must be at least 0")

    def micro_batches(self, train_batch_size: int, n_ranks: int) -> int:
        """Parts in which each process takes its share of a batch; the same on all, for each part is a collective."""
        share = math.ceil(train_batch_size / n_ranks)
        return math.ceil(share / (self.per_device_train_batch_size or share))


DEFAULTS = Execution()


def add_options(parser: argparse.ArgumentParser) -> None:
    """The attributes of ``Execution`` as options."""
    parser.add_argument("--shard", action="store_true", help="spread the model over the processes (FSDP2)")
    parser.add_argument("--per-device-train-batch-size", type=int, default=None, metavar="N", help="documents at once")
    parser.add_argument("--activation-checkpointing", action="store_true", help="compute activations again, do not keep them")
    parser.add_argument("--compile-layers", action="store_true", help="fuse each layer's kernels by torch.compile, half a minute at the start")
    parser.add_argument("--checkpoint-minutes", type=float, default=Execution.checkpoint_minutes, metavar="M", help="between checkpoints")


def check_compiler(device_type: str) -> None:
    """Look whether ``torch.compile`` finds the compiler that it needs, before any work: of C for a GPU, of C++ for a CPU.

    Raises:
        ValueError: If there is none.
    """
    variable, names = ("CC", ("gcc", "clang", "cc")) if device_type == "cuda" else ("CXX", ("g++", "clang++", "c++"))
    asked = os.environ.get(variable)
    if not any(map(shutil.which, [asked] if asked else names)):
        looked_for = f"{variable}={asked}" if asked else f"none of {', '.join(names)}"
        raise ValueError(f"--compile-layers needs a compiler and {looked_for} is not on the path; install one, or leave the option out")


def execution_of(options: Sequence[str]) -> Execution:
    """What a launcher's options say, before a process is started with them.

    Raises:
        ValueError: If an option is unknown, lacks its number, or its number is not allowed.
    """
    parser = argparse.ArgumentParser(prog="", usage=argparse.SUPPRESS, exit_on_error=False, add_help=False, allow_abbrev=False)
    add_options(parser)
    try:
        given, unknown = parser.parse_known_args(list(options))
    except argparse.ArgumentError as error:
        raise ValueError(f"options {' '.join(options)}: {error}") from None
    if unknown:
        known = ", ".join(name for action in parser._actions for name in action.option_strings)
        raise ValueError(f"options {' '.join(options)}: {unknown[0]!r} is not known; there are {known}")
    return Execution(**vars(given))
