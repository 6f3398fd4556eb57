"""The whole construction by its command, against both servers: what is written, what a kill leaves, what goes wrong."""

import errno
import inspect
import json
import signal
import subprocess
import sys
import time

import datasets
import pytest

from maskft.bases import revision_of
from maskft.building import Endpoint, Journal, Wikipedia
from maskft.building.recipe import Recipe
from maskft.building.wiki import load_counter, open_journals
from maskft.building.wikipedia import _plain
from maskft.cli import build_parser, main
from maskft.data import load_corpus
from maskft.runs import RunConfig
from maskft.training import check_inputs

KEPT = ["Gamma Cup", "Zeta [Cup]", "Eta Cup"]


@pytest.fixture(scope="module")
def count():
    return load_counter("tiny-ar")


@pytest.fixture
def command(wiki_server, endpoint_set, tmp_path, count):
    """`maskft build-wiki` with lengths that the pages of `KEPT` and one more have, the longest and shortest not."""
    lengths = [count(_plain(page[1])) for number, page in wiki_server.pages.items() if number in (11, 13, 18, 19)]

    def make(*more):
        return [
            "build-wiki", "--output", str(tmp_path / "out"), "--wiki", wiki_server.api, "--tokenizer", "tiny-ar",
            "--pause", "0", "--min-length", str(min(lengths)), "--max-length", str(max(lengths)), *more,
        ]  # fmt: skip

    return make


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_data_set_is_built_described_and_loaded(command, model_server, faults, tmp_path, capsys, monkeypatch, key):
    """The model fails three times at the first prompt: that article has no same-order paraphrases and is left out."""
    model_server.faults = [lambda handler: handler.send(200, model_server.completion("sorry"))] * 3
    assert main(command("--workers", "1")) == 0
    out = tmp_path / "out"
    documents, questions = rows(out / "documents.jsonl"), rows(out / "questions.jsonl")
    assert [row["title"] for row in documents] == KEPT
    assert all(
        len(row[kind]) == 10 and row[kind][0] == row["text"]
        for row in documents
        for kind in ("same_order", "permute_order")
    )
    assert documents[0]["same_order"][1].startswith("Similarly") and documents[0]["permute_order"][1].startswith(
        "Conversely"
    )
    assert (documents[1]["url"], documents[1]["revision"]) == ("https://example.org/wiki/Zeta_[Cup]", 1018)
    assert documents[1]["created"] == "2025-05-05T05:05:05Z" and documents[1]["page_id"] == 18
    assert [(row["answer"], row["direction"]) for row in questions[:2]] == [
        ("Bo Gamma", "forward"), ("Gamma Cup 13", "backward"),
    ]  # fmt: skip

    card = (out / "README.md").read_text()
    for line in (
        "| pages looked at | 8 |", "| articles | 3 (all) |", "10 same_order, 10 permute_order",
        "| questions | 6: 3 forward, 3 backward |", "| without ten good paraphrases | 1 |",
        "| created before 2025-01-01 | 1 |", "| too short | 1 |", "| too long | 1 |", "| missing | 1 |", 
        "| ambiguous | 3 |",
        "| answer not in the passage | 3 |", "`tiny-ar`", "`m`", "CC BY-SA 4.0",
        "| tokens of its answers and prompts | 1,400 |",
        "1. [Zeta \\[Cup\\]](<https://example.org/wiki/Zeta_[Cup]>), revision 1018",
    ):  # fmt: skip
        assert line in card, line
    written = "".join(path.read_text() for path in out.rglob("*") if path.is_file())
    assert key not in written and model_server.address not in written

    monkeypatch.setenv("MASKFT_BUILT", str(out))
    corpus = load_corpus("wiki", source="built")
    assert corpus.paraphrase_kinds == ("none", "same_order", "permute_order")
    assert len(corpus.training_texts("permute_order")) == 30 and f"`{corpus.fingerprint}`" in card
    (tmp_path / "elsewhere").mkdir()
    for name in ("documents.jsonl", "questions.jsonl"):
        (tmp_path / "elsewhere" / name).write_bytes((out / name).read_bytes())
    monkeypatch.setenv("MASKFT_BUILT", str(tmp_path / "elsewhere"))
    assert load_corpus("wiki", source="built").fingerprint == corpus.fingerprint
    assert (
        datasets.load_dataset(str(out), "questions", split="train", cache_dir=tmp_path / "hf")["answer"][0]
        == "Bo Gamma"
    )

    config = RunConfig(
        dataset="wiki", source="built", data_fingerprint=corpus.fingerprint, method="ar", base="tiny-ar",
        base_revision=revision_of("tiny-ar"), learning_rate=1e-3, eval_steps=(0, 1),
    )  # fmt: skip
    assert check_inputs(config).fingerprint == corpus.fingerprint  # a run can be trained on it


def test_the_same_command_again_asks_nobody_and_writes_the_same(command, wiki_server, model_server, tmp_path):
    assert main(command()) == 0
    out = tmp_path / "out"
    first = {path.name: path.read_bytes() for path in out.glob("*.*")}
    n_requests = len(wiki_server.requests), len(model_server.requests)
    assert n_requests[1] == 12 and set(first) == {"README.md", "documents.jsonl", "questions.jsonl"}
    for name in first:
        (out / name).unlink()
    assert main(command()) == 0
    assert {path.name: path.read_bytes() for path in out.glob("*.*")} == first
    assert (len(wiki_server.requests), len(model_server.requests)) == n_requests


def killed_when(is_time, arguments):
    """Start a Python and kill it (SIGKILL) when `is_time` says so."""
    process = subprocess.Popen([sys.executable, *arguments])
    try:
        deadline = time.monotonic() + 200
        while not is_time() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        assert process.poll() is None and is_time(), "it ended before it could be killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


READ = """
import sys
from maskft.building import Journal, Wikipedia
wiki = Wikipedia(Journal(sys.argv[1]), api=sys.argv[2], pause_s=0)
for page in wiki.pages_of("2025 by month"):
    wiki.read([page])
"""


# Words for tokens: a tokenizer would import torch, for longer than all the rest takes.
BUILD = """
import sys
import maskft.building.wiki
maskft.building.wiki.load_counter = lambda name: lambda text: len(text.split())
from maskft.cli import main
main(sys.argv[1:])
"""


def test_killed_in_the_middle_it_goes_on_from_there(command, wiki_server, model_server, tmp_path, monkeypatch):
    """Killed twice: while the wiki is read, and while the model writes. Nothing answered is asked for again."""
    requests = tmp_path / "out" / "requests"
    wiki_server.delay = model_server.delay = 0.05  # that there is time to kill
    killed_when(lambda: len(wiki_server.requests) >= 6, ["-c", READ, str(requests / "pages.jsonl"), wiki_server.api])
    wiki_server.delay = 0.0
    n_kept = len(Journal(requests / "pages.jsonl"))
    assert len(wiki_server.requests) - 1 <= n_kept <= len(wiki_server.requests)  # one may have been under way
    assert n_kept >= 5

    def answers_kept():
        path = requests / "answers.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    words = command("--workers", "1", "--min-length", "28", "--max-length", "40")
    killed_when(lambda: answers_kept() >= 5, ["-c", BUILD, *words])
    asked = [json.dumps(request, sort_keys=True) for request in wiki_server.requests]
    assert len(asked) - len(set(asked)) <= 1  # the one that was under way
    n_answers, n_asked, n_wiki = len(Journal(requests / "answers.jsonl")), len(model_server.requests), len(asked)
    assert n_asked - 1 <= n_answers <= n_asked < 12 and not (tmp_path / "out" / "documents.jsonl").exists()

    monkeypatch.setattr("maskft.building.wiki.load_counter", lambda name: lambda text: len(text.split()))
    assert main(words) == 0
    assert len(wiki_server.requests) == n_wiki and len(model_server.requests) == n_asked + 12 - n_answers
    assert len(rows(tmp_path / "out" / "documents.jsonl")) == 4


def test_a_dry_run_asks_no_model(command, model_server, tmp_path, capsys, monkeypatch):
    for name in ("OPENAI_BASE_URL", "OPENAI_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name)
    assert main(command("--dry-run")) == 0
    printed = capsys.readouterr().out
    assert "4 articles, for which a model would be asked 12 times" in printed and "left out, too long: 1" in printed
    assert not model_server.requests and not list((tmp_path / "out").glob("*.*"))


def test_a_limit_reads_no_more_than_it_needs(command, wiki_server, model_server, tmp_path):
    assert main(command("--limit", "1", "--depth", "0")) == 0
    assert [row["title"] for row in rows(tmp_path / "out" / "documents.jsonl")] == ["Alpha Cup"]
    assert len(model_server.requests) == 3
    assert "1 (the first 1 found)" in (tmp_path / "out" / "README.md").read_text()


def mistake(arguments, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("maskft: ")
    return error


def test_no_endpoint_is_told_before_anything_is_read(command, wiki_server, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert "no endpoint: OPENAI_BASE_URL not set" in mistake(command(), capsys)
    assert not wiki_server.requests and not (tmp_path / "out").exists()


def test_a_wrong_key_keeps_the_pages(command, wiki_server, model_server, key, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-one")
    error = mistake(command(), capsys)
    assert "refuses the key (HTTP 401)" in error and "sk-wrong-one" not in error
    monkeypatch.setenv("OPENAI_API_KEY", key)
    n_requests = len(wiki_server.requests)
    assert main(command()) == 0 and len(wiki_server.requests) == n_requests


def test_a_limit_on_tokens_leaves_whole_articles(command, model_server, tmp_path, capsys):
    """Five answers are paid for: the first article's three, and two of the next one's."""
    error = mistake(command("--workers", "1", "--token-limit", "19500"), capsys)
    assert "the limit of 19,500 tokens" in error
    n_requests = len(model_server.requests)
    assert n_requests >= 3
    assert main(command("--limit", "1", "--token-limit", "1")) == 0 and len(model_server.requests) == n_requests


def test_a_full_disk_at_the_end_loses_nothing(command, model_server, tmp_path, capsys, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    assert "(No space left on device); all answers are kept" in mistake(command(), capsys)
    n_requests = len(model_server.requests)
    monkeypatch.undo()
    for name, value in (("OPENAI_BASE_URL", f"{model_server.address}/v1"), ("OPENAI_MODEL", "m")):
        monkeypatch.setenv(name, value)
    assert main(command()) == 0 and len(model_server.requests) == n_requests


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--category", "2025 by mnth"], "has no pages"),
        (["--since", "2030-01-01"], "5 created before 2030-01-01"),
        (["--tokenizer", "./nowhere"], "tokenizer './nowhere' cannot be loaded"),
        (["--min-length", "9", "--max-length", "8"], "lengths from 9 to 8"),
        (["--limit", "0"], "limit 0"),
        (["--workers", "0"], "--workers 0"),
    ],
)
def test_other_mistakes(more, expected, command, model_server, capsys):
    assert expected in mistake(command(*more), capsys)
    assert not model_server.requests


def test_the_commands_defaults_are_the_papers_and_the_packages():
    """The command spells them out, so that its help needs no heavy import."""
    options = build_parser().parse_args(["build-wiki", "--output", "x"])
    assert all(getattr(options, name) == value for name, value in vars(Recipe()).items())
    assert (Recipe().category, str(Recipe().since), Recipe().min_length, Recipe().max_length) == (
        "2025 by month", "2025-01-01", 110, 125,
    )  # fmt: skip
    wiki = inspect.signature(Wikipedia).parameters
    assert (options.wiki, options.contact, options.pause) == tuple(
        wiki[n].default for n in ("api", "contact", "pause_s")
    )
    endpoint = inspect.signature(Endpoint).parameters
    assert all(getattr(options, n) == endpoint[n].default for n in ("token_limit", "workers", "attempts"))


def test_a_date_that_is_none(command, capsys):
    with pytest.raises(SystemExit):
        main(command("--since", "January"))
    assert "'January' is no day" in capsys.readouterr().err


def test_two_in_one_folder(command, wiki_server, capsys, tmp_path):
    with open_journals(tmp_path / "out"):
        assert "another process builds in" in mistake(command(), capsys)
    assert not wiki_server.requests


# --- the loader of built folders -----------------------------------------------------------------------------------


def test_a_folder_that_is_none(tmp_path, monkeypatch):
    monkeypatch.delenv("MASKFT_BUILT", raising=False)
    with pytest.raises(ValueError, match="set MASKFT_BUILT"):
        load_corpus("wiki", source="built")
    monkeypatch.setenv("MASKFT_BUILT", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"documents\.jsonl is not there"):
        load_corpus("wiki", source="built")
    (tmp_path / "documents.jsonl").write_text('{"document_id": 0}\n')
    with pytest.raises(ValueError, match=r"documents\.jsonl, line 1 .* expected an object with document_id"):
        load_corpus("wiki", source="built")
