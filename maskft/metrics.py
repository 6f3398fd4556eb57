"""Scores of one answer, and what the tables take from a run: total accuracy, best checkpoint, convergence.

Section 3 of the paper scores an answer by "the proportion of the words in ground truth answer that appears in the
generated answer", which is ROUGE-1 recall. Two readings of it stand side by side here, with exact match:

- `accuracy`, the authors' released scoring and this study's main figure: words are compared with their case, each
  word counts once, and fourteen function words are dropped, so that "the ... of the" is not knowledge.
- `rouge1_recall`, rouge-score as it comes: lower case, ASCII letters and digits only, repeated words count again.

This file knows strings and numbers only; it imports nothing of the package. rouge-score and scipy, a second to load, are
imported where they are used: most who read scores compute none.
"""

import math
import re
import string
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

DROPPED_WORDS = frozenset(("a", "of", "the", "and", "is", "are", "be", "to", "new", "on", "in", "at", "an", "for"))
METRICS = ("accuracy", "rouge1_recall", "exact_match")
MIN_POINTS = 3  # after step 0, to fit a curve of two parameters

DELETE_PUNCTUATION = str.maketrans("", "", string.punctuation)
# What NLTK's word tokenizer still splits once ASCII punctuation is gone: typographic quotes and dashes, and six
# joined words. The apostrophe of "don't" goes with the punctuation, so no other contraction can occur.
STANDS_ALONE = re.compile("([«“‘„»”’\u2012-\u2015])")
JOINED_WORDS = re.compile(r"(?i)\b(can(?=not\b)|gim(?=me\b)|gon(?=na\b)|got(?=ta\b)|lem(?=me\b)|wan(?=na(?:\s|$)))")


class ReleaseTokenizer:
    """Split a text into the words that the release's scoring compares (Section 3); has rouge-score's interface.

    Deletes `string.punctuation`, splits as NLTK's `word_tokenize` does (typographic quotes and dashes are words of
    their own, "cannot" is "can" and "not"), drops `DROPPED_WORDS` whatever their case, and keeps each word once, with
    its case. A hyphen is deleted, not replaced: "award-winning" is the one word "awardwinning".
    """

    def tokenize(self, text: str) -> list[str]:
        """Return the unique words of `text`, in order of first appearance."""
        text = STANDS_ALONE.sub(r" \1 ", text.translate(DELETE_PUNCTUATION))
        words = JOINED_WORDS.sub(r"\1 ", text).split()
        return list(dict.fromkeys(word for word in words if word.lower() not in DROPPED_WORDS))


RELEASE_TOKENIZER = ReleaseTokenizer()


@cache
def _scorer(**options):
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1"], **options)


def accuracy(answer: str, generation: str) -> float:
    """Recall of the answer's unique words, as the release scores it (Section 3, "accuracy").

    Args:
        answer: the ground truth.
        generation: the model's answer, cut at its end token. An empty one scores 0.

    Returns:
        The share of the answer's words found in the generation, between 0 and 1.

    Raises:
        ValueError: the answer has no word left to find, so no generation could be right or wrong.
    """
    if not RELEASE_TOKENIZER.tokenize(answer):
        raise ValueError(
            f"answer {answer!r} has no word left after dropping punctuation and {sorted(DROPPED_WORDS)}; "
            "expected at least one content word: reword the question or remove it"
        )
    # The ground truth is rouge-score's first argument; swapped, its recall is our precision.
    return float(_scorer(tokenizer=RELEASE_TOKENIZER).score(answer, generation)["rouge1"].recall)


def rouge1_recall(answer: str, generation: str) -> float:
    """ROUGE-1 recall by plain rouge-score, without stemming.

    Args:
        answer: the ground truth. One without an ASCII letter or digit scores 0, as rouge-score has it.
        generation: the model's answer.

    Returns:
        Clipped count of the answer's words found in the generation over their number, between 0 and 1.
    """
    return float(_scorer(use_stemmer=False).score(answer, generation)["rouge1"].recall)


def exact_match(answer: str, generation: str) -> float:
    """1.0 where both texts are equal after normalisation, else 0.0.

    Normalisation: case folded, `string.punctuation` deleted, runs of white space made one space and stripped at the
    ends. Articles and other function words stay.
    """
    return float(_normalise(answer) == _normalise(generation))


def _normalise(text: str) -> str:
    return " ".join(text.translate(DELETE_PUNCTUATION).casefold().split())


def score(answer: str, generation: str) -> dict[str, float]:
    """All three scores of one generation, keyed by the names in `METRICS`.

    Raises:
        ValueError: the answer has no word to find (see `accuracy`).
    """
    return {
        "accuracy": accuracy(answer, generation),
        "rouge1_recall": rouge1_recall(answer, generation),
        "exact_match": exact_match(answer, generation),
    }


def direction_accuracy(by_category: Mapping[str, float]) -> dict[str, float]:
    """Forward and backward accuracy (Figure 2): for NameDescription each is the mean over its N2D and D2N cells.

    Args:
        by_category: accuracy of each category: `forward` and `backward`, or `n2d_forward`, `d2n_backward` and so on.

    Returns:
        `{"forward": ..., "backward": ...}`.

    Raises:
        ValueError: a category names no direction, or a direction has no category.
    """
    values: dict[str, list[float]] = {"forward": [], "backward": []}
    for category, value in by_category.items():
        direction = category.rpartition("_")[2]
        if direction not in values:
            raise ValueError(f"category {category!r} names no direction; expected it to end in forward or backward")
        values[direction].append(value)
    for direction, found in values.items():
        if not found:
            raise ValueError(f"no {direction} category among {sorted(by_category)}; expected both directions")
    return {direction: float(np.mean(found)) for direction, found in values.items()}


def total_accuracy(by_category: Mapping[str, float]) -> float:
    """Macro average of forward and backward accuracy (Appendix A.4, Figure 6).

    Args:
        by_category: as for `direction_accuracy`.

    Raises:
        ValueError: a category names no direction, or a direction has no category.
    """
    return float(np.mean(list(direction_accuracy(by_category).values())))


def pick_best_step(steps_to_total: Mapping[int, float]) -> int:
    """The step with the highest total accuracy (Appendix A.4), the earliest where several tie.

    Step 0, before fine-tuning, is no candidate: a table row about fine-tuning never reports the base model.

    Args:
        steps_to_total: total accuracy at each evaluated step.

    Raises:
        ValueError: no step after 0, or a total that is not a number.
    """
    candidates = {step: total for step, total in steps_to_total.items() if step > 0}
    if not candidates:
        raise ValueError(f"steps {sorted(steps_to_total)} hold none after 0; expected an evaluation after fine-tuning")
    bad = [step for step, total in candidates.items() if not math.isfinite(total)]
    if bad:
        raise ValueError(f"total accuracy at steps {sorted(bad)} is not a finite number; score these steps again")
    return min(candidates, key=lambda step: (-candidates[step], step))


def determines(value: Any, error: Any) -> Any:
    """Whether points determine a fitted number, or each of a column: it is at least two standard errors from 0."""
    return np.isfinite(error) & (2 * error <= value)


def fit_convergence(
    steps: Sequence[int | float] | np.ndarray, accuracies: Sequence[int | float] | np.ndarray
) -> tuple[float, float, float, float]:
    """Fit A (1 - exp(-k x)) to an accuracy curve (Table 4).

    Points at step 0 are left out: the curve is 0 there whatever A and k. A is an asymptote and may exceed 1; it is
    kept below 10, where a curve that never bends would send it to infinity. Least squares starts from several rates
    and keeps the best fit, because a start far too fast or slow leaves a flat, gradient-free region.

    Args:
        steps: optimizer steps, or any other non-negative measure of training.
        accuracies: the accuracy at each of them.

    Returns:
        A, k (per unit of `steps`), and their standard errors. A standard error is infinite where the points do not
        determine its parameter. A curve of zeros gives `(0.0, nan, 0.0, nan)`: its k is undefined. For a curve at its
        asymptote from the first point on, k only says "this fast or faster".

    Raises:
        ValueError: lengths differ, a value is not finite or negative, or fewer than three points are after step 0.
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    x, y = np.asarray(steps, dtype=float), np.asarray(accuracies, dtype=float)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"steps of shape {x.shape} and accuracies of shape {y.shape}; expected two equal lengths")
    if not (np.isfinite(x).all() and np.isfinite(y).all() and (x >= 0).all() and (y >= 0).all()):
        raise ValueError(f"steps {x.tolist()} or accuracies {y.tolist()} hold a negative or non-finite value")
    x, y = x[x > 0], y[x > 0]
    if len(x) < MIN_POINTS:
        raise ValueError(f"{len(x)} points after step 0; expected at least {MIN_POINTS} to fit A and k: evaluate more often")
    if not y.any():
        return 0.0, math.nan, 0.0, math.nan

    def curve(x: np.ndarray, a: float, k: float) -> np.ndarray:
        return -a * np.expm1(-k * x)

    scale = x.max()  # k times scale is of order one for every curve that bends within the run
    fits = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # says that a covariance is infinite: so does the result
        for rate in (0.3, 3.0, 30.0, 300.0):
            (a, k), covariance = curve_fit(
                curve, x / scale, y, p0=(y.max(), rate), bounds=((0, 0), (10, 1e6)), max_nfev=10_000
            )
            fits.append((float(np.sum((curve(x / scale, a, k) - y) ** 2)), a, k, np.sqrt(np.diag(covariance))))
    _, a, k, (stderr_a, stderr_k) = min(fits, key=lambda fit: fit[0])
    # Two cases whose covariance looks better than it is.
    if a > 9.99:  # stopped at its bound, not where the points put it
        stderr_a = stderr_k = math.inf
    if math.exp(-k * x.min() / scale) < 1e-6:  # no point feels k any more, and curve_fit's pseudo-inverse says error 0
        stderr_k = math.inf
    return float(a), float(k / scale), float(stderr_a), float(stderr_k / scale)
