"""The training loop, top to bottom: ``accelerate launch -m maskft.training --store DIR --configs FILE``.

FILE has one ``RunConfig`` a line. Each run that is neither finished nor in another process's hands is trained, evaluated
at its evaluation points and published to the store; a failure is noted there and the next run goes on. How it is computed
(``Execution``) is said by further options, which are the launcher's business and no part of a run's identity.

Every process collates the whole global batch and keeps its own rows. Collating is cheap beside a step, and it gives every
process the batch's global counts without communication, and the same masks whatever the number of processes.
"""

import argparse
import json
import math
import shlex
import signal
import sys
import time
import traceback
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather_object
from torch import Tensor, distributed

from .base_answers import describe_origin, find_base_answers
from .bases import revision_of
from .checkpoints import Checkpoints, Interrupted, Sigterm
from .data import Corpus, load_corpus
from .evaluation import answer_questions, score_answers, summarise
from .execution import DEFAULTS, Execution, add_options, check_compiler
from .metrics import pick_best_step, total_accuracy
from .models import base_folder, load_base, untie
from .packing import can_pack
from .probing import probe_rows
from .provenance import current_commit
from .runs import RunConfig, RunStore, steps_to_keep, write_atomically
from .sharding import PolicyCheck, compute_dtype, empty_copy, gather_replica, round_weights, shard, whole_tensor
from .step import (
    RecordedGradients,
    SupervisedLogits,
    batch_indices,
    batch_loss,
    can_record_steps,
    check_finite,
    compile_layers,
    count_batch,
    learning_rate_factor,
    make_collator,
    make_optimizer,
    my_rows,
    parts_of,
    recompute_activations,
    recorded_loss,
)

# Of the code that this process imported: the files may change while runs go on.
COMMIT = current_commit()


def check_inputs(config: RunConfig) -> Corpus:
    """The run's corpus, after everything that could make the run another one than its name says was compared.

    Raises:
        ValueError: If the data or the base are not those of the configuration, or its stride leaves out a category.
    """
    corpus = load_corpus(config.dataset, source=config.source, world_seed=config.world_seed)
    if corpus.fingerprint != config.data_fingerprint:
        raise ValueError(
            f"data fingerprint of {config.dataset} is {corpus.fingerprint}, the run was asked for with "
            f"{config.data_fingerprint}; ask again with the data that is here"
        )
    corpus.asked_questions(config.question_stride)  # raises where a score would be lacking
    # A repository of the hub is pinned by its commit, which is asked for when it is loaded.
    if isinstance(base_folder(config.base), Path) and (found := revision_of(config.base)) != config.base_revision:
        raise ValueError(
            f"base {config.base} has revision {found}, the run was asked for with {config.base_revision}; ask again"
        )
    return corpus


def train(
    config: RunConfig, store: RunStore, staging: Path, accelerator: Accelerator, execution: Execution = DEFAULTS,
    sigterm: Sigterm | None = None,
) -> dict:  # fmt: skip
    """Train and evaluate one run, leaving its files in ``staging``; goes on from an earlier attempt's checkpoint there.

    Args:
        config: The run.
        store: Where progress is told.
        staging: The run's folder until it is published.
        accelerator: The processes.
        execution: How it is computed.
        sigterm: Whether SIGTERM came; None: it ends the process, as ever.

    Returns:
        The run's record (``runs.RECORD_FIELDS``).

    Raises:
        ValueError: As ``check_inputs``.
        FloatingPointError: If the loss or its gradient is not finite.
        RuntimeError: If FSDP2 was asked for and is not in force.
        Interrupted: On SIGTERM, once a checkpoint is written.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    corpus = check_inputs(config)
    model, prompts = load_base(config.base, method=config.method, revision=config.base_revision)
    if config.embeddings == "untied":
        untie(model)
    if config.precision == "bf16":
        round_weights(model, torch.bfloat16)
    if execution.activation_checkpointing:
        recompute_activations(model)
    texts = [prompts.encode(text) for text in corpus.training_texts(config.paraphrases)["text"]]
    questions = corpus.asked_questions(config.question_stride)
    collate, n_ranks, rank = make_collator(config, prompts), accelerator.num_processes, accelerator.process_index
    n_parts = execution.micro_batches(config.train_batch_size, n_ranks)
    if accelerator.device.type == "cuda":
        from .planning.shapes import shape_in
        from .preflight import check_device

        longest = collate([{"text_ids": max(texts, key=len), "step": 0, "sample": 0}])["input_ids"].shape[1]
        rows = math.ceil(config.train_batch_size / (n_ranks * n_parts))
        check_device(
            accelerator.device, config, shape=shape_in(model.config.to_dict()), shards=n_ranks if execution.shard else 1, rows=rows,
            length=longest, outputs=rows * (max(map(len, texts)) + 1), checkpointing=execution.activation_checkpointing,
        )  # fmt: skip
    packed = config.method != "dllm" and can_pack(model, accelerator.device.type)
    wrapped, policy = SupervisedLogits(model, packed=packed), None
    if execution.shard:
        empty = empty_copy(model)
        shard(wrapped, model.model.layers, config.precision, accelerator.device)
        policy = PolicyCheck(wrapped, model.model.layers, config.precision)
        optimizer, autocast = make_optimizer(wrapped, config), nullcontext()
    else:
        optimizer = make_optimizer(wrapped, config)
        # bf16 through the accelerator would stay set for every later run of this process; the context is this run's own.
        wrapped, optimizer = accelerator.prepare(wrapped, optimizer)
        autocast = torch.autocast(accelerator.device.type, torch.bfloat16, enabled=config.precision == "bf16_mixed")
    if execution.compile_layers:  # after sharding, whose hooks stay outside, and after the copy that answers
        compile_layers(model, answers=config.method == "dllm" and not execution.shard)
    steps_per_epoch = math.ceil(len(texts) / config.train_batch_size)
    progress = _Progress(config, store, accelerator)
    checkpoints = Checkpoints(staging, config, accelerator)
    state = checkpoints.load(wrapped, optimizer)
    recorded = None
    is_alone = not execution.shard and n_ranks == 1 and not execution.activation_checkpointing
    if is_alone and can_record_steps(model):
        # After a checkpoint is loaded: torch puts no moments back into an optimizer whose weights have gradients already.
        options = {"is_causal": config.method != "dllm", "autocast": config.precision == "bf16_mixed"}
        recorded = RecordedGradients(wrapped, accelerator.device, **options)
    spent_before, state.sharding = state.wall_time_s, state.sharding if execution.shard else None
    origin = describe_origin(accelerator.device, n_ranks, execution)

    def keep_state() -> None:
        state.wall_time_s = spent_before + time.perf_counter() - clock
        checkpoints.save(wrapped, optimizer, state)

    def evaluate(step: int) -> None:
        progress.report(step, "evaluation")
        mine, answers = questions[rank::n_ranks], None
        asked_by = [find_base_answers(store, config, origin) if step == 0 and accelerator.is_main_process else None]
        if step == 0:
            broadcast_object_list(asked_by)
        # Weights are gathered once, before anybody samples: from here on no rank waits for another.
        sampled = gather_replica(empty, model, compute_dtype(config.precision)) if execution.shard else model
        if execution.shard and execution.compile_layers and config.method == "dllm":
            compile_layers(sampled, answers=True)
        if asked_by[0] is not None:
            state.answers_before_from, rows = asked_by[0]
        else:
            with suppress(Interrupted), sigterm.breaking(), autocast:
                answers = answer_questions(sampled, prompts, [row["question"] for row in mine], config)
            found = gather_object([None if answers is None else score_answers(step, mine, answers)])
            if None in found:  # SIGTERM on one rank: its answers are lacking, so this evaluation is for the next attempt
                raise Interrupted
            rows = sorted((row for share in found for row in share), key=lambda row: row["question_id"])
        state.generations[step] = rows
        means = summarise(rows, epoch=step / steps_per_epoch, train_tokens=state.train_tokens)
        state.metrics.extend(means)
        scores = {row["category"]: row["value"] for row in means if row["metric"] == "accuracy"}
        if config.probe != "none":
            with autocast:
                state.metrics += probe_rows(sampled, corpus, prompts, config, step=step, epoch=step / steps_per_epoch, train_tokens=state.train_tokens)
        state.totals[step] = total_accuracy(scores)
        if config.total_steps == 0 or (step > 0 and pick_best_step(state.totals) == step):
            state.best_step = step
            if accelerator.is_main_process:
                checkpoints.keep_best(sampled, step)
        accelerator.print(f"{config.run_id} step {step} {' '.join(f'{k}={v:.3f}' for k, v in scores.items())}", flush=True)

    def update(whole: dict[str, Tensor]) -> Tensor:
        """One optimizer step; this process's part of the loss. Adds the step's row, its loss still to be filled in."""
        nonlocal policy
        counts, loss = count_batch(whole, config), 0.0
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(state.step, config)
        for part in parts_of(whole, n_parts):
            if recorded is not None:
                loss = loss + recorded_loss(recorded, part, math.ceil(config.train_batch_size / n_parts), config, counts)
                continue
            batch = {name: value.to(accelerator.device) for name, value in my_rows(part, rank, n_ranks).items()}
            with autocast:
                # Gradients are averaged over processes, the parts of the loss have to be added: hence the factor.
                share = batch_loss(wrapped, batch, config, counts) * n_ranks
            accelerator.backward(share)
            loss = loss + share.detach().float()
        if policy is not None:
            state.sharding, policy = policy.after_backward(), None
        norm = float(whole_tensor(accelerator.clip_grad_norm_(wrapped.parameters(), config.max_grad_norm)))
        check_finite("gradient norm", norm, state.step, config.learning_rate)
        optimizer.step()
        optimizer.zero_grad(set_to_none=recorded is None)
        state.step += 1
        state.train_tokens += counts["n_tokens"]
        state.losses.append({"step": state.step, "loss": None, "grad_norm": norm, **counts})
        return loss

    model.train()
    batches = islice(batch_indices(len(texts), config.train_batch_size, config.seed), state.step, None)
    sigterm = sigterm or Sigterm()
    while True:
        if state.step in config.eval_steps and state.step not in state.totals:
            try:
                evaluate(state.step)
            except Interrupted:
                if state.step > 0:
                    keep_state()
                raise
        progress.report(state.step, "training")
        if state.step == config.total_steps:
            break
        whole = collate([{"text_ids": texts[i], "step": state.step, "sample": n} for n, i in enumerate(next(batches))])
        loss = update(whole)
        # What only one process knows travels with the loss: SIGTERM's arrival, and the main process's clock.
        is_due = accelerator.is_main_process and checkpoints.seconds_since_last() >= 60 * execution.checkpoint_minutes
        flags = torch.tensor([sigterm.came, is_due], dtype=loss.dtype, device=loss.device)
        value, came, is_due = accelerator.reduce(torch.cat([loss[None], flags]), "mean").tolist()
        state.losses[-1]["loss"] = value
        check_finite("loss", value, state.step, config.learning_rate)
        if came or is_due:
            keep_state()
        if came:
            raise Interrupted

    if accelerator.is_main_process:
        kept = steps_to_keep(config, state.metrics)
        _write_rows(staging / "metrics.jsonl", state.metrics)
        _write_rows(staging / "losses.jsonl", state.losses)
        _write_rows(staging / "generations.jsonl", [row for step in sorted(kept) for row in state.generations[step]])
        checkpoints.hand_over_best(state.best_step, staging / "best")
        prompts.tokenizer.save_pretrained(staging / "best")
    return {
        **origin,
        "dtypes_seen": {
            "parameters": sorted({str(p.dtype) for p in model.parameters()}),
            "compute": "bfloat16" if config.precision != "float32" else "float32",
        },
        "seeds": {"run": config.seed, "world": config.world_seed},
        "per_device_train_batch_size": math.ceil(config.train_batch_size / (n_ranks * n_parts)),
        "gradient_accumulation_steps": n_parts,
        "activation_checkpointing": execution.activation_checkpointing,
        "sharding": state.sharding,
        "answers_before_from": state.answers_before_from,
        "resumed_at": state.resumed_at,
        "wall_time_s": round(spent_before + time.perf_counter() - clock, 1),
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "maskft.training", *sys.argv[1:]]),
        "git_commit": COMMIT,
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


def main(arguments: list[str] | None = None) -> int:
    """Train every run of a list; exit code 1 if one failed, 143 after SIGTERM.

    Raises:
        ValueError: If layers are to be compiled and there is no compiler (``check_compiler``); nothing is claimed then.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="folder of finished runs")
    parser.add_argument("--configs", type=Path, required=True, help="JSON lines, one RunConfig each")
    add_options(parser)
    options = vars(parser.parse_args(arguments))
    store, configs = RunStore(options.pop("store")), options.pop("configs").read_text().splitlines()
    execution, configs, n_failed = Execution(**options), [RunConfig.from_dict(json.loads(line)) for line in configs], 0
    # A rank that has answered its share waits for the others, and dLLM answers of 8B models take longer than the default.
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=6))
    accelerator = Accelerator(mixed_precision="no", kwargs_handlers=[patience])
    if execution.compile_layers:
        check_compiler(accelerator.device.type)
    with Sigterm() as sigterm:
        for config in configs:
            # One process claims the run for all of them; the others only learn whether it is theirs.
            with store.claim(config) if accelerator.is_main_process else nullcontext() as staging:
                (staging,) = broadcast_object_list([staging])
                if staging is None:
                    continue
                try:
                    record = train(config, store, staging, accelerator, execution, sigterm)
                    if accelerator.is_main_process:
                        store.publish(config, staging, record)
                    accelerator.wait_for_everyone()
                except Interrupted:
                    sigterm.came = True  # on another rank, perhaps
                    print(f"{config.run_id} interrupted by SIGTERM; the same command goes on from there", flush=True)
                    break
                except Exception:
                    n_failed += 1
                    text = traceback.format_exc()
                    store.report_failure(config, text)
                    print(f"{config.run_id} failed:\n{text}", flush=True)
                    if accelerator.num_processes > 1:
                        raise  # the other processes wait for this one; only ending all of them frees them
                accelerator.free_memory()
            if sigterm.came:
                break
    if execution.shard and distributed.is_initialized():
        distributed.destroy_process_group()
    if sigterm.came:
        return 128 + signal.SIGTERM
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
