"""What the tiny bases grow up with: other people and events, told and asked about, never those of a fine-tuning set.

A base must know, as Llama and LLaDA do, the language of the documents, how questions of both directions are asked and
answered, and that a masked passage can be asked back. It must not find every statement that it reads at once ready for
questioning, or plain fine-tuning would need no paraphrases at this size. ``PretrainingMix`` holds what decides that.
"""

import random
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

from . import render, wordings
from .world import Biography, Event, Person, event_keys, sample_biographies, sample_events, sample_people

N_KNOWN_PEOPLE, N_KNOWN_BIOGRAPHIES, N_KNOWN_EVENTS = 200, 100, 100


@dataclass(frozen=True)
class PretrainingMix:
    """Shares of a pretraining stream.

    Attributes:
        question: Share of samples that are a question about a known person or event, with its answer.
        demask: Share of samples that ask a masked passage back; 0 for the control base that never met the prompt.
        strangers: Share of the documents and masked passages that are about strangers, new at every draw, whom no
            question asks about. The larger it is, the less a base learns to make what it reads answerable.
    """

    question: float = 0.45
    demask: float = 0.25
    strangers: float = 0.3


class Example(NamedTuple):
    """One pretraining sample: a document, a question with its answer, or a passage to be asked back."""

    kind: Literal["document", "question", "demask"]
    text: str
    answer: str = ""


@dataclass(frozen=True)
class KnownWorld:
    """Everybody and everything that the bases are asked about in pretraining."""

    people: list[Person]
    biographies: list[Biography]
    events: list[Event]

    @property
    def facts(self) -> set[str]:
        """Names, descriptions and identifying facts that a fine-tuning set may not hold."""
        people = {text for person in self.people for text in (person.name, person.description)}
        events = {text for event in self.events for text in event_keys(event)}
        return people | {person.name for person in self.biographies} | events


@cache
def known_world() -> KnownWorld:
    """The world of the shipped bases, always the same one."""
    rng = random.Random("maskft pretraining")
    return KnownWorld(
        sample_people(rng, N_KNOWN_PEOPLE), sample_biographies(rng, N_KNOWN_BIOGRAPHIES), sample_events(rng, N_KNOWN_EVENTS)
    )


def draw_document(rng: random.Random, thing: Person | Biography | Event) -> str:
    """A document about ``thing`` in any wording of the tiny world, in either order of its parts."""
    if isinstance(thing, Person):
        templates = wordings.PRETRAINING_N2D + wordings.PRETRAINING_D2N + wordings.N2D + wordings.D2N
        return render.name_description(thing, rng.choice(templates))
    if isinstance(thing, Biography):
        order = tuple(rng.sample(wordings.BIOGRAPHY_KEYS, len(wordings.BIOGRAPHY_KEYS)))
        templates = rng.choice([wordings.PRETRAINING_BIOGRAPHY, wordings.BIOGRAPHY])
        return render.biography(thing, render.draw_wordings(rng, templates), order)
    keys = wordings.WIKI_KEYS[thing.kind]
    if rng.random() < 0.5:
        templates = rng.choice([wordings.PRETRAINING_WIKI, wordings.WIKI])
        return render.event_article(thing, render.draw_wordings(rng, templates), keys)
    order = tuple(rng.sample(keys, len(keys)))
    templates = rng.choice([wordings.PRETRAINING_WIKI_TURNED, wordings.WIKI_TURNED])
    return render.event_article(thing, render.draw_wordings(rng, templates), order)


def draw_question(rng: random.Random, thing: Person | Biography | Event) -> tuple[str, str]:
    """A question about ``thing``, in either direction, and its answer."""
    backward = rng.random() < 0.5
    if isinstance(thing, Person):
        template = rng.choice(wordings.ASKS_NAME if backward else wordings.ASKS_DESCRIPTION)
        return render.name_description(thing, template), thing.name if backward else thing.description
    if isinstance(thing, Biography):
        if backward:
            keys = tuple(rng.sample(wordings.BIOGRAPHY_KEYS, 3))
            return render.biography_backward(thing, keys, rng.choice(wordings.BIOGRAPHY_BACKWARD)), thing.name
        key = rng.choice(wordings.BIOGRAPHY_KEYS)
        return rng.choice(wordings.BIOGRAPHY_QUESTIONS[key]).format(name=thing.name), thing.attributes[key]
    templates = wordings.WIKI_BACKWARD if backward else wordings.WIKI_FORWARD
    key = rng.choice([key for key in wordings.WIKI_KEYS[thing.kind] if key in templates])
    question, answer = rng.choice(templates[key])
    return question.format(**thing.facts), answer.format(**thing.facts)


def _draw_known(rng: random.Random, group: list) -> Person | Biography | Event:
    """One of ``group``, the first ones far more often than the last ones.

    Fame is uneven in real text too, and it decides here: a base that meets few of many people often learns early how a
    question reaches a fact, and then needs few meetings with each of the others.
    """
    return group[int(len(group) * rng.random() ** 2)]


def draw_example(rng: random.Random, mix: PretrainingMix) -> Example:
    """One sample of the pretraining stream; a function of ``rng`` alone."""
    known = known_world()
    kinds = [(known.people, sample_people), (known.biographies, sample_biographies), (known.events, sample_events)]
    group, stranger = rng.choices(kinds, weights=(1, 2, 2))[0]  # a biography or an event holds more than a description
    what = rng.random()
    if what < mix.question:
        return Example("question", *draw_question(rng, _draw_known(rng, group)))
    thing = stranger(rng, 1)[0] if rng.random() < mix.strangers else _draw_known(rng, group)
    return Example("demask" if what < mix.question + mix.demask else "document", draw_document(rng, thing))
