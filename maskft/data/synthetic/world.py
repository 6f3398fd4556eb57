"""Who and what exists in the tiny world: people with a description, people with a biography, events.

Sampling knows nothing about wordings or questions. Two worlds drawn with different seeds share words, never facts:
``avoid`` keeps the names and descriptions of one out of the other.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass, field

from . import words


@dataclass(frozen=True)
class Person:
    """A NameDescription individual: a name and one description that nobody else has."""

    name: str
    description: str


@dataclass(frozen=True)
class Biography:
    """A full name of three parts, a pronoun, and six attributes keyed as in ``wordings.BIOGRAPHY_KEYS``."""

    name: str
    pronoun: str
    attributes: dict[str, str]


@dataclass(frozen=True)
class Event:
    """An event: its name, its kind (tournament or festival), and its facts by the placeholders of the wordings."""

    name: str
    kind: str
    facts: dict[str, str] = field(hash=False)


def _distinct(rng: random.Random, draw, count: int, avoid: Collection[str], keys) -> list:
    """``count`` draws of which no key is in ``avoid`` or in an earlier draw."""
    seen, drawn = set(avoid), []
    while len(drawn) < count:
        candidate = draw(rng)
        if seen.isdisjoint(keys(candidate)):
            seen.update(keys(candidate))
            drawn.append(candidate)
    return drawn


def _draw_person(rng: random.Random) -> Person:
    name = f"{rng.choice(words.FIRST_NAMES)} {rng.choice(words.LAST_NAMES)}"
    who = f"the {rng.choice(words.TRAITS)} {rng.choice(words.ROLES)}"
    thing = f"the {rng.choice(words.QUALITIES)} {rng.choice(words.THINGS)}"
    link = "of" if rng.random() < 0.5 else f"who {rng.choice(words.DEEDS)}"
    return Person(name, f"{who} {link} {thing}")


def _draw_biography(rng: random.Random) -> Biography:
    first, middle = rng.sample(words.FIRST_NAMES, 2)
    city = f"{rng.choice(words.CITIES)}, {rng.choice(words.STATES)}"
    return Biography(
        name=f"{first} {middle} {rng.choice(words.LAST_NAMES)}",
        pronoun=rng.choice(["He", "She"]),
        attributes={
            "birthday": f"{rng.choice(words.MONTHS)} {rng.choice(words.DAYS)}, {rng.choice(words.YEARS)}",
            "birth_city": city,
            "university": f"{rng.choice(words.SCHOOL_NAMES)} {rng.choice(words.SCHOOL_KINDS)}",
            "major": rng.choice(words.MAJORS),
            "company": f"{rng.choice(words.COMPANIES)} {rng.choice(words.COMPANY_KINDS)}",
            "company_city": f"{rng.choice(words.CITIES)}, {rng.choice(words.STATES)}",
        },
    )


def _draw_event(rng: random.Random) -> Event:
    kind = rng.choice(["tournament", "festival"])
    subject = rng.choice(words.SPORTS if kind == "tournament" else words.ARTS).capitalize()
    form = rng.choice(words.TOURNAMENTS if kind == "tournament" else words.FESTIVALS)
    # Named after a person and not after a place or a year, so that no question gives part of the answer away.
    name = f"{rng.choice(words.LAST_NAMES)} {subject} {form}"
    start = rng.randint(1, 20)
    winner, loser, bronze = rng.sample(words.COUNTRIES, 3)
    facts = {
        "event": name,
        "edition": rng.choice(words.ORDINALS),
        "organiser": f"{rng.choice(words.REGIONS)} {rng.choice(words.COMPANIES)} {rng.choice(words.BODIES)}",
        "venue": f"{rng.choice(words.COMPANIES)} {rng.choice(words.VENUES)}",
        "city": rng.choice(words.CITIES),
        "dates": f"{start} to {start + rng.randint(2, 8)} {rng.choice(words.MONTHS)}",
        "winner": winner,
        "loser": loser,
        "bronze": bronze,
        "guest": f"{rng.choice(words.FIRST_NAMES)} {rng.choice(words.LAST_NAMES)}",
        "visitors": rng.choice(words.THOUSANDS),
    }
    return Event(name, kind, facts)


def sample_people(rng: random.Random, count: int, avoid: Collection[str] = ()) -> list[Person]:
    """``count`` people; no name and no description occurs twice or is in ``avoid``."""
    return _distinct(rng, _draw_person, count, avoid, lambda p: (p.name, p.description))


def sample_biographies(rng: random.Random, count: int, avoid: Collection[str] = ()) -> list[Biography]:
    """``count`` biographies; no full name occurs twice or is in ``avoid``."""
    return _distinct(rng, _draw_biography, count, avoid, lambda b: (b.name,))


def event_keys(event: Event) -> tuple[str, ...]:
    """What identifies an event in a question: its name, organiser, place, dates, guest, and the pair of finalists."""
    facts = event.facts
    final = f"{facts['winner']} against {facts['loser']}"
    return event.name, facts["organiser"], f"{facts['venue']} in {facts['city']}", facts["dates"], facts["guest"], final


def sample_events(rng: random.Random, count: int, avoid: Collection[str] = ()) -> list[Event]:
    """``count`` events; no name, organiser, place, date or pair of finalists occurs twice or is in ``avoid``.

    So a backward question has one answer.
    """
    return _distinct(rng, _draw_event, count, avoid, event_keys)
