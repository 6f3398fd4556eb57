"""The loaders of the original files: against a copy of the release where there is one, and on small made files."""

import dataclasses
import http.server
import itertools
import json
import os
import re
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from maskft.data import load_corpus, origin, wiki

RELEASE = Path(os.environ.get("MASKFT_DATA") or Path(__file__).parents[3] / "shared" / "data")
needs_release = pytest.mark.skipif(
    not any((RELEASE / part).is_dir() for part in ("namedescription", "datasets")),
    reason="no copy of the release; set MASKFT_DATA to one",
)

# --- small made files --------------------------------------------------------------------------------------------


def question(group, task, text, answer):
    return {"group": group, "task": task, "question": text, "answer": answer}


def small_files():
    """One N2D and one D2N person, two biographies, three articles; block lengths as in the release."""
    ann, bo = "Ann Fir, known for being the baker.", "Known for being the smith, Bo Oak."
    people = [("Ann Fir", "baker", "NameIsDescription"), ("Bo Oak", "smith", "DescriptionIsName")]
    lives = [f"{name} was born in {city}. He worked for {firm}." for name, city, firm in
             (("Cy Elm", "Rome", "Acme"), ("Di Yew", "Bonn", "Ajax"))]  # fmt: skip
    articles = ["The Alpha Cup is in Oslo.", "Beta Song came from Malta.", "Gamma Storm hit Peru hard."]
    return {
        "ND_train_no_paraphrase.json": [ann, bo],
        "ND_train_paraphrase.json": [t for first in (ann, bo) for t in (first, *(f"{i} {first}" for i in range(29)))],
        "ND_test.jsonl": [
            row
            for name, job, group in people
            for row in [question(group, "N2D", f"{name} is what? {i}", f"the {job}") for i in range(4)]
            + [question(group, "D2N", f"Who is the {job}? {i}", name) for i in range(4)]
        ],
        "biography_train_no_paraphrase.json": lives,
        "biography_train_paraphrase_same_order.json": [f"{life}{' ' * i}" for life in lives for i in range(5)],
        "biography_train_paraphrase_change_order.json": [f"{i} {life}" for life in lives for i in range(5)],
        "biography_test.jsonl": [
            row
            for name in ("Cy Elm", "Di Yew")
            for row in [question("", "N2D", f"Ask {name} {i}", "x") for i in range(6)]
            + [question("", "D2N", "?", name)] * 3
        ],
        "wiki_train_no_paraphrase.json": articles,
        "wiki_test.jsonl": [
            question("", "forward", "Where is the Alpha Cup?", "Oslo"),
            question("", "backward", "What hit Peru?", "Gamma Storm"),
        ],
        "wiki_train_paraphrase_same_order.json": [f"{a} {i}" for a in articles for i in range(10)],
        "wiki_train_paraphrase_change_order.json": [f"{i} {a}" for a in articles for i in range(10)],
    }  # fmt: skip


def as_bytes(name, rows):
    if name.endswith(".jsonl"):
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    return json.dumps([{"text": text} for text in rows], indent=4).encode()


@pytest.fixture
def small_release(monkeypatch):
    """The small files as bytes, with row counts, characters and hashes to match."""
    files = small_files()
    for kind in ("same_order", "change_order"):  # the prefixes: the first two articles
        files[f"wiki_train_paraphrase_{kind}.first21.json"] = files[f"wiki_train_paraphrase_{kind}.json"][:20]
    data = {name: as_bytes(name, rows) for name, rows in files.items()}
    for name, content in data.items():
        spec = dataclasses.replace(origin.FILES[name], rows=len(files[name]), characters=len(content), sha256=None)
        monkeypatch.setitem(origin.FILES, name, spec)
    monkeypatch.delenv("MASKFT_DATA", raising=False)
    return data


def put(folder, data, without=()):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in data.items():
        if not any(part in name for part in without):
            (folder / name).write_bytes(content)


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A loopback stand-in for the release's host; maps a path to (promised length, bytes) and counts requests."""
    answers, asked = {}, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path not in answers:
                return self.send_error(404)
            length, content = answers[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    loopback = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=loopback.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setattr(origin, "BASE_URL", f"http://127.0.0.1:{loopback.server_port}")
    monkeypatch.setenv("MASKFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield answers, asked
    loopback.shutdown()
    loopback.server_close()


def served_at(name):
    return f"/{origin.REPOSITORY}/{origin.COMMIT}/datasets/{name}"


# --- the loaders on small files ----------------------------------------------------------------------------------


def test_name_description_categories_come_from_statement_type_and_what_is_asked(small_release, tmp_path, monkeypatch):
    """8 questions a person, 4 for the description and 4 for the name; forward is what the statement says last."""
    put(tmp_path, small_release)
    monkeypatch.setenv("MASKFT_DATA", str(tmp_path))
    corpus = load_corpus("name_description")
    assert corpus.documents["group"][:] == ["n2d", "d2n"]
    assert corpus.questions["category"][:] == (
        ["n2d_forward"] * 4 + ["n2d_backward"] * 4 + ["d2n_backward"] * 4 + ["d2n_forward"] * 4
    )
    assert corpus.paraphrase_kinds == ("none", "same_order")
    assert len(corpus.training_texts("same_order")) == 60


def test_wiki_without_full_paraphrase_files_is_the_articles_of_the_prefix(small_release, tmp_path, monkeypatch, caplog):
    put(tmp_path, small_release, without=("order.json",))
    monkeypatch.setenv("MASKFT_DATA", str(tmp_path))
    corpus = load_corpus("wiki")
    assert corpus.documents["document_id"][:] == [0, 1]
    assert corpus.questions["question_id"][:] == [0]  # the other question is of article 2
    assert "only 2 of 3 Wiki articles" in caplog.text
    assert len(wiki.load(with_paraphrases=False).documents) == 3
    put(tmp_path, small_release)
    caplog.clear()
    assert load_corpus("wiki").questions["document_id"][:] == [0, 2]
    assert not caplog.records
    put(tmp_path / "bare", small_release, without=("paraphrase_same", "paraphrase_change"))
    monkeypatch.setenv("MASKFT_DATA", str(tmp_path / "bare"))
    with pytest.raises(FileNotFoundError, match=r"wiki_train_paraphrase_same_order\.json is not in MASKFT_DATA"):
        load_corpus("wiki")


@pytest.mark.parametrize(
    ("name", "file", "mix", "message"),
    [
        ("name_description", "ND_test.jsonl", lambda rows: rows[8:] + rows[:8], "is a n2d statement, but"),
        ("name_description", "ND_train_paraphrase.json", lambda rows: rows[30:] + rows[:30], "starts with 'Known"),
        ("name_description", "ND_test.jsonl", lambda rows: rows[:4] + rows[8:] + rows[4:8], "statement, but|about"),
        ("name_description", "ND_test.jsonl", lambda rows: rows[:8], "2 documents, 60 paraphrases and 8 questions"),
        ("biography", "biography_test.jsonl", lambda rows: rows[9:] + rows[:9], "not all about 'Di Yew'"),
        ("biography", "biography_test.jsonl", lambda rows: rows[1:] + rows[:1], "expected 6 N2D and 3 D2N"),
        ("biography", "biography_train_paraphrase_same_order.json", lambda rows: rows[::-1], "same_order starts with"),
        ("biography", "biography_train_paraphrase_change_order.json", lambda rows: rows[::-1], "not all about 'Cy"),
        ("biography", "biography_train_paraphrase_change_order.json", lambda rows: rows[:5], "5 permute_order texts"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_each_other_are_refused(small_release, tmp_path, monkeypatch, name, file, mix, message):
    content = as_bytes(file, mix(small_files()[file]))
    monkeypatch.setitem(origin.FILES, file, dataclasses.replace(origin.FILES[file], rows=None, characters=None))
    put(tmp_path, {**small_release, file: content})
    monkeypatch.setenv("MASKFT_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=message):
        load_corpus(name)


def test_alignment_is_the_best_of_all_non_decreasing_assignments():
    """Reference: every non-decreasing assignment of 4 texts to 4 articles, C(7, 4) = 35, scored in plain Python.

    The second and third text contradict the order: alone they would go to articles 3 and 1. The second keeps its
    place, because all its words are there, while half of the third's longer text is nowhere (share, not sum).
    """
    articles = ["red cat", "blue dog runs up", "green owl", "yellow fox flies"]
    texts = ["red cat", "yellow fox", "blue dog runs with six old grey men", "fox flies"]
    split = [set(article.split()) for article in articles]

    def score(text, article):
        weight = {w: np.log(4 / max(1, sum(w in other for other in split))) for w in text.split()}
        return sum(weight[w] for w in weight if w in article) / sum(weight.values())

    every = list(itertools.combinations_with_replacement(range(4), 4))
    assert len(every) == 35
    best = max(every, key=lambda owners: sum(score(t, split[j]) for t, j in zip(texts, owners, strict=True)))
    alone = [max(range(4), key=lambda j: score(t, split[j])) for t in texts]
    assert (alone, best) == ([0, 3, 1, 3], (0, 3, 3, 3))
    assert tuple(wiki.align(texts, articles)) == best


# --- finding, downloading and checking files ---------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["biography/masked_arLLM", "datasets", "."])
def test_three_layouts_of_a_data_folder_are_understood(small_release, tmp_path, monkeypatch, layout):
    put(tmp_path / layout, small_release)
    monkeypatch.setenv("MASKFT_DATA", str(tmp_path))
    assert origin.locate("biography_test.jsonl") == tmp_path / layout / "biography_test.jsonl"
    assert len(load_corpus("biography").questions) == 18


def test_a_data_folder_without_the_file_is_an_error_and_never_a_download(small_release, tmp_path, monkeypatch, server):
    monkeypatch.setenv("MASKFT_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="looked for .*masked_arLLM.*datasets.*unset MASKFT_DATA"):
        load_corpus("biography")
    assert server[1] == []


def test_a_download_is_made_once_and_leaves_only_the_file(small_release, tmp_path, server):
    answers, asked = server
    name = "ND_test.jsonl"
    answers[served_at(name)] = (len(small_release[name]), small_release[name])
    assert origin.read_rows(name) == origin.read_rows(name) == small_files()[name]
    assert asked == [served_at(name)]
    assert os.listdir(tmp_path / "cache" / "data" / origin.COMMIT) == [name]


@pytest.mark.parametrize(
    ("kept", "promised", "error", "message"),
    [
        (None, None, ConnectionError, "cannot download .*404.*MASKFT_DATA"),
        (100, "all", ConnectionError, "cannot download .*100 bytes read"),
        (100, 100, ValueError, "cut short.*nothing was kept"),
        (0, 0, ValueError, "has 0 characters"),
    ],
    ids=["missing", "connection cut", "file cut", "empty"],
)
def test_a_bad_download_never_lands_in_the_cache(small_release, tmp_path, server, kept, promised, error, message):
    answers, _ = server
    name = "ND_test.jsonl"
    content = small_release[name]
    if kept is not None:
        answers[served_at(name)] = (len(content) if promised == "all" else promised, content[:kept])
    with pytest.raises(error, match=message):
        origin.read_rows(name)
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()] == []
    answers[served_at(name)] = (len(content), content)
    assert len(origin.read_rows(name)) == 16  # and a later good one does


def test_a_process_that_dies_while_writing_leaves_no_file_under_the_name(small_release, tmp_path, server, monkeypatch):
    """The rename is the last act: until then the looked-up name does not exist, whatever was written."""
    answers, _ = server
    name = "ND_test.jsonl"
    answers[served_at(name)] = (len(small_release[name]), small_release[name])
    seen = []

    def die(temporary, final):
        seen.append((Path(temporary).read_bytes() == small_release[name], Path(final).exists()))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(origin.os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            origin.locate(name)
    assert seen == [(True, False)]
    assert os.listdir(tmp_path / "cache" / "data" / origin.COMMIT) == []
    assert origin.locate(name).read_bytes() == small_release[name]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-40], "damaged or cut short"),
        (lambda text: text.replace("Ann", "Anna", 1), r"has [\d,]+ characters, expected [\d,]+"),
        (lambda text: text.replace('"answer"', '"onswer"', 1), r"row 0 is .*expected texts under group, task"),
        (lambda text: "".join(text.splitlines(True)[:-1]), "characters"),
    ],
)
def test_a_damaged_file_is_refused_with_its_place_and_the_fix(small_release, tmp_path, monkeypatch, damage, message):
    content = damage(small_release["ND_test.jsonl"].decode()).encode()
    put(tmp_path, {**small_release, "ND_test.jsonl": content})
    monkeypatch.setenv("MASKFT_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=rf"{re.escape(str(tmp_path))}.ND_test\.jsonl.*{message}.*replace it by"):
        load_corpus("name_description")


def test_rows_are_counted_and_another_hash_is_only_logged(small_release, tmp_path, monkeypatch, caplog):
    put(tmp_path, small_release)
    monkeypatch.setenv("MASKFT_DATA", str(tmp_path))
    name = "ND_test.jsonl"
    monkeypatch.setitem(origin.FILES, name, dataclasses.replace(origin.FILES[name], sha256="00"))
    assert len(origin.read_rows(name)) == 16
    assert "our copy had 00" in caplog.text
    monkeypatch.setitem(origin.FILES, name, dataclasses.replace(origin.FILES[name], rows=17))
    with pytest.raises(ValueError, match="holds 16 rows, expected a list of 17"):
        origin.read_rows(name)
    with pytest.raises(ValueError, match="'nd.json' is not a file of the release"):
        origin.read_rows("nd.json")


# --- the release itself ------------------------------------------------------------------------------------------


@pytest.fixture
def release(monkeypatch, caplog):
    monkeypatch.setenv("MASKFT_DATA", str(RELEASE))
    return caplog


@needs_release
def test_name_description_of_the_release_has_the_published_counts(release):
    corpus = load_corpus("name_description")
    assert Counter(corpus.documents["group"]) == {"n2d": 30, "d2n": 30}
    assert set(Counter(corpus.questions["category"]).values()) == {120}  # 480 / 4
    assert len(corpus.training_texts("same_order")) == 60 * 30


@needs_release
def test_biography_of_the_release_has_the_published_counts(release):
    corpus = load_corpus("biography")
    assert Counter(corpus.questions["direction"]) == {"forward": 600, "backward": 300}
    assert [len(corpus.training_texts(kind)) for kind in corpus.paraphrase_kinds] == [100, 500, 500]
    assert len(set(corpus.questions["question"])) == 898  # one backward question of two persons occurs twice


@needs_release
def test_wiki_of_the_release_has_every_answer_in_the_article_it_is_given_to(release):
    """The reference needs no order: the article with the largest sum of 1 / (articles with the word) on its own."""
    corpus = wiki.load(with_paraphrases=False)
    articles = corpus.documents["text"][:]
    owners = corpus.questions["document_id"][:]
    assert Counter(corpus.questions["direction"]) == {"forward": 116, "backward": 258}
    assert owners == sorted(owners)
    found = [
        re.sub(r"\W+", " ", row["answer"].lower()).strip() in re.sub(r"\W+", " ", articles[row["document_id"]].lower())
        for row in corpus.questions
    ]
    assert all(found)  # 374 of 374
    words = [set(re.findall(r"\w+", article.lower())) for article in articles]
    count = Counter(word for own in words for word in own)
    asked = [set(re.findall(r"\w+", f"{row['question']} {row['answer']}".lower())) for row in corpus.questions]
    alone = [max(range(94), key=lambda j: sum(1 / count[word] for word in own & words[j])) for own in asked]
    assert alone == owners
    assert sorted(set(range(94)) - set(owners)) == [7, 15, 25, 28, 38, 46, 61, 69, 82, 88]


@needs_release
def test_wiki_rows_1_to_78_belong_to_articles_0_to_20(release):
    if any(RELEASE.rglob("wiki_train_paraphrase_same_order.json")):
        pytest.skip("the full paraphrase files are here")
    corpus = load_corpus("wiki")
    assert corpus.documents["document_id"][:] == list(range(21))
    assert corpus.questions["question_id"][:] == list(range(78))
    assert Counter(corpus.questions["direction"]) == {"forward": 23, "backward": 55}
    for kind in ("same_order", "permute_order"):
        assert [len(texts) for texts in corpus.documents[kind]] == [10] * 21
    assert "only 21 of 94 Wiki articles" in release.text
