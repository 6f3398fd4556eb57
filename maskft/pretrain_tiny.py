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
import platform
import random
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from .data.synthetic.pretraining import draw_questions, known_world, present
from .data.synthetic.tokenizer import build_tokenizer
from .losses import IGNORED
from .metrics import accuracy
from .models import prompts_for
from .prompts import Prompts
from .samplers import generate_ar, generate_diffusion
from .step import decay_groups
from .tiny_recipes import RECIPES, Recipe
from .tiny_rows import BLOCK_LENGTH, batches, stretched_positions

N_WARMUP = 30  # optimizer steps
N_QUESTIONS = 60  # of a kind and direction, to tell how good a base is


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


def pretrain(model: LlamaForCausalLM, prompts: Prompts, recipe: Recipe, seed: int, n_steps: int) -> list[dict]:
    """Train ``model`` in place by ``recipe``: AdamW, a short warmup, and a fall to a tenth once nobody comes or goes.

    Returns:
        The mean loss of every hundred steps, in nats a supervised token; of every thousand also the accuracy on questions.
    """
    model.config.is_causal = not recipe.bidirectional
    optimizer = torch.optim.AdamW(decay_groups(model, 0.1), lr=recipe.learning_rate, betas=(0.9, 0.95), fused=True)
    jumps = torch.Generator().manual_seed(seed + 3)  # any other than the seed: jumps are no function of the samples
    log, total, started = [], 0.0, time.perf_counter()
    model.train()
    for step, batch in enumerate(batches(recipe, prompts, seed, n_steps), start=1):
        fall = min(1.0, max(0.1, (1 - step / n_steps) / recipe.mix.settled))
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(1.0, step / N_WARMUP) * fall
        positions = stretched_positions(*batch["input_ids"].shape, recipe.stretch, jumps) if recipe.stretch else None
        hidden = model.model(
            input_ids=batch["input_ids"], position_ids=positions, attention_mask=batch["attention_mask"], use_cache=False
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
