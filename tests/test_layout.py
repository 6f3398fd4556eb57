"""By what a dLLM finds a fact: the rows it is shown, and what is counted."""

from itertools import groupby
from types import SimpleNamespace

import pytest
import torch

from maskft.data import Corpus
from maskft.layout import find_sentences, share_by_name, told_alone
from maskft.models import load_base

# The second sentence tells a city in two wordings, the third a subject in one.
TEXTS = {
    "Ada Mabel Birch was born on May 1, 1950.": ("She grew up in Oakham, AL.", "She studied Acoustics."),
    "Hugo Felix Marsh was born on June 2, 1961.": ("He took the first steps in Selby, ID.", "He studied Geology."),
    "Cora Edith Stone was born on July 3, 1972.": ("She grew up in Norwell, AZ.", "She studied Botany."),
}
FACTS = [("May 1, 1950", "Oakham, AL", "Acoustics"), ("June 2, 1961", "Selby, ID", "Geology"), ("July 3, 1972", "Norwell, AZ", "Botany")]


@pytest.fixture(scope="module")
def prompts():
    return load_base("tiny-dllm", method="dllm")[1]


@pytest.fixture(scope="module")
def corpus():
    documents, questions = [], []
    for n, (first, rest) in enumerate(TEXTS.items()):
        text = " ".join([first, *rest])
        documents.append({"document_id": n, "text": text, "same_order": [text], "permute_order": [text]})
        questions += [{"document_id": n, "category": "forward", "question": f"Fact {i} of {n}?", "answer": fact} for i, fact in enumerate(FACTS[n])]
        questions.append({"document_id": n, "category": "backward", "question": f"Who is {n}?", "answer": " ".join(first.split()[:3])})
    return Corpus.from_rows("biography", "synthetic", documents, questions)


class Reader:
    """Fills in every fact if ``accepts`` the text it is shown, with ``_`` for each mask; else nothing."""

    device = torch.device("cpu")

    def __init__(self, prompts, accepts):
        self.prompts, self.accepts, self.shown = prompts, accepts, []

    def __call__(self, input_ids, use_cache):
        ids, mask = input_ids[0].tolist(), self.prompts.ids.mask
        runs = groupby(ids[1:], key=lambda token: token == mask)
        text = " ".join(" ".join("_" for _ in run) if is_masked else self.prompts.decode(list(run)).strip() for is_masked, run in runs)
        self.shown.append(text)
        logits = torch.zeros(1, len(ids), len(self.prompts.tokenizer))
        facts = next(facts for facts, first in zip(FACTS, TEXTS, strict=True) if text.startswith(" ".join(first.split()[:3])))
        if self.accepts(text):
            last = max(i for i, token in enumerate(ids) if token != mask) + 1
            told = self.prompts.encode(facts[1] if " in _" in text else facts[2])
            for i, token in enumerate(told):
                logits[0, last + i, token] = 1.0
        return SimpleNamespace(logits=logits)


def test_sentences_behind_the_first_are_found_by_their_place_with_all_their_tokens(corpus, prompts):
    cities, subjects = find_sentences(corpus, prompts)
    assert [prompts.decode(sentence.fact) for sentence in cities] == [facts[1] for facts in FACTS]
    assert [prompts.decode(sentence.fact) for sentence in subjects] == [facts[2] for facts in FACTS]
    for sentence, text in zip(cities + subjects, 2 * [" ".join([first, *rest]) for first, rest in TEXTS.items()], strict=True):
        whole = prompts.encode(text)
        start = len(sentence.name) + sentence.gap
        assert whole[: len(sentence.name)] == sentence.name
        assert whole[start : start + len(sentence.before) + len(sentence.fact)] == sentence.before + sentence.fact
        assert start + len(sentence.before) + len(sentence.fact) + sentence.after == len(whole)


@pytest.mark.parametrize("moved", [0, 3])
def test_a_row_is_the_document_with_name_and_sentence_left_and_as_long_unless_moved(corpus, prompts, moved):
    text = " ".join([next(iter(TEXTS)), *TEXTS[next(iter(TEXTS))]])
    whole, mask = prompts.document(prompts.encode(text)), prompts.ids.mask
    sentence = find_sentences(corpus, prompts)[0][0]
    ids, start = told_alone(sentence, prompts, moved=moved)
    assert len(ids) == len(whole) + moved
    shown = [(i if i < 5 else i - moved, token) for i, token in enumerate(ids) if token != mask]
    assert all(whole[i] == token for i, token in shown)
    assert prompts.decode([token for _, token in shown][1:]) == "Ada Mabel Birch She grew up in"
    assert whole[start - moved : start - moved + len(sentence.fact)] == sentence.fact


def test_what_is_counted_are_the_facts_found_from_name_and_words(corpus, prompts):
    assert share_by_name(Reader(prompts, lambda text: True), find_sentences(corpus, prompts), prompts) == (1.0, 6)
    assert share_by_name(Reader(prompts, lambda text: "grew" in text), find_sentences(corpus, prompts), prompts) == (pytest.approx(2 / 6), 6)
    in_place, moved = Reader(prompts, lambda text: True), Reader(prompts, lambda text: True)
    share_by_name(in_place, find_sentences(corpus, prompts), prompts)
    share_by_name(moved, find_sentences(corpus, prompts), prompts, moved=10)
    assert [b.count("_") - a.count("_") for a, b in zip(in_place.shown, moved.shown, strict=True)] == [10] * 6


def test_reworded_sentences_keep_their_subject_and_have_another_document_s_words(corpus, prompts):
    reader = Reader(prompts, lambda text: "He grew" in text)
    assert share_by_name(reader, find_sentences(corpus, prompts), prompts, reworded=True) == (pytest.approx(1 / 3), 3)  # subjects are told in one wording
    words = [" ".join(word for word in text.split() if word != "_") for text in reader.shown]
    assert words == [
        "Ada Mabel Birch She took the first steps in", "Hugo Felix Marsh He grew up in", "Cora Edith Stone She took the first steps in",
    ]  # fmt: skip


def test_a_base_finds_no_fact_of_people_it_never_met():
    from maskft.data import load_corpus

    model, prompts = load_base("tiny-dllm", method="dllm")
    share, n = share_by_name(model.eval(), find_sentences(load_corpus("biography", source="synthetic"), prompts), prompts)
    assert share < 0.05 and n == 500
