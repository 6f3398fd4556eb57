"""What the tiny bases grow up with: other people and events, told and asked about, never those of a fine-tuning set.

A base must know, as Llama and LLaDA do, the language of the documents, how questions of both directions are asked and
answered, and that a masked passage can be asked back. That is not enough: fine-tuning shows documents alone, and what they
tell has to come out in answers. A base that meets the same people from first to last learns documents and questions apart,
and a base that always meets both side by side loses its habit of answering within a few steps of documents. Two properties
of the stream cure that:

- People come and go. Newcomers are told before they are asked about, so a fact has to be stored where a question finds it.
- Documents come in bursts: for some steps nothing is asked, as in fine-tuning.

An answer is a passage that holds what was asked for, as the answers of Llama and LLaDA are (Appendix A.5): what fine-tuning
teaches to write is then what an answer is made of. It takes over from the question what that gives; the AR bases begin an
answer about a person with that. Many questions are about strangers, of whom nothing else tells, so that this is learned as
a habit and not name by name; the AR bases learn it of people's names, the dLLM base does not (`notebooks/forgetting`).
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
N_STRANGE_PEOPLE, N_STRANGE_BIOGRAPHIES, N_STRANGE_EVENTS = 2000, 1500, 400
N_TEXTS = 40  # of an event, or of a biography that is told in all kinds of ways
N_USUAL_TEXTS = 5  # of a biography that is told in the usual order alone
N_TEXTS_OF_STRANGER = 5


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
        strangers: Share of questions that are about strangers.
        strangers_first: The part of the stream, at its start, that is made of such questions alone, all of them by the
            name. To take over a name is learned there; in the whole mix the dLLM does not find it, and does not keep it either.
        longest_answer: Words of a passage that may be an answer; a sentence of its own is made where every passage is
            longer, and always of a biography. None for no limit.
        led: Whether an answer about a person begins with what the question gives. Otherwise it is told in the person's order:
            what a dLLM learns of a text is bound to its layout, and turned around it does not come out (a trial:
            N2D backward 0.18 after 400 steps).
        reread: What is told in one wording a burst, the same for all people, as in a fine-tuning set without paraphrases; the
            rest comes in all its texts.
        retold: Whether a biography's wordings are drawn anew each time it is told, in a burst once for the person: by its words
            alone nobody is known then.
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
    strangers: float = 0.4
    strangers_first: float = 0.0
    longest_answer: int | None = None
    led: bool = True
    reread: tuple[str, ...] = ("demask",)
    retold: bool = False


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
    """Everybody and everything that the bases are told and asked about in pretraining, in the order of their coming.

    ``strangers`` are people, biographies and events that are only asked about.
    """

    people: list[Known]
    biographies: list[Known]
    events: list[Known]
    strangers: tuple[list[Person], list[Biography], list[Event]]

    @property
    def facts(self) -> set[str]:
        """Names, descriptions and identifying facts that a fine-tuning set may not hold."""
        known = [known.thing for group in (self.people, self.biographies, self.events) for known in group]
        return {fact for thing in [*known, *(one for group in self.strangers for one in group)] for fact in facts_of(thing)}


def facts_of(thing: Thing) -> tuple[str, ...]:
    """What names or tells apart a person, a biography or an event."""
    if isinstance(thing, Person):
        return thing.name, thing.description
    return (thing.name,) if isinstance(thing, Biography) else event_keys(thing)


@cache
def known_world() -> KnownWorld:
    """The world of the shipped bases, always the same one."""
    rng = random.Random("maskft pretraining")
    groups = [
        [Known(thing, _texts(rng, thing, N_TEXTS)) for thing in things]
        for things in (sample_people(rng, N_KNOWN_PEOPLE), sample_biographies(rng, N_KNOWN_BIOGRAPHIES), sample_events(rng, N_KNOWN_EVENTS))
    ]
    taken = {fact for group in groups for known in group for fact in facts_of(known.thing)}
    strangers = (
        sample_people(rng, N_STRANGE_PEOPLE, taken),
        sample_biographies(rng, N_STRANGE_BIOGRAPHIES, taken),
        sample_events(rng, N_STRANGE_EVENTS, taken),
    )
    return KnownWorld(*groups, strangers)


def _texts(rng: random.Random, thing: Thing, count: int) -> list[str]:
    """What tells of ``thing``: all wordings of a statement, or ``count`` texts of a biography or an event."""
    if isinstance(thing, Person):
        return _texts_of_person(rng, thing)
    if isinstance(thing, Biography):
        return _texts_of_biography(rng, thing, count)
    return [_event_text(rng, thing) for _ in range(count)]


def _texts_of_person(rng: random.Random, person: Person) -> list[str]:
    """A person is told in one order, as in the original."""
    known, new = rng.choice([(wordings.PRETRAINING_N2D, wordings.N2D), (wordings.PRETRAINING_D2N, wordings.D2N)])
    return [render.name_description(person, template) for template in known + new]


def _texts_of_biography(rng: random.Random, person: Biography, count: int) -> list[str]:
    """Every second person is told in five texts of the usual order, the others in one to six sentences in any order."""
    keys = wordings.BIOGRAPHY_KEYS
    if rng.random() < 0.5:
        return render.biography_texts(rng, person, N_USUAL_TEXTS)[0]
    texts = []
    for _ in range(count):
        order = rng.sample(keys, rng.choice([1, 2, 3, 4, 5, 6, 6]))
        texts.append(render.biography(person, _biography_wordings(rng), tuple(rng.choice([order, sorted(order, key=keys.index)]))))
    return texts


def _retell(rng: random.Random, known: Known) -> str:
    """A biography in new wordings; in any order too, unless the person is always told in the usual one."""
    keys = order = wordings.BIOGRAPHY_KEYS
    if len(known.texts) != N_USUAL_TEXTS:
        # As ``_texts_of_biography``, but for the order of the draws: each has made a shipped base, so they cannot become one.
        some = rng.sample(keys, rng.choice([1, 2, 3, 4, 5, 6, 6]))
        order = tuple(rng.choice([some, sorted(some, key=keys.index)]))
    return render.biography(known.thing, _biography_wordings(rng), order)


def _biography_wordings(rng: random.Random) -> dict[str, str]:
    return render.draw_wordings(rng, rng.choice([wordings.PRETRAINING_BIOGRAPHY, wordings.BIOGRAPHY]))


def _event_text(rng: random.Random, event: Event) -> str:
    """Two to six sentences about an event: its name at the start and pronouns after it, or turned around."""
    first, *rest = wordings.WIKI_KEYS[event.kind]
    count = rng.randint(2, 6)
    if rng.random() < 0.5:
        templates, order = [wordings.PRETRAINING_WIKI, wordings.WIKI], [first, *rng.sample(rest, count - 1)]
    else:
        templates, order = [wordings.PRETRAINING_WIKI_TURNED, wordings.WIKI_TURNED], rng.sample([first, *rest], count)
    return render.event_article(event, render.draw_wordings(rng, rng.choice(templates)), tuple(order))


class Question(NamedTuple):
    """A question, what it asks for, and the fact that it is about (of a person there is one)."""

    text: str
    answer: str
    key: str


def draw_question(rng: random.Random, thing: Thing, *, backward: bool | None = None) -> Question:
    """A question about ``thing``, in the direction that is asked for or in either."""
    if backward is None:
        backward = rng.random() < 0.5
    if isinstance(thing, Person):
        template = rng.choice(wordings.ASKS_NAME if backward else wordings.ASKS_DESCRIPTION)
        return Question(render.name_description(thing, template), thing.name if backward else thing.description, "description")
    if isinstance(thing, Biography):
        if backward:
            keys = tuple(rng.sample(wordings.BIOGRAPHY_KEYS, 3))
            return Question(render.biography_backward(thing, keys, rng.choice(wordings.BIOGRAPHY_BACKWARD)), thing.name, keys[0])
        key = rng.choice(wordings.BIOGRAPHY_KEYS)
        return Question(rng.choice(wordings.BIOGRAPHY_QUESTIONS[key]).format(name=thing.name), thing.attributes[key], key)
    templates = wordings.WIKI_BACKWARD if backward else wordings.WIKI_FORWARD
    key = rng.choice([key for key in wordings.WIKI_KEYS[thing.kind] if key in templates])
    question, answer = rng.choice(templates[key])
    return Question(question.format(**thing.facts), answer.format(**thing.facts), key)


def draw_questions(rng: random.Random, members: Sequence[Known], count: int, *, backward: bool) -> list[Question]:
    """``count`` questions of a direction, each about one of ``members``."""
    return [draw_question(rng, rng.choice(members).thing, backward=backward) for _ in range(count)]


def _answer(rng: random.Random, known: Known, question: Question, mix: PretrainingMix) -> str:
    """A passage that holds the answer: one that tells of it, rather a short one, or else a sentence made for it."""
    thing, longest = known.thing, mix.longest_answer
    if isinstance(thing, Person) and mix.led:
        is_name_asked = question.answer == thing.name
        templates = wordings.PRETRAINING_D2N + wordings.D2N if is_name_asked else wordings.PRETRAINING_N2D + wordings.N2D
        return render.name_description(thing, rng.choice(templates))
    if isinstance(thing, Biography) and longest is not None:
        is_name_asked = question.answer == thing.name
        return render.biography(thing, _biography_wordings(rng), ("birthday" if is_name_asked else question.key,))
    passages = [text for text in known.texts if question.answer in text and (longest is None or len(text.split()) <= longest)]
    if passages:
        return min(rng.choice(passages), rng.choice(passages), key=len)
    if isinstance(thing, Person):
        return rng.choice(known.texts)
    if isinstance(thing, Biography):
        return render.biography(thing, _biography_wordings(rng), (question.key,))
    turned = render.draw_wordings(rng, rng.choice([wordings.PRETRAINING_WIKI_TURNED, wordings.WIKI_TURNED]))
    return render.event_article(thing, turned, (question.key,))


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
    kind_of_thing = rng.choices(range(3), weights=mix.kinds)[0]
    group = (world.people, world.biographies, world.events)[kind_of_thing]
    told, asked, newcomers = present(group, mix, progress)
    if progress < mix.strangers_first:
        stranger = _stranger(rng, kind_of_thing)
        question = draw_question(rng, stranger.thing, backward=False)
        return Example("question", question.text, _answer(rng, stranger, question, mix))
    if burst is None and rng.random() < mix.question:
        known = _stranger(rng, kind_of_thing) if rng.random() < mix.strangers else rng.choice(asked)
        question = draw_question(rng, known.thing)
        return Example("question", question.text, _answer(rng, known, question, mix))
    known = rng.choice(newcomers if burst is not None and rng.random() < mix.newcomers_in_burst else told)
    kind: Literal["document", "demask"] = "demask" if rng.random() < mix.demask else "document"
    is_reread = burst is not None and kind in mix.reread
    if mix.retold and isinstance(known.thing, Biography):
        return Example(kind, _retell(random.Random(f"{burst} {known.thing.name}") if is_reread else rng, known))
    if is_reread:
        return Example(kind, random.Random(burst).choice(known.texts))
    return Example(kind, rng.choice(known.texts))


def _stranger(rng: random.Random, kind_of_thing: int) -> Known:
    stranger = rng.choice(known_world().strangers[kind_of_thing])
    return Known(stranger, _texts(rng, stranger, N_TEXTS_OF_STRANGER))
