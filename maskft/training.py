"""The training loop, top to bottom: ``accelerate launch -m maskft.training --store DIR --configs FILE``.

FILE has one ``RunConfig`` a line. Each run that is neither finished nor in another process's hands is trained, evaluated
at its evaluation points and published to the store; a failure is noted there and the next run goes on.

Every process collates the whole global batch and keeps its own rows. Collating is cheap beside a step, and it gives every
process the batch's global counts without communication, and the same masks whatever the number of processes.
"""

import argparse
import json
import math
import platform
import shlex
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from .collators import ARCollator, DiffusionCollator, MaskedARCollator
from .data import Corpus, load_corpus
from .evaluation import answer_questions, score_answers, summarise
from .losses import IGNORED, autoregressive_loss, masked_diffusion_loss
from .masking import generator_for
from .metrics import pick_best_step, total_accuracy
from .models import load_base, revision_of
from .prompts import Prompts
from .provenance import current_commit
from .runs import RunConfig, RunStore, steps_to_keep, write_atomically


class SupervisedLogits(nn.Module):
    """A causal LM whose forward projects chosen positions only, so that no other logits ever exist."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Logits at ``(rows, columns)``."""
        hidden = self.model.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
        return self.model.lm_head(hidden[rows, columns])


def make_collator(config: RunConfig, prompts: Prompts):
    """The collator of the run's method, with its options."""
    options = {
        "seed": config.seed, "mask_ratio": config.mask_ratio, "mask_ratio_scope": config.mask_ratio_scope,
        "mask_count": config.mask_count,
    }  # fmt: skip
    if config.method == "ar":
        return ARCollator(prompts)
    if config.method == "dllm":
        return DiffusionCollator(prompts, **options)
    return MaskedARCollator(prompts, corruption=config.corruption, **options)


def batch_indices(n_texts: int, batch_size: int, seed: int) -> Iterator[list[int]]:
    """Which texts each step sees: every epoch a new order, its last batch short.

    Sixty documents at batch 64 are one short step an epoch (release); dropping it would leave none.
    """
    epoch = 0
    while True:
        order = torch.randperm(n_texts, generator=generator_for("order", seed, epoch)).tolist()
        for start in range(0, n_texts, batch_size):
            yield order[start : start + batch_size]
        epoch += 1


def supervised_positions(batch: dict[str, Tensor], method: str) -> tuple[Tensor, Tensor, Tensor]:
    """``(rows, columns, labels)`` of the outputs that are learned.

    A causal model's output at a position predicts the next token, a dLLM's the token at the position itself.
    """
    labels = batch["labels"] if method == "dllm" else batch["labels"][:, 1:]
    rows, columns = (labels != IGNORED).nonzero(as_tuple=True)
    return rows, columns, labels[rows, columns]


def batch_loss(model: nn.Module, batch: dict[str, Tensor], config: RunConfig, counts: dict[str, int]) -> Tensor:
    """This share's part of the batch's loss (``losses``)."""
    rows, columns, labels = supervised_positions(batch, config.method)
    logits = model(batch["input_ids"], batch["attention_mask"], rows, columns)
    if config.method != "dllm":
        return autoregressive_loss(logits, labels, n_targets=max(1, counts["n_targets"]))
    return masked_diffusion_loss(
        logits, labels, rows, batch["mask_ratio"], batch["n_maskable"],
        n_samples=counts["n_samples"], n_tokens=counts["n_tokens"], normaliser=config.loss_normaliser,
    )  # fmt: skip


def count_batch(batch: dict[str, Tensor], config: RunConfig) -> dict[str, int]:
    """Targets, samples and tokens of a whole batch."""
    targets = batch["labels"] if config.method == "dllm" else batch["labels"][:, 1:]
    return {
        "n_targets": int((targets != IGNORED).sum()),
        "n_samples": len(batch["input_ids"]),
        "n_tokens": int(batch["attention_mask"].sum()),
    }


def my_rows(batch: dict[str, Tensor], rank: int, world: int) -> dict[str, Tensor]:
    """Every ``world``-th row from ``rank``. A process without a row gets one that supervises nothing."""
    share = {name: value[rank::world] for name, value in batch.items()}
    if len(share["input_ids"]):
        return share
    return {name: value[:1] for name, value in batch.items()} | {"labels": torch.full_like(batch["labels"][:1], IGNORED)}


def make_optimizer(model: nn.Module, config: RunConfig) -> torch.optim.AdamW:
    """AdamW; no weight decay on biases and norms."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def learning_rate_factor(step: int, config: RunConfig) -> float:
    """Linear warmup over ``warmup_ratio`` of all updates, then constant (release)."""
    warmup = math.ceil(config.warmup_ratio * config.total_steps)
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def check_inputs(config: RunConfig) -> Corpus:
    """The run's corpus, after everything that could make the run another one than its name says was compared.

    Raises:
        ValueError: If the data or the base are not those of the configuration.
    """
    corpus = load_corpus(config.dataset, source=config.source, world_seed=config.world_seed)
    if corpus.fingerprint != config.data_fingerprint:
        raise ValueError(
            f"data fingerprint of {config.dataset} is {corpus.fingerprint}, the run was asked for with "
            f"{config.data_fingerprint}; ask again with the data that is here"
        )
    if config.source == "synthetic" and (found := revision_of(config.base)) != config.base_revision:
        raise ValueError(
            f"base {config.base} has revision {found}, the run was asked for with {config.base_revision}; ask again"
        )
    return corpus


def train(config: RunConfig, store: RunStore, staging: Path, accelerator: Accelerator) -> dict:
    """Train and evaluate one run, leaving its files in ``staging``.

    Returns:
        The run's record (``runs.RECORD_FIELDS``).

    Raises:
        ValueError: If data or base are not those of the configuration.
        FloatingPointError: If the loss is not finite.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    corpus = check_inputs(config)
    model, prompts = load_base(config.base, method=config.method, revision=config.base_revision)
    if config.precision == "bf16":
        model = model.to(torch.bfloat16)
    texts = [prompts.encode(text) for text in corpus.training_texts(config.paraphrases)["text"]]
    questions = corpus.questions.to_list()[:: config.question_stride]
    collate, n_ranks, rank = make_collator(config, prompts), accelerator.num_processes, accelerator.process_index
    wrapped = SupervisedLogits(model)
    optimizer = make_optimizer(wrapped, config)
    # bf16 through the accelerator would stay set for every later run of this process; the context is this run's own.
    wrapped, optimizer = accelerator.prepare(wrapped, optimizer)
    autocast = torch.autocast(accelerator.device.type, torch.bfloat16, enabled=config.precision == "bf16_mixed")

    steps_per_epoch = math.ceil(len(texts) / config.train_batch_size)
    metrics, losses, generations, totals, best_weights = [], [], {}, {}, None
    train_tokens = 0
    progress = _Progress(config, store, accelerator)

    def evaluate(step: int) -> None:
        nonlocal best_weights
        mine = questions[rank::n_ranks]
        with autocast:
            answers = answer_questions(model, prompts, [row["question"] for row in mine], config)
        rows = gather_object(score_answers(step, mine, answers))
        rows.sort(key=lambda row: row["question_id"])
        generations[step] = rows
        found = summarise(rows, epoch=step / steps_per_epoch, train_tokens=train_tokens)
        metrics.extend(found)
        totals[step] = total_accuracy({row["category"]: row["value"] for row in found if row["metric"] == "accuracy"})
        if step > 0 and pick_best_step(totals) == step:
            best_weights = {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}
        scores = " ".join(f"{row['category']}={row['value']:.3f}" for row in found if row["metric"] == "accuracy")
        accelerator.print(f"{config.run_id} step {step} {scores}", flush=True)

    progress.report(0, "evaluation")
    evaluate(0)
    model.train()
    batches = batch_indices(len(texts), config.train_batch_size, config.seed)
    for step in range(config.total_steps):
        features = [{"text_ids": texts[i], "step": step, "sample": n} for n, i in enumerate(next(batches))]
        whole = collate(features)
        counts = count_batch(whole, config)
        batch = {name: value.to(accelerator.device) for name, value in my_rows(whole, rank, n_ranks).items()}
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(step, config)
        with autocast:
            # Gradients are averaged over processes, the parts of the loss have to be added: hence the factor.
            loss = batch_loss(wrapped, batch, config, counts) * n_ranks
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(wrapped.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        value = accelerator.reduce(loss.detach().float(), "mean").item()
        if not math.isfinite(value):
            raise FloatingPointError(f"loss is {value} at step {step + 1}; use a smaller learning rate than {config.learning_rate}")
        train_tokens += counts["n_tokens"]
        losses.append({"step": step + 1, "loss": value, "grad_norm": float(norm), **counts})
        if step + 1 in config.eval_steps:
            progress.report(step + 1, "evaluation")
            evaluate(step + 1)
        progress.report(step + 1, "training")

    if accelerator.is_main_process:
        kept = steps_to_keep(config, metrics)
        _write_rows(staging / "metrics.jsonl", metrics)
        _write_rows(staging / "losses.jsonl", losses)
        _write_rows(staging / "generations.jsonl", [row for step in sorted(kept) for row in generations[step]])
        model.save_pretrained(staging / "best", state_dict=best_weights)
        prompts.tokenizer.save_pretrained(staging / "best")
    packages = ("maskft", "torch", "transformers", "accelerate", "datasets")
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "dtypes_seen": {
            "parameters": sorted({str(p.dtype) for p in model.parameters()}),
            "compute": "bfloat16" if config.precision != "float32" else "float32",
        },
        "seeds": {"run": config.seed, "world": config.world_seed},
        "device": _device_name(accelerator),
        "n_processes": n_ranks,
        "per_device_train_batch_size": math.ceil(config.train_batch_size / n_ranks),
        "wall_time_s": round(time.perf_counter() - clock, 1),
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "maskft.training", *sys.argv[1:]]),
        "git_commit": current_commit(),
    }


class _Progress:
    """Tells the store how far the run is, at most once a second."""

    def __init__(self, config: RunConfig, store: RunStore, accelerator: Accelerator):
        self.config, self.store, self.is_main, self.told = config, store, accelerator.is_main_process, 0.0

    def report(self, step: int, phase: str) -> None:
        if self.is_main and (phase == "evaluation" or time.monotonic() - self.told > 1.0):
            self.told = time.monotonic()
            share = step / max(1, self.config.total_steps)
            self.store.report_progress(self.config, step=step, phase=phase, weight_done=share)


def _write_rows(path: Path, rows: list[dict]) -> None:
    write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _device_name(accelerator: Accelerator) -> str:
    if accelerator.device.type == "cuda":
        return torch.cuda.get_device_name(accelerator.device)
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        models = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").open() if line.startswith("model name")]
        cpu = f"{models[0]}, {torch.backends.cpu.get_cpu_capability()}" if models else cpu
    return f"{cpu}, {torch.get_num_threads()} thread(s)"


def main(arguments: list[str] | None = None) -> int:
    """Train every run of a list; the number of failed runs decides the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="folder of finished runs")
    parser.add_argument("--configs", type=Path, required=True, help="JSON lines, one RunConfig each")
    options = parser.parse_args(arguments)
    configs = [RunConfig.from_dict(json.loads(line)) for line in options.configs.read_text().splitlines()]
    store, n_failed = RunStore(options.store), 0
    accelerator = Accelerator(mixed_precision="no")
    for config in configs:
        # One process claims the run for all of them; the others only learn whether it is theirs.
        with store.claim(config) if accelerator.is_main_process else nullcontext() as staging:
            (staging,) = broadcast_object_list([staging])
            if staging is None:
                continue
            try:
                record = train(config, store, staging, accelerator)
                if accelerator.is_main_process:
                    store.publish(config, staging, record)
                accelerator.wait_for_everyone()
            except Exception:
                n_failed += 1
                text = traceback.format_exc()
                store.report_failure(config, text)
                print(f"{config.run_id} failed:\n{text}", flush=True)
                if accelerator.num_processes > 1:
                    raise  # the other processes wait for this one; only ending all of them frees them
            accelerator.free_memory()
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
