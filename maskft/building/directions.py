"""Forward or backward: does a passage say first what a question names, or what it asks for? (Appendix A.3)

The paper's rule is to "generate keywords in the question and answer, then compare their appearance order in the
original text". What it leaves open is settled so: a question is *forward* if each of its key words first appears before
the answer does, *backward* if each first appears after it, and *ambiguous* if some do the one and some the other. The
release bears that out: by the same rule with key words found here, hardly one of its questions is ambiguous, though
questions that name something on both sides of the answer are easily made (maskft/data/README.md has the numbers).
"""

import re
from collections.abc import Sequence

OUTCOMES = ("forward", "backward", "ambiguous", "answer not in the passage")

# Words that say nothing of their own: a phrase neither begins nor ends with one.
_FUNCTION_WORDS = frozenset(
    "a an the of in on at to for from by with and or as is are was were be been being did do does has have had which "
    "what who whom whose where when why how that this it its their his her he she they during into than then not no "
    "name after before".split()
)


def direction_in(passage: str, question: str, answer: str, cues: Sequence[str] = ()) -> str:
    """The direction of a question, by the first appearances of its cues and its answer in the passage.

    Words are compared without case and punctuation. Cues that are not in the passage, or are part of the answer there,
    say nothing; if none is left, `find_cues` finds some in the question.

    Args:
        passage: The text that holds the answer.
        question: The question.
        answer: Its answer.
        cues: Words and phrases of the passage that the question uses, as the model named them.

    Returns:
        One of `OUTCOMES`; ``ambiguous`` also where no cue is found.

    >>> passage = "Ada Birch wrote Red Rain in 1999."
    >>> direction_in(passage, "What did Ada Birch write?", "Red Rain", ["Ada Birch"])
    'forward'
    >>> direction_in(passage, "Who wrote Red Rain?", "Ada Birch")
    'backward'
    >>> direction_in(passage, "What did Ada Birch write in 1999?", "Red Rain")
    'ambiguous'
    """
    words, wanted = _words(passage), _words(answer)
    start = _first(words, wanted)
    if start is None:
        return "answer not in the passage"
    for phrases in ([_words(cue) for cue in cues], find_cues(passage, question)):
        places = [place for phrase in phrases if (place := _first(words, phrase)) is not None]
        before = [place < start for place in places if not start <= place < start + len(wanted)]
        if before:
            return "forward" if all(before) else "backward" if not any(before) else "ambiguous"
    return "ambiguous"


def find_cues(passage: str, question: str) -> list[list[str]]:
    """The longest phrases of a question that its passage has word for word, from left to right.

    Function words at their ends are cut off. Single words count only if they are written with a capital or a digit (the
    question's first word counts then too), or if there is nothing else: "game" or "held" may be anywhere.

    Returns:
        Phrases as lists of words in lower case.

    >>> find_cues("The cup was won by Bo Oak of Rome.", "Which cup was won by Bo Oak?")
    [['cup', 'was', 'won', 'by', 'bo', 'oak']]
    """
    words, asked, found = _words(passage), _words(question), []
    telling = {
        word.casefold() for word in re.findall(r"\w+", question) if any(c.isupper() or c.isdigit() for c in word)
    }
    i = 0
    while i < len(asked):
        lengths = range(len(asked) - i, 0, -1)
        length = next((n for n in lengths if _first(words, asked[i : i + n]) is not None), 0)
        phrase = asked[i : i + length]
        while phrase and phrase[0] in _FUNCTION_WORDS:
            phrase = phrase[1:]
        while phrase and phrase[-1] in _FUNCTION_WORDS:
            phrase = phrase[:-1]
        if phrase:
            found.append(phrase)
        i += max(length, 1)
    return [phrase for phrase in found if len(phrase) > 1 or phrase[0] in telling] or found


def _words(text: str) -> list[str]:
    return [word.casefold() for word in re.findall(r"\w+", text)]


def _first(words: list[str], phrase: list[str]) -> int | None:
    """Where a phrase first begins, or None."""
    n = len(phrase)
    return next((i for i in range(len(words) - n + 1) if words[i : i + n] == phrase), None) if n else None
