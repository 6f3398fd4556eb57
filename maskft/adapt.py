"""``maskft adapt MODEL --to dllm``: a masked diffusion model out of an autoregressive one's weights.

Two phases: text with masks, so that the model learns to use both sides; then questions on the sampler's canvas, so that it
answers. Attention goes both ways from the first step on. Whether a token is still predicted from the position before it, as
the autoregressive model did, is an option (``ar_shift``). Adaptation follows DiffuLLaMA (arXiv 2410.17891) without its
gradual unmasking of attention.

Everything that a step sees is a function of seed and step, and what a step leaves is kept: a run that is stopped goes on
from its last saved step, on other hardware too.
"""

import json
import math
import platform
import random
import shutil
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from .adapt_card import model_card
from .ar_shift import shift_outputs
from .collators import pad_right
from .losses import IGNORED
from .masking import apply_mask, draw_mask, draw_mask_ratio, generator_for
from .metrics import accuracy
from .models import load_base
from .pretrain_tiny import BLOCK_LENGTH, Row, canvas_row
from .prompts import Prompts
from .runs import write_atomically
from .samplers import generate_diffusion
from .step import (
    RecordedGradients,
    SupervisedLogits,
    can_record_steps,
    check_finite,
    decay_groups,
    supervised_positions,
)

HELD_OUT_RATIOS = (0.15, 0.5, 0.85)
HELD_OUT_CHUNKS, HELD_OUT_QUESTIONS = 32, 16  # the first of each; never trained on
WARMUP = 10  # optimizer steps


@dataclass(frozen=True)
class Adaptation:
    """Everything that can change the adapted model, but texts and questions.

    Attributes:
        base: An autoregressive instruct model: a name, a folder or a hub repository (``models.load_base``).
        shift: ``keep`` predicts a token from the position before it, ``drop`` from its own.
        mask_ratio: Ends of the uniform law of the share of masked tokens, drawn for each sample.
        n_text_steps: Optimizer steps on text.
        n_question_steps: Optimizer steps on questions, after those.
        chunk_length: Tokens of a piece of text.
        answer_length: Tokens of the canvas behind a question, a multiple of four.
        batch_size: Samples of a step.
        learning_rate: Of AdamW, after a warmup of ten steps.
        seed: Of masks and order.
        precision: ``float32``, or ``bf16_mixed`` for bfloat16 arithmetic on float32 weights.
    """

    base: str
    shift: str = "keep"
    mask_ratio: tuple[float, float] = (0.1, 1.0)
    n_text_steps: int = 2000
    n_question_steps: int = 500
    chunk_length: int = 96
    answer_length: int = 48
    batch_size: int = 8
    learning_rate: float = 2e-4
    seed: int = 0
    precision: str = "bf16_mixed"

    def __post_init__(self) -> None:
        low, high = self.mask_ratio
        whole = (self.n_text_steps, self.n_question_steps, self.chunk_length, self.answer_length, self.batch_size)
        for ok, problem in (
            (self.shift in ("keep", "drop"), f"shift={self.shift!r} is not one of keep, drop"),
            (0 < low <= high <= 1, f"mask_ratio={self.mask_ratio}: expected 0 < low <= high <= 1"),
            (min(whole) >= 0 and self.n_text_steps + self.n_question_steps > 0, "steps and lengths must be positive whole numbers"),
            (self.chunk_length > 1 and self.batch_size > 0, "a chunk needs two tokens and a batch one sample"),
            (self.answer_length > 0 and self.answer_length % BLOCK_LENGTH == 0, f"answer_length={self.answer_length} is no multiple of {BLOCK_LENGTH}"),
            (self.learning_rate > 0, f"learning_rate={self.learning_rate} must be above 0"),
            (self.precision in ("float32", "bf16_mixed"), f"precision={self.precision!r} is not one of float32, bf16_mixed"),
        ):  # fmt: skip
            if not ok:
                raise ValueError(problem)

    @property
    def n_steps(self) -> int:
        """Optimizer steps of both phases."""
        return self.n_text_steps + self.n_question_steps


def cut_into_chunks(texts: Sequence[str], prompts: Prompts, length: int) -> list[list[int]]:
    """All texts as one stream of tokens, each text closed by EOS, cut into pieces of ``length``; what is left over is dropped."""
    stream = [token for text in texts for token in (*prompts.encode(text.strip()), prompts.ids.end)]
    return [stream[i : i + length] for i in range(0, len(stream) - length + 1, length)]


def masked_row(chunk: list[int], ratio: float, prompts: Prompts, generator: torch.Generator) -> Row:
    """A chunk with masks behind BOS, and labels where they are. At least one token is masked."""
    tokens = torch.tensor(chunk)
    is_masked = draw_mask(len(chunk), ratio, generator)
    is_masked[torch.randint(len(chunk), (), generator=generator)] |= not is_masked.any()
    labels = torch.where(is_masked, tokens, IGNORED).tolist()
    begin = list(prompts.ids.begin)
    return begin + apply_mask(tokens, is_masked, prompts.ids.mask).tolist(), [IGNORED] * len(begin) + labels


def order_of(n: int, step: int, batch_size: int, purpose: str, seed: int) -> list[int]:
    """Which of ``n`` samples a step sees: every pass in a new order."""
    positions = range(step * batch_size, (step + 1) * batch_size)
    return [_order(n, purpose, seed, position // n)[position % n] for position in positions]


@lru_cache(maxsize=2)  # a step is in one pass, or at the end of one and the beginning of the next
def _order(n: int, purpose: str, seed: int, epoch: int) -> list[int]:
    return torch.randperm(n, generator=generator_for(purpose, seed, epoch)).tolist()


def rows_of(step: int, chunks: Sequence[list[int]], questions: Sequence[tuple[str, str]], prompts: Prompts, plan: Adaptation) -> list[Row]:
    """What a step trains on; a function of the seed and the step."""
    if step < plan.n_text_steps:
        rows = []
        for n, i in enumerate(order_of(len(chunks), step, plan.batch_size, "adapt text", plan.seed)):
            generator = generator_for("adapt mask", plan.seed, step, n)
            rows.append(masked_row(chunks[i], draw_mask_ratio(*plan.mask_ratio, generator), prompts, generator))
        return rows
    chosen = order_of(len(questions), step - plan.n_text_steps, plan.batch_size, "adapt questions", plan.seed)
    rng = random.Random(f"adapt {plan.seed} {step}")
    return [canvas_row(*questions[i], prompts, plan.answer_length, rng) for i in chosen]


def batch_of(rows: Sequence[Row], pad: int) -> dict[str, torch.Tensor]:
    """The rows as a collator gives them."""
    return {
        "input_ids": pad_right([ids for ids, _ in rows], pad, 8),
        "attention_mask": pad_right([[1] * len(ids) for ids, _ in rows], 0, 8),
        "labels": pad_right([labels for _, labels in rows], IGNORED, 8),
    }


def summed_loss(model: PreTrainedModel, rows: Sequence[Row], pad: int) -> tuple[torch.Tensor, int, int]:
    """Cross-entropy summed over masked tokens in nats, how many there are, and how many the model would fill rightly."""
    inputs = {name: value.to(model.device) for name, value in batch_of(rows, pad).items()}
    labels = inputs.pop("labels")
    states = model.get_decoder()(**inputs, use_cache=False).last_hidden_state
    learned = labels != IGNORED
    logits, targets = model.get_output_embeddings()(states[learned]).float(), labels[learned]
    return cross_entropy(logits, targets, reduction="sum"), len(targets), int((logits.argmax(-1) == targets).sum())


@torch.no_grad()
def held_out(model: PreTrainedModel, chunks: Sequence[list[int]], prompts: Prompts, plan: Adaptation) -> dict[str, dict[str, float]]:
    """Masked cross-entropy (nats a token) and accuracy on held-out chunks, by mask ratio, on the same masks every time."""
    found = {}
    for number, ratio in enumerate(HELD_OUT_RATIOS):
        rows = [masked_row(chunk, ratio, prompts, generator_for("adapt held out", plan.seed, number, i)) for i, chunk in enumerate(chunks)]
        parts = [summed_loss(model, rows[i : i + plan.batch_size], prompts.ids.pad) for i in range(0, len(rows), plan.batch_size)]
        n = sum(count for _, count, _ in parts)
        found[str(ratio)] = {"cross_entropy": round(sum(float(loss) for loss, _, _ in parts) / n, 4), "accuracy": round(sum(right for *_, right in parts) / n, 4)}
    return found


@torch.no_grad()
def causal_cross_entropy(model: PreTrainedModel, chunks: Sequence[list[int]], prompts: Prompts, batch_size: int) -> float:
    """Next-token cross-entropy of the autoregressive base on the held-out chunks, in nats a token, for comparison."""
    total = count = 0.0
    for i in range(0, len(chunks), batch_size):
        ids = torch.tensor([[*prompts.ids.begin, *chunk] for chunk in chunks[i : i + batch_size]], device=model.device)
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
        total += float(cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum"))
        count += ids[:, 1:].numel()
    return round(total / count, 4)


def answer_held_out(model: PreTrainedModel, questions: Sequence[tuple[str, str]], prompts: Prompts, plan: Adaptation) -> list[dict]:
    """Answers of the sampler to held-out questions, scored."""
    ids = prompts.ids
    asked = [prompts.question(question) for question, _ in questions]
    length = {"max_new_tokens": plan.answer_length, "steps": plan.answer_length, "block_length": BLOCK_LENGTH}
    answers = [prompts.decode(out) for out in generate_diffusion(model, asked, mask=ids.mask, stop=ids.stop, pad=ids.pad, **length)]
    return [
        {"question": question, "answer": answer, "generation": given, "accuracy": round(accuracy(answer, given), 3)}
        for (question, answer), given in zip(questions, answers, strict=True)
    ]


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


@torch.no_grad()
def load_state(folder: Path, model: PreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
    """Put back what ``save_state`` wrote."""
    weights = dict(model.named_parameters())
    for name, value in load_file(folder / "weights.safetensors").items():
        weights[name].copy_(value)
    for key, value in load_file(folder / "optimizer.safetensors").items():
        kind, _, name = key.partition(".")
        parameter = weights[name]
        optimizer.state[parameter][kind] = value if kind == "step" else value.to(parameter.device)


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
    state = {"settings": settings, "step": 0, "n_chunks": len(chunks), "n_questions": len(fits), "seconds": 0.0, "causal_cross_entropy": None}
    if (resume / "state.json").is_file():
        begun = json.loads((resume / "state.json").read_text())
        if any(begun[key] != state[key] for key in ("settings", "n_chunks", "n_questions")):
            raise ValueError(f"{partial} holds a run with other settings or texts ({begun['settings']}); give the same, or delete it")
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
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)",
        "versions": {"python": platform.python_version(), **{p: version(p) for p in ("torch", "transformers")}},
    }  # fmt: skip
    new = partial / "model"
    model.save_pretrained(new)
    prompts.tokenizer.save_pretrained(new)
    (new / "adaptation.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    (new / "README.md").write_text(model_card(record, HELD_OUT_RATIOS))
    new.rename(output)
    shutil.rmtree(partial)
