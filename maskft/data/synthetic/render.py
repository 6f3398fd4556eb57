"""From a fact to text: documents, paraphrases and questions of the tiny world, by the format strings of ``wordings``."""

import random

from . import wordings
from .world import Biography, Event, Person


def _fill(template: str, **values: str) -> str:
    """Fill a wording; ``{Description}`` is the description with a capital, for sentences that open with it."""
    if "description" in values:
        values["Description"] = values["description"][0].upper() + values["description"][1:]
    return template.format(**values)


def name_description(person: Person, wording: str) -> str:
    """One statement about ``person``."""
    return _fill(wording, name=person.name, description=person.description)


def biography(person: Biography, templates: dict[str, str], order: tuple[str, ...]) -> str:
    """Six sentences in ``order``; the full name in the first one only, a pronoun after it."""
    sentences = []
    for position, key in enumerate(order):
        who = person.name if position == 0 else person.pronoun
        sentences.append(_fill(templates[key], who=who, **person.attributes))
    return " ".join(sentences)


def event_article(event: Event, wording: dict[str, str], order: tuple[str, ...]) -> str:
    """An article whose sentences follow ``order``, each by its wording."""
    return " ".join(_fill(wording[key], **event.facts) for key in order)


def draw_wordings(rng: random.Random, wordings_by_key: dict[str, list[str]]) -> dict[str, str]:
    """One wording a key."""
    return {key: rng.choice(options) for key, options in wordings_by_key.items()}


def biography_texts(rng: random.Random, person: Biography, count: int) -> tuple[list[str], list[str]]:
    """``count`` same-order texts and ``count`` permuted ones; the first of both lists is the document itself.

    As in the release, the permuted texts hold the same sentences as the same-order ones in another order.
    """
    picks = {key: rng.sample(options, count) for key, options in wordings.BIOGRAPHY.items()}
    by_text = [{key: picks[key][n] for key in wordings.BIOGRAPHY_KEYS} for n in range(count)]
    same = [biography(person, templates, wordings.BIOGRAPHY_KEYS) for templates in by_text]
    permuted = [same[0]]
    for templates in by_text[1:]:
        order = wordings.BIOGRAPHY_KEYS
        while order == wordings.BIOGRAPHY_KEYS:
            order = tuple(rng.sample(wordings.BIOGRAPHY_KEYS, len(wordings.BIOGRAPHY_KEYS)))
        permuted.append(biography(person, templates, order))
    return same, permuted


def event_texts(rng: random.Random, event: Event, count: int) -> tuple[list[str], list[str]]:
    """``count`` same-order and ``count`` permute-order texts; the first of both lists is the document itself.

    A permuted text changes the order of its sentences and, in every sentence, which side comes first, as the
    paraphraser of the original was asked to ("word, sentence, and paragraph").
    """
    keys = wordings.WIKI_KEYS[event.kind]
    same: list[str] = []
    while len(same) < count:
        text = event_article(event, draw_wordings(rng, wordings.WIKI), keys)
        if text not in same:
            same.append(text)
    permuted = [same[0]]
    while len(permuted) < count:
        order = tuple(rng.sample(keys, len(keys)))
        text = event_article(event, draw_wordings(rng, wordings.WIKI_TURNED), order)
        if text not in permuted:
            permuted.append(text)
    return same, permuted


def biography_backward(person: Biography, keys: tuple[str, str, str], template: str) -> str:
    """A question for the full name by three attributes."""
    phrases = [wordings.BIOGRAPHY_ATTRIBUTES[key].format(**person.attributes) for key in keys]
    return template.format(a=phrases[0], b=phrases[1], c=phrases[2])
