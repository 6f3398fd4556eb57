"""Whether an answer is given in its document's words, or begins with the name that it was asked about, and how often it is right then."""

import re
from collections.abc import Callable

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


def _accuracy_by(column: str, is_so: Callable[[str, str, dict], bool], generations: pd.DataFrame, corpus: Corpus) -> pd.DataFrame:
    """Share and mean accuracy of each method's forward answers by what ``is_so`` says of answer, document's text and question."""
    rows = generations[generations.category == "forward"]
    if rows.empty or rows.generation.isna().any():
        raise ValueError("the frame holds no forward answers or leaves their texts out; read runs whose records keep texts")
    texts = dict(zip(corpus.documents["document_id"], corpus.documents["text"], strict=True))
    questions = {q["question_id"]: q for q in corpus.questions.to_list()}
    asked = [questions[n] for n in rows.question_id]
    values = [is_so(answer, texts[question["document_id"]], question) for answer, question in zip(rows.generation, asked, strict=True)]
    found = rows.assign(**{column: values}).groupby(["method", column]).accuracy.agg(["size", "mean"]).reset_index()
    found["share"] = found["size"] / found.groupby("method")["size"].transform("sum")
    return found.rename(columns={"mean": "accuracy"})[["method", column, "share", "accuracy"]]
