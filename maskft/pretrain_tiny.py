"""Make the tiny bases: one tokenizer, an AR base, a control AR base, and a dLLM base adapted from the control.

``maskft pretrain-tiny`` runs it; the result is shipped in ``assets/``, with the record of how it was made. The bases learn
from ``data.synthetic.pretraining`` alone: other people and events than those of any fine-tuning set.

The dLLM base starts from the control base's weights, attends to both sides and learns to fill masks; from scratch it
would need many times the steps. Its questions are answered on a canvas of masks as long as the sampler's, filled behind the answer
with end tokens that are learned too, as LLaDA does (otherwise it would never end an answer).

How good a base is for fine-tuning shows before any fine-tuning, in its answers about newcomers, who were told and never
asked about ("told only" in the record): that is what fine-tuning asks of it.
"""

import json
import math
import platform
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from .collators import pad_right
from .data.synthetic.pretraining import Example, PretrainingMix, draw_example, draw_questions, known_world, present
from .data.synthetic.tokenizer import build_tokenizer
from .losses import IGNORED
from .masking import apply_mask, draw_mask
from .metrics import accuracy
from .models import prompts_for
from .prompts import Prompts
from .samplers import generate_ar, generate_diffusion
from .step import decay_groups

BLOCK_LENGTH = 4  # of the sampler at the tiny scale
N_WARMUP = 30  # optimizer steps
POOL = 8  # batches that are drawn at once and sorted by length
N_QUESTIONS = 60  # of a kind and direction, to tell how good a base is
Row = tuple[list[int], list[int]]  # input ids, labels


@dataclass(frozen=True)
class Recipe:
    """How one base is made.

    Attributes:
        name: Its folder in the assets.
        bidirectional: Whether it attends to both sides and fills masks.
        starts_from: The base whose weights it takes; None for random ones.
        n_steps: Optimizer steps.
        mix: What the stream is made of.
        answer_length: Tokens that an answer may take; the sampler's canvas for a dLLM.
        mask_ratio: Range of the share of a document's tokens that is masked. Higher than in fine-tuning: what is copied
            teaches a base nothing.
        learning_rate: After the warmup, and until nobody comes or goes; from there it falls to a tenth.
        batch_size: Samples a step.
        from_first_block: For a base that fills masks, the share of answers whose active block is the first; else it is any.
    """

    name: str
    bidirectional: bool
    starts_from: str | None
    n_steps: int
    mix: PretrainingMix
    mask_ratio: tuple[float, float]
    answer_length: int = 96
    learning_rate: float = 3e-3
    batch_size: int = 32
    from_first_block: float = 0.0


RECIPES = (
    Recipe("tiny-ar", False, None, 4000, PretrainingMix(), (0.3, 1.0)),
    Recipe("tiny-ar-no-demask", False, None, 4000, PretrainingMix(demask=0.0), (0.3, 1.0)),
    Recipe(
        "tiny-dllm", True, "tiny-ar-no-demask", 10_000,
        PretrainingMix(question=0.55, demask=0.0, strangers=0.7, strangers_first=0.1, longest_answer=22, led=False, reread=("document",)),
        (0.2, 1.0), answer_length=32, from_first_block=0.4,
    ),
)  # fmt: skip


def choose_recipes(names: Sequence[str]) -> tuple[Recipe, ...]:
    """The recipes of the named bases, in the order in which they build on each other; all of them for no name.

    Raises:
        ValueError: If a name is not one of a base.
    """
    known = [recipe.name for recipe in RECIPES]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"base {', '.join(unknown)} is not one of {', '.join(known)}")
    return tuple(recipe for recipe in RECIPES if not names or recipe.name in names)


def new_model(prompts: Prompts, seed: int) -> LlamaForCausalLM:
    """A Llama of about a million parameters with random weights.

    Its output projection is its own, as Llama-3.1-8B's and LLaDA's are: one that is the embedding learns from documents at
    every token that no word of a question stands there, and so moves the questions' words.
    """
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(prompts.tokenizer), hidden_size=128, intermediate_size=384, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=512, tie_word_embeddings=False,
        bos_token_id=prompts.ids.begin[0], eos_token_id=prompts.ids.end, pad_token_id=prompts.ids.pad,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def _masked(ids: list[int], mask: int, ratio: float, rng: random.Random) -> tuple[list[int], list[int]]:
    """Ids with masks, and labels at the masked positions."""
    tokens = torch.tensor(ids)
    is_masked = draw_mask(len(ids), ratio, torch.Generator().manual_seed(rng.getrandbits(60)))
    labels = torch.where(is_masked, tokens, IGNORED)
    return apply_mask(tokens, is_masked, mask).tolist(), labels.tolist()


def ar_row(example: Example, prompts: Prompts, recipe: Recipe, rng: random.Random) -> Row:
    """A sample for a causal base: loss on a document's tokens, on an answer, or on the text that is asked back."""
    ids = prompts.encode(example.text)
    if example.kind == "document":
        row = prompts.document(ids)
        return row, row
    if example.kind == "question":
        context, target = prompts.question(example.text), prompts.answer(example.answer)
    else:
        masked, _ = _masked(ids, prompts.ids.mask, rng.uniform(*recipe.mask_ratio), rng)
        context, target = prompts.demask(masked, ids)
    return context + target, [IGNORED] * len(context) + target


def dllm_row(example: Example, prompts: Prompts, recipe: Recipe, rng: random.Random) -> Row:
    """A sample for a bidirectional base: masks anywhere in a document, or in the canvas behind a question.

    The canvas is as the sampler sees it: blocks before the active one are there, the active one in part, later ones not;
    loss on the active block, from which alone the sampler takes tokens.
    """
    if example.kind != "question":
        text = [*prompts.encode(example.text), prompts.ids.end]
        masked, labels = _masked(text, prompts.ids.mask, rng.uniform(*recipe.mask_ratio), rng)
        return [*prompts.ids.begin, *masked], [IGNORED] * len(prompts.ids.begin) + labels
    return canvas_row(example.text, example.answer, prompts, recipe.answer_length, rng, recipe.from_first_block)


def canvas_row(
    question: str, answer: str, prompts: Prompts, answer_length: int, rng: random.Random, from_first_block: float = 0.0
) -> Row:
    """A question and its answer for a bidirectional model, on a canvas of ``answer_length`` as the sampler sees it."""
    context, target = prompts.question(question), prompts.answer(answer)
    n_blocks = math.ceil(len(target) / BLOCK_LENGTH)
    is_first = from_first_block > 0 and rng.random() < from_first_block
    start = 0 if is_first else BLOCK_LENGTH * rng.randrange(n_blocks)
    stop = start + BLOCK_LENGTH
    target = target + [prompts.ids.end] * (answer_length - len(target))
    ratio = rng.choice([1.0, rng.uniform(0.1, 1.0)])
    block, block_labels = _masked(target[start:stop], prompts.ids.mask, ratio, rng)
    canvas = target[:start] + block + [prompts.ids.mask] * (answer_length - stop)
    return context + canvas, [IGNORED] * (len(context) + start) + block_labels + [IGNORED] * (answer_length - stop)


def batches(recipe: Recipe, prompts: Prompts, seed: int, n_steps: int) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of like lengths: ``POOL`` batches are drawn at once, sorted by length, and given in random order."""
    rng = random.Random(seed)
    make_row = dllm_row if recipe.bidirectional else ar_row
    for step in range(0, n_steps, POOL):
        n_passed, is_between = divmod(step // recipe.mix.burst, 2)
        burst = None if is_between else n_passed
        examples = [draw_example(rng, recipe.mix, step / n_steps, burst) for _ in range(recipe.batch_size * POOL)]
        rows = sorted((make_row(example, prompts, recipe, rng) for example in examples), key=lambda row: len(row[0]))
        groups = [rows[i : i + recipe.batch_size] for i in range(0, len(rows), recipe.batch_size)]
        rng.shuffle(groups)
        for group in groups[: n_steps - step]:
            yield {
                "input_ids": pad_right([ids for ids, _ in group], prompts.ids.pad, 8),
                "attention_mask": pad_right([[1] * len(ids) for ids, _ in group], 0, 8),
                "labels": pad_right([labels for _, labels in group], IGNORED, 8),
            }


def pretrain(model: LlamaForCausalLM, prompts: Prompts, recipe: Recipe, seed: int, n_steps: int) -> list[dict]:
    """Train ``model`` in place by ``recipe``: AdamW, a short warmup, and a fall to a tenth once nobody comes or goes.

    Returns:
        The mean loss of every hundred steps, in nats a supervised token; of every thousand also the accuracy on questions.
    """
    model.config.is_causal = not recipe.bidirectional
    optimizer = torch.optim.AdamW(decay_groups(model, 0.1), lr=recipe.learning_rate, betas=(0.9, 0.95), fused=True)
    log, total, started = [], 0.0, time.perf_counter()
    model.train()
    for step, batch in enumerate(batches(recipe, prompts, seed, n_steps), start=1):
        fall = min(1.0, max(0.1, (1 - step / n_steps) / recipe.mix.settled))
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(1.0, step / N_WARMUP) * fall
        hidden = model.model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
        ).last_hidden_state
        labels = batch["labels"]
        if not recipe.bidirectional:
            hidden, labels = hidden[:, :-1], labels[:, 1:]
        supervised = labels != IGNORED
        loss = cross_entropy(model.lm_head(hidden[supervised]), labels[supervised])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        total += loss.item()
        if step % 100 == 0 or step == n_steps:
            seconds = time.perf_counter() - started
            mean = total / ((step - 1) % 100 + 1)
            log.append({"step": step, "loss_nats_per_token": round(mean, 4), "wall_time_s": round(seconds)})
            left = seconds / step * (n_steps - step)
            print(f"{recipe.name} step {step}/{n_steps} loss {mean:.3f}, {seconds:.0f} s passed, about {left:.0f} s left", flush=True)
            total = 0.0
        if step % 1000 == 0 or step == n_steps:
            log[-1]["accuracy"] = question_known(model, prompts, recipe, step / n_steps, seed)
            print(f"{recipe.name} step {step} {log[-1]['accuracy']}", flush=True)
    return log


def question_known(
    model: LlamaForCausalLM, prompts: Prompts, recipe: Recipe, progress: float, seed: int
) -> dict[str, float]:
    """Accuracy of a base on questions about its own world, by kind, direction, and whether it was asked before.

    "asked" are those present whom questions were about, "told only" the newcomers. A person is told in one order, and in
    both kinds of question some ask along it and some against it.
    """
    rng, ids = random.Random(f"maskft known {seed}"), prompts.ids
    was_training = model.training
    model.eval()
    found = {}
    for kind in ("people", "biographies", "events"):
        here = present(getattr(known_world(), kind), recipe.mix, progress)
        for group, members in (("asked", here.asked), ("told only", here.newcomers)):
            for direction in ("name given", "name asked"):
                backward = direction == "name asked"
                pairs = draw_questions(rng, members, N_QUESTIONS, backward=backward)
                asked = [prompts.question(pair.text) for pair in pairs]
                common = {"max_new_tokens": recipe.answer_length, "stop": ids.stop, "pad": ids.pad}
                if model.config.is_causal:
                    answers = generate_ar(model, asked, **common)
                else:
                    options = {"block_length": BLOCK_LENGTH, "steps": recipe.answer_length, "mask": ids.mask}
                    answers = generate_diffusion(model, asked, **options, **common)
                scores = [accuracy(pair.answer, prompts.decode(out)) for pair, out in zip(pairs, answers, strict=True)]
                found[f"{kind}, {group}, {direction}"] = round(sum(scores) / N_QUESTIONS, 3)
    model.train(was_training)
    return found


def pretrain_all(output: Path, *, seed: int = 0, share: float = 1.0, recipes: tuple[Recipe, ...] = RECIPES) -> None:
    """Make the bases of ``recipes`` in ``output``, each with its tokenizer and ``pretraining.json``.

    A base that is already there is replaced only once its successor is complete.

    Args:
        output: Folder that gets one folder a base.
        seed: Of weights and samples.
        share: Of the full number of steps; below 1 for a trial.
        recipes: Which bases, each after the one it starts from.

    Raises:
        ValueError: If ``share`` is not in (0, 1], or a recipe starts from a base that is neither made before it nor in
            ``output``.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share of steps {share} must lie in (0, 1]")
    prompts = prompts_for(build_tokenizer())
    for recipe in recipes:
        if recipe.starts_from is None:
            model = new_model(prompts, seed)
        elif (output / recipe.starts_from).is_dir():
            model = LlamaForCausalLM.from_pretrained(output / recipe.starts_from, dtype=torch.float32)
        else:
            raise ValueError(f"base {recipe.name} starts from {recipe.starts_from}, which is not in {output}")
        log = pretrain(model, prompts, recipe, seed, max(1, round(recipe.n_steps * share)))
        record = {
            "recipe": asdict(recipe),
            "seed": seed,
            "share_of_steps": share,
            "n_parameters": sum(p.numel() for p in model.parameters()),
            "accuracy_on_its_own_world": log[-1].pop("accuracy"),
            "versions": {"python": platform.python_version(), **{p: version(p) for p in ("torch", "transformers", "tokenizers")}},
            "command": "maskft pretrain-tiny",
            "log": log,
        }
        print(f"{recipe.name}: {record['accuracy_on_its_own_world']}", flush=True)
        partial, final = output / f".{recipe.name}.partial", output / recipe.name
        model.config.use_cache = not recipe.bidirectional
        model.save_pretrained(partial)
        prompts.tokenizer.save_pretrained(partial)
        (partial / "pretraining.json").write_text(json.dumps(record, indent=1) + "\n")
        final.mkdir(parents=True, exist_ok=True)
        for file in partial.iterdir():
            file.replace(final / file.name)
        partial.rmdir()
