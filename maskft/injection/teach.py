"""Fine-tune on passages: defaults from the study, full parameters or LoRA, early stopping on questions held back.

The objectives, collators, losses and the optimizer are those of the study (``training``); what differs is that training
stops by itself, and that a batch may be more than the device holds at once. Knows no file but the checkpoint it is given.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from ..checkpoints import Interrupted, Sigterm
from ..evaluation import answer_questions, score_answers
from ..metrics import pick_best_step
from ..packing import can_pack
from ..paper import TABLE4
from ..prompts import Prompts
from ..runs import RunConfig
from ..scales import SCALES
from ..step import (
    RecordedGradients,
    SupervisedLogits,
    batch_indices,
    batch_loss,
    can_record_steps,
    count_batch,
    learning_rate_factor,
    make_collator,
    make_optimizer,
    parts_of,
    recorded_loss,
)
from .passages import Passage
from .questions import Question
from .resume import Checkpoint

METHODS = ("masked_ar", "ar")
# Parameters of the causal bases whose learning rates were swept: tiny-ar and SmolLM2-135M by us, Llama-3.1-8B by the paper (Figure 5).
SWEPT = {"tiny": 1.066e6, "small": 134.5e6, "paper": 8.03e9}
# Adapters take a higher rate than full weights. Not swept for every size: on twelve biographies at the tiny scale, rank 16, 3 was best of 1, 3 and 10.
LORA_RATE_FACTOR = 3.0
N_STATEMENTS = 60  # of NameDescription
N_EVALUATIONS = 12
PATIENCE = 4  # evaluations without a better one after which training stops


def default_learning_rate(method: str, n_parameters: int, *, lora: bool = False) -> float:
    """The swept rate of a model of that size: between the study's three scales, which lie two decades apart, a power law.

    Example:
        >>> default_learning_rate("masked_ar", 8_030_000_000)
        3e-06
    """
    rates = {SWEPT[name]: SCALES[name].learning_rates[method] for name in SWEPT}
    rate = _power_law(float(n_parameters), rates) * (LORA_RATE_FACTOR if lora else 1)
    return float(f"{rate:.2g}")


def default_epochs(method: str, n_parameters: int) -> int:
    """Passes over the documents after which NameDescription is learned without paraphrases, at a model of that size.

    At our scales the study's budget. For the paper's 8B model three over the slower rate k of Table 4, when 95 % of
    the asymptote is reached; there an epoch is one step.
    """
    slowest = min(TABLE4["name_description", method, "none", direction][1] for direction in ("forward", "backward"))
    epochs = {SWEPT["paper"]: 3 / slowest}
    for name in ("tiny", "small"):
        scale = SCALES[name]
        steps = scale.eval_steps["name_description", False][method][-1]
        epochs[SWEPT[name]] = steps / math.ceil(N_STATEMENTS / int(str(scale.settings["train_batch_size"])))
    return round(_power_law(float(n_parameters), epochs))


def _power_law(size: float, known: Mapping[float, int | float]) -> float:
    sizes = sorted(known)
    return float(np.exp(np.interp(math.log(size), np.log(sizes), np.log([known[s] for s in sizes]))))


def evaluation_steps(n_steps: int) -> tuple[int, ...]:
    """Where questions held back are asked: 0 and at most a dozen steps, evenly spaced, the last of them the last step."""
    return tuple(dict.fromkeys(round(n * n_steps / N_EVALUATIONS) for n in range(N_EVALUATIONS + 1)))


def check_peft() -> None:
    """Look whether adapters can be made, before any work. Raises ValueError."""
    try:
        import peft  # noqa: F401
    except ImportError:
        raise ValueError("--lora needs the package peft; install it: pip install 'maskft[inject]'") from None


def add_lora(model, rank: int) -> None:
    """Add adapters to every linear layer but the output, in place; nothing else is trained from then on.

    Raises:
        ValueError: If peft is not installed.
    """
    check_peft()
    from peft import LoraConfig

    torch.manual_seed(0)  # of the adapters' first values
    model.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear", task_type="CAUSAL_LM"))


@dataclass
class Taught:
    """How teaching went; the model itself holds the best weights.

    Attributes:
        best_step: Optimizer steps of the weights that were kept.
        n_steps: Optimizer steps that were made.
        train_tokens: Tokens of all batches, without padding.
        held_back: (step, accuracy) on the questions held back; empty where there are none.
        losses: Of every step, in nats a target.
        wall_time_s: Seconds of all attempts, evaluations included.
        resumed_at: Steps at which an earlier attempt was taken up.
    """

    best_step: int = 0
    n_steps: int = 0
    train_tokens: int = 0
    held_back: list[tuple[int, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    wall_time_s: float = 0.0
    resumed_at: list[int] = field(default_factory=list)


def mean_accuracy(rows: Sequence[dict]) -> float:
    """Macro average over directions of the accuracy of scored answers."""
    by_direction: dict[str, list[float]] = {}
    for row in rows:
        by_direction.setdefault(row["category"], []).append(row["accuracy"])
    return float(np.mean([np.mean(values) for values in by_direction.values()]))


def ask(model, prompts: Prompts, questions: Sequence[Question], config: RunConfig, step: int) -> list[dict]:
    """Scored answers (``runs.GENERATION_FIELDS``); the category is the direction."""
    rows = [
        {"question_id": i, "category": q.direction, "question": q.question, "answer": q.answer}
        for i, q in enumerate(questions)
    ]
    with autocast(model, config):
        answers = answer_questions(model, prompts, [q.question for q in questions], config)
    return score_answers(step, rows, answers)


def autocast(model, config: RunConfig):
    """The context of the run's precision."""
    return torch.autocast(model.device.type, torch.bfloat16) if config.precision == "bf16_mixed" else nullcontext()


def teach(
    model,
    prompts: Prompts,
    passages: Sequence[Passage],
    config: RunConfig,
    *,
    held_back: Sequence[Question] = (),
    per_device_train_batch_size: int = 16,
    checkpoint: Checkpoint | None = None,
    sigterm: Sigterm | None = None,
    say: Callable[[str], None] = print,
) -> Taught:
    """Fine-tune ``model`` in place and leave the weights in it that answered the questions held back best.

    Args:
        model: In float32, on its device; only parameters that require gradients are trained.
        prompts: Of its tokenizer.
        passages: Documents alone; questions are never trained on.
        config: Method, learning rate, budget, evaluation points (``runs.RunConfig``).
        held_back: Asked at every evaluation point. Without them every step is made and the last weights stay.
        per_device_train_batch_size: Passages on the device at once; the batch's loss and gradient do not depend on it.
        checkpoint: Where an earlier attempt left what it had, and this one does; None keeps nothing.
        sigterm: Whether SIGTERM came; None: it ends the process, as ever.
        say: Takes a line of progress.

    Raises:
        RuntimeError: If the loss or its gradient is not finite.
        Interrupted: On SIGTERM, once a checkpoint is written.
    """
    texts = [prompts.encode(passage.text) for passage in passages]
    collate, wrapped = make_collator(config, prompts), SupervisedLogits(model, packed=can_pack(model, model.device.type))
    optimizer, taught, clock = make_optimizer(wrapped, config), Taught(), time.perf_counter()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    best: dict[str, Tensor] = {}
    sigterm = sigterm or Sigterm()
    if checkpoint is not None and (state := checkpoint.load()) is not None:
        taught, best = Taught(**state["taught"]), state["best"]
        taught.resumed_at.append(taught.n_steps)
        optimizer.load_state_dict(state["optimizer"])
        _copy(state["trained"], trained)
        del state  # a second copy of the weights
        say(f"{config.method} goes on from step {taught.n_steps}")
    spent_before, recorded = taught.wall_time_s, None
    if can_record_steps(model):  # after the optimizer's state was loaded, as in ``training``
        recorded = RecordedGradients(wrapped, model.device, is_causal=True, autocast=config.precision == "bf16_mixed")
    n_rows = min(per_device_train_batch_size, config.train_batch_size)

    def passed() -> float:
        return spent_before + time.perf_counter() - clock

    def keep() -> None:
        if checkpoint is not None:
            taught.wall_time_s = passed()
            weights = {name: p.detach() for name, p in trained.items()}
            checkpoint.save({"taught": asdict(taught), "trained": weights, "best": best, "optimizer": optimizer.state_dict()})

    def update(whole: Mapping[str, Tensor]) -> None:
        counts, loss, step = count_batch(whole, config), 0.0, taught.n_steps
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(step, config)
        for rows in parts_of(whole, -(-len(whole["input_ids"]) // per_device_train_batch_size)):
            if recorded is not None:
                loss += float(recorded_loss(recorded, rows, n_rows, config, counts))
                continue
            batch = {name: value.to(model.device) for name, value in rows.items()}
            with autocast(model, config):
                part = batch_loss(wrapped, batch, config, counts)
            part.backward()
            loss += float(part.detach())
        norm = float(torch.nn.utils.clip_grad_norm_(trained.values(), config.max_grad_norm))
        for what, value in {"loss": loss, "gradient norm": norm}.items():  # or a checkpoint would keep weights that are no numbers
            if not math.isfinite(value):
                raise RuntimeError(f"{what} is {value} at step {step + 1}; use a smaller --learning-rate than {config.learning_rate}")
        optimizer.step()
        optimizer.zero_grad(set_to_none=recorded is None)
        taught.losses.append(loss)
        taught.n_steps, taught.train_tokens = step + 1, taught.train_tokens + counts["n_tokens"]

    def evaluate(step: int) -> None:
        nonlocal best
        line = f"{config.method} step {step}/{config.total_steps}, loss {np.mean(taught.losses[-20:]):.3f}"
        if held_back:
            with sigterm.breaking():
                accuracy = mean_accuracy(ask(model, prompts, held_back, config, step))
            taught.held_back.append((step, accuracy))
            line += f", accuracy on questions held back {accuracy:.2f}"
        taught.best_step = pick_best_step(dict(taught.held_back)) if held_back else step
        if held_back and taught.best_step == step:
            best = {name: p.detach().to("cpu", copy=True) for name, p in trained.items()}
        say(f"{line}, {passed():.0f} s passed, at most {passed() / step * (config.total_steps - step):.0f} s left")

    batches = islice(batch_indices(len(texts), config.train_batch_size, config.seed), taught.n_steps, None)
    model.train()
    while True:
        step = taught.n_steps
        # A checkpoint may be of a step whose evaluation was interrupted.
        if step > 0 and step in config.eval_steps and step not in dict(taught.held_back):
            try:
                evaluate(step)
            except Interrupted:
                keep()
                raise
        if step == config.total_steps or sum(later > taught.best_step for later, _ in taught.held_back) >= PATIENCE:
            break
        update(collate([{"text_ids": texts[i], "step": step, "sample": n} for n, i in enumerate(next(batches))]))
        if sigterm.came or (checkpoint is not None and checkpoint.is_due()):
            keep()
        if sigterm.came:
            raise Interrupted
    optimizer.zero_grad()
    keep()  # what comes next, measuring, takes its time as well
    _copy(best, trained)
    model.eval()
    taught.wall_time_s = passed()
    return taught


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        parameters[name].copy_(value)
