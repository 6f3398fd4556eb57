"""The asker of language models, against a server on this machine that speaks the real protocol and often fails."""

import errno
import json
import logging
import re
import threading
import traceback

import pytest

from maskft.building import Endpoint, Journal


@pytest.fixture
def endpoint(endpoint_set, tmp_path):
    def make(**settings):
        journal = Journal(tmp_path / "answers.jsonl")
        return Endpoint.from_environment(journal, **{"max_retries": 1, "timeout_s": 30.0, **settings})

    return make


@pytest.fixture
def echo(model_server):
    """The model answers with the prompt, in capitals."""
    model_server.reply = str.upper
    return model_server


def shout(answer):
    """A check: capitals are good."""
    if not answer.isupper():
        raise ValueError("not in capitals")
    return answer + "!"


def prompts(n):
    return [(f"prompt {'abcdefghij'[i]}", shout) for i in range(n)]


def test_answers_come_in_the_order_of_the_prompts_and_once(endpoint, echo):
    asked = endpoint()
    assert asked.ask(prompts(6)) == [f"PROMPT {c}!" for c in "ABCDEF"]
    assert endpoint().ask(prompts(8)) == [f"PROMPT {c}!" for c in "ABCDEFGH"]
    assert len(echo.requests) == 8 and endpoint().tokens_used == 800
    body = echo.requests[0]["body"]
    assert body["model"] == "m" and body["max_completion_tokens"] == 16_384


def test_workers_ask_side_by_side(endpoint, echo):
    """Three requests must be under way at once for the first of them to be answered."""
    together = threading.Barrier(3, timeout=30)
    echo.reply = lambda prompt: (together.wait(), prompt.upper())[1]
    assert None not in endpoint(workers=3).ask(prompts(3))


def test_a_bad_answer_is_asked_for_again_and_paid_for(endpoint, echo):
    replies = iter(["no", "", "GOOD", *["no"] * 3])
    echo.reply = lambda prompt: next(replies)
    asked = endpoint(workers=1)
    assert asked.ask(prompts(2)) == ["GOOD!", None]
    assert len(echo.requests) == 6 and asked.tokens_used == 600
    assert endpoint(workers=1).ask(prompts(2)) == ["GOOD!", None] and len(echo.requests) == 6


def test_an_answer_that_is_no_completion_is_a_bad_one(endpoint, echo, faults):
    empty = echo.completion("")
    empty["choices"] = []
    echo.faults = [faults.cut_json, lambda handler: handler.send(200, empty)]
    asked = endpoint(max_completion_tokens=1000)
    assert asked.ask(prompts(1)) == ["PROMPT A!"]
    assert asked.tokens_used == 2 * (1000 + 64 + len("prompt a")) + 100  # not told what they cost: the most they could


@pytest.mark.parametrize(
    ("fault", "least_wait"), [("too_many", 7), ("unavailable", 0), ("cut_body", 0), ("slow", 0), ("hang_up", 0)]
)
def test_a_passing_fault_is_waited_out(fault, least_wait, endpoint, echo, faults, naps):
    echo.faults = [getattr(faults, fault)]
    assert endpoint(timeout_s=5.0 if fault == "slow" else 30.0).ask(prompts(1)) == ["PROMPT A!"]
    assert max(naps) >= least_wait


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("too_many", r"\(HTTP 429: slow down\), after up to 1 retries"),
        ("slow", "did not answer in time"),
        ("hang_up", "cannot be reached"),
    ],
)
def test_a_lasting_fault_keeps_the_answers_before(fault, message, endpoint, echo, faults, naps):
    asked = endpoint(workers=1, timeout_s=5.0 if fault == "slow" else 30.0)
    asked.ask(prompts(2))
    echo.faults = [getattr(faults, fault)] * 2
    with pytest.raises(ConnectionError, match=f"{message}.*Every answer received is kept"):
        asked.ask(prompts(4))
    assert endpoint().ask(prompts(4))[3] == "PROMPT D!" and len(echo.requests) == 2 + 2 + 2


def test_nothing_that_was_sent_is_lost_when_another_request_fails(endpoint, echo, faults):
    """One prompt is refused while another's answer is on its way: that is kept, and the rest is not asked for."""
    refused = threading.Event()

    def refuse(handler):
        faults.says(400, "no")(handler)
        refused.set()

    echo.faults = [refuse]
    echo.reply = lambda prompt: (refused.wait(30), prompt.upper())[1]
    with pytest.raises(ValueError, match="HTTP 400"):
        endpoint(workers=2).ask(prompts(10))
    n_kept = len(Journal(endpoint().journal.path))
    assert 1 <= n_kept < 9 and len(echo.requests) == n_kept + 1


def test_the_limit_on_tokens_is_kept(endpoint, echo):
    """The model takes 100 tokens an answer. The next one could take 108 + 64 + len(prompt)."""
    settings = {"workers": 4, "max_completion_tokens": 108, "token_limit": 500}
    with pytest.raises(ValueError, match=r"limit of 500 tokens: \d00 are used and the next answer may take 180"):
        endpoint(**settings).ask(prompts(10))
    assert endpoint().tokens_used <= 500
    with pytest.raises(ValueError, match=r"limit of 500 tokens: 400 are used and"):
        endpoint(**settings | {"workers": 1}).ask(prompts(10))
    assert endpoint(token_limit=1172, max_completion_tokens=108).ask(prompts(9))[8] == "PROMPT I!"


def test_a_server_that_counts_nothing_is_counted_too_high(endpoint, echo):
    full = echo.completion("ANSWER")
    del full["usage"]
    echo.faults = [lambda handler: handler.send(200, full)]
    asked = endpoint()
    asked.ask(prompts(1))
    assert asked.tokens_used == len("prompt a") + len("ANSWER")


def test_a_wrong_key_is_told_at_once_and_the_key_nowhere(endpoint, echo, key, monkeypatch, caplog, tmp_path, capsys):
    """The server repeats the key it was sent, as real ones do in part."""
    caplog.set_level(logging.DEBUG)
    wrong = key.replace("0123", "9999")
    monkeypatch.setenv("OPENAI_API_KEY", wrong)
    asked = endpoint()
    with pytest.raises(PermissionError, match=r"refuses the key \(HTTP 401\); set OPENAI_API_KEY") as caught:
        asked.ask(prompts(1))
    assert len(echo.requests) == 1
    echo.faults = [lambda handler: handler.send(400, {"error": {"message": f"bad {wrong} at {echo.address}/v1"}})]
    with pytest.raises(ValueError, match=r"HTTP 400: bad \*\*\* at \*\*\*\)") as refused:
        asked.ask(prompts(1))
    shown = "".join(traceback.format_exception(caught.value) + traceback.format_exception(refused.value))
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    output = capsys.readouterr()
    assert wrong not in shown + written + caplog.text + repr(asked) + output.out + output.err
    assert echo.address not in repr(asked) + written


def test_no_key_is_sent_as_none(endpoint, echo, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(PermissionError):
        endpoint().ask(prompts(1))
    assert echo.requests[0]["key"] == "Bearer none"


def test_a_page_for_people_is_told_at_once(endpoint, echo, faults):
    echo.faults = [faults.page_for_people]
    with pytest.raises(ValueError, match="not in JSON; does the address end in /v1"):
        endpoint().ask(prompts(1))
    assert endpoint().tokens_used == 0 and len(echo.requests) == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("OPENAI_BASE_URL", "localhost:8000/v1", "OPENAI_BASE_URL is no address"),
        ("OPENAI_BASE_URL", "http://localhost:80o0/v1", "OPENAI_BASE_URL is no address"),
        ("OPENAI_BASE_URL", "http://my..host/v1", "OPENAI_BASE_URL is no address"),
        ("OPENAI_BASE_URL", "http://\u2603.example:1/v1", "OPENAI_BASE_URL is no address"),
        ("OPENAI_BASE_URL", "http://a host/v1", "OPENAI_BASE_URL is no address"),
        ("OPENAI_API_KEY", "sk-“quoted”", "OPENAI_API_KEY holds a character that cannot be sent"),
    ],
)
def test_what_can_be_no_address_or_key_is_told_without_it(name, value, message, endpoint_set, monkeypatch, tmp_path):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message) as caught:
        Endpoint.from_environment(Journal(tmp_path / "answers.jsonl"))
    assert value not in str(caught.value)


@pytest.mark.parametrize("name", ["OPENAI_BASE_URL", "OPENAI_MODEL"])
def test_no_endpoint(name, endpoint_set, monkeypatch, tmp_path):
    monkeypatch.setenv(name, " ")
    with pytest.raises(ValueError, match=f"no endpoint: {name} not set"):
        Endpoint.from_environment(Journal(tmp_path / "answers.jsonl"))


# --- the journal ---------------------------------------------------------------------------------------------------


def test_a_torn_line_is_cut_off(tmp_path):
    path = tmp_path / "a" / "journal.jsonl"
    journal = Journal(path)
    journal.put({"q": 1}, "one")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])
    again = Journal(path)
    assert again.get({"q": 1})["answer"] == "one" and len(again) == 1 and path.read_bytes() == whole
    again.put({"q": 2}, "zwei\u2028\n")
    assert [json.loads(line)["answer"] for line in path.read_text().split("\n") if line] == ["one", "zwei\u2028\n"]
    assert list(Journal(path).answers()) == ["one", "zwei\u2028\n"]


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "journal.jsonl"
    Journal(path).put({"q": 1}, "one")
    path.write_bytes(b'{"key": \n' + path.read_bytes())
    with pytest.raises(ValueError, match=f"{re.escape(str(path))}, line 1 is no entry"):
        Journal(path)


def test_a_full_disk_is_told_before_anything_is_asked(endpoint, echo, monkeypatch):
    asked = endpoint()
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 2**20 - 1}))
    with pytest.raises(OSError, match=r"cannot write .*answers.jsonl \(less than 1 MiB is free\).*make room"):
        asked.ask(prompts(1))
    assert not echo.requests


def test_a_disk_that_fills_up_leaves_what_is_whole(endpoint, echo, monkeypatch):
    """The third answer's line is torn, as a full disk tears it."""
    asked = endpoint(workers=1)
    asked.ask(prompts(2))
    path, real = asked.journal.path, asked.journal.path.read_bytes()

    def full(descriptor):
        with path.open("r+b") as file:
            file.truncate(len(real) + 10)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"\(No space left on device\); the 2 answers before this one are kept"):
        asked.ask(prompts(4))
    assert len(path.read_bytes()) == len(real) + 10
    monkeypatch.undo()
    assert Journal(path).path.read_bytes() == real
