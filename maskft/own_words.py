"""How often an answer is right by what it is made of: its document's words or order, the name asked about, facts that others share."""

import re
from collections.abc import Callable

import pandas as pd

from .data import CATEGORIES, Corpus

# A sentence ends before the next one's subject. Facts hold full stops and commas of their own.
SENTENCE_END = re.compile(r"(?<=\.) (?=[A-Z])")
# What the tiny world's NameDescription tells: a name of two words, and "the ROLE of the THING".
NAME, DESCRIPTION = re.compile(r"[A-Z][a-z]+ [A-Z][a-z]+"), re.compile(r"\b[Tt]he [a-z]+ of the ")


def words_before(text: str, fact: str) -> list[str]:
    """What ``text`` says before ``fact``, one entry a sentence that tells it, the sentence's subject left out.

    Where the subject ends is not known, so it is taken to be all words up to the last one with a capital.

    >>> words_before("Ann Bo Cole was born on May 1, 1950. She has roots in Selby, ID.", "Selby, ID")
    ['has roots in']
    """
    found = []
    for sentence in SENTENCE_END.split(text):
        before, told, _ = sentence.partition(fact)
        if told:
            words = before.split()
            n_subject = max((n for n, word in enumerate(words, start=1) if word[0].isupper()), default=0)
            found.append(" ".join(words[n_subject:]))
    return found


def own_words(generations: pd.DataFrame, corpus: Corpus) -> pd.DataFrame:
    """Accuracy of forward answers by whether they have the words that stand before the fact in its document.

    Args:
        generations: as ``runs.read_generations``, answers to ``corpus``'s questions at one step of each run.
        corpus: a data set whose answers stand in its documents word for word, as Biography's do.

    Returns:
        Columns method, in_own_words, share (of the method's answers), accuracy (their mean).

    Raises:
        ValueError: there is no forward answer, an answer has no text, or a question's answer does not stand in its document.
    """

    def has_words(answer: str, text: str, question: dict) -> bool:
        wordings = words_before(text, question["answer"])
        if not wordings:
            raise ValueError(f"{question['answer']!r}, the answer to question {question['question_id']}, does not stand in its document; expected one word for word")
        return any(words in answer for words in wordings)

    return _accuracy_by("in_own_words", has_words, generations, corpus)


def name_given(text: str, question: str) -> str:
    """The words with which ``text`` begins and that ``question`` has as they are: whom or what it asks about.

    >>> name_given("Ann Bo Cole was born on May 1, 1950.", "Where was Ann Bo Cole born?")
    'Ann Bo Cole'
    """
    words = text.split()
    return next((" ".join(words[:n]) for n in range(len(words), 0, -1) if " ".join(words[:n]) in question), "")


def names_taken_over(generations: pd.DataFrame, corpus: Corpus) -> pd.DataFrame:
    """Accuracy of forward answers by whether they begin with the name that the question gives.

    Args:
        generations: as ``own_words``.
        corpus: a data set whose documents begin with the name that forward questions give, as Biography's do.

    Returns:
        Columns method, takes_over_name, share (of the method's answers), accuracy (their mean).

    Raises:
        ValueError: there is no forward answer, an answer has no text, or a document does not begin with what its question gives.
    """

    def begins_with_name(answer: str, text: str, question: dict) -> bool:
        name = name_given(text, question["question"])
        if not name:
            raise ValueError(
                f"question {question['question_id']} ({question['question']!r}) does not have the words with which its document begins; expected a name"
            )
        return answer.startswith(name)

    return _accuracy_by("takes_over_name", begins_with_name, generations, corpus)


def tells_name_first(text: str) -> bool | None:
    """Whether ``text`` tells a name and then a description, or the other way round; None if it does not tell both.

    >>> tells_name_first("The miner of the amber abbey is Ada Birch."), tells_name_first("Ada Birch mines.")
    (False, None)
    """
    name, description = NAME.search(text), DESCRIPTION.search(text)
    return None if name is None or description is None else name.start() < description.start()


def answers_by_order(generations: pd.DataFrame, corpus: Corpus) -> pd.DataFrame:
    """Accuracy of answers about NameDescription by whether they tell name and description in the order of their document.

    An answer that does not tell both keeps no order.

    Args:
        generations: as ``own_words``, answers about the synthetic NameDescription.
        corpus: that data set.

    Returns:
        Columns category, method, in_its_order, share (of the method's answers in the category), accuracy (their mean).

    Raises:
        ValueError: there is no answer of a category, or an answer has no text.
    """

    def keeps_order(answer: str, text: str, question: dict) -> bool:
        return tells_name_first(answer) == tells_name_first(text)

    found = [_accuracy_by("in_its_order", keeps_order, generations, corpus, category).assign(category=category) for category in CATEGORIES["name_description"]]
    return pd.concat(found, ignore_index=True)[["category", "method", "in_its_order", "share", "accuracy"]]


def count_rivals(corpus: Corpus) -> dict[int, int]:
    """How many other documents tell at least one of the facts that a backward question gives, by the question's id.

    The facts of a document are the answers to its forward questions, in whatever role another document tells them (a city of birth
    is also where somebody works).
    """
    texts = dict(zip(corpus.documents["document_id"], corpus.documents["text"], strict=True))
    facts: dict[int, set[str]] = {}
    for question in corpus.questions:
        if question["direction"] == "forward":
            facts.setdefault(question["document_id"], set()).add(question["answer"])
    found = {}
    for question in corpus.questions:
        if question["direction"] == "backward":
            given = [fact for fact in facts[question["document_id"]] if fact in question["question"]]
            others = [text for document_id, text in texts.items() if document_id != question["document_id"]]
            found[question["question_id"]] = sum(any(fact in text for fact in given) for text in others)
    return found


def names_by_rivals(generations: pd.DataFrame, corpus: Corpus, most: int = 6) -> pd.DataFrame:
    """Accuracy of backward answers by how many others share a fact of the question (`count_rivals`).

    Args:
        generations: as ``own_words``.
        corpus: a data set whose answers stand in its documents word for word, as Biography's do.
        most: so many and more are one row.

    Returns:
        Columns method, rivals, share (of the method's answers), accuracy (their mean).

    Raises:
        ValueError: there is no backward answer, or an answer has no text.
    """
    rivals = count_rivals(corpus)
    return _accuracy_by("rivals", lambda answer, text, question: min(most, rivals[question["question_id"]]), generations, corpus, "backward")


def _accuracy_by(
    column: str, value_of: Callable[[str, str, dict], int], generations: pd.DataFrame, corpus: Corpus, category: str = "forward"
) -> pd.DataFrame:
    """Share and mean accuracy of each method's answers by the value that answer, document's text and question have."""
    rows = generations[generations.category == category]
    if rows.empty or rows.generation.isna().any():
        raise ValueError(f"the frame holds no {category} answers or leaves their texts out; read runs whose records keep texts")
    texts = dict(zip(corpus.documents["document_id"], corpus.documents["text"], strict=True))
    questions = {q["question_id"]: q for q in corpus.questions.to_list()}
    asked = [questions[n] for n in rows.question_id]
    values = [value_of(answer, texts[question["document_id"]], question) for answer, question in zip(rows.generation, asked, strict=True)]
    found = rows.assign(**{column: values}).groupby(["method", column]).accuracy.agg(["size", "mean"]).reset_index()
    found["share"] = found["size"] / found.groupby("method")["size"].transform("sum")
    return found.rename(columns={"mean": "accuracy"})[["method", column, "share", "accuracy"]]
