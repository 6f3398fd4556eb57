"""Does a dLLM find a person's fact by the name, or by where and in which words the person's one text tells it?

A biography is masked but for the name and the words of one sentence, and the fact in that sentence is asked for: in its place, moved
away from the name, or in the words in which another person's biography tells such a fact. A question's answer has a fact in another place
and mostly in other words than the document.
"""

from dataclasses import dataclass

import torch

from .data import Corpus
from .own_words import SENTENCE_END
from .prompts import Prompts

N_MOVED = 10  # masks that come between the name and a sentence that is moved


@dataclass(frozen=True)
class Sentence:
    """A sentence of a document that tells a fact, as token ids.

    Attributes:
        name: The full name, as the document's beginning has it.
        gap: Tokens between the name and the sentence.
        before: The sentence up to the fact.
        fact: The fact.
        after: Tokens of the document behind the fact.
    """

    name: list[int]
    gap: int
    before: list[int]
    fact: list[int]
    after: int


def find_sentences(corpus: Corpus, prompts: Prompts) -> list[list[Sentence]]:
    """The sentences after a biography's first that tell what a forward question asks for, by their place among the sentences.

    Args:
        corpus: Biographies that begin with the full name and tell a kind of fact in the same sentence of each.
        prompts: Of the model that is asked.

    Returns:
        A list for each place, from the second sentence on, in the order of the documents.
    """
    rows = corpus.questions.to_list()
    names = {q["document_id"]: q["answer"] for q in rows if q["direction"] == "backward"}
    facts = dict.fromkeys((q["document_id"], q["answer"]) for q in rows if q["direction"] == "forward")
    texts = dict(zip(corpus.documents["document_id"], corpus.documents["text"], strict=True))
    found: dict[int, list[Sentence]] = {}
    for document, fact in facts:
        text, name = texts[document], prompts.encode(names[document])
        whole, sentences = prompts.encode(text), SENTENCE_END.split(text)
        place = next((n for n, sentence in enumerate(sentences) if fact in sentence), 0)
        if place == 0 or whole[: len(name)] != name:
            continue
        start = len(prompts.encode(" ".join(sentences[:place])))
        before, told = prompts.encode(sentences[place].partition(fact)[0].rstrip()), prompts.encode(fact)
        stop = start + len(before) + len(told)
        if whole[start:stop] == before + told:
            found.setdefault(place, []).append(Sentence(name, start - len(name), before, told, len(whole) - stop))
    return [found[place] for place in sorted(found)]


def told_alone(sentence: Sentence, prompts: Prompts, *, before: list[int] | None = None, moved: int = 0) -> tuple[list[int], int]:
    """A document in which the name and the words before the fact are left, and the place of the fact.

    Args:
        sentence: Whose fact is asked for.
        prompts: Of the model that is asked.
        before: Words in the place of the sentence's own.
        moved: Masks more between the name and the sentence.
    """
    mask, words = prompts.ids.mask, sentence.before if before is None else before
    left = [*sentence.name, *[mask] * (sentence.gap + moved), *words]
    hidden = [mask] * (len(sentence.fact) + sentence.after)
    return [*prompts.document(left + hidden)[:-1], mask], len(prompts.ids.begin) + len(left)


@torch.inference_mode()
def fills_in(model, ids: list[int], first: int, wanted: list[int]) -> bool:
    """Whether the likeliest tokens of the outputs from ``first`` on, where the model reads ``ids``, are those that are wanted."""
    logits = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0, first : first + len(wanted)]
    return logits.argmax(dim=-1).tolist() == wanted


def share_by_name(
    model, sentences: list[list[Sentence]], prompts: Prompts, *, moved: int = 0, reworded: bool = False
) -> tuple[float, int]:
    """The share of facts that a dLLM fills in, each token its likeliest, where of the document only name and sentence are left.

    Args:
        model: A bidirectional model.
        sentences: ``find_sentences`` of the corpus.
        prompts: Of the model.
        moved: Masks more between the name and the sentence.
        reworded: Whether the sentence has the words of the next document that tells such a fact in others.

    Returns:
        ``(share, how many facts)``.
    """
    right = n = 0
    for of_place in sentences:
        for i, sentence in enumerate(of_place):
            others = (other.before for other in of_place[i + 1 :] + of_place[:i] if other.before[1:] != sentence.before[1:])
            before = next(others, None) if reworded else sentence.before
            if before is None:
                continue  # all documents tell it in the same words
            ids, start = told_alone(sentence, prompts, before=[*sentence.before[:1], *before[1:]], moved=moved)
            right += fills_in(model, ids, start, sentence.fact)
            n += 1
    return right / max(1, n), n
