"""Documents of one's own: read from files, cut at sentence ends; questions about them: read, checked, held back."""

import json

import pytest
from datasets import Dataset

from maskft.injection.passages import Document, cut, markdown_prose, read_documents, sentences
from maskft.injection.questions import Question, check_questions, content_words, hold_back, read_questions


def count_words(text: str) -> int:
    return len(text.split())


def numbered(*lengths: int) -> str:
    """A text with a sentence of each length, whose words say which sentence they are of."""
    return " ".join(" ".join([f"S{i}"] + ["w"] * (n - 2) + [f"e{i}."]) for i, n in enumerate(lengths))


# --- reading


def test_a_folder_is_read_with_its_subfolders_each_kind_of_file_in_its_way(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "a.txt").write_text("﻿Zoë came.", encoding="utf-8")
    (tmp_path / "b" / "c.MD").write_text("---\ntitle: x\n---\n# Head\n\nSee *her* [page](u).\n\n```\ncode\n```\n")
    (tmp_path / "d.jsonl").write_text('{"text": "One."}\n\n{"text": "Two.", "id": 7}\n{"text": "Three.", "document_id": "x"}\n')
    (tmp_path / ".git" / "e.txt").write_text("hidden")
    (tmp_path / "f.pdf").write_text("x")
    (tmp_path / "g.txt").write_text(" \n")
    reading = read_documents(tmp_path)
    assert [(d.document_id, d.text) for d in reading.documents] == [
        ("a.txt", "Zoë came."), ("b/c.MD", "Head\n\nSee her page."), ("d.jsonl:1", "One."), ("7", "Two."), ("x", "Three."),
    ]  # fmt: skip
    assert sorted(reading.notes) == [
        "b/c.MD: 1 code or HTML block(s) were left out", "g.txt is empty", "not read, because only .txt, .md, .jsonl are: f.pdf",
    ]  # fmt: skip


def test_one_file_is_documents_too(tmp_path):
    (tmp_path / "a.txt").write_text("Zoë came.")
    (tmp_path / "b.txt").write_text("No.")
    assert read_documents(tmp_path / "a.txt").documents == [Document("a.txt", "Zoë came.")]


def test_a_data_set_is_read_by_name(monkeypatch):
    def load(name, split):
        assert (name, split) == ("someone/things", "train")
        return Dataset.from_dict({"body": ["One.", "Two."], "id": ["a", "b"]})

    monkeypatch.setattr("datasets.load_dataset", load)
    assert read_documents("someone/things", text_column="body").documents == [Document("a", "One."), Document("b", "Two.")]
    with pytest.raises(ValueError, match=r"someone/things:0 has no text in 'text'; it has body, id \(--text-column"):
        read_documents("someone/things")


def test_a_name_that_is_neither_folder_nor_data_set_says_so(monkeypatch):
    def load(name, split):
        raise ConnectionError("no way\nto the hub")

    monkeypatch.setattr("datasets.load_dataset", load)
    with pytest.raises(ValueError, match=r"'docs' is neither a folder nor a data set.*ConnectionError: no way\)"):
        read_documents("docs")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", b"PK\x00\x01", r"a.txt is no text: byte 2 is 0"),
        ("a.txt", "Zoë".encode("utf-16"), r"a.txt is no text"),
        ("a.md", "Zoë".encode("latin-1"), r"a.md is not UTF-8 \(byte 2 is 0xeb\).*iconv"),
        ("a.txt", b"", r"holds no document.*a.txt is empty"),
        ("a.pdf", b"x", r"holds no document to teach; put .txt, .md, .jsonl files.*a.pdf"),
        ("a.jsonl", b'{"text": "x"}\nno', r"a.jsonl, line 2 is not JSON"),
        ("a.jsonl", b"[1]", r"a.jsonl, line 1 is not a JSON object but '\[1\]'"),
        ("a.jsonl", b'{"body": "x"}', r"a.jsonl:1 has no text in 'text'; it has body"),
        ("a.jsonl", b'{"text": "x", "id": 1}\n{"text": "y", "id": 1}', r"two documents have the id '1'"),
        ("a.md", b"```\ncode\n```", r"holds no document.*1 code or HTML"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_fix(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=expected):
        read_documents(tmp_path)


def test_an_empty_folder_says_what_belongs_there(tmp_path):
    with pytest.raises(ValueError, match=r"holds no document to teach; put .txt, .md, .jsonl"):
        read_documents(tmp_path)


def test_tables_lists_and_line_ends_of_markdown_become_text():
    text = "Line one\nline two.\n\n- item <b>x</b>\n\n| a | b |\n| - | - |\n| c | d |\n\n<div>html</div>"
    assert markdown_prose(text) == ("Line one line two.\n\nitem x\n\na\n\nb\n\nc\n\nd", 1)


# --- cutting


def test_passages_hold_whole_sentences_as_many_as_fit():
    """Sentences of 4, 3, 5, 2, 6, 1 words in at most 7: 4+3, 5+2, 6+... the last has 2 words, 6+2 > 7."""
    found = cut([Document("d", numbered(4, 3, 5, 2, 6, 2))], count_words, budget=7, longest=50)
    assert [p.n_tokens for p in found.passages] == [7, 7, 6, 2]
    assert " ".join(p.text for p in found.passages) == numbered(4, 3, 5, 2, 6, 2)
    assert all(p.text.endswith(".") and p.text.startswith("S") for p in found.passages)
    assert (found.n_cut, found.too_long, found.duplicates) == (1, [], [])


def test_paragraphs_stay_apart_and_other_white_space_is_one_space():
    found = cut([Document("d", "One  is\nhere.\n \nTwo is.")], count_words, budget=9, longest=9)
    assert [p.text for p in found.passages] == ["One is here.\nTwo is."] and found.n_cut == 0


def test_a_sentence_longer_than_the_budget_is_kept_whole_and_noted():
    found = cut([Document("d", numbered(2, 9, 2))], count_words, budget=5, longest=9)
    assert [p.n_tokens for p in found.passages] == [2, 9, 2]
    assert found.too_long == [("d", 9, "S1 w w w w w w w")]


def test_a_sentence_longer_than_the_context_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"longer than the 8 tokens.*d: 9 tokens from 'S1 w"):
        cut([Document("d", numbered(2, 9))], count_words, budget=5, longest=8)
    with pytest.raises(ValueError, match="passage of 9 tokens must lie between 1 and the 8"):
        cut([Document("d", "x")], count_words, budget=9, longest=8)


def test_a_passage_comes_once_wherever_it_is_from():
    documents = [Document("a", "Same here.  Other."), Document("b", "Same\nhere."), Document("c", "Same here.")]
    found = cut(documents, count_words, budget=2, longest=9)
    assert [(p.document_id, p.text) for p in found.passages] == [("a", "Same here."), ("a", "Other.")]
    assert found.duplicates == [("b", "a"), ("c", "a")]


def test_abbreviations_and_other_scripts_end_no_sentence_too_early():
    assert sentences("Dr. Birch paid 3.5 pounds. She left.") == [["Dr. Birch paid 3.5 pounds. ", "She left."]]
    assert sentences("これは犬です。あれは猫です。") == [["これは犬です。", "あれは猫です。"]]


# --- questions


def write(path, *rows):
    path.write_text("\n".join(json.dumps(row) if isinstance(row, dict) else row for row in rows))
    return path


def test_questions_have_a_direction_and_a_document_where_the_file_says_so(tmp_path):
    file = write(
        tmp_path / "q.jsonl",
        {"question": " Who? ", "answer": "Ada"},
        {"question": "What?", "answer": "x", "direction": "backward", "document_id": 7, "other": 1},
        {"question": "When?", "answer": "y", "direction": None, "document_id": None},
    )
    assert read_questions(file) == [Question("Who?", "Ada"), Question("What?", "x", "backward", "7"), Question("When?", "y")]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"question": "Who?"}, "line 1: answer is None; expected a text"),
        ({"question": "", "answer": "x"}, "line 1: the question is empty"),
        ({"question": "Who?", "answer": "The."}, "line 1: the answer 'The.' has no word to score"),
        ({"question": "Who?", "answer": "x", "direction": "back"}, "direction='back' is not one of forward, backward, unknown"),
        ("no json", "line 1 is not JSON"),
        ("", "holds no question"),
    ],
)
def test_a_line_that_is_no_question_is_named(tmp_path, row, expected):
    with pytest.raises(ValueError, match=expected):
        read_questions(write(tmp_path / "q.jsonl", row))
    with pytest.raises(ValueError, match="there is no file"):
        read_questions(tmp_path / "none.jsonl")


DOCUMENTS = [Document("a.txt", "Ada Birch keeps the silver bridge."), Document("b.txt", "Hugo Marsh is a poet.")]


def test_questions_about_documents_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match=r"1 question.*'a.tx' \(did you mean 'a.txt'\?\)"):
        check_questions([Question("Who is Ada?", "Birch", document_id="a.tx")], DOCUMENTS)
    with pytest.raises(ValueError, match=r"1 question.*share no word.*Who is Cleo\?"):
        check_questions([Question("Who is Cleo?", "a baker")], DOCUMENTS)
    # In the other document does not count where one is named.
    with pytest.raises(ValueError, match="share no word"):
        check_questions([Question("Who is Hugo?", "a poet", document_id="a.txt")], DOCUMENTS)


def test_an_answer_that_no_document_holds_is_noted_and_others_are_not():
    asked = [Question("What does Ada Birch's family keep?", "the silver bridge"), Question("Who is Hugo?", "a painter")]
    assert check_questions(asked, DOCUMENTS) == ["no word of the answer is in the documents: Who is Hugo?"]


def test_content_words_leave_out_what_every_question_has():
    assert content_words("Who did what to Ada's bridge?") == {"ada", "bridge"}


def test_the_share_held_back_is_of_each_direction_and_the_same_every_time():
    questions = [Question(f"q{i}", "x", ("forward", "backward", "backward", "unknown")[i % 4]) for i in range(80)]
    held, asked = hold_back(questions, 0.25, seed=1)
    assert [sum(q.direction == d for q in held) for d in ("forward", "backward", "unknown")] == [5, 10, 5]
    assert sorted(q.question for q in held + asked) == sorted(q.question for q in questions)
    assert hold_back(questions, 0.25, seed=1) == (held, asked) != hold_back(questions, 0.25, seed=2)


def test_a_handful_of_questions_is_not_split():
    questions = [Question(f"q{i}", "x") for i in range(14)]
    assert hold_back(questions[:13], 0.25, 0) == ([], questions[:13])  # a quarter of 13 rounds to 3
    assert len(hold_back(questions, 0.25, 0)[0]) == 4
    with pytest.raises(ValueError, match=r"held back 1.0 must lie in \[0, 1\)"):
        hold_back(questions, 1.0, 0)
