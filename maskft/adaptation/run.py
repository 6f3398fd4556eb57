"""The adaptation from beginning to end, resumable, and what it publishes."""

import json
import math
import platform
import shutil
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from maskft.adaptation.card import model_card
from maskft.adaptation.measure import HELD_OUT_RATIOS, answer_held_out, causal_cross_entropy, held_out, summed_loss
from maskft.adaptation.rows import Adaptation, batch_of, cut_into_chunks, rows_of
from maskft.adaptation.state import load_state, restore_state, save_state
from maskft.ar_shift import shift_outputs
from maskft.devices import device_name
from maskft.models import load_base
from maskft.runs.files import canonical, sha256_of, write_atomically
from maskft.step import (
    RecordedGradients,
    SupervisedLogits,
    can_record_steps,
    check_finite,
    decay_groups,
    supervised_positions,
)

HELD_OUT_CHUNKS, HELD_OUT_QUESTIONS = 32, 16  # the first of each; never trained on
WARMUP = 10  # optimizer steps


def adapt(
    plan: Adaptation,
    texts: Sequence[str],
    questions: Sequence[tuple[str, str]],
    output: Path,
    *,
    sources: Sequence[str] = (),
    save_every: int = 100,
    report_every: int = 20,
    minutes: float = math.inf,
) -> bool:
    """Adapt ``plan.base``; where it was stopped, go on from the last saved step.

    While it runs, ``output`` with ``.partial`` behind its name holds the log and what resuming needs; the finished model is there
    at once: weights, tokenizer, ``adaptation.json`` and a model card.

    Args:
        plan: Settings.
        texts: For the first phase.
        questions: With answers, for the second.
        output: Folder of the adapted model.
        sources: Where texts and questions come from, in words, for the model card.
        save_every: Steps between two savings (three times the size of the weights each).
        report_every: Steps between two measurements on what is held out.
        minutes: Stop after so long, saved.

    Returns:
        Whether it is finished.

    Raises:
        ValueError: If there is too little text or too few questions, if an answer is longer than the canvas, or a run with
            other settings was begun in the same place.
        FileExistsError: If the output is there.
        FloatingPointError: If the loss or its gradient is not finite.
    """
    if output.exists():
        raise FileExistsError(f"{output} is there already; choose another --output, or delete it to make it again")
    partial, started = output.with_name(f"{output.name}.partial"), time.monotonic()
    resume, log = partial / "resume", partial / "log.jsonl"
    model, prompts = load_base(plan.base, method="ar")
    chunks = cut_into_chunks(texts, prompts, plan.chunk_length) if plan.n_text_steps else []
    kept, chunks = chunks[:HELD_OUT_CHUNKS], chunks[HELD_OUT_CHUNKS:]
    to_ask, questions = questions[:HELD_OUT_QUESTIONS], questions[HELD_OUT_QUESTIONS:]
    if plan.n_text_steps and len(chunks) < plan.batch_size:
        raise ValueError(f"the texts give {len(chunks)} chunks of {plan.chunk_length} tokens beside {HELD_OUT_CHUNKS} held out; at least {plan.batch_size} are needed")
    if plan.n_question_steps and not questions:
        raise ValueError(f"there are {len(to_ask)} questions; more than the {HELD_OUT_QUESTIONS} held out are needed")
    fits = [(q, a) for q, a in questions if len(prompts.answer(a)) <= plan.answer_length]
    if len(fits) < len(questions):
        print(f"{len(questions) - len(fits)} of {len(questions)} answers are longer than {plan.answer_length} tokens and are left out", flush=True)
    if plan.n_question_steps and not fits:
        raise ValueError(f"no answer fits into answer_length={plan.answer_length} tokens; give a larger one")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    autocast = torch.autocast(device.type, torch.bfloat16) if plan.precision == "bf16_mixed" else nullcontext()
    optimizer = torch.optim.AdamW(decay_groups(model, 0.1), lr=plan.learning_rate, betas=(0.9, 0.95), fused=True)
    settings = json.loads(json.dumps(asdict(plan)))
    material = sha256_of(canonical([kept, chunks, to_ask, fits]))
    state = {"settings": settings, "step": 0, "material": material, "seconds": 0.0, "causal_cross_entropy": None}
    restore_state(resume)
    if (resume / "state.json").is_file():
        begun = json.loads((resume / "state.json").read_text())
        if any(begun.get(key) != state[key] for key in ("settings", "material")):
            raise ValueError(f"{partial} holds a run with other settings, texts or questions ({begun['settings']}); give the same, or delete it")
        state = begun
    elif kept:
        with autocast:
            state["causal_cross_entropy"] = causal_cross_entropy(model, kept, prompts, plan.batch_size)
    model.config.is_causal = model.config.use_cache = False
    if plan.shift == "keep":
        shift_outputs(model)
    if state["step"]:
        load_state(resume, model, optimizer)
        rows_kept = [row for row in map(json.loads, log.read_text().splitlines()) if row["step"] <= state["step"]]
        write_atomically(log, "".join(json.dumps(row) + "\n" for row in rows_kept))
        print(f"going on from step {state['step']}", flush=True)
    else:
        with torch.no_grad():  # nobody trained the mask's row; the mean of all is near what the model knows
            embedding = model.get_input_embeddings().weight
            embedding[prompts.ids.mask] = embedding.mean(dim=0)
        partial.mkdir(parents=True, exist_ok=True)
        log.write_text("")
    before, losses, recorded = state["seconds"], [], None
    if can_record_steps(model):
        recorded = RecordedGradients(SupervisedLogits(model), device, is_causal=False, autocast=plan.precision == "bf16_mixed")

    def report(step: int) -> None:
        row = {"step": step, "phase": "text" if step <= plan.n_text_steps else "questions", "loss": round(sum(losses) / len(losses), 4) if losses else None}
        with autocast:
            row["held_out"] = held_out(model.eval(), kept, prompts, plan) if kept else {}
        row["seconds"] = round(before + time.monotonic() - started, 1)
        with log.open("a") as lines:
            lines.write(json.dumps(row) + "\n")
        values = " ".join(f"{ratio}: {v['cross_entropy']:.3f}/{v['accuracy']:.2f}" for ratio, v in row["held_out"].items())
        print(f"step {step}/{plan.n_steps} loss {row['loss']} held out (ratio: nats/accuracy) {values}", flush=True)
        losses.clear()
        model.train()

    if not state["step"]:
        report(0)
    for step in range(state["step"], plan.n_steps):
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * min(1.0, (step + 1) / WARMUP)
        rows = rows_of(step, chunks, fits, prompts, plan)
        if recorded is None:
            with autocast:
                loss, count, _ = summed_loss(model, rows, prompts.ids.pad)
            (loss / count).backward()
            mean = loss.item() / count
        else:
            batch = batch_of(rows, prompts.ids.pad)
            *places, labels = supervised_positions(batch, "dllm")
            mean = float(recorded(batch, plan.batch_size, *places, labels, torch.full(labels.shape, 1 / max(1, len(labels)))))
        check_finite("loss", mean, step + 1, plan.learning_rate)
        check_finite("gradient norm", float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)), step + 1, plan.learning_rate)
        optimizer.step()
        optimizer.zero_grad(set_to_none=recorded is None)
        losses.append(mean)
        done = step + 1
        is_time_up = time.monotonic() - started > 60 * minutes
        if done % report_every == 0 or done in (plan.n_text_steps, plan.n_steps):
            report(done)
        if (done % save_every == 0 or is_time_up) and done < plan.n_steps:
            save_state(resume, model, optimizer, {**state, "step": done, "seconds": round(before + time.monotonic() - started, 1)})
        if is_time_up and done < plan.n_steps:
            print(f"stopped after step {done}, saved; the same command goes on from there", flush=True)
            return False
    with autocast:
        answers = answer_held_out(model.eval(), to_ask, prompts, plan) if plan.n_question_steps else []
    _publish(plan, model, prompts, partial, output, state, list(sources), answers, device)
    return True


def _publish(plan, model, prompts, partial, output, state, sources, answers, device) -> None:
    rows = [json.loads(line) for line in (partial / "log.jsonl").read_text().splitlines()]
    record = {
        "settings": state["settings"], "sources": sources, "causal_cross_entropy_of_the_base": state["causal_cross_entropy"],
        "n_parameters": sum(p.numel() for p in model.parameters()), "mask_id": prompts.ids.mask, "answers": answers, "log": rows,
        "device": device_name(device),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in ("torch", "transformers")}},
    }  # fmt: skip
    new = partial / "model"
    model.save_pretrained(new)
    prompts.tokenizer.save_pretrained(new)
    (new / "adaptation.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    (new / "README.md").write_text(model_card(record, HELD_OUT_RATIOS))
    new.rename(output)
    shutil.rmtree(partial)
