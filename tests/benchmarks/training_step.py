"""A step of masked AR against HF Trainer and TRL: ``python tests/benchmarks/training_step.py``.

Same model, documents, batches, masks and precision; AdamW and gradient clipping on all sides, TRL without its default
gradient checkpointing. Seconds a step on documents of uneven lengths, and the peak of resident memory of a process of its
own at a vocabulary of 128k. All sides collate with ``MaskedARCollator``, so the tokens are the same.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch
from common import RECORDS, median_ratio, write_record
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

from maskft.collators import MaskedARCollator
from maskft.losses import IGNORED, autoregressive_loss
from maskft.models import load_base
from maskft.prompts import Prompts
from maskft.step import SupervisedLogits, parts_of, supervised_positions

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


def our_steps(model, collate, texts: list[dict], batch: int, n_steps: int) -> list[float]:
    """Seconds of each step of the training loop's own pieces, in parts of at most 16 documents as at the paper's scale."""
    wrapped = SupervisedLogits(model.train())
    optimizer = torch.optim.AdamW(wrapped.parameters(), lr=1e-4, fused=True)
    moments = [time.process_time()]
    for step in range(n_steps):
        data = collate([{**text, "step": step, "sample": n} for n, text in enumerate(texts[step * batch : (step + 1) * batch])])
        loss, n_targets = 0.0, int((data["labels"][:, 1:] != IGNORED).sum())
        for part in parts_of(data, -(-batch // PER_DEVICE)):
            rows, columns, labels = supervised_positions(part, "masked_ar")
            logits = wrapped(part["input_ids"], part["attention_mask"], rows, columns)
            share = autoregressive_loss(logits, labels, n_targets=n_targets)
            share.backward()
            loss += share.detach()
        torch.nn.utils.clip_grad_norm_(wrapped.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        moments.append(time.process_time())
    return [after - before for before, after in pairwise(moments)]


class _Clock(TrainerCallback):
    def __init__(self):
        self.moments = []

    def on_step_end(self, *_, **__):
        self.moments.append(time.process_time())


def their_steps(side: str, model, collate, texts: list[dict], batch: int, n_steps: int) -> list[float]:
    """Seconds of each step but the first of HF Trainer or TRL's SFTTrainer."""
    from datasets import Dataset

    with tempfile.TemporaryDirectory() as folder:
        options = {
            "output_dir": folder, "max_steps": n_steps, "per_device_train_batch_size": batch, "report_to": "none",
            "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True, "optim": "adamw_torch_fused", "bf16": False,
            "learning_rate": 1e-4, "remove_unused_columns": False, "train_sampling_strategy": "sequential", "seed": 0,
            "gradient_checkpointing": False, "dataloader_pin_memory": False, "use_cpu": not torch.cuda.is_available(),
        }  # fmt: skip
        clock, data = _Clock(), Dataset.from_list(texts[: n_steps * batch])
        common = {"model": model, "train_dataset": data, "data_collator": collate, "callbacks": [clock]}
        if side == "hf_trainer":
            trainer = Trainer(args=TrainingArguments(**options), **common)
        else:
            from trl import SFTConfig, SFTTrainer

            tokenizer = collate.prompts.tokenizer
            args = SFTConfig(dataset_kwargs={"skip_prepare_dataset": True}, max_length=None, **options)
            trainer = SFTTrainer(args=args, processing_class=tokenizer, **common)
        trainer.train()
    return [after - before for before, after in pairwise(clock.moments)]


def steps(side: str, model, collate, texts: list[dict], batch: int, n_steps: int) -> list[float]:
    """Seconds of each step but the first."""
    if side == "maskft":
        return our_steps(model, collate, texts, batch, n_steps)[1:]
    return their_steps(side, model, collate, texts, batch, n_steps)


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


def main(arguments: list[str] | None = None, folder: Path = RECORDS) -> dict:
    """Rounds of some steps on each side in turns, for each shape, and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8, help="of the memory test")
    parser.add_argument("--length", type=int, default=60, help="longest document of the tiny shape, and all of the memory test")
    parser.add_argument("--vocabulary", type=int, default=128_256, help="of the memory test")
    parser.add_argument("--peak-of", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    _, prompts = load_base("tiny-ar", method="masked_ar")
    if options.peak_of:
        return print_peak(options.peak_of, options.vocabulary, options.batch, options.length, prompts)
    medians: dict = {"sides": SIDES}
    ratios = {}
    for shape in options.shapes:
        batch, n_steps, rounds = (60, 8, options.rounds) if shape == "tiny" else (2, 2, 1)
        batch = min(batch, options.batch * 8)
        texts = documents(n_steps * batch, 10, options.length)
        vocabulary = 1665 if shape == "tiny" else 49_152
        seconds: dict[str, list[float]] = {side: [] for side in SIDES}
        for turn in range(rounds):
            for side in SIDES[:: 1 if turn % 2 else -1]:
                collate = MaskedARCollator(prompts)
                took = steps(side, random_model(shape, vocabulary), collate, texts, batch, n_steps)
                seconds[side].append(statistics.median(took))
        ratios[shape] = {side: round(median_ratio(seconds[side], seconds["maskft"]), 2) for side in SIDES[1:]}
        medians[shape] = {
            "batch": batch, "vocabulary": vocabulary, "seconds_per_step": {s: round(statistics.median(t), 4) for s, t in seconds.items()},
            "ratio": ratios[shape],
        }  # fmt: skip
        print(shape, medians[shape], flush=True)
    peaks = {side: peak_megabytes(side, options.vocabulary, options.batch, options.length) for side in SIDES}
    medians["peak_memory"] = {
        "vocabulary": options.vocabulary, "batch": options.batch, "length": options.length,
        "megabytes_of_two_steps": {side: round(peak) for side, (peak, _) in peaks.items()},
        "share_of": {side: round(peaks["maskft"][0] / peaks[side][0], 2) for side in SIDES[1:]},
        "goal": "at most 0.33",
    }  # fmt: skip
    first = ratios[options.shapes[0]]
    return write_record(
        "training_step", ratio=min(first.values()), goal=1.5, peer="HF Trainer and TRL's SFTTrainer, the faster",
        what=f"useful tokens a second of masked AR on uneven lengths, {options.shapes[0]} shape, float32", medians=medians, folder=folder,
    )  # fmt: skip


if __name__ == "__main__":
    main()
