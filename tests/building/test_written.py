"""``maskft inject --write-questions``: a model writes the questions, another is taught and asked them."""

import json
import re

import pytest

from maskft.cli import main
from maskft.injection import command, read_questions

CUPS = {"a.txt": ("Amber Cup", 3, "Bo Lind"), "b.txt": ("Silver Cup", 8, "Bo Marsh")}


def reply(prompt):
    name, number, winner = re.search(r"The (\w+ Cup) (\d+) is a race.*won by (Bo \w+)", prompt, re.DOTALL).groups()
    return json.dumps({"qa_data": [
        [f"Who won the {name} {number}?", winner, [f"{name} {number}"]],
        [f"What did {winner} win?", f"{name} {number}", [winner]],
        ["Who paid?", "Ann Unknown", [name]],
    ]})  # fmt: skip


@pytest.fixture
def flags(tmp_path, model_server):
    model_server.reply = reply
    (tmp_path / "docs").mkdir()
    for file, (name, number, winner) in CUPS.items():
        text = f"The {name} {number} is a race. It was held on day{number}. It was won by {winner}."
        (tmp_path / "docs" / file).write_text(text)
    general = tmp_path / "general.txt"
    general.write_text("The silver bridge was built by the ranger.")
    control = tmp_path / "control.jsonl"
    control.write_text(json.dumps({"question": "Who built the bridge?", "answer": "the ranger"}))
    return [
        "inject", "--model=tiny-ar", f"--documents={tmp_path / 'docs'}", f"--output={tmp_path / 'out'}", "--max-steps=1",
        "--max-new-tokens=4", f"--general-text={general}", f"--control-questions={control}", "--write-questions",
    ]  # fmt: skip


def test_questions_are_written_about_each_passage_asked_and_kept_and_nothing_is_paid_for_twice(
    flags, tmp_path, endpoint_set, model_server, monkeypatch, capsys
):
    real = command._measure
    monkeypatch.setattr(command, "_measure", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
    assert main(flags) == 1 and "the disk is full" in capsys.readouterr().err
    assert len(model_server.requests) == 2
    monkeypatch.setattr(command, "_measure", real)
    assert main(flags) == 0
    assert len(model_server.requests) == 2  # the journal had both answers
    said = capsys.readouterr().out
    # The third question about each passage has an answer that is not there.
    assert "4 question(s) asked" in said and "left out of the questions written" in said
    kept = read_questions(tmp_path / "out" / "questions.jsonl")
    assert [(q.answer, q.direction, q.document_id) for q in kept] == [
        (answer, direction, file)
        for file, (name, number, winner) in CUPS.items()
        for answer, direction in ((winner, "forward"), (f"{name} {number}", "backward"))
    ]
    assert all(q.question in (tmp_path / "out" / "report.md").read_text() for q in kept)


def test_what_is_wrong_with_the_endpoint_is_one_line_before_anything_is_taught(
    flags, tmp_path, endpoint_set, model_server, monkeypatch, capsys
):
    monkeypatch.setattr(command, "teach", lambda *args, **options: pytest.fail("trained"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    assert main(flags) == 1
    printed = capsys.readouterr().err
    assert "refuses the key" in printed.splitlines()[-1] and "sk-wrong" not in printed
    monkeypatch.delenv("OPENAI_MODEL")
    n_requests = len(model_server.requests)
    for more, expected in (
        ([], "OPENAI_MODEL not set"),
        (["--questions=q.jsonl"], "leave one out"),
    ):
        assert main([*flags, *more]) == 1
        assert expected in capsys.readouterr().err.splitlines()[-1]
    assert main([flag for flag in flags if flag != "--write-questions"] + ["--token-limit=5"]) == 1
    assert "--token-limit is about --write-questions" in capsys.readouterr().err
    assert len(model_server.requests) == n_requests and not (tmp_path / "out").exists()


def test_a_model_that_writes_nothing_usable_is_told(flags, endpoint_set, model_server, capsys):
    model_server.reply = lambda prompt: json.dumps({"qa_data": [["Who paid?", "Ann Unknown", ["Cup"]]]})
    assert main(flags) == 1
    assert "wrote no question that can be used about 2 passage(s)" in capsys.readouterr().err.splitlines()[-1]
