"""Wiki: lead sections of recent Wikipedia articles, rewritten in the same and in another order (paper section 3).

The files have no ids. Questions and paraphrases follow the order of the articles, and this file finds whose they are.
Source: the paper's release (94 articles; the paper says 92 and 96).
"""

import logging
import math
import re
from collections import Counter

import numpy as np

from maskft.data import origin
from maskft.data.schema import Corpus

logger = logging.getLogger(__name__)

_FILES = {"same_order": "wiki_train_paraphrase_same_order", "permute_order": "wiki_train_paraphrase_change_order"}


def load(*, with_paraphrases: bool = True) -> Corpus:
    """Load Wiki with both kinds of paraphrases, for the articles that have both.

    The release has paraphrases for all articles. Some copies hold those of articles 0-20 only (``.first21.json``);
    then the corpus is these 21 articles and their questions, so that runs with and without paraphrases learn the same
    facts, and a warning says so.

    Args:
        with_paraphrases: False gives all 94 articles from the two files without paraphrases, whatever the others hold.

    Returns:
        94 documents with 374 questions (116 forward, 258 backward), or 21 with 78 (23 and 55).

    Raises:
        ValueError: If a file is damaged.
        FileNotFoundError: If ``MASKFT_DATA`` is set and lacks a file.
        ConnectionError: If a file has to be downloaded and cannot be.
    """
    articles = [row["text"] for row in origin.read_rows("wiki_train_no_paraphrase.json")]
    asked = origin.read_rows("wiki_test.jsonl")
    paraphrases = {kind: _read_paraphrases(kind, articles) for kind in _FILES} if with_paraphrases else {}
    documents = [
        {"document_id": i, "text": text, **{kind: texts[i] for kind, texts in paraphrases.items()}}
        for i, text in enumerate(articles)
    ]
    documents = [row for row in documents if all(row[kind] for kind in paraphrases)]
    if len(documents) < len(articles):
        logger.warning(
            "only %d of %d Wiki articles have both kinds of paraphrases here: the corpus is those articles and their "
            "questions. The full paraphrase files are at %s.",
            len(documents), len(articles), origin.FILES[f"{_FILES['same_order']}.json"].url,
        )  # fmt: skip
    kept = {row["document_id"] for row in documents}
    owners = align([f"{row['question']} {row['answer']}" for row in asked], articles)
    questions = [
        {
            "question_id": i,
            "document_id": owner,
            "category": row["task"],
            "question": row["question"],
            "answer": row["answer"],
        }
        for i, (owner, row) in enumerate(zip(owners, asked, strict=True))
        if owner in kept
    ]
    return Corpus.from_rows("wiki", "original", documents, questions)


def align(texts: list[str], articles: list[str]) -> list[int]:
    """Find which article each text is about, given that the texts follow the order of the articles.

    A pair scores the share of the text's words that the article has, each word weighted by ``log(n / articles with
    it)``; the assignment is the non-decreasing one with the largest sum of scores (dynamic programming).

    Args:
        texts: Questions with their answers, or paraphrases.
        articles: The articles, in order. An article may have no text.

    Returns:
        The article's position for each text.
    """
    words = [_words(article) for article in articles]
    frequency = Counter(word for found in words for word in found)
    weight = {word: math.log(len(articles) / n) for word, n in frequency.items()}
    best = np.zeros(len(articles))  # best[j]: the largest sum with the last text so far at article j
    steps = []
    for text in texts:
        own = _words(text)
        total = sum(weight.get(word, math.log(len(articles))) for word in own)
        score = np.array([sum(weight[word] for word in own & found) for found in words]) / max(total, 1e-9)
        # previous[j]: the article up to j at which the preceding text fits best
        highest = np.maximum.accumulate(best)
        previous = np.maximum.accumulate(np.where(best == highest, np.arange(len(best)), 0))
        steps.append(previous)
        best = score + highest
    owners = [int(best.argmax())]
    for previous in reversed(steps[1:]):
        owners.append(int(previous[owners[-1]]))
    return owners[::-1]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _read_paraphrases(kind: str, articles: list[str]) -> list[list[str]]:
    """Paraphrases of each article, in the order of the file; empty for articles a prefix file does not reach."""
    try:
        rows = origin.read_rows(f"{_FILES[kind]}.json")
    except FileNotFoundError as full:
        try:
            rows = origin.read_rows(f"{_FILES[kind]}.first21.json")
        except FileNotFoundError:
            raise full from None  # the prefix is a stopgap: ask for the full file
    texts = [row["text"] for row in rows]
    blocks: list[list[str]] = [[] for _ in articles]
    for owner, text in zip(align(texts, articles), texts, strict=True):
        blocks[owner].append(text)
    return blocks
