"""A step of masked AR against HF Trainer and TRL: ``python tests/benchmarks/training_step.py [--shapes llama-8b]``.

Same model, documents, batches, masks and precision; AdamW and gradient clipping on all sides, TRL without its default
gradient checkpointing. Seconds a step on documents of uneven lengths, and the peak of resident memory of a process of its
own at a vocabulary of 128k. All sides collate with ``MaskedARCollator``, so the tokens are the same.

On a GPU each shape has a record of its own: seconds of the clock, and the peak of the device's memory in the same steps.
Llama-8B's shape is bfloat16 altogether, weights and moments too, on all sides; SmolLM2's has float32 weights and bfloat16
autocast, with its own vocabulary and with one of 128k. Our side computes without padding there (``packing``), the whole batch
at once and in parts; what the trainer offers beside is a side too: activations recomputed, steps recorded and, with
``--compiled``, layers compiled. On a CPU it does so
at SmolLM2's shape, in bfloat16 autocast too.
"""

import argparse
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from common import RECORDS, median_ratio, now, write_record
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

from maskft.bench_gpu import PAPER_SHAPES, SMALL_SHAPES, make_model
from maskft.collators import MaskedARCollator
from maskft.losses import IGNORED, autoregressive_loss
from maskft.models import load_base
from maskft.packing import can_pack
from maskft.planning.shapes import Shape
from maskft.prompts import Prompts
from maskft.sharding import round_weights
from maskft.step import (
    RecordedGradients,
    SupervisedLogits,
    compile_layers,
    parts_of,
    recompute_activations,
    supervised_positions,
)

MPS = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"))  # there while NVIDIA's MPS runs: launching costs more
PER_DEVICE = 16  # documents at once (Appendix A.4); the peers take the batch whole
SIDES = ("maskft", "hf_trainer", "trl")
SHAPES = {
    "tiny": {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 3, "num_attention_heads": 4},
    "SmolLM2-135M": {
        "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
}  # fmt: skip


def random_model(shape: str, vocabulary: int) -> LlamaForCausalLM:
    """Random weights in float32, embeddings tied."""
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, tie_word_embeddings=True, bos_token_id=None, eos_token_id=None, **SHAPES[shape]))


def documents(n: int, low: int, high: int) -> list[dict]:
    """Random documents of uneven lengths; ids that every vocabulary here has."""
    rng = random.Random(0)
    return [{"input_ids": [rng.randrange(300, 1600) for _ in range(rng.randint(low, high))]} for _ in range(n)]


@dataclass
class Clock:
    """What a run of steps took: ``tick`` before the first step and after each.

    Attributes:
        moments: Seconds.
        peaks: On a GPU, bytes at the peak of each step over what was held after it: weights, moments and little else.
    """

    moments: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)

    def tick(self) -> None:
        self.moments.append(now())
        if torch.cuda.is_available():
            self.peaks.append(torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated())
            torch.cuda.reset_peak_memory_stats()

    @property
    def seconds(self) -> list[float]:
        """Of each step."""
        return [after - before for before, after in pairwise(self.moments)]


def our_steps(
    model, collate, texts: list[dict], batch: int, n_steps: int, *,
    at_once: int = PER_DEVICE, packed: bool = False, autocast: bool = False, recorded: bool = False, compiled: bool = False,
    recomputed: bool = False,
) -> Clock:  # fmt: skip
    """The training loop's own pieces, in parts of at most ``at_once`` documents, 16 as at the paper's scale."""
    wrapped, device = SupervisedLogits(model.train(), packed=packed), model.device
    add = RecordedGradients(wrapped, device, is_causal=True, autocast=autocast) if recorded else None
    if compiled:
        compile_layers(model)
    if recomputed:
        recompute_activations(model)
    optimizer = torch.optim.AdamW(wrapped.parameters(), lr=1e-4, fused=True)
    clock = Clock()
    clock.tick()
    for step in range(n_steps):
        data = collate([{**text, "step": step, "sample": n} for n, text in enumerate(texts[step * batch : (step + 1) * batch])])
        loss, n_targets = 0.0, int((data["labels"][:, 1:] != IGNORED).sum())
        for part in parts_of(data, -(-batch // at_once)):
            tensors = part["input_ids"], part["attention_mask"], *supervised_positions(part, "masked_ar")
            if add is not None:
                loss += add(part, at_once, *tensors[2:], torch.full(tensors[-1].shape, 1 / n_targets))
                continue
            *inputs, labels = (tensor.to(device) for tensor in tensors)
            with torch.autocast(device.type, torch.bfloat16) if autocast else nullcontext():
                share = wrapped(*inputs, partial(autoregressive_loss, n_targets=n_targets), labels)
            share.backward()
            loss += share.detach()
        torch.nn.utils.clip_grad_norm_(wrapped.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=not recorded)
        loss.item()
        clock.tick()
    for layer in model.model.layers if compiled else ():
        del layer.forward
    if recomputed:
        model.gradient_checkpointing_disable()
    if packed:
        model.set_attn_implementation("sdpa")
    return clock


class _Clock(TrainerCallback):
    def __init__(self):
        self.clock = Clock()

    def on_train_begin(self, *_, **__):
        self.clock.tick()

    def on_step_end(self, *_, **__):
        self.clock.tick()


def their_steps(side: str, model, collate, texts: list[dict], batch: int, n_steps: int, *, autocast: bool = False) -> Clock:
    """HF Trainer or TRL's SFTTrainer."""
    from datasets import Dataset

    with tempfile.TemporaryDirectory() as folder:
        options = {
            "output_dir": folder, "max_steps": n_steps, "per_device_train_batch_size": batch, "report_to": "none",
            "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True, "optim": "adamw_torch_fused", "bf16": autocast,
            "learning_rate": 1e-4, "remove_unused_columns": False, "train_sampling_strategy": "sequential", "seed": 0,
            "gradient_checkpointing": False, "dataloader_pin_memory": False, "use_cpu": not torch.cuda.is_available(),
        }  # fmt: skip
        callback, data = _Clock(), Dataset.from_list(texts[: n_steps * batch])
        common = {"model": model, "train_dataset": data, "data_collator": collate, "callbacks": [callback]}
        if side == "hf_trainer":
            trainer = Trainer(args=TrainingArguments(**options), **common)
        else:
            from trl import SFTConfig, SFTTrainer

            tokenizer = collate.prompts.tokenizer
            args = SFTConfig(dataset_kwargs={"skip_prepare_dataset": True}, max_length=None, **options)
            trainer = SFTTrainer(args=args, processing_class=tokenizer, **common)
        trainer.train()
    model.__dict__.pop("forward", None)  # TRL's and accelerate's own
    return callback.clock


def steps(side: str, model, collate, texts: list[dict], batch: int, n_steps: int, *, autocast: bool = False) -> list[float]:
    """Seconds of each step but the first; ours as a run of the study trains, without padding where that pays."""
    ours = partial(our_steps, at_once=max(batch, PER_DEVICE) if autocast else PER_DEVICE, packed=can_pack(model, "cpu"))
    run = ours if side == "maskft" else partial(their_steps, side)
    return run(model, collate, texts, batch, n_steps, autocast=autocast).seconds[1:]


def peak_megabytes(side: str, vocabulary: int, batch: int, length: int) -> tuple[float, float]:
    """Peak resident memory of a process that takes two steps, over what it had with the model; and that."""
    command = [sys.executable, __file__, "--peak-of", side, "--vocabulary", str(vocabulary), "--batch", str(batch), "--length", str(length)]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout
    return tuple(json.loads(out.splitlines()[-1]))


def print_peak(side: str, vocabulary: int, batch: int, length: int, prompts: Prompts) -> None:
    """What a process of ``peak_megabytes`` does."""
    model, texts = random_model("tiny", vocabulary), documents(2 * batch, length, length)
    before = megabytes("VmRSS")
    steps(side, model, MaskedARCollator(prompts), texts, batch, 2)
    print(json.dumps([megabytes("VmHWM") - before, before]))


def megabytes(field: str) -> float:
    """Of this process, by the kernel. Not ``getrusage``, whose peak begins with that of the process that started this one."""
    return float(next(line for line in Path("/proc/self/status").open() if line.startswith(field)).split()[1]) / 1024


def llama(shape: Shape, smallest_vocabulary: int = 0) -> LlamaForCausalLM:
    """Random weights in bfloat16, on the GPU where there is one."""
    model = make_model("llama", replace(shape, vocabulary=max(shape.vocabulary, smallest_vocabulary)), device())
    round_weights(model, torch.bfloat16)
    return model


def smollm2(shape: str, vocabulary: int = 49_152) -> LlamaForCausalLM:
    """Random weights in float32, on the GPU where there is one."""
    with device():
        return random_model(shape, vocabulary)


def device() -> torch.device:
    """The GPU, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class OnAGpu:
    """How a shape is measured on a GPU.

    Attributes:
        record: The benchmark's name.
        model: Makes it.
        batch: Documents of a step.
        lengths: Fewest and most tokens of a document.
        at_once: How many documents at once ours takes, each tried.
        autocast: Whether on float32 weights.
    """

    record: str
    model: Callable[[], LlamaForCausalLM]
    batch: int
    lengths: tuple[int, int]
    at_once: tuple[int, ...]
    autocast: bool


ON_A_GPU = {
    "llama-8b": OnAGpu("training_step_8b", partial(llama, PAPER_SHAPES["llama"]), 16, (40, 200), (16, 4), autocast=False),
    "SmolLM2-135M": OnAGpu("training_step_smollm2_recorded", partial(smollm2, "SmolLM2-135M"), 60, (10, 60), (60,), autocast=True),
    "SmolLM2-128k": OnAGpu("training_step_128k", partial(smollm2, "SmolLM2-135M", 128_256), 60, (10, 60), (60,), autocast=True),
    # To try the command without a GPU.
    "llama-small": OnAGpu("training_step_8b", partial(llama, SMALL_SHAPES["llama"], 1665), 4, (10, 60), (4, 2), autocast=False),
    "SmolLM2-small": OnAGpu("training_step_smollm2_recorded", partial(smollm2, "tiny"), 4, (10, 60), (4,), autocast=True),
}


def measure_on_gpu(shape: str, n_steps: int, prompts: Prompts, folder: Path, *, compiled: bool) -> dict:
    """One model for all sides, one after the other; a side that fails or does not fit is told, and the record is of the rest."""
    how = ON_A_GPU[shape]
    model = how.model()
    texts = documents((n_steps + 1) * how.batch, *how.lengths)
    packed = {"at_once": how.batch, "packed": True}
    ours = {"maskft" if n == how.batch else f"maskft, {n} at once": packed | {"at_once": n} for n in how.at_once}
    fewest = min(how.at_once)
    if how.autocast:  # where a step is short, its many small calls cost more than padding does
        ours |= {"maskft, padded": {"at_once": how.batch}, "maskft, recorded": {"at_once": how.batch, "recorded": True}}
    else:
        ours[f"maskft, recomputed, {fewest} at once"] = packed | {"at_once": fewest, "recomputed": True}
    if compiled:
        ours["maskft, compiled"] = packed | {"packed": not how.autocast, "compiled": True}
        if how.autocast:
            ours["maskft, compiled, recorded"] = {"at_once": how.batch, "compiled": True, "recorded": True}
            ours["maskft, packed, compiled"] = packed | {"compiled": True}  # the leanest
        else:
            ours[f"maskft, compiled, {fewest} at once"] = packed | {"at_once": fewest, "compiled": True}
    sides = {side: partial(our_steps, autocast=how.autocast, **options) for side, options in ours.items()}
    sides |= {side: partial(their_steps, side, autocast=how.autocast) for side in SIDES[1:]}
    seconds, peaks, failed = {}, {}, {}
    for side, run in sides.items():
        _release(model)
        try:
            clock = run(model, MaskedARCollator(prompts), texts, how.batch, n_steps + 1)
        except Exception as error:  # the other sides are still worth their time
            failed[side] = f"{type(error).__name__}: {error}".splitlines()[0]
            print(shape, side, failed[side], flush=True)
            continue
        seconds[side] = statistics.median(clock.seconds[1:])
        # What is recorded keeps its memory: its peak is that of the step that was recorded.
        peak = max if "recorded" in side else statistics.median
        peaks[side] = peak(clock.peaks[2:]) / 2**30 if clock.peaks else None
        print(shape, side, [round(s, 4) for s in clock.seconds], [round(p / 2**30, 2) for p in clock.peaks], flush=True)
    if not set(seconds) & set(ours):
        raise RuntimeError(f"no side of ours could be measured: {failed}")
    fastest = min(set(seconds) & set(ours), key=seconds.__getitem__)
    ratio = {side: round(seconds[side] / seconds[fastest], 2) for side in SIDES[1:] if side in seconds}
    share = {side: round(peaks[fastest] / peaks[side], 2) for side in ratio if peaks[side]}
    least = min(set(peaks) & set(ours), key=lambda side: peaks[side] or 0)
    medians = {
        shape: {
            "batch": how.batch, "document_tokens": how.lengths, "vocabulary": model.config.vocab_size, "steps": n_steps,
            "precision": "bfloat16 autocast, float32 weights" if how.autocast else "bfloat16, weights and moments too",
            "seconds_per_step": {side: round(s, 4) for side, s in seconds.items()}, "fastest": fastest, "ratio": ratio, "failed": failed,
        },
        "peak_memory": {
            "vocabulary": model.config.vocab_size, "gib_over_weights_and_moments": {s: p and round(p, 2) for s, p in peaks.items()},
            "share_of": share, "least": least, "least_share_of": {side: round(peaks[least] / peaks[side], 2) for side in share},
            "goal": "at most 0.33",
        },
    }  # fmt: skip
    return write_record(
        how.record, ratio=min(ratio.values(), default=0.0), goal=1.5, peer="HF Trainer and TRL's SFTTrainer, the faster",
        what=f"useful tokens a second of masked AR on uneven lengths, {shape} shape, {medians[shape]['precision']}"
        + ", ours recorded" * ("recorded" in fastest) + ", NVIDIA MPS running" * MPS.is_dir(),
        medians=medians, folder=folder, script="training_step",
    )  # fmt: skip


def _release(model) -> None:
    """Give back what the side before left: gradients, and its optimizer's moments."""
    model.zero_grad(set_to_none=True)
    gc.collect()
    torch.cuda.empty_cache()


def main(arguments: list[str] | None = None, folder: Path = RECORDS) -> dict:
    """Rounds of some steps on each side in turns, for each shape, and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    on_a_gpu = torch.cuda.is_available()
    shapes = list(ON_A_GPU)[:3] if on_a_gpu else list(SHAPES)
    parser.add_argument("--shapes", nargs="+", default=shapes, choices=list(ON_A_GPU) if on_a_gpu else [*SHAPES, "llama-small", "SmolLM2-small"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="timed on a GPU")
    parser.add_argument("--compiled", action="store_true", help="on a GPU, our layers by torch.compile as well")
    parser.add_argument("--batch", type=int, default=8, help="of the memory test")
    parser.add_argument("--length", type=int, default=60, help="longest document of the tiny shape, and all of the memory test")
    parser.add_argument("--vocabulary", type=int, default=128_256, help="of the memory test")
    parser.add_argument("--peak-of", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    _, prompts = load_base("tiny-ar", method="masked_ar")
    if options.peak_of:
        return print_peak(options.peak_of, options.vocabulary, options.batch, options.length, prompts)
    if on_a_gpu or not set(options.shapes) <= set(SHAPES):
        first, *_ = [measure_on_gpu(shape, options.steps, prompts, folder, compiled=options.compiled) for shape in options.shapes]
        return first
    medians: dict = {"sides": SIDES}
    ratios = {}
    for shape in options.shapes:
        # As the scales train there: the tiny one in float32, the small one in bfloat16 autocast and batches of 20.
        batch, n_steps, rounds, autocast = (60, 8, options.rounds, False) if shape == "tiny" else (20, 4, 1, True)
        batch = min(batch, options.batch * 8)
        texts = documents(n_steps * batch, 10, options.length)
        vocabulary = 1665 if shape == "tiny" else 49_152
        seconds: dict[str, list[float]] = {side: [] for side in SIDES}
        for turn in range(rounds):
            for side in SIDES[:: 1 if turn % 2 else -1]:
                collate = MaskedARCollator(prompts)
                took = steps(side, random_model(shape, vocabulary), collate, texts, batch, n_steps, autocast=autocast)
                seconds[side].append(statistics.median(took))
        ratios[shape] = {side: round(median_ratio(seconds[side], seconds["maskft"]), 2) for side in SIDES[1:]}
        medians[shape] = {
            "batch": batch, "vocabulary": vocabulary, "precision": "bfloat16 autocast, float32 weights" if autocast else "float32",
            "seconds_per_step": {s: round(statistics.median(t), 4) for s, t in seconds.items()}, "ratio": ratios[shape],
        }  # fmt: skip
        print(shape, medians[shape], flush=True)
    peaks = {side: peak_megabytes(side, options.vocabulary, options.batch, options.length) for side in SIDES}
    medians["peak_memory"] = {
        "vocabulary": options.vocabulary, "batch": options.batch, "length": options.length,
        "megabytes_of_two_steps": {side: round(peak) for side, (peak, _) in peaks.items()},
        "share_of": {side: round(peaks["maskft"][0] / peaks[side][0], 2) for side in SIDES[1:]},
        "goal": "at most 0.33",
    }  # fmt: skip
    what = ", ".join(f"{shape} shape in {medians[shape]['precision']}" for shape in options.shapes)
    return write_record(
        "training_step", ratio=min(ratio for by_peer in ratios.values() for ratio in by_peer.values()), goal=1.5,
        peer="HF Trainer and TRL's SFTTrainer, the faster", what=f"useful tokens a second of masked AR on uneven lengths, {what}",
        medians=medians, folder=folder,
    )  # fmt: skip


if __name__ == "__main__":
    main()
