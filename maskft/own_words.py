"""Whether an answer is given in its document's words, and how often it is right then."""

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
    texts = dict(zip(corpus.documents["document_id"], corpus.documents["text"], strict=True))
    questions = {q["question_id"]: q for q in corpus.questions.to_list()}
    rows = generations[generations.category == "forward"]
    if rows.empty or rows.generation.isna().any():
        raise ValueError("the frame holds no forward answers or leaves their texts out; read runs whose records keep texts")
    said = []
    for row in rows.itertuples():
        question = questions[row.question_id]
        wordings = words_before(texts[question["document_id"]], question["answer"])
        if not wordings:
            raise ValueError(f"{question['answer']!r}, the answer to question {row.question_id}, does not stand in its document; expected one word for word")
        said.append(any(words in row.generation for words in wordings))
    by_words = rows.assign(in_own_words=said).groupby(["method", "in_own_words"]).accuracy.agg(["size", "mean"]).reset_index()
    by_words["share"] = by_words["size"] / by_words.groupby("method")["size"].transform("sum")
    return by_words.rename(columns={"mean": "accuracy"})[["method", "in_own_words", "share", "accuracy"]]
