"""What a run has learned of its documents and what it has lost of its base's answers, whatever it answers about the documents.

A question about a document is answered by a model that has stored what the document says and still knows how to answer. Each is
measured by itself here, at every evaluation of a run with ``probe="forgetting"``: the tiny scale's world alone has questions
that its bases are known to answer.
"""

import random

from .data import Corpus
from .data.synthetic.pretraining import PretrainingMix, draw_questions, known_world, present
from .evaluation import answer_questions
from .layout import N_MOVED, fills_in, find_sentences, share_by_name
from .metrics import accuracy
from .prompts import Prompts
from .runs import BY_NAME, IN_DOCUMENT, OWN_WORLD, RunConfig

KINDS = {"name_description": "people", "biography": "biographies", "wiki": "events"}
N_QUESTIONS = 60  # about the base's own world, of each direction
Span = tuple[list[int], int, int]  # a document's ids, and where what a question asks for begins and ends in them


def find_facts(corpus: Corpus, prompts: Prompts) -> list[Span]:
    """What the forward questions ask for, each once, in its document, where it stands there word for word."""
    texts = dict(zip(corpus.documents["document_id"], corpus.documents["text"], strict=True))
    facts = dict.fromkeys((q["document_id"], q["answer"]) for q in corpus.questions.to_list() if q["direction"] == "forward")
    spans = []
    for document, answer in facts:
        ids, fact = prompts.encode(texts[document]), prompts.encode(answer)
        start = next((i for i in range(len(ids)) if ids[i : i + len(fact)] == fact), None)
        if start is not None:
            spans.append((ids, start, start + len(fact)))
    return spans


def _row(span: Span, prompts: Prompts, method: str) -> tuple[list[int], int]:
    """What the model reads, in the form that the method trains on, and the place of the output for the fact's first token."""
    ids, start, stop = span
    masked = [*ids[:start], *[prompts.ids.mask] * (stop - start), *ids[stop:]]
    if method == "dllm":
        return prompts.document(masked), len(prompts.ids.begin) + start
    if method == "ar":
        return prompts.document(ids), len(prompts.ids.begin) + start - 1
    context, target = prompts.demask(masked, ids)
    return context + target, len(context) + start - 1


def share_in_documents(model, corpus: Corpus, prompts: Prompts, method: str) -> tuple[float, int]:
    """The share of the documents' facts that the model fills in, each token its likeliest, where the rest of the document is given.

    Of a causal model each token is asked for after those before it: what precedes the fact (``ar``), or the passage with the
    fact masked (``masked_ar``).

    Returns:
        ``(share, how many facts)``.
    """
    spans, right = find_facts(corpus, prompts), 0
    for span in spans:
        ids, first = _row(span, prompts, method)
        right += fills_in(model, ids, first, span[0][span[1] : span[2]])
    return right / max(1, len(spans)), len(spans)


def accuracy_on_own_world(model, prompts: Prompts, config: RunConfig) -> tuple[float, int]:
    """Accuracy on questions about those of the data set's kind whom the base was told of in pretraining.

    Returns:
        ``(accuracy, how many questions)``.
    """
    here, rng = present(getattr(known_world(), KINDS[config.dataset]), PretrainingMix(), 1.0), random.Random("maskft probe")
    members = [*here.asked, *here.newcomers]
    pairs = [pair for backward in (False, True) for pair in draw_questions(rng, members, N_QUESTIONS, backward=backward)]
    answers = answer_questions(model, prompts, [pair.text for pair in pairs], config)
    return sum(accuracy(pair.answer, given) for pair, given in zip(pairs, answers, strict=True)) / len(pairs), len(pairs)


def probe_rows(model, corpus: Corpus, prompts: Prompts, config: RunConfig, *, step: int, epoch: float, train_tokens: int) -> list[dict]:
    """Both measurements as metric rows (``runs.METRIC_FIELDS``), and of a dLLM on Biography by what it finds a fact (``layout``)."""
    was_training = model.training
    model.eval()
    found = {IN_DOCUMENT: share_in_documents(model, corpus, prompts, config.method), OWN_WORLD: accuracy_on_own_world(model, prompts, config)}
    if config.method == "dllm" and config.dataset == "biography":
        sentences = find_sentences(corpus, prompts)
        for category, (is_moved, is_reworded) in BY_NAME.items():
            found[category] = share_by_name(model, sentences, prompts, moved=N_MOVED if is_moved else 0, reworded=is_reworded)
    model.train(was_training)
    return [
        {"step": step, "epoch": epoch, "train_tokens": train_tokens, "category": category, "metric": "accuracy", "value": value, "n_questions": n}
        for category, (value, n) in found.items()
    ]
