"""Answers to read (Appendix A.5): which questions are shown, and the words that scored marked in bold.

Questions are taken by a rule that cannot see answers: the first of a category by id, and some drawn by a stated seed. A
record keeps the answers of the steps 0, two early ones, the best and the last, for seed 0.
"""

import html
import random
import re
import string
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from .data import Corpus, load_corpus
from .metrics import RELEASE_TOKENIZER, STANDS_ALONE
from .paper import CATEGORIES, CATEGORY_LABELS, DATASET_LABELS, DATASETS, METHOD_LABELS, METHODS, PARAPHRASE_LABELS
from .provenance import Provenance, write_sidecar
from .runs import RunConfig, best_step, read_generations, write_atomically
from .study import Study

# A.5 shows one question a data set: NameDescription forward of a "Description Is Name" statement, Biography backward,
# Wiki forward.
SHOWN_CATEGORY = {"name_description": "d2n_forward", "biography": "backward", "wiki": "forward"}
N_DRAWN, DRAW_SEED = 3, 0
ARM = ["dataset", "method", "paraphrases"]
QUESTION = ["document", "question", "answer"]
COLUMNS = [*ARM, "run_id", "step", "checkpoint", "question_id", "category", *QUESTION, "generation", "accuracy"]
# What Markdown or HTML would take for markup. As entities they are plain text in both.
MARKUP = {ord(character): f"&#{ord(character)};" for character in "\\`*_|[]$~#"}


def mark_matches(answer: str, generation: str) -> list[tuple[str, bool]]:
    """Cut a generation into pieces that scored and pieces that did not; joined, they are the generation.

    A piece scores if it holds a word of the ground truth, by the scoring of ``accuracy`` (``metrics.RELEASE_TOKENIZER``):
    with its case, without punctuation, function words never. Accuracy is the share of the ground truth's words that occur.

    Example:
        >>> mark_matches("the miner of the garden", "Is it a miner? The garden.")
        [('Is it a ', False), ('miner', True), ('? The ', False), ('garden', True), ('.', False)]
    """
    words = set(RELEASE_TOKENIZER.tokenize(answer))
    pieces: list[tuple[str, bool]] = []
    for text in re.split(rf"(\s+)|{STANDS_ALONE.pattern}", generation):
        if not text:
            continue
        if words.isdisjoint(RELEASE_TOKENIZER.tokenize(text)):
            pieces.append((text, False))
            continue
        core = text.strip(string.punctuation)
        before, after = text.split(core, 1)
        pieces += [(before, False), (core, True), (after, False)]
    return _join_neighbours(pieces)


def _join_neighbours(pieces: Sequence[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Neighbours of one kind as one piece; spaces between two matches join them."""
    joined: list[tuple[str, bool]] = []
    for text, matches in pieces:
        if not text:
            continue
        if matches and len(joined) > 1 and joined[-1][0].isspace() and joined[-2][1]:
            text = joined.pop()[0] + text
        if joined and joined[-1][1] == matches:
            text = joined.pop()[0] + text
        joined.append((text, matches))
    return joined


def as_text(text: str) -> str:
    """``text`` so that Markdown and HTML show it as it is, on one line."""
    return " ".join(_escape(text).split())


def _escape(text: str) -> str:
    return html.escape(text, quote=False).translate(MARKUP)


def as_marked(answer: str, generation: str) -> str:
    """A generation for Markdown and HTML, on one line, with the words that scored in bold."""
    if not generation.strip():
        return "<i>(empty)</i>"
    pieces = [f"<b>{_escape(text)}</b>" if matches else _escape(text) for text, matches in mark_matches(answer, generation)]
    return " ".join("".join(pieces).split())


def first_seed(study: Study) -> Study:
    """The part of a study whose records keep early answers as well: its lowest seed, without the control base."""
    seed = min(config.seed for config in study.configs)
    configs = [c for c in study.configs if c.seed == seed and c.base == study.scale.bases[c.method]]
    kept = study.metrics.run_id.isin([config.run_id for config in configs])
    return replace(study, configs=configs, metrics=study.metrics[kept])


def checkpoints_of(config: RunConfig, metrics: Sequence[dict]) -> dict[str, int]:
    """The steps shown of a run: the best (Appendix A.4), and an early one.

    Early is the last of the evaluations before the best whose answers every run keeps: step 0 and the two after it.

    Raises:
        ValueError: If the run was not evaluated after step 0.
    """
    best = best_step(config, metrics)
    early = [step for step in config.eval_steps[:3] if step < best]
    if not early:
        raise ValueError(f"{config.run_id} was evaluated at {config.eval_steps} only; expected a step after 0")
    return {"early": early[-1], "best": best}


def read_answers(study: Study) -> pd.DataFrame:
    """Every answer that a study's runs keep, with document, question and ground truth from the data.

    Args:
        study: One seed of each arm (``first_seed``).

    Returns:
        ``COLUMNS``, in the paper's order. ``checkpoint`` is ``early``, ``best`` or empty.

    Raises:
        LookupError: If the records hold no texts, as those of data whose licence forbids it.
        ValueError: If an arm has two runs, or a run was not evaluated after step 0.
    """
    arms = [(config.dataset, config.method, config.paraphrases) for config in study.configs]
    if len(set(arms)) < len(arms):
        raise ValueError("an arm has more than one run; expected one seed and one learning rate of each: use first_seed")
    found = read_generations([study.store], study.configs)
    if found.generation.isna().any():
        raise LookupError(f"the records of scale {study.scale.name} hold no texts of answers; train them: {study.command}")
    labels = pd.DataFrame(
        [
            {"run_id": config.run_id, "checkpoint": label, "step": step}
            for config in study.configs
            for label, step in checkpoints_of(config, study.store.metrics(config)).items()
        ]
    )
    found = found.drop(columns=["question", "answer", "category"])
    found = found.merge(labels, on=["run_id", "step"], how="left").fillna({"checkpoint": ""})
    world_seed = study.parameters["world_seed"]
    texts = []
    for dataset in dict.fromkeys(config.dataset for config in study.configs):
        corpus = load_corpus(dataset, source=study.scale.source, world_seed=world_seed)
        documents = corpus.documents.to_pandas()[["document_id", "text"]].rename(columns={"text": "document"})
        texts.append(corpus.questions.to_pandas().merge(documents, on="document_id").assign(dataset=dataset))
    found = found.merge(pd.concat(texts), on=["dataset", "question_id"], validate="many_to_one")
    order = {"dataset": DATASETS, "method": METHODS, "paraphrases": tuple(PARAPHRASE_LABELS)}
    for column, names in order.items():
        found[column] = pd.Categorical(found[column], names, ordered=True)
    found = found.sort_values([*ARM, "step", "question_id"], ignore_index=True)
    return found.astype(dict.fromkeys(order, str))[COLUMNS]


def asked_of_all(answers: pd.DataFrame) -> set[int]:
    """Ids of the questions that every run of ``answers`` was asked: a scale may ask one method a part of them."""
    return set.intersection(*(set(ids) for _, ids in answers.groupby("run_id").question_id))


def pick_questions(corpus: Corpus, asked: Collection[int], n_drawn: int = N_DRAWN, seed: int = DRAW_SEED) -> list[int]:
    """Ids of the questions shown: of ``asked`` the first of A.5's category by id, then ``n_drawn`` others, drawn.

    Raises:
        ValueError: If fewer are asked.
    """
    asked_rows = [row for row in corpus.questions if row["question_id"] in asked]
    first = min(row["question_id"] for row in asked_rows if row["category"] == SHOWN_CATEGORY[corpus.name])
    others = sorted({row["question_id"] for row in asked_rows} - {first})
    if len(others) < n_drawn:
        raise ValueError(f"of {corpus.name} {len(others)} questions beside the first are asked; {n_drawn} cannot be drawn")
    return [first, *sorted(random.Random(f"maskft examples {corpus.name} {seed}").sample(others, n_drawn))]


def collect_examples(study: Study, n_drawn: int = N_DRAWN, seed: int = DRAW_SEED) -> pd.DataFrame:
    """The answers of A.5: each method with and without paraphrases, early and at its best checkpoint.

    Returns:
        ``COLUMNS`` and ``drawn`` (whether the question is one of those drawn), question by question.

    Raises:
        LookupError, ValueError: See ``read_answers`` and ``pick_questions``.
    """
    shown = first_seed(study)
    answers = read_answers(shown)
    parts = []
    for dataset in dict.fromkeys(answers.dataset):
        corpus = load_corpus(dataset, source=study.scale.source, world_seed=study.parameters["world_seed"])
        of_dataset = answers[(answers.dataset == dataset) & (answers.checkpoint != "")]
        for number, question_id in enumerate(pick_questions(corpus, asked_of_all(of_dataset), n_drawn, seed)):
            rows = of_dataset[of_dataset.question_id == question_id]
            parts.append(rows.assign(drawn=number > 0))
    return pd.concat(parts, ignore_index=True)


def answers_table(rows: pd.DataFrame) -> str:
    """Answers to one question as a Markdown table."""
    table = pd.DataFrame(
        {
            "method": rows.method.map(METHOD_LABELS),
            "trained": rows.paraphrases.map(PARAPHRASE_LABELS),
            "step": [f"{row.step} ({row.checkpoint})" if row.checkpoint else str(row.step) for row in rows.itertuples()],
            "accuracy": rows.accuracy.map("{:.2f}".format),
            "answer": [as_marked(row.answer, row.generation) for row in rows.itertuples()],
        }
    )
    return table.to_markdown(index=False, disable_numparse=True, colalign=("left", "left", "right", "right", "left"))


def question_markdown(row: pd.Series) -> str:
    """Document, question and ground truth of an answer, as Markdown."""
    lines = zip(("Document", "Question", "Ground truth"), QUESTION, strict=True)
    return "\n\n".join(f"{label}: {as_text(row[column])}" for label, column in lines)


def examples_markdown(examples: pd.DataFrame) -> str:
    """Examples as one Markdown page: a section a data set, early and best answers for its first question, then the drawn."""
    parts = []
    for dataset, of_dataset in examples.groupby("dataset", sort=False):
        parts.append(f"## {DATASET_LABELS[dataset]}")
        for (drawn, question_id), rows in of_dataset.groupby(["drawn", "question_id"], sort=False):
            kind = "drawn" if drawn else "the first of its category"
            category = CATEGORY_LABELS[rows.category.iloc[0]] if len(CATEGORIES[dataset]) > 2 else rows.category.iloc[0]
            parts.append(f"### Question {question_id}, {category} ({kind})")
            parts.append(question_markdown(rows.iloc[0]))
            # A page of early answers would be long; the CSV has them.
            parts.append(answers_table(rows[rows.checkpoint == "best"] if drawn else rows))
    return "\n\n".join(parts) + "\n"


def write_examples(examples: pd.DataFrame, folder: Path, provenance: Provenance, name: str = "examples") -> dict[str, Path]:
    """Write examples as ``NAME.csv`` (all of them) and ``NAME.md`` (to read), with a provenance sidecar.

    Returns:
        Path by suffix.
    """
    page = f"# Generation examples\n\nWords that scored are in bold. The rule by which questions were chosen is in the notebook {provenance.notebook}.\n\n"
    csv = examples.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    files = {"csv": csv, "md": page + examples_markdown(examples)}
    paths = {suffix: write_atomically(Path(folder) / f"{name}.{suffix}", text) for suffix, text in files.items()}
    paths["json"] = write_sidecar(Path(folder) / f"{name}.json", provenance, [path.name for path in paths.values()])
    return paths
