"""Documents to passages: files or a data set, cut at sentence ends within a token budget.

A document is a ``.txt`` or ``.md`` file, a row of a ``.jsonl`` file, or a row of a data set. Sentences are told by
sentencex, Markdown is read by markdown-it. Knows nothing of models: tokens are counted by the function it is given.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from mdit_py_plugins.front_matter import front_matter_plugin
from sentencex import segment

from ..reading import read_rows, read_text

SUFFIXES = (".txt", ".md", ".jsonl")
NOT_PROSE = ("fence", "code_block", "html_block")


@dataclass(frozen=True)
class Document:
    """A text to teach.

    Attributes:
        document_id: The path of its file below the folder; for a row, what its ``document_id`` or ``id`` says, or else
            ``FILE:LINE`` (of a data set ``NAME:ROW``, from 0).
        text: Paragraphs, separated by empty lines.
    """

    document_id: str
    text: str


@dataclass(frozen=True)
class Passage:
    """A piece of a document, as it is trained on: whole sentences.

    Attributes:
        document_id: Where it is from.
        text: Paragraphs on lines of their own, all other white space made one space.
        n_tokens: Its length.
    """

    document_id: str
    text: str
    n_tokens: int


@dataclass(frozen=True)
class Reading:
    """What was read.

    Attributes:
        documents: In the order of their ids.
        notes: What was left out and why, a sentence each.
    """

    documents: list[Document]
    notes: list[str]


@dataclass(frozen=True)
class Cut:
    """What became of the documents.

    Attributes:
        passages: What is trained on, each text once.
        n_cut: Documents that became more than one passage.
        too_long: Sentences longer than the budget, which became passages of their own: (document_id, tokens, first words).
        duplicates: Passages that were dropped: (document_id, document_id of the one that was kept).
    """

    passages: list[Passage]
    n_cut: int = 0
    too_long: list[tuple[str, int, str]] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)


def read_documents(source: str | Path, *, text_column: str = "text") -> Reading:
    """Every document of a folder (with its subfolders), of one file, or of a Hugging Face data set.

    Args:
        source: A folder, a file, or the name of a data set, of which the split ``train`` is read.
        text_column: Where rows of ``.jsonl`` files and data sets have their text.

    Raises:
        ValueError: If there is nothing to read, a file is not UTF-8 text, a row is not what it should be, or two
            documents have one id. The message names the file and the fix.
    """
    path = Path(source)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file() and not any(part.startswith(".") for part in p.relative_to(path).parts))
        reading = _read_files(files, path, text_column)
    elif path.is_file():
        reading = _read_files([path], path.parent, text_column)
    else:
        reading = _read_dataset(str(source), text_column)
    if not reading.documents:
        raise ValueError(
            f"{source} holds no document to teach; put {', '.join(SUFFIXES)} files with text there"
            + "".join(f" ({note})" for note in reading.notes)
        )
    seen = set()
    for document in reading.documents:
        if document.document_id in seen:
            raise ValueError(f"{source}: two documents have the id {document.document_id!r}; ids must be unique")
        seen.add(document.document_id)
    return reading


def _read_files(files: Sequence[Path], folder: Path, text_column: str) -> Reading:
    documents, notes, others = [], [], []
    for file in files:
        name, suffix = file.relative_to(folder).as_posix(), file.suffix.lower()
        if suffix not in SUFFIXES:
            others.append(name)
            continue
        text = read_text(file)
        if not text.strip():
            notes.append(f"{name} is empty")
        elif suffix == ".jsonl":
            documents += [_row_document(row, f"{name}:{n}", text_column) for n, row in read_rows(file)]
        else:
            prose, n_left_out = markdown_prose(text) if suffix == ".md" else (text, 0)
            if n_left_out:
                notes.append(f"{name}: {n_left_out} code or HTML block(s) were left out")
            if prose.strip():
                documents.append(Document(name, prose))
    if others:
        shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        notes.append(f"not read, because only {', '.join(SUFFIXES)} are: {shown}")
    return Reading(documents, notes)


def _row_document(row: dict, where: str, text_column: str) -> Document:
    text = row.get(text_column)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(
            f"{where} has no text in {text_column!r}; it has {', '.join(map(str, row)) or 'nothing'} "
            "(--text-column names another)"
        )
    return Document(str(row.get("document_id", row.get("id", where))), text)


def _read_dataset(name: str, text_column: str) -> Reading:
    # Imported here: a folder needs none of it.
    from datasets import load_dataset

    try:
        rows = load_dataset(name, split="train")
    except Exception as error:  # of a hub, a cache or a builder, each with errors of its own
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{name!r} is neither a folder nor a data set that can be read ({type(error).__name__}: {reason})") from None
    return Reading([_row_document(row, f"{name}:{n}", text_column) for n, row in enumerate(rows)], [])


def markdown_prose(text: str) -> tuple[str, int]:
    """The text of a Markdown file without its markup, a paragraph each block, and how many code and HTML blocks it lost.

    Example:
        >>> markdown_prose("# Ada\\n\\nSee *her* [page](x).\\n\\n```\\ncode\\n```")
        ('Ada\\n\\nSee her page.', 1)
    """
    tokens = MarkdownIt("commonmark").enable("table").use(front_matter_plugin).parse(text)
    blocks = []
    for token in tokens:
        if token.type == "inline":
            pieces = [" " if "break" in c.type else c.content for c in token.children or [] if c.type != "html_inline"]
            blocks.append("".join(pieces))
    return "\n\n".join(blocks), sum(token.type in NOT_PROSE for token in tokens)


def sentences(text: str, language: str = "en") -> list[list[str]]:
    """Sentences of each paragraph; joined, those of a paragraph are the paragraph with single spaces.

    Example:
        >>> sentences("Dr. Birch came. She\\nsaw.\\n\\nShe left.")
        [['Dr. Birch came. ', 'She saw.'], ['She left.']]
    """
    paragraphs = [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text)]
    return [list(segment(language, paragraph)) for paragraph in paragraphs if paragraph]


def cut(
    documents: Sequence[Document], count_tokens: Callable[[str], int], *, budget: int, longest: int, language: str = "en"
) -> Cut:
    """Cut documents into passages: as many whole sentences as the budget holds, in their order.

    A sentence longer than the budget becomes a passage of its own and is noted. A passage whose text came before is
    dropped, whatever document it is from.

    Args:
        documents: What to cut.
        count_tokens: Tokens of a text.
        budget: Tokens of a passage, if its first sentence is not longer.
        longest: Tokens that the model can take.
        language: Of the sentences, as an ISO 639-1 code.

    Raises:
        ValueError: If a sentence is longer than the model can take, or the budget is.
    """
    if not 1 <= budget <= longest:
        raise ValueError(f"a passage of {budget} tokens must lie between 1 and the {longest} that the model's context leaves")
    passages: list[Passage] = []
    first: dict[str, str] = {}
    too_long, duplicates, impossible, n_cut = [], [], [], 0
    for document in documents:
        texts = _pack(sentences(document.text, language), count_tokens, budget)
        n_cut += len(texts) > 1
        for text in texts:
            n_tokens = count_tokens(text)
            note = (document.document_id, n_tokens, " ".join(text.split()[:8]))
            if n_tokens > longest:
                impossible.append(note)
            elif n_tokens > budget:
                too_long.append(note)
            if text in first:
                duplicates.append((document.document_id, first[text]))
                continue
            first[text] = document.document_id
            passages.append(Passage(document.document_id, text, n_tokens))
    if impossible:
        shown = "; ".join(f"{name}: {n} tokens from {start!r}" for name, n, start in impossible[:5])
        raise ValueError(
            f"{len(impossible)} sentence(s) are longer than the {longest} tokens that the model's context leaves for a passage "
            f"({shown}); split them by a full stop or an empty line, or use a model with a longer context"
        )
    return Cut(passages, n_cut, too_long, duplicates)


def _pack(paragraphs: list[list[str]], count_tokens: Callable[[str], int], budget: int) -> list[str]:
    """Texts of whole sentences, each as long as the budget allows."""
    texts, text = [], ""
    for paragraph in paragraphs:
        for number, sentence in enumerate(paragraph):
            longer = f"{text}{'' if number else chr(10)}{sentence}" if text else sentence
            if text and count_tokens(longer.strip()) > budget:
                texts.append(text.strip())
                longer = sentence
            text = longer
    return [*texts, text.strip()] if text.strip() else texts
