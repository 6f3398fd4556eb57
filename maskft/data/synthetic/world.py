"""Who and what exists in the tiny world: people with a description, people with a biography, events.

Sampling knows nothing about wordings or questions. Two worlds drawn with different seeds share words, never facts:
``avoid`` keeps the names and descriptions of one out of the other.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

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


@dataclass(frozen=True)
class Lists:
    """What the careers of biographies are drawn from.

    Attributes:
        schools: Universities and the like.
        majors: What is studied there.
        seats: The city of each company.
    """

    schools: Sequence[str]
    majors: Sequence[str]
    seats: Mapping[str, str]


def _of_kinds(names: Sequence[str], kinds: Sequence[str]) -> list[str]:
    return [f"{name} {kinds[i % len(kinds)]}" for i, name in enumerate(names)]


# A city lies in one state, a school is of one kind, and a company has one seat, as in the lists of the original.
PLACES = [f"{city}, {words.STATES[i % len(words.STATES)]}" for i, city in enumerate(words.CITIES)]
WORK_PLACES = [f"{city}, {words.STATES[(5 * i + 2) % len(words.STATES)]}" for i, city in enumerate(words.WORK_CITIES)] + PLACES[::14]
_COMPANIES = _of_kinds(words.COMPANIES + words.MORE_COMPANIES, words.COMPANY_KINDS)
_CAPITAL = 76  # in the original nine companies sit in one city, the others spread

# Of the bases' own world, and of Biography's set, whose facts have to be shared as seldom as the original's.
SHORT_LISTS = Lists(
    _of_kinds(words.SCHOOL_NAMES, words.SCHOOL_KINDS), words.MAJORS,
    {company: PLACES[(7 * i + 3) % len(PLACES)] for i, company in enumerate(_COMPANIES[: len(words.COMPANIES)])},
)  # fmt: skip
LONG_LISTS = Lists(
    SHORT_LISTS.schools + _of_kinds(words.MORE_SCHOOL_NAMES, words.SCHOOL_KINDS), words.MAJORS + words.MORE_MAJORS,
    {company: WORK_PLACES[(7 * min(i, _CAPITAL) + 3) % len(WORK_PLACES)] for i, company in enumerate(_COMPANIES)},
)  # fmt: skip


class _Decks(dict):
    """By purpose, words in random order, each once before any comes again: in the originals hardly a name occurs twice."""

    def __init__(self, rng: random.Random):
        super().__init__()
        self.rng = rng

    def draw(self, purpose: str, cards: Collection[str]) -> str:
        left = self.setdefault(purpose, [])
        if not left:
            left += self.rng.sample(list(cards), len(cards))
        return left.pop()


def _distinct(rng: random.Random, draw, count: int, avoid: Collection[str], keys) -> list:
    """``count`` draws of which no key is in ``avoid`` or in an earlier draw."""
    decks, seen, drawn = _Decks(rng), set(avoid), []
    while len(drawn) < count:
        candidate = draw(rng, decks)
        if seen.isdisjoint(keys(candidate)):
            seen.update(keys(candidate))
            drawn.append(candidate)
    return drawn


def _draw_person(rng: random.Random, decks: _Decks) -> Person:
    name = f"{decks.draw('first', words.FIRST_NAMES)} {decks.draw('last', words.LAST_NAMES)}"
    thing = f"{decks.draw('quality', words.QUALITIES)} {decks.draw('thing', words.THINGS)}"
    return Person(name, f"the {decks.draw('role', words.ROLES)} of the {thing}")


def _draw_biography(rng: random.Random, decks: _Decks) -> Biography:
    names = [decks.draw("first", words.FIRST_NAMES), decks.draw("middle", words.FIRST_NAMES), decks.draw("last", words.LAST_NAMES)]
    birthday = f"{decks.draw('month', words.MONTHS)} {decks.draw('day', words.DAYS)}, {decks.draw('year', words.YEARS)}"
    company = decks.draw("company", SHORT_LISTS.seats)
    return Biography(
        name=" ".join(names),
        pronoun=rng.choice(["He", "She"]),
        attributes={
            "birthday": birthday,
            "birth_city": decks.draw("birth_city", PLACES),
            "university": decks.draw("university", SHORT_LISTS.schools),
            "major": decks.draw("major", SHORT_LISTS.majors),
            "company": company,
            "company_city": SHORT_LISTS.seats[company],
        },
    )


def _draw_event(rng: random.Random, decks: _Decks) -> Event:
    kind = rng.choice(["tournament", "festival"])
    subject = decks.draw(f"subject of a {kind}", words.SPORTS if kind == "tournament" else words.ARTS).capitalize()
    form = decks.draw(f"form of a {kind}", words.TOURNAMENTS if kind == "tournament" else words.FESTIVALS)
    # Named after a person and not after a place or a year, so that no question gives part of the answer away.
    name = f"{decks.draw('last', words.LAST_NAMES)} {subject} {form}"
    start = rng.randint(1, 20)
    winner = decks.draw("winner", words.COUNTRIES)
    loser, bronze = rng.sample([country for country in words.COUNTRIES if country != winner], 2)
    facts = {
        "event": name,
        "edition": decks.draw("edition", words.ORDINALS),
        "organiser": f"{decks.draw('region', words.REGIONS)} {decks.draw('sponsor', words.COMPANIES)} {decks.draw('body', words.BODIES)}",
        "venue": f"{decks.draw('patron', words.COMPANIES)} {decks.draw('venue', words.VENUES)}",
        "city": decks.draw("city", words.CITIES),
        "dates": f"{start} to {start + rng.randint(2, 8)} {decks.draw('month', words.MONTHS)}",
        "winner": winner,
        "loser": loser,
        "bronze": bronze,
        "guest": f"{decks.draw('guest first', words.FIRST_NAMES)} {decks.draw('guest last', words.LAST_NAMES)}",
        "visitors": decks.draw("visitors", words.THOUSANDS),
    }
    return Event(name, kind, facts)


def sample_people(rng: random.Random, count: int, avoid: Collection[str] = ()) -> list[Person]:
    """``count`` people; no name and no description occurs twice or is in ``avoid``."""
    return _distinct(rng, _draw_person, count, avoid, lambda p: (p.name, p.description))


def sample_biographies(rng: random.Random, count: int, avoid: Collection[str] = ()) -> list[Biography]:
    """``count`` biographies out of the short lists; no full name occurs twice or is in ``avoid``."""
    return _distinct(rng, _draw_biography, count, avoid, lambda b: (b.name,))


def settle(rng: random.Random, people: Sequence[Biography], lists: Lists) -> list[Biography]:
    """The same people, born where and when they were, with schools, majors and companies out of ``lists``."""
    decks = _Decks(rng)
    settled = []
    for person in people:
        company = decks.draw("company", lists.seats)
        career = {"university": decks.draw("university", lists.schools), "major": decks.draw("major", lists.majors)}
        settled.append(replace(person, attributes={**person.attributes, **career, "company": company, "company_city": lists.seats[company]}))
    return settled


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
