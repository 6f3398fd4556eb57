"""Whether an answer is given in its document's words, or begins with the name that it was asked about, and how often it is right then."""

import re

import pandas as pd

from .data import Corpus

# A sentence ends before the next one's subject. Facts hold full stops and commas of their own.
SENTENCE_END = re.compile(r"(?<=\.) (?=[A-Z])")


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
    texts, rows = _texts_and_answers(generations, corpus)
    said = []
    for row, question in rows:
        wordings = words_before(texts[question["document_id"]], question["answer"])
        if not wordings:
            raise ValueError(f"{question['answer']!r}, the answer to question {row.question_id}, does not stand in its document; expected one word for word")
        said.append(any(words in row.generation for words in wordings))
    return _accuracy_by("in_own_words", said, rows)


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
    texts, rows = _texts_and_answers(generations, corpus)
    taken = []
    for row, question in rows:
        name = name_given(texts[question["document_id"]], question["question"])
        if not name:
            raise ValueError(f"question {row.question_id} ({question['question']!r}) does not have the words with which its document begins; expected a name")
        taken.append(row.generation.startswith(name))
    return _accuracy_by("takes_over_name", taken, rows)


def _texts_and_answers(generations: pd.DataFrame, corpus: Corpus) -> tuple[dict, list[tuple]]:
    """The documents' texts by id, and each forward answer with its question."""
    rows = generations[generations.category == "forward"]
    if rows.empty or rows.generation.isna().any():
        raise ValueError("the frame holds no forward answers or leaves their texts out; read runs whose records keep texts")
    questions = {q["question_id"]: q for q in corpus.questions.to_list()}
    texts = dict(zip(corpus.documents["document_id"], corpus.documents["text"], strict=True))
    return texts, [(row, questions[row.question_id]) for row in rows.itertuples()]


def _accuracy_by(column: str, values: list[bool], rows: list[tuple]) -> pd.DataFrame:
    """Share and mean accuracy of each method's answers by ``values``, one an answer."""
    frame = pd.DataFrame({"method": [row.method for row, _ in rows], column: values, "accuracy": [row.accuracy for row, _ in rows]})
    found = frame.groupby(["method", column]).accuracy.agg(["size", "mean"]).reset_index()
    found["share"] = found["size"] / found.groupby("method")["size"].transform("sum")
    return found.rename(columns={"mean": "accuracy"})[["method", column, "share", "accuracy"]]
