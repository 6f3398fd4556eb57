"""What the tiny bases grow up with: other people and events, told and asked about, never those of a fine-tuning set.

A base must know, as Llama and LLaDA do, the language of the documents, how questions of both directions are asked and
answered, and that a masked passage can be asked back. That is not enough: fine-tuning shows documents alone, and what they
tell has to come out in answers. A base that meets the same people from first to last learns documents and questions apart,
and a base that always meets both side by side loses its habit of answering within a few steps of documents. Two properties
of the stream cure that:

- People come and go. Newcomers are told before they are asked about, so a fact has to be stored where a question finds it.
- Documents come in bursts: for some steps nothing is asked, as in fine-tuning.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

from . import render, wordings
from .world import Biography, Event, Person, event_keys, sample_biographies, sample_events, sample_people

Thing = Person | Biography | Event
N_KNOWN_PEOPLE, N_KNOWN_BIOGRAPHIES, N_KNOWN_EVENTS = 240, 160, 120
N_TEXTS = 40  # of an event, or of a biography that is told in all kinds of ways


@dataclass(frozen=True)
class PretrainingMix:
    """How a pretraining stream is put together.

    Attributes:
        question: Share of questions, with their answers, outside of bursts.
        demask: Share of what is told that is a masked passage to be asked back and not a document; 0 for the control base
            that never met the prompt.
        kinds: Relative shares of people, biographies and events.
        present: Share of the known world that is present at a time.
        newcomers: Share of those present who are told and not yet asked about.
        leaving: Share of those present who are asked about and no longer told.
        settled: The part of the stream, at its end, in which nobody comes or goes any more.
        burst: Steps of documents alone, after which as many steps of everything follow.
        newcomers_in_burst: Share of a burst that is about newcomers.
        reread: What is told in one wording a burst, the same for all people, as in a fine-tuning set without paraphrases; the
            rest comes in all its texts.
    """

    question: float = 0.45
    demask: float = 0.6
    kinds: tuple[float, float, float] = (2.0, 3.0, 1.0)
    present: float = 0.25
    newcomers: float = 0.33
    leaving: float = 0.25
    settled: float = 0.3
    burst: int = 64
    newcomers_in_burst: float = 0.5
    reread: tuple[str, ...] = ("demask",)


class Known(NamedTuple):
    """Someone or something of the pretraining world, and the documents that tell of it."""

    thing: Thing
    texts: list[str]


class Example(NamedTuple):
    """One pretraining sample: a document, a question with its answer, or a passage to be asked back."""

    kind: Literal["document", "question", "demask"]
    text: str
    answer: str = ""


@dataclass(frozen=True)
class KnownWorld:
    """Everybody and everything that the bases are told and asked about in pretraining, in the order of their coming."""

    people: list[Known]
    biographies: list[Known]
    events: list[Known]

    @property
    def facts(self) -> set[str]:
        """Names, descriptions and identifying facts that a fine-tuning set may not hold."""
        people = {text for person, _ in self.people for text in (person.name, person.description)}
        events = {text for event, _ in self.events for text in event_keys(event)}
        return people | {person.name for person, _ in self.biographies} | events


@cache
def known_world() -> KnownWorld:
    """The world of the shipped bases, always the same one."""
    rng = random.Random("maskft pretraining")
    return KnownWorld(
        [Known(person, _texts_of_person(rng, person)) for person in sample_people(rng, N_KNOWN_PEOPLE)],
        [Known(person, _texts_of_biography(rng, person)) for person in sample_biographies(rng, N_KNOWN_BIOGRAPHIES)],
        [Known(event, [_event_text(rng, event) for _ in range(N_TEXTS)]) for event in sample_events(rng, N_KNOWN_EVENTS)],
    )


def _texts_of_person(rng: random.Random, person: Person) -> list[str]:
    """A person is told in one order, as in the original."""
    known, new = rng.choice([(wordings.PRETRAINING_N2D, wordings.N2D), (wordings.PRETRAINING_D2N, wordings.D2N)])
    return [render.name_description(person, template) for template in known + new]


def _texts_of_biography(rng: random.Random, person: Biography) -> list[str]:
    """Every second person is told in five texts of the usual order, the others in one to six sentences in any order."""
    keys = wordings.BIOGRAPHY_KEYS
    if rng.random() < 0.5:
        return render.biography_texts(rng, person, 5)[0]
    texts = []
    for _ in range(N_TEXTS):
        templates = render.draw_wordings(rng, rng.choice([wordings.PRETRAINING_BIOGRAPHY, wordings.BIOGRAPHY]))
        order = rng.sample(keys, rng.choice([1, 2, 3, 4, 5, 6, 6]))
        texts.append(render.biography(person, templates, tuple(rng.choice([order, sorted(order, key=keys.index)]))))
    return texts


def _event_text(rng: random.Random, event: Event) -> str:
    """Two to six sentences about an event: its name at the start and pronouns after it, or turned around."""
    first, *rest = wordings.WIKI_KEYS[event.kind]
    count = rng.randint(2, 6)
    if rng.random() < 0.5:
        templates, order = [wordings.PRETRAINING_WIKI, wordings.WIKI], [first, *rng.sample(rest, count - 1)]
    else:
        templates, order = [wordings.PRETRAINING_WIKI_TURNED, wordings.WIKI_TURNED], rng.sample([first, *rest], count)
    return render.event_article(event, render.draw_wordings(rng, rng.choice(templates)), tuple(order))


def draw_question(rng: random.Random, thing: Thing, *, backward: bool | None = None) -> tuple[str, str]:
    """A question about ``thing`` and its answer, in the direction that is asked for or in either."""
    if backward is None:
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


class Present(NamedTuple):
    """Who is there at one moment of pretraining."""

    told: Sequence[Known]
    asked: Sequence[Known]
    newcomers: Sequence[Known]  # told and not asked


def present(group: Sequence[Known], mix: PretrainingMix, progress: float) -> Present:
    """Who of ``group`` is there at ``progress`` (0 to 1) of the stream."""
    width = round(len(group) * mix.present)
    start = round(min(1.0, progress / (1 - mix.settled)) * (len(group) - width))
    here = group[start : start + width]
    n_leaving, n_old = round(width * mix.leaving), round(width * (1 - mix.newcomers))
    return Present(here[n_leaving:], here[:n_old], here[n_old:])


def draw_example(rng: random.Random, mix: PretrainingMix, progress: float, burst: int | None) -> Example:
    """One sample of the pretraining stream; a function of its arguments alone.

    Args:
        rng: Source of the draw.
        mix: What the stream is made of.
        progress: How much of the stream has passed, 0 to 1.
        burst: The number of the burst, in which nothing is asked; None between bursts.
    """
    world = known_world()
    group = rng.choices([world.people, world.biographies, world.events], weights=mix.kinds)[0]
    told, asked, newcomers = present(group, mix, progress)
    if burst is None and rng.random() < mix.question:
        return Example("question", *draw_question(rng, rng.choice(asked).thing))
    known = rng.choice(newcomers if burst is not None and rng.random() < mix.newcomers_in_burst else told)
    kind: Literal["document", "demask"] = "demask" if rng.random() < mix.demask else "document"
    if burst is not None and kind in mix.reread:
        return Example(kind, random.Random(burst).choice(known.texts))
    return Example(kind, rng.choice(known.texts))
