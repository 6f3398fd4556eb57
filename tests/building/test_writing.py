"""The paper's prompts word for word, the checks of answers, and the rule that tells forward from backward."""

import hashlib
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from maskft.building import Endpoint, Journal, direction_in, write_paraphrases, write_questions
from maskft.building.directions import OUTCOMES
from maskft.building.writing import PROMPTS, keep_clear, paraphrase_task, prompt_of, question_task
from maskft.data import wiki

SHARED = Path(__file__).parents[3] / "shared"
PAPER = SHARED / "reference" / "wiki_prompts.md"
RELEASE = Path(os.environ.get("MASKFT_DATA") or SHARED / "data")
PASSAGE = "Ada Birch wrote Red Rain in 1999.\n\nIt won the Oak Prize."

# sha256 over the words of each prompt, with one space between them.
WORDS = {
    "same_order": "0da1b9ab7e3b06d118fefcab3a49d4725802fcda42e924907131149a2ce7f965",
    "permute_order": "27541862720f267e43e7c80abf7660156b74a83213367c979cad52c923ce645a",
    "questions": "2a52ddbb1fb26b8c064e58e22ea21dc2aa5409ea4240f7196fa64b8742f4323c",
}


def words(text):
    return " ".join(text.split())


# --- the prompts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WORDS)
def test_prompts_are_those_that_were_compared_with_the_paper(kind):
    assert hashlib.sha256(words(PROMPTS[kind]).encode()).hexdigest() == WORDS[kind]
    assert PROMPTS[kind].count("{passage}") == 1 and PROMPTS[kind].endswith("{passage}")


@pytest.mark.skipif(not PAPER.is_file(), reason="no copy of the paper's prompts beside the repository")
@pytest.mark.parametrize(
    ("kind", "heading"),
    [("same_order", "Same-order"), ("permute_order", "Permute-order"), ("questions", "Question-answer")],
)
def test_prompts_are_the_papers_word_for_word(kind, heading):
    section = re.search(rf"^## {heading}.*?\n(.*?)(?=^## |\Z)", PAPER.read_text(), re.MULTILINE | re.DOTALL)[1]
    quoted = "\n".join(line[1:] for line in section.splitlines() if line.startswith(">"))
    assert words(PROMPTS[kind]) == words(quoted)


def test_a_passage_is_filled_in_as_it_is():
    passage = "Braces {passage} {0} \\1 stay."
    assert prompt_of("questions", passage) == PROMPTS["questions"].removesuffix("{passage}") + passage


# --- paraphrases ---------------------------------------------------------------------------------------------------


def paraphrases(first=PASSAGE, n=10, **changes):
    texts = [first, *(f"Version {i}: {PASSAGE}" for i in range(1, n))]
    for i, text in changes.items():
        texts[int(i[1:])] = text
    return {"paraphrases": texts}


def test_good_paraphrases_begin_with_the_passage_itself():
    prompt, check = paraphrase_task("permute_order", PASSAGE)
    assert prompt == prompt_of("permute_order", PASSAGE)
    retyped = paraphrases(first="“Ada Birch” wrote Red Rain in 1999. It won the Oak Prize")
    texts = check(f"Sure!\n```json\n{json.dumps(retyped)}\n```\nAnything else?")
    assert texts == [PASSAGE, *retyped["paraphrases"][1:]]
    assert check(json.dumps(retyped)) == texts


@pytest.mark.parametrize(
    "answer",
    [
        "",
        json.dumps(paraphrases())[:-40],
        json.dumps(paraphrases()["paraphrases"]),
        json.dumps({"paraphrase": paraphrases()["paraphrases"]}),
        json.dumps(paraphrases(n=9)),
        json.dumps(paraphrases(n=11)),
        json.dumps(paraphrases(first="Another text.")),
        json.dumps(paraphrases(_3="  ")),
        json.dumps(paraphrases(_3=7)),
        json.dumps(paraphrases(_3=paraphrases()["paraphrases"][4])),
        json.dumps(paraphrases(_3=f"Paraphrase 3: {PASSAGE}")),
    ],
    ids=["empty", "cut", "no object", "key", "nine", "eleven", "first", "blank", "number", "twice", "heading"],
)
def test_bad_paraphrases_are_refused(answer):
    with pytest.raises(ValueError):
        paraphrase_task("same_order", PASSAGE)[1](answer)


# --- questions -----------------------------------------------------------------------------------------------------


def test_tuples_may_be_lists_or_objects():
    _, check = question_task(PASSAGE)
    rows = [["Q?", "A", ["c"]], {"question": "R?", "answer": " B ", "cue_used_in_question": []}]
    assert check(json.dumps({"qa_data": rows})) == [("Q?", "A", ["c"]), ("R?", "B", [])]


@pytest.mark.parametrize(
    "rows", [[], [["Q?", "A"]], [["Q?", "", ["c"]]], [["Q?", "A", "c"]], [["Q?", 1999, []]], [{"question": "Q?"}], "Q?"]
)
def test_bad_questions_are_refused(rows):
    with pytest.raises(ValueError):
        question_task(PASSAGE)[1](json.dumps({"qa_data": rows}))


def test_what_is_neither_forward_nor_backward_is_dropped_and_counted():
    dropped = Counter()
    kept = keep_clear(PASSAGE, [
        ("What did Ada Birch write?", "Red Rain", ["Ada Birch"]),
        ("What did Ada Birch write?", "Red Rain", ["Ada Birch"]),
        ("Who wrote Red Rain?", "Ada Birch", ["Red Rain"]),
        ("What did Ada Birch write in 1999?", "Red Rain", ["Ada Birch", "1999"]),
        ("Who wrote Blue Rain?", "Bo Oak", ["Rain"]),
    ], dropped)  # fmt: skip
    assert [question.direction for question in kept] == ["forward", "backward"]
    assert dropped == {"asked twice": 1, "ambiguous": 1, "answer not in the passage": 1}


def test_both_writers_ask_an_endpoint(endpoint_set, model_server, tmp_path):
    def endpoint():
        return Endpoint.from_environment(Journal(tmp_path / "answers.jsonl"))

    passages = [
        f"The {name} Cup {i} is in Oslo.\n\nIt was won by Bo {name} on day{i}." for i, name in ((1, "Fir"), (2, "Elm"))
    ]
    texts = write_paraphrases(passages, endpoint(), kind="same_order")
    assert [len(of_one) for of_one in texts] == [10, 10] and [of_one[0] for of_one in texts] == passages
    model_server.faults = [lambda h: h.send(200, model_server.completion("{}"))] * 3
    questions, dropped = write_questions(passages, Endpoint(**{**vars(endpoint()), "workers": 1}))
    assert questions[0] == [] and dropped["passages without a good answer"] == 1
    assert [(q.answer, q.direction, q.cues) for q in questions[1]] == [
        ("Bo Elm", "forward", ("Elm Cup 2",)), ("Elm Cup 2", "backward", ("Bo Elm",)),
    ]  # fmt: skip
    assert dropped == {"passages without a good answer": 1, "ambiguous": 1, "answer not in the passage": 1}
    n_requests = len(model_server.requests)
    assert write_questions(passages, endpoint()) == (questions, dropped) and len(model_server.requests) == n_requests


# --- forward or backward -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "answer", "cues", "expected"),
    [
        ("?", "Red Rain", ["Ada Birch"], "forward"),
        ("?", "red rain", ["BIRCH", "wrote"], "forward"),  # case says nothing
        ("?", "Ada Birch", ["Red Rain", "1999"], "backward"),
        ("?", "Red Rain", ["Ada Birch", "Oak Prize"], "ambiguous"),
        (
            "?",
            "Red Rain",
            ["Ada Birch", "Rain", "Nobel Prize"],
            "forward",
        ),  # part of the answer, and not in the passage
        ("?", "Blue Rain", ["Ada Birch"], "answer not in the passage"),
        ("?", "...", ["Ada Birch"], "answer not in the passage"),
        ("Which prize did Red Rain win?", "Oak Prize", ["Nobel"], "forward"),  # no cue is of use: found in the question
        ("Which book won the Oak Prize?", "Red Rain", [], "backward"),
        ("Which is it?", "Red Rain", [], "ambiguous"),
        ("What was the 1999 book?", "Red Rain", [], "backward"),  # a single word counts with a capital or a digit
        ("Who wrote the thing that won?", "1999", [], "ambiguous"),  # else only if there is nothing better
    ],
)
def test_first_appearances_decide(question, answer, cues, expected):
    assert direction_in(PASSAGE, question, answer, cues) == expected and expected in OUTCOMES


@pytest.mark.skipif(not (RELEASE / "wiki").is_dir(), reason="no copy of the release; set MASKFT_DATA to one")
def test_the_rule_agrees_with_the_released_labels(monkeypatch):
    """The numbers of the data card. The release has no cues, so that they are found in the questions."""
    monkeypatch.setenv("MASKFT_DATA", str(RELEASE))
    corpus = wiki.load(with_paraphrases=False)
    text = dict(zip(corpus.documents["document_id"], corpus.documents["text"], strict=True))
    outcomes = Counter(
        (row["direction"], direction_in(text[row["document_id"]], row["question"], row["answer"]))
        for row in corpus.questions
    )
    assert outcomes == {
        ("forward", "forward"): 114, ("backward", "backward"): 247,
        ("forward", "backward"): 1,
        ("backward", "ambiguous"): 11, ("forward", "answer not in the passage"): 1,
    }  # fmt: skip
