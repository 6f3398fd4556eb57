"""How good a model is that is being adapted, on text and questions that it is never trained on."""

from collections.abc import Sequence

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from maskft.adaptation.rows import Adaptation, batch_of, masked_row
from maskft.losses import IGNORED
from maskft.masking import generator_for
from maskft.metrics import accuracy
from maskft.prompts import Prompts
from maskft.samplers import generate_diffusion
from maskft.tiny_rows import BLOCK_LENGTH, Row

HELD_OUT_RATIOS = (0.15, 0.5, 0.85)


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
