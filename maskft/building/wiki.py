"""A Wiki data set as section 3 and Appendix A.3 of the paper make one: pages, paraphrases, questions, a data card."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from maskft.building.card import data_card
from maskft.building.endpoint import Endpoint
from maskft.building.journal import Journal
from maskft.building.recipe import Recipe
from maskft.building.wikipedia import Page, Wikipedia
from maskft.building.writing import Question, keep_clear, paraphrase_task, question_task
from maskft.data.built import FILES
from maskft.data.schema import PARAPHRASES, Corpus

REQUESTS = "requests"  # folder of the journals, in the output folder


@dataclass(frozen=True)
class Article:
    """A page that belongs into the data set, when it was created, and its lead section's length in tokens."""

    page: Page
    created: datetime
    n_tokens: int


@contextmanager
def open_journals(output: str | Path) -> Iterator[tuple[Journal, Journal]]:
    """The journals of an output folder, of the wiki's answers and of the model's, to one process at a time.

    Raises:
        RuntimeError: If another process builds in this folder.
        ValueError, OSError: As `Journal`.
    """
    folder = Path(output, REQUESTS)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield Journal(folder / "pages.jsonl"), Journal(folder / "answers.jsonl")
    except Timeout:
        raise RuntimeError(f"another process builds in {output}; wait for it, or name another folder") from None


def find_articles(
    recipe: Recipe, wiki: Wikipedia, show: Callable[[str], Any] = print
) -> tuple[list[Article], Counter[str]]:
    """The articles of a recipe, in the order in which the category tree lists them, and how many pages were dropped.

    Args:
        recipe: What is looked for.
        wiki: Where.
        show: Told about each article found.

    Raises:
        OSError: If the tokenizer cannot be loaded.
        LookupError, ConnectionError, ValueError: As `Wikipedia.pages_of`.
        ValueError: If no page is left.
    """
    count = load_counter(recipe.tokenizer)
    lengths = range(recipe.min_length, recipe.max_length + 1)
    found = wiki.new_pages(recipe.category, recipe.since, count, lengths, depth=recipe.depth)
    articles: list[Article] = []
    for page, created in islice(found, recipe.limit):
        articles.append(Article(page, created, count(page.text)))
        show(f"{len(articles)}: {page.title} ({articles[-1].n_tokens} tokens, created {created:%Y-%m-%d})")
    dropped = +wiki.dropped
    if not articles:
        reasons = ", ".join(f"{n} {reason}" for reason, n in dropped.items()) or "the category tree has none"
        raise ValueError(
            f"no page of {recipe.category!r} is left: {reasons}. Choose another category, date or range of lengths"
        )
    return articles, dropped


def build_wiki(
    recipe: Recipe, wiki: Wikipedia, endpoint: Endpoint, output: str | Path, show: Callable[[str], Any] = print
) -> Corpus:
    """Construct a Wiki data set and write it: ``documents.jsonl``, ``questions.jsonl`` and a data card, ``README.md``.

    Killed at any moment, the same call goes on from there: what the wiki and the model answered is in their journals
    (`open_journals`). Articles without ten good paraphrases of each kind are dropped and counted; those without a
    question are kept, as in the release.

    Args:
        recipe: Which articles.
        wiki: Where they are read.
        endpoint: Who writes paraphrases and questions.
        output: The folder.
        show: Told what happens, a line at a time.

    Returns:
        The data set, as ``load_corpus("wiki", source="built")`` reads it.

    Raises:
        ValueError: If no article or none with paraphrases is left, or as `Endpoint.ask`.
        PermissionError, ConnectionError, LookupError, OSError: As `find_articles` and `Endpoint.ask`.
    """
    articles, dropped_pages = find_articles(recipe, wiki, show)
    # Article by article, so that a limit on tokens leaves whole articles.
    tasks = []
    for text in (article.page.text for article in articles):
        tasks += [*(paraphrase_task(kind, text) for kind in PARAPHRASES[1:]), question_task(text)]
    answers = endpoint.ask(tasks, label="paraphrases and questions")
    documents, questions, dropped_questions = [], [], Counter()
    of_each = zip(articles, answers[::3], answers[1::3], answers[2::3], strict=True)
    for article, same_order, permute_order, triples in of_each:
        if same_order is None or permute_order is None:
            dropped_pages["without ten good paraphrases"] += 1
            continue
        document_id = len(documents)
        documents.append(_document(article, document_id, same_order, permute_order))
        if triples is None:
            dropped_questions["all of an article, no good answer"] += 1
        for question in keep_clear(article.page.text, triples or [], dropped_questions):
            questions.append(_question(question, len(questions), document_id))
    if not documents:
        raise ValueError(
            f"{endpoint.model!r} gave no article ten good paraphrases of each kind in {endpoint.attempts} attempts; "
            f"its answers are in {endpoint.journal.path}: use another model"
        )
    tables = {"documents.jsonl": documents, "questions.jsonl": questions}
    # The loader reads these columns; the others are for people.
    columns = [[{c: row[c] for c in FILES[name]} for row in rows] for name, rows in tables.items()]
    corpus = Corpus.from_rows("wiki", "built", *columns)
    dropped = dropped_pages, dropped_questions
    card = data_card(recipe, wiki.api, endpoint, corpus.fingerprint, documents, questions, *dropped)
    write_files(Path(output), {**{name: _lines(rows) for name, rows in tables.items()}, "README.md": card})
    show(f"{len(documents)} articles with {len(questions)} questions are in {output}; README.md there describes them")
    return corpus


def load_counter(tokenizer: str) -> Callable[[str], int]:
    """A function that counts the tokens of a text, without special ones.

    Raises:
        OSError: If the tokenizer is not here and cannot be downloaded.
    """
    # Only here: the rest of the package does without torch, which transformers' tokenizers import.
    from transformers import AutoTokenizer

    from maskft.models import base_folder

    try:
        loaded = AutoTokenizer.from_pretrained(base_folder(tokenizer))
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise OSError(
            f"tokenizer {tokenizer!r} cannot be loaded ({first}); name a folder that holds one, a shipped base "
            "(tiny-ar), or a name of the hub that you may read"
        ) from None
    return lambda text: len(loaded.encode(text, add_special_tokens=False))


def write_files(folder: Path, contents: dict[str, str]) -> None:
    """Write files whole, and none before there was room for all: each under another name first.

    Raises:
        OSError: If they cannot be written; those of before are still there.
    """
    temporaries = {name: folder / f".{name}" for name in contents}
    try:
        for name, content in contents.items():
            temporaries[name].write_text(content, encoding="utf-8")
        for name, temporary in temporaries.items():
            temporary.replace(folder / name)
    except OSError as error:
        raise OSError(
            f"cannot write the data set in {folder} ({error.strerror}); all answers are kept: make room and run the "
            "same command again"
        ) from error
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def _document(article: Article, document_id: int, same_order: list[str], permute_order: list[str]) -> dict[str, Any]:
    page = asdict(article.page)
    return {
        "document_id": document_id,
        "group": "",
        "text": page.pop("text"),
        "same_order": same_order,
        "permute_order": permute_order,
        **page,
        "created": f"{article.created.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "n_tokens": article.n_tokens,
    }


def _question(question: Question, question_id: int, document_id: int) -> dict[str, Any]:
    return {
        "question_id": question_id,
        "document_id": document_id,
        "category": question.direction,
        "direction": question.direction,
        "question": question.question,
        "answer": question.answer,
        "cues": list(question.cues),
    }


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
