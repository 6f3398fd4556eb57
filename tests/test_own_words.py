"""Answers in their document's words, told from others."""

import statistics
from dataclasses import replace

import pandas as pd
import pytest

from maskft.data import CATEGORIES, Corpus, load_corpus
from maskft.data.synthetic import wordings
from maskft.own_words import (
    answers_by_order,
    count_rivals,
    name_given,
    names_by_rivals,
    names_taken_over,
    own_words,
    tells_name_first,
    words_before,
)


@pytest.fixture(scope="module")
def corpus():
    return load_corpus("biography", source="synthetic")


def test_what_stands_before_a_biographys_fact_is_one_of_the_wordings_of_that_fact(corpus):
    """The wording's text without subject and fact, found by filling in nothing."""
    texts = dict(zip(corpus.documents["document_id"], corpus.documents["text"], strict=True))
    known = {" ".join(wording.split("{")[1].split("}")[1].split()) for options in wordings.BIOGRAPHY.values() for wording in options}
    for question in corpus.questions.to_list():
        if question["direction"] == "forward":
            found = words_before(texts[question["document_id"]], question["answer"])
            assert found and set(found) <= known, question


def test_a_fact_that_two_sentences_tell_has_the_words_of_both_and_one_that_none_tells_has_none():
    text = "Ann Bo Cole has roots in Selby, ID. She was drawn to Art. She had an office in Selby, ID."
    assert words_before(text, "Selby, ID") == ["has roots in", "had an office in"]
    assert words_before(text, "Law") == []


def answers(corpus, given):
    """Rows of ``given``, one a forward question: method, whether the document's sentence is the answer, its accuracy."""
    texts = dict(zip(corpus.documents["document_id"], corpus.documents["text"], strict=True))
    asked = [q for q in corpus.questions.to_list() if q["direction"] == "forward"]
    rows = []
    for question, (method, recites, accuracy) in zip(asked, given, strict=False):
        generation = texts[question["document_id"]] if recites else f"I think {question['answer']}."
        rows.append({"method": method, "question_id": question["question_id"], "category": "forward", "generation": generation, "accuracy": accuracy})
    return pd.DataFrame(rows)


def test_shares_and_means_are_those_of_each_methods_answers(corpus):
    frame = answers(corpus, [("ar", True, 1.0), ("ar", True, 0.5), ("ar", True, 0.0), ("ar", False, 0.25), ("dllm", False, 0.125)])
    frame = pd.concat([frame, frame.assign(category="backward", accuracy=1.0)])
    found = own_words(frame, corpus).to_dict("records")
    assert found == [
        {"method": "ar", "in_own_words": False, "share": 0.25, "accuracy": 0.25},
        {"method": "ar", "in_own_words": True, "share": 0.75, "accuracy": 0.5},
        {"method": "dllm", "in_own_words": False, "share": 1.0, "accuracy": 0.125},
    ]


def test_the_name_that_a_question_gives_is_the_documents_first_words_that_it_has(corpus):
    texts = dict(zip(corpus.documents["document_id"], corpus.documents["text"], strict=True))
    backward = [q for q in corpus.questions.to_list() if q["direction"] == "backward"]
    for question in corpus.questions.to_list():
        if question["direction"] == "forward":
            name = next(q["answer"] for q in backward if q["document_id"] == question["document_id"])
            assert name_given(texts[question["document_id"]], question["question"]) == name
    assert name_given("Ann Bo Cole was born.", "Who was born on May 1?") == ""


def test_answers_are_told_apart_by_whether_they_begin_with_that_name(corpus):
    """A document recited begins with it; `I think ...` does not, and neither does a name that comes later or in part."""
    frame = answers(corpus, [("ar", True, 1.0), ("ar", False, 0.5), ("dllm", True, 0.25), ("dllm", True, 0.75), ("dllm", True, 0.0)])
    frame.loc[3, "generation"] = "So " + frame.loc[3, "generation"]
    frame.loc[4, "generation"] = frame.loc[4, "generation"].split()[0]
    assert names_taken_over(pd.concat([frame, frame.assign(category="backward", accuracy=1.0)]), corpus).to_dict("records") == [
        {"method": "ar", "takes_over_name": False, "share": 0.5, "accuracy": 0.5},
        {"method": "ar", "takes_over_name": True, "share": 0.5, "accuracy": 1.0},
        {"method": "dllm", "takes_over_name": False, "share": 2 / 3, "accuracy": 0.375},
        {"method": "dllm", "takes_over_name": True, "share": 1 / 3, "accuracy": 0.25},
    ]


def test_the_words_of_one_of_two_sentences_that_tell_a_fact_are_enough():
    document = {"document_id": 0, "text": "Ann Cole has roots in Selby, ID. She had an office in Selby, ID."}
    asked = {"document_id": 0, "category": "forward", "question": "Where does Ann Cole work?", "answer": "Selby, ID"}
    row = {"method": "ar", "question_id": 0, "category": "forward", "generation": "She had an office in there.", "accuracy": 0.0}
    assert own_words(pd.DataFrame([row]), Corpus.from_rows("biography", "synthetic", [document], [asked])).in_own_words.tolist() == [True]


def test_the_order_of_every_statement_and_its_paraphrases_is_that_of_its_group():
    for row in load_corpus("name_description", source="synthetic").documents:
        assert {tells_name_first(text) for text in row["same_order"]} == {row["group"] == "n2d"}
    assert tells_name_first("Ada Birch.") is None and tells_name_first("The miner of the amber abbey.") is None


def test_answers_are_told_apart_by_whether_they_keep_their_documents_order():
    """N2D people are told name first, D2N ones description first; an answer without a description keeps no order."""
    corpus = load_corpus("name_description", source="synthetic")
    asked = corpus.questions.to_list()
    name_first, description_first = "Ada Birch is the miner of the amber abbey.", "The miner of the amber abbey is Ada Birch."
    rows = [
        {"method": "ar", "question_id": question["question_id"], "category": question["category"], "generation": said, "accuracy": score}
        for category in CATEGORIES["name_description"]
        for question in [next(q for q in asked if q["category"] == category)]
        for said, score in ((name_first, 1.0), (name_first, 0.5), (description_first, 0.25), ("Ada Birch is here.", 0.0))
    ]
    found = answers_by_order(pd.DataFrame(rows), corpus)
    assert found.category.tolist() == [category for category in CATEGORIES["name_description"] for _ in range(2)]
    n2d, d2n = found[found.category.str.startswith("n2d")], found[found.category.str.startswith("d2n")]
    assert n2d.in_its_order.tolist() == d2n.in_its_order.tolist() == [False, True] * 2
    assert n2d.share.tolist() == [0.5] * 4 and n2d.accuracy.tolist() == [0.125, 0.75] * 2
    assert d2n.share.tolist() == [0.75, 0.25] * 2 and d2n.accuracy.tolist() == [0.5, 0.25] * 2
    with pytest.raises(ValueError, match="no d2n_backward answers"):
        answers_by_order(pd.DataFrame(rows[:-4]), corpus)


def test_answers_without_texts_or_without_their_document_are_refused(corpus):
    frame = answers(corpus, [("ar", True, 1.0)])
    with pytest.raises(ValueError, match="no forward answers"):
        own_words(frame.assign(category="backward"), corpus)
    with pytest.raises(ValueError, match="leaves their texts out"):
        own_words(frame.assign(generation=None), corpus)
    other = replace(corpus, questions=corpus.questions.map(lambda _: {"answer": "Atlantis"}))
    with pytest.raises(ValueError, match="'Atlantis', the answer to question .* does not stand in its document"):
        own_words(frame, other)
    other = replace(corpus, questions=corpus.questions.map(lambda _: {"question": "Who was it?"}))
    with pytest.raises(ValueError, match=r"'Who was it\?'.* does not have the words with which its document begins"):
        names_taken_over(frame, other)
    with pytest.raises(ValueError, match="leaves their texts out"):
        names_taken_over(frame.assign(generation=None), corpus)


def test_rivals_are_the_other_documents_that_tell_a_fact_of_the_question():
    """Three people: Ann and Bo were born in Rye, Bo works in Ely, where Cy was born."""
    people = {"Ann": ("Rye", "Art", "Acme"), "Bo": ("Rye", "Law", "Ely"), "Cy": ("Ely", "Zoology", "Apex")}
    documents, questions = [], []
    for number, (name, facts) in enumerate(people.items()):
        documents.append({"document_id": number, "text": f"{name} knows {facts[0]}. She knows {facts[1]}. She knows {facts[2]}."})
        asked = [("forward", f"What of {name}, {n}?", fact) for n, fact in enumerate(facts)]
        asked += [("backward", f"Who knows {facts[0]} and {facts[1]}?", name), ("backward", f"Who knows {facts[1]} and {facts[2]}?", name)]
        questions += [{"document_id": number, "category": category, "question": text, "answer": answer} for category, text, answer in asked]
    corpus = Corpus.from_rows("biography", "synthetic", documents, questions)
    assert count_rivals(corpus) == {3: 1, 4: 0, 8: 1, 9: 1, 13: 1, 14: 0}
    rows = [{"method": "dllm", "question_id": n, "category": "backward", "generation": "?", "accuracy": a} for n, a in ((3, 1.0), (4, 1.0), (8, 0.5), (9, 0.0))]
    found = names_by_rivals(pd.DataFrame(rows), corpus).to_dict("records")
    assert found == [{"method": "dllm", "rivals": 0, "share": 0.25, "accuracy": 1.0}, {"method": "dllm", "rivals": 1, "share": 0.75, "accuracy": 0.5}]
    assert names_by_rivals(pd.DataFrame(rows), corpus, most=0).accuracy.tolist() == [0.625]
    with pytest.raises(ValueError, match="no backward answers"):
        names_by_rivals(pd.DataFrame(rows).assign(category="forward"), corpus)


def test_a_question_of_the_twin_fits_as_many_people_as_one_of_the_original(release, monkeypatch, corpus):
    """What the notebook `forgetting` says: in the median two others share a fact of a question."""
    monkeypatch.setenv("MASKFT_DATA", str(release))
    original = count_rivals(load_corpus("biography"))
    assert statistics.median(original.values()) == statistics.median(count_rivals(corpus).values()) == 2
