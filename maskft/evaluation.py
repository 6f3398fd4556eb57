"""Questions to generations to scored rows (Section 3, Appendix A.4).

Knows the sampler and the metrics; knows nothing of training or of where rows are kept. Every process answers its share
of the questions by itself, so that processes may stop at different lengths.
"""

from collections.abc import Callable, Iterable, Mapping

from .metrics import METRICS, score
from .prompts import Prompts
from .runs import RunConfig
from .samplers import Commit, generate_ar, generate_diffusion


def answer_questions(
    model,
    prompts: Prompts,
    questions: list[str],
    config: RunConfig,
    *,
    on_commit: Callable[[Commit], None] | None = None,
) -> list[str]:
    """Greedy answers, in the order of the questions, by the sampler of the run's method.

    Questions are batched by length: with little padding every batch is smaller, and no answer depends on its company.
    ``on_commit`` is called with what a dLLM makes final, its row counted within the batch.
    """
    encoded = [prompts.question(question) for question in questions]
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    answers = [""] * len(encoded)
    ids = prompts.ids
    was_training = model.training
    model.eval()
    for start in range(0, len(order), config.eval_batch_size):
        batch = order[start : start + config.eval_batch_size]
        common = {"max_new_tokens": config.max_new_tokens, "stop": ids.stop, "pad": ids.pad}
        if config.method == "dllm":
            out = generate_diffusion(
                model, [encoded[i] for i in batch], block_length=config.block_length, steps=config.sampler_steps,
                mask=ids.mask, on_commit=on_commit, **common,
            )  # fmt: skip
        else:
            out = generate_ar(model, [encoded[i] for i in batch], **common)
        for i, answer in zip(batch, out, strict=True):
            answers[i] = prompts.decode(answer)
    model.train(was_training)
    return answers


def score_answers(step: int, questions: Iterable[Mapping], answers: Iterable[str]) -> list[dict]:
    """Generation rows (``runs.GENERATION_FIELDS``): each question with its answer, the generation and its scores."""
    return [
        {
            "step": step,
            "question_id": row["question_id"],
            "category": row["category"],
            "question": row["question"],
            "answer": row["answer"],
            "generation": generation,
            **score(row["answer"], generation),
        }
        for row, generation in zip(questions, answers, strict=True)
    ]


def summarise(rows: list[dict], *, epoch: float, train_tokens: int) -> list[dict]:
    """Metric rows (``runs.METRIC_FIELDS``) of one step's generation rows: the mean of each metric in each category."""
    by_category: dict[str, list[dict]] = {}
    for row in rows:
        by_category.setdefault(row["category"], []).append(row)
    return [
        {
            "step": rows[0]["step"],
            "epoch": epoch,
            "train_tokens": train_tokens,
            "category": category,
            "metric": metric,
            "value": sum(row[metric] for row in members) / len(members),
            "n_questions": len(members),
        }
        for category, members in sorted(by_category.items())
        for metric in METRICS
    ]
