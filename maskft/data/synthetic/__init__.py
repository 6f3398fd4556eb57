"""Synthetic twins of the three data sets, for the tiny scale: same schema, sizes, orders and question directions.

``build(name, world_seed)`` makes one; every value of ``world_seed`` is another world with the same words. Nobody in it
was met by the tiny bases in pretraining (``pretraining.py``), which is asserted at each build.
"""

import random
from collections.abc import Sequence

from . import render, wordings
from .pretraining import Thing, facts_of, known_world
from .world import LONG_LISTS, sample_biographies, sample_events, sample_people, settle

# Sizes of the originals (maskft/data/README.md).
N_STATEMENTS_PER_TYPE = 30
N_BIOGRAPHIES, N_BIOGRAPHY_TEXTS = 100, 5
N_ARTICLES, N_ARTICLE_TEXTS = 92, 10
N_QUESTIONS_PER_CELL = 4


def build(name: str, world_seed: int = 0):
    """The synthetic twin of data set ``name`` in world ``world_seed``.

    Raises:
        ValueError: If ``name`` is not a data set, or ``world_seed`` is negative.
        RuntimeError: If the bases have met somebody of it.
    """
    builders = {"name_description": _name_description, "biography": _biography, "wiki": _wiki}
    if name not in builders:
        raise ValueError(f"data set {name!r} is not one of {', '.join(builders)}")
    if world_seed < 0:
        raise ValueError(f"world_seed={world_seed} is negative; use 0, 1, 2, ...")
    from ..schema import Corpus
    rng = random.Random(f"maskft {name} {world_seed}")
    rows, questions = builders[name](rng)
    documents = [
        {"document_id": i, "group": group, "text": same[0], "same_order": same, "permute_order": permuted}
        for i, (group, same, permuted) in enumerate(rows)
    ]
    numbered = [
        {"question_id": i, "direction": category.rsplit("_", 1)[-1], "document_id": document_id, "category": category,
         "question": question, "answer": answer}
        for i, (document_id, category, question, answer) in enumerate(questions)
    ]
    return Corpus.from_rows(name, "synthetic", documents, numbered)


def _unmet(things: Sequence[Thing]) -> Sequence[Thing]:
    """``things``, of which the bases know none."""
    if met := known_world().facts & {fact for thing in things for fact in facts_of(thing)}:
        raise RuntimeError(f"{', '.join(sorted(met))} belong to the bases' own world, and fine-tuning would not be the first to tell of them")
    return things


def _name_description(rng: random.Random):
    people = _unmet(sample_people(rng, 2 * N_STATEMENTS_PER_TYPE, avoid=known_world().facts))
    told_by_name, told_by_description = [wordings.STATEMENT_N2D, *wordings.N2D[1:]], [wordings.STATEMENT_D2N, *wordings.D2N[1:]]
    rows, questions = [], []
    for i, person in enumerate(people):
        group, statements = ("n2d", told_by_name) if i < N_STATEMENTS_PER_TYPE else ("d2n", told_by_description)
        rows.append((group, [render.name_description(person, wording) for wording in statements], []))
        # Forward follows the statement: N2D asked for the description, D2N asked for the name.
        asks = {"n2d": (wordings.ASKS_DESCRIPTION, wordings.ASKS_NAME), "d2n": (wordings.ASKS_NAME, wordings.ASKS_DESCRIPTION)}
        for direction, templates in zip(("forward", "backward"), asks[group], strict=True):
            answer = person.description if templates is wordings.ASKS_DESCRIPTION else person.name
            for template in rng.sample(templates, N_QUESTIONS_PER_CELL):
                questions.append((i, f"{group}_{direction}", render.name_description(person, template), answer))
    return rows, questions


def _biography(rng: random.Random):
    people = settle(rng, _unmet(sample_biographies(rng, N_BIOGRAPHIES, avoid=known_world().facts)), LONG_LISTS)
    rows, questions = [], []
    for i, person in enumerate(people):
        rows.append(("", *render.biography_texts(rng, person, N_BIOGRAPHY_TEXTS)))
        for key in wordings.BIOGRAPHY_KEYS:
            question = rng.choice(wordings.BIOGRAPHY_QUESTIONS[key]).format(name=person.name)
            questions.append((i, "forward", question, person.attributes[key]))
        for _ in range(3):
            keys = tuple(rng.sample(wordings.BIOGRAPHY_KEYS, 3))
            question = render.biography_backward(person, keys, rng.choice(wordings.BIOGRAPHY_BACKWARD))
            questions.append((i, "backward", question, person.name))
    return rows, questions


def _wiki(rng: random.Random):
    events = _unmet(sample_events(rng, N_ARTICLES, avoid=known_world().facts))
    rows, questions = [], []
    for i, event in enumerate(events):
        rows.append(("", *render.event_texts(rng, event, N_ARTICLE_TEXTS)))
        # The original has 116 forward and 258 backward questions: about five and eleven for every four articles.
        wanted = {"forward": (wordings.WIKI_FORWARD, 2 if i % 4 == 0 else 1), "backward": (wordings.WIKI_BACKWARD, 2 if i % 5 == 0 else 3)}
        for direction, (templates, count) in wanted.items():
            options = [pair for key in wordings.WIKI_KEYS[event.kind] for pair in templates.get(key, [])]
            for question, answer in rng.sample(options, count):
                questions.append((i, direction, question.format(**event.facts), answer.format(**event.facts)))
    return rows, questions
