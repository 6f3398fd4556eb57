"""Which answers are shown, and which of their words are marked."""

import math
import random
import re
from functools import cache

import pandas as pd
import pytest

from maskft.data import Corpus, load_corpus
from maskft.examples import (
    SHOWN_CATEGORY,
    as_marked,
    asked_of_all,
    checkpoints_of,
    collect_examples,
    examples_markdown,
    first_seed,
    mark_matches,
    pick_questions,
    read_answers,
    write_examples,
)
from maskft.exhibits import make_run, table3_runs
from maskft.metrics import RELEASE_TOKENIZER, accuracy
from maskft.paper import DATASETS, METHODS
from maskft.provenance import Provenance
from maskft.scales import TINY
from maskft.study import Study


@cache
def questions_of(dataset):
    return load_corpus(dataset, source="synthetic").questions.to_list()


class MemoryStore:
    """Runs in memory. Step s > 0 scores min(1, s / best) where best is the run's third evaluation, then 0.5."""

    def __init__(self, answer=lambda config, step, row: row["answer"] if step else "nobody"):
        self.root, self.answer = None, answer

    def is_finished(self, config):
        return True

    def record(self, config):
        return {"git_commit": "0123abc"}

    def metrics(self, config):
        best = config.eval_steps[3]
        values = {step: step / best if step <= best else 0.5 for step in config.eval_steps}
        categories = ("n2d_forward", "n2d_backward") if config.dataset == "name_description" else ("forward", "backward")
        return [
            {"step": step, "epoch": 1.0, "train_tokens": 1, "category": c, "metric": "accuracy", "value": v, "n_questions": 1}
            for step, v in values.items()
            for c in categories
        ]

    def generations(self, config):
        """As in a committed record: without question and answer, of the first three, the best and the last step."""
        steps = dict.fromkeys([*config.eval_steps[:4], config.total_steps])
        return [
            {"step": step, "question_id": row["question_id"], "category": row["category"], "generation": text,
             "accuracy": float(step > 0), "rouge1_recall": 0.0, "exact_match": 0.0}
            for step in steps
            for row in questions_of(config.dataset)[:: config.question_stride]
            for text in [self.answer(config, step, row)]
        ]  # fmt: skip


def study_of(configs, store=None):
    store = store or MemoryStore()
    parameters = {"scale": "tiny", "seeds": [0], "world_seed": 0, "from_records": True}
    run_ids = pd.DataFrame({"run_id": [config.run_id for config in configs]})
    return Study("examples", TINY, configs, store, run_ids, parameters)


@pytest.fixture(scope="module")
def wiki_study():
    return study_of([make_run(TINY, method, "wiki", "none") for method in METHODS])


@pytest.mark.parametrize(
    ("answer", "generation", "expected"),
    [
        ("Lucas Rainford", "It is Lucas Rainford.", [("It is ", 0), ("Lucas Rainford", 1), (".", 0)]),
        ("Lucas Rainford", "lucas (Rainford)", [("lucas (", 0), ("Rainford", 1), (")", 0)]),
        ("the miner of the garden", "the garden of the miner", [("the ", 0), ("garden", 1), (" of the ", 0), ("miner", 1)]),
        ("award-winning", "awardwinning, award winning", [("awardwinning", 1), (", award winning", 0)]),
        ("the Men’s Cup", "Women’s Cup", [("Women", 0), ("’", 1), ("s Cup", 1)]),
        ("15 to 21 June", "15–21 June", [("15", 1), ("–", 0), ("21 June", 1)]),
        ("x", "", []),
    ],
)
def test_the_words_that_score_are_marked(answer, generation, expected):
    """By the release: case counts, punctuation goes (and with it a hyphen), function words never score, typographic
    quotes and dashes are words of their own."""
    merged: list = []
    for text, matches in expected:
        if merged and merged[-1][1] == bool(matches):
            merged[-1] = (merged[-1][0] + text, bool(matches))
        else:
            merged.append((text, bool(matches)))
    assert mark_matches(answer, generation) == merged


def test_marked_words_are_those_that_accuracy_counts():
    """On random texts, distinct marked words over distinct words of the answer is the accuracy, by rouge-score; and nothing
    of the text is lost."""
    rng = random.Random(0)
    words = ["the", "Of", "miner", "Miner", "garden.", "(rusty)", "don't", "cannot", "award-winning", "Cup’s", "15–21", "**", "|"]
    for _ in range(300):
        answer = " ".join(["garden", *rng.choices(words, k=3)])
        generation = "".join(word + rng.choice([" ", "  ", "\n"]) for word in rng.choices(words, k=rng.randint(0, 9)))
        pieces = mark_matches(answer, generation)
        assert "".join(text for text, _ in pieces) == generation
        marked = {w for text, matches in pieces if matches for w in RELEASE_TOKENIZER.tokenize(text)}
        wanted = set(RELEASE_TOKENIZER.tokenize(answer))
        assert len(marked & wanted) / len(wanted) == pytest.approx(accuracy(answer, generation))
        unmarked = {w for text, matches in pieces if not matches for w in RELEASE_TOKENIZER.tokenize(text)}
        assert not unmarked & wanted


def test_markup_in_an_answer_is_shown_and_not_obeyed():
    shown = as_marked("Ada", "Ada | <b>*Bo*</b>\n# $x$ &amp;")
    assert shown.startswith("<b>Ada</b> &#124; &lt;b&gt;&#42;Bo&#42;")
    assert not set("|*#$`") & set(re.sub(r"&#?\w+;", "", shown)) and "\n" not in shown
    assert as_marked("Ada", " \n") == "<i>(empty)</i>"


def test_early_is_the_last_kept_evaluation_before_the_best():
    """Evaluated at 0, 10, 20, 40, 60, 80. Best 40: early 20. Best 20: early 10. Best 10: early 0, before fine-tuning."""
    config = make_run(TINY, "ar", "wiki", "none", eval_steps=(0, 10, 20, 40, 60, 80))
    for best, early in ((40, 20), (80, 20), (20, 10), (10, 0)):
        metrics = [
            {"step": step, "metric": "accuracy", "category": category, "value": float(step == best)}
            for step in config.eval_steps
            for category in ("forward", "backward")
        ]
        assert checkpoints_of(config, metrics) == {"early": early, "best": best}
    with pytest.raises(ValueError, match="expected a step after 0"):
        checkpoints_of(make_run(TINY, "ar", "wiki", "none", eval_steps=(0,)), [])


@pytest.mark.parametrize("dataset", DATASETS)
def test_questions_are_the_first_of_the_category_and_others_by_the_seed_alone(dataset):
    corpus = load_corpus(dataset, source="synthetic")
    categories = dict(zip(corpus.questions["question_id"], corpus.questions["category"], strict=True))
    first, *drawn = pick_questions(corpus, categories)
    assert first == next(i for i in sorted(categories) if categories[i] == SHOWN_CATEGORY[dataset])
    assert len(set(drawn)) == 3 and first not in drawn and set(drawn) <= set(categories)
    assert pick_questions(corpus, categories) == [first, *drawn]
    assert any(pick_questions(corpus, categories, seed=seed)[1:] != drawn for seed in (1, 2))
    reversed_rows = Corpus(dataset, "synthetic", corpus.documents, corpus.questions.select(range(len(categories) - 1, -1, -1)))
    assert pick_questions(reversed_rows, categories) == [first, *drawn]
    with pytest.raises(ValueError, match="cannot be drawn"):
        pick_questions(corpus, categories, n_drawn=len(categories))


def test_only_what_every_method_was_asked_is_shown():
    """On Wiki the tiny dLLM is asked every third question."""
    answers = read_answers(study_of([make_run(TINY, method, "wiki", "none") for method in METHODS]))
    asked = {row["question_id"] for row in questions_of("wiki")[::3]}
    assert asked_of_all(answers) == asked < set(answers.question_id)
    first, *drawn = pick_questions(load_corpus("wiki", source="synthetic"), asked)
    assert {first, *drawn} <= asked and len(drawn) == 3


def test_answers_meet_the_texts_of_their_question(wiki_study):
    answers = read_answers(wiki_study)
    corpus = load_corpus("wiki", source="synthetic")
    documents = dict(zip(corpus.documents["document_id"], corpus.documents["text"], strict=True))
    questions = {row["question_id"]: row for row in corpus.questions}
    kept = {config: len({*config.eval_steps[:4], config.total_steps}) for config in wiki_study.configs}
    assert len(answers) == sum(n_steps * math.ceil(len(questions) / config.question_stride) for config, n_steps in kept.items())
    for row in answers.sample(40, random_state=0).itertuples():
        asked = questions[row.question_id]
        assert (row.question, row.answer, row.document) == (asked["question"], asked["answer"], documents[asked["document_id"]])
        assert row.generation == (asked["answer"] if row.step else "nobody")
    for config in wiki_study.configs:
        steps = answers[answers.run_id == config.run_id].groupby("step").checkpoint.first()
        expected = {config.eval_steps[2]: "early", config.eval_steps[3]: "best"}
        assert steps.to_dict() == {step: expected.get(step, "") for step in (*config.eval_steps[:4], config.total_steps)}


def test_every_arm_is_shown_early_and_best_and_the_first_seed_alone():
    configs = table3_runs(TINY, [0, 1])
    control = make_run(TINY, "masked_ar", "name_description", "none", base=TINY.control_base)
    study = study_of([*configs, control])
    assert {c.run_id for c in first_seed(study).configs} == {c.run_id for c in configs if c.seed == 0}
    wiki = study_of([config for config in configs if config.dataset == "wiki"])
    examples = collect_examples(wiki)
    assert len(examples) == 4 * 3 * 2 * 2 and not examples.duplicated(["question_id", "run_id", "checkpoint"]).any()
    assert examples.drawn.sum() == 3 * 12


def test_records_without_texts_and_arms_with_two_runs_are_refused(wiki_study):
    empty = study_of(wiki_study.configs[:1], MemoryStore(lambda config, step, row: ""))
    assert set(read_answers(empty).generation) == {""}

    class WithoutTexts(MemoryStore):
        def generations(self, config):
            return [{k: v for k, v in row.items() if k != "generation"} for row in super().generations(config)]

    with pytest.raises(LookupError, match="hold no texts of answers; train them: maskft reproduce examples"):
        read_answers(study_of(wiki_study.configs[:1], WithoutTexts()))
    with pytest.raises(ValueError, match="an arm has more than one run"):
        read_answers(study_of([make_run(TINY, "ar", "wiki", "none", seed=seed) for seed in (0, 1)]))


def test_the_files_hold_every_example_and_are_the_same_again(wiki_study, tmp_path):
    """The page has two rows an arm for the first question and one for each drawn one: 3 x (2 + 3)."""
    examples = collect_examples(wiki_study)
    page = examples_markdown(examples)
    assert len(re.findall(r"^\| (?:arLLM|dLLM|Masked)", page, flags=re.M)) == 3 * (2 + 3)
    assert page.count("Ground truth: ") == 4
    provenance = Provenance("examples", {}, ["a"], "maskft reproduce examples", commit="0123abc")
    paths = write_examples(examples, tmp_path, provenance)
    first = {suffix: path.read_bytes() for suffix, path in paths.items()}
    pd.testing.assert_series_equal(pd.read_csv(paths["csv"]).generation, examples.generation, check_dtype=False)
    assert {suffix: path.read_bytes() for suffix, path in write_examples(examples, tmp_path, provenance).items()} == first
