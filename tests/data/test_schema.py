"""The schema: what a corpus refuses, and what it hands to training. All numbers follow from `small_rows`."""

import copy

import pytest
from datasets import Dataset

from maskft.data import CATEGORIES, DATASETS, Corpus, direction_of, load_corpus
from maskft.data.schema import DOCUMENT_FEATURES, QUESTION_FEATURES


def small_rows():
    """Two NameDescription documents, 2 same_order texts each, one question per category: 2 x 2 questions."""
    documents = [
        {"document_id": 7, "group": "n2d", "text": "Ann is tall.", "same_order": ["Ann is tall.", "Ann: tall."]},
        {"document_id": 9, "group": "d2n", "text": "Short is Bo.", "same_order": ["Short is Bo.", "Short: Bo."]},
    ]
    questions = [
        {"document_id": 7, "category": "n2d_forward", "question": "Ann is what?", "answer": "tall"},
        {"document_id": 7, "category": "n2d_backward", "question": "Who is tall?", "answer": "Ann"},
        {"document_id": 9, "category": "d2n_forward", "question": "Who is short?", "answer": "Bo"},
        {"document_id": 9, "category": "d2n_backward", "question": "Bo is what?", "answer": "short"},
    ]
    return documents, questions


def small_corpus():
    return Corpus.from_rows("name_description", "original", *small_rows())


def test_every_category_has_a_direction_and_each_data_set_has_both():
    for name in DATASETS:
        assert {direction_of(category) for category in CATEGORIES[name]} == {"forward", "backward"}
    with pytest.raises(ValueError, match="category='sideways'.*n2d_forward"):
        direction_of("sideways")


def test_from_rows_fills_question_ids_directions_and_empty_kinds():
    corpus = small_corpus()
    assert corpus.documents.column_names == list(DOCUMENT_FEATURES)
    assert corpus.questions.column_names == list(QUESTION_FEATURES)
    assert corpus.questions["question_id"][:] == [0, 1, 2, 3]
    assert corpus.questions["direction"][:] == ["forward", "backward", "forward", "backward"]
    assert corpus.documents["permute_order"][:] == [[], []]
    assert corpus.paraphrase_kinds == ("none", "same_order")


def test_training_texts_go_document_by_document_then_in_paraphrase_order():
    corpus = small_corpus()
    assert corpus.training_texts("none").to_list() == [
        {"document_id": 7, "text": "Ann is tall."},
        {"document_id": 9, "text": "Short is Bo."},
    ]
    assert corpus.training_texts("same_order").to_list() == [
        {"document_id": 7, "text": "Ann is tall."},
        {"document_id": 7, "text": "Ann: tall."},
        {"document_id": 9, "text": "Short is Bo."},
        {"document_id": 9, "text": "Short: Bo."},
    ]


@pytest.mark.parametrize("asked", ["permute_order", "permuted"])
def test_a_kind_of_paraphrase_that_is_not_there_is_refused_with_those_that_are(asked):
    with pytest.raises(ValueError, match=f"paraphrases='{asked}'.*choose one of none, same_order$"):
        small_corpus().training_texts(asked)


def test_selecting_documents_keeps_their_questions_and_ids():
    part = small_corpus().select_documents([9])
    assert part.documents["document_id"][:] == [9]
    assert part.questions["question_id"][:] == [2, 3]
    with pytest.raises(ValueError, match=r"document_ids \[1, 8\] are not in name_description"):
        small_corpus().select_documents([8, 7, 1])
    with pytest.raises(ValueError, match="at least one"):
        small_corpus().select_documents([])


def test_a_selection_without_questions_is_a_corpus():
    documents, questions = small_rows()
    corpus = Corpus.from_rows("name_description", "original", documents, questions[:2])
    assert len(corpus.select_documents([9]).questions) == 0


def test_the_fingerprint_is_of_the_content_and_nothing_else():
    fingerprint = small_corpus().fingerprint
    assert len(fingerprint) == 16 and int(fingerprint, 16) >= 0
    assert small_corpus().fingerprint == fingerprint
    assert small_corpus().select_documents([7, 9]).fingerprint == fingerprint  # indices mapping, same rows
    seen = {fingerprint, Corpus.from_rows("name_description", "synthetic", *small_rows()).fingerprint}
    for part, row, key, value in [
        (0, 1, "text", "Short is Bo!"),
        (0, 0, "same_order", ["Ann: tall.", "Ann is tall."]),
        (0, 0, "document_id", 7_000),
        (1, 3, "answer", "Short"),
        (1, 3, "question_id", 50),
    ]:
        rows = copy.deepcopy(small_rows())
        rows[part][row][key] = value
        if key == "document_id":
            rows[1][0][key] = rows[1][1][key] = value
        seen.add(Corpus.from_rows("name_description", "original", *rows).fingerprint)
    assert len(seen) == 7  # the first, the synthetic one, and five changes


BROKEN = [
    (0, 1, {"document_id": 7}, r"documents, row 1 \(document_id 7\): this document_id occurs twice"),
    (0, 0, {"text": "  "}, "documents, row 0 .*a text is empty"),
    (0, 1, {"same_order": ["Short is Bo.", ""]}, "documents, row 1 .*a text is empty"),
    (0, 1, {"same_order": []}, "documents, row 1 .*same_order holds 0 texts, but row 0 has 2"),
    (0, 1, {"permute_order": ["x"]}, "documents, row 1 .*permute_order holds 1 texts, but row 0 has 0"),
    (0, 0, {"group": ""}, "documents, row 0 .*group=''"),
    (0, 0, {"colour": "red"}, "row 0 has columns .*colour"),
    (1, 2, {"document_id": 8}, r"questions, row 2 .*document_id=8 is not among the documents"),
    (1, 2, {"question_id": 0}, r"questions, row 2 \(question_id 0\): this question_id occurs twice"),
    (1, 2, {"category": "n2d_forward"}, "questions, row 2 .*category='n2d_forward'.*a d2n document"),
    (1, 2, {"category": "forward"}, "questions, row 2 .*category='forward'"),
    (1, 2, {"direction": "backward"}, "questions, row 2 .*direction='backward' does not fit"),
    (1, 3, {"question": ""}, "questions, row 3 .*question is empty"),
    (1, 3, {"answer": ""}, "questions, row 3 .*answer is empty"),
]


@pytest.mark.parametrize(("part", "row", "change", "message"), BROKEN)
def test_a_broken_row_is_refused_and_named(part, row, change, message):
    rows = small_rows()
    rows[part][row].update(change)
    with pytest.raises(ValueError, match=message):
        Corpus.from_rows("name_description", "original", *rows)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="name='nd'.*name_description, biography, wiki"):
        load_corpus("nd")
    with pytest.raises(ValueError, match="source='tiny'.*original, synthetic"):
        load_corpus("wiki", source="tiny")
    with pytest.raises(ValueError, match="name='nd'"):
        Corpus.from_rows("nd", "original", *small_rows())
    with pytest.raises(ValueError, match="source='tiny'"):
        Corpus.from_rows("name_description", "tiny", *small_rows())


def test_tables_with_other_columns_are_refused():
    corpus = small_corpus()
    with pytest.raises(ValueError, match="documents have columns.*use Corpus.from_rows"):
        Corpus("wiki", "original", Dataset.from_dict({"text": ["a"]}), corpus.questions)
