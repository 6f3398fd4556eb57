"""Browse the answers of a study and question its checkpoints: what can be chosen, what is shown, and thin widgets for it.

Answers come from records and need no weights. To be asked something new a checkpoint needs its weights: the bases are at
hand, a run in the working store keeps those of its best checkpoint (Appendix A.4), and a missing run can be trained.
"""

import html
import random
import string
from collections.abc import Mapping
from dataclasses import dataclass

import ipywidgets as widgets
import pandas as pd

from .data.synthetic.pretraining import draw_question, known_world
from .evaluation import answer_questions
from .examples import answers_table, as_marked, as_text, asked_of_all, question_markdown
from .models import load_base
from .paper import CATEGORY_LABELS, DATASET_LABELS, METHOD_LABELS, PARAPHRASE_LABELS
from .prompts import Prompts
from .runs import RunConfig, RunStore, best_step
from .samplers import Commit
from .study import Study, ensure

FIELDS = {"dataset": "data set", "method": "method", "paraphrases": "trained", "step": "step", "question_id": "of the set"}
LABELS = {"dataset": DATASET_LABELS, "method": METHOD_LABELS, "paraphrases": PARAPHRASE_LABELS}
MASK_SIGN = "▒▒"


def options(answers: pd.DataFrame, field: str, chosen: Mapping[str, object]) -> list[tuple[str, object]]:
    """What can be chosen for ``field`` once the fields before it are chosen, as (label, value).

    Args:
        answers: As of ``examples.read_answers``.
        field: One of ``FIELDS``.
        chosen: A value for each field before it; later ones are not looked at.

    Raises:
        ValueError: If the field is unknown, a field before it is not chosen, or no answer has these values.
    """
    if field not in FIELDS:
        raise ValueError(f"field={field!r} is not one of {', '.join(FIELDS)}")
    before = list(FIELDS)[: list(FIELDS).index(field)]
    if missing := [name for name in before if name not in chosen]:
        raise ValueError(f"{field} depends on {', '.join(missing)}; choose these first")
    rows = _matching(answers, {name: chosen[name] for name in before}).drop_duplicates(field)
    if field == "question_id":
        rows = rows.sort_values(field)
    return [(_label(field, row), row[field]) for _, row in rows.iterrows()]


def _matching(answers: pd.DataFrame, values: Mapping[str, object]) -> pd.DataFrame:
    rows = answers
    for name, value in values.items():
        rows = rows[rows[name] == value]
    if rows.empty:
        raise ValueError(f"no answer has {dict(values)}; choose from options()")
    return rows


def _label(field: str, row: pd.Series) -> str:
    if field == "question_id":
        return f"{row.question_id} ({CATEGORY_LABELS[row.category]}): {row.question}"
    if field == "step":
        return "0 (before fine-tuning)" if row.step == 0 else f"{row.step} ({row.checkpoint})" if row.checkpoint else str(row.step)
    return LABELS[field][row[field]]


def answer_of(answers: pd.DataFrame, chosen: Mapping[str, object]) -> pd.Series:
    """The answer for a value of every field.

    Raises:
        ValueError: If a field is not chosen, or there is no such answer.
    """
    if set(chosen) != set(FIELDS):
        raise ValueError(f"{sorted(chosen)} are chosen; expected {', '.join(FIELDS)}")
    return _matching(answers, chosen).iloc[0]


def answer_html(row: pd.Series) -> str:
    """An answer with document, question and ground truth, the words that scored in bold."""
    texts = "".join(f"<p>{line}</p>" for line in question_markdown(row).split("\n\n"))
    return f"{texts}<p>Answer: {as_marked(row.answer, row.generation)}</p><p>Accuracy: {row.accuracy:.2f}</p>"


def kept_answers(answers: pd.DataFrame, dataset: str, category: str, paraphrases: str) -> str:
    """Every method's answers to the first question of a category that all were asked, at the checkpoints that were kept, as Markdown.

    Raises:
        ValueError: If there is no such answer.
    """
    rows = _matching(answers, {"dataset": dataset, "category": category, "paraphrases": paraphrases})
    rows = rows[rows.question_id == min(asked_of_all(rows))]
    return f"{question_markdown(rows.iloc[0])}\n\n{answers_table(rows)}"


def pretraining_question() -> tuple[str, str]:
    """A question that the shipped bases know the answer to: about the last person of their pretraining world."""
    question, answer, *_ = draw_question(random.Random(0), known_world().people[-1].thing, backward=False)
    return question, answer


@dataclass(frozen=True)
class Reply:
    """An answer that a model gave here.

    Attributes:
        question: What was asked.
        answer: Its answer.
        commits: For the dLLM, how the canvas was filled, in order; empty for the others.
        tokens: The text of each commit.
        block_length: Tokens of a block.
    """

    question: str
    answer: str
    commits: tuple[Commit, ...] = ()
    tokens: tuple[str, ...] = ()
    block_length: int = 1

    @property
    def n_steps(self) -> int:
        """Forward passes until the answer was complete; 0 where it was not diffused."""
        return 1 + self.commits[-1].step if self.commits else 0


def ask(model, prompts: Prompts, question: str, config: RunConfig) -> Reply:
    """Ask a model as evaluation does (Appendix A.4), and for the dLLM keep how the answer came about.

    Raises:
        ValueError: If the question is empty.
    """
    if not question.strip():
        raise ValueError("the question is empty; write one")
    commits: list[Commit] = []
    (answer,) = answer_questions(model, prompts, [question], config, on_commit=commits.append)
    tokens = tuple(prompts.tokenizer.decode([commit.token]) for commit in commits)
    return Reply(question, answer, tuple(commits), tokens, config.block_length)


def spelled_words(prompts: Prompts, question: str) -> list[str]:
    """Words of a question that the tokenizer knows no piece of and spells in letters; a tiny model cannot read them."""
    words = [word.strip(string.punctuation) for word in question.split()]
    return [word for word in words if len(word) > 1 and len(prompts.encode(f" {word}")) > len(word)]


def canvas_at(reply: Reply, step: int) -> list[tuple[str, float | None]]:
    """The canvas after a step: for each position of the blocks that were reached its token, and its confidence if new.

    A position that is still masked is ``("", None)``; step 0 is the empty canvas.

    Raises:
        ValueError: If the reply was not diffused, or has fewer steps.
    """
    if not 0 <= step <= reply.n_steps or not reply.commits:
        raise ValueError(f"step={step}: expected 0 to {reply.n_steps}, of an answer by a dLLM")
    # Blocks are filled before the next one is begun, so the commits end with a full block.
    canvas: list[tuple[str, float | None]] = [("", None)] * len(reply.commits)
    for commit, token in zip(reply.commits, reply.tokens, strict=True):
        if commit.step < step:
            canvas[commit.position] = (token.strip(" "), commit.confidence if commit.step == step - 1 else None)
    return canvas


def canvas_html(reply: Reply, step: int) -> str:
    """The canvas after a step as HTML: masked grey, just committed blue with its confidence."""
    cells = []
    for position, (token, confidence) in enumerate(canvas_at(reply, step)):
        gap = "margin-left:8px;" if position and position % reply.block_length == 0 else ""
        color = "#ddd" if not token else "#fff" if confidence is None else "#9ecae8"
        sure = "&nbsp;" if confidence is None else f"{confidence:.2f}"
        cells.append(
            f'<span style="display:inline-block;{gap}padding:2px 5px;border:1px solid #ccc;background:{color};'
            f'color:#000;text-align:center">{html.escape(token) or MASK_SIGN}<br><small>{sure}</small></span>'
        )
    return "".join(cells)


def find_weights(config: RunConfig, row: pd.Series, store: RunStore) -> tuple[str | None, str]:
    """Where the weights of a chosen checkpoint are, if anywhere, and a sentence about it.

    Args:
        config: The run.
        row: The chosen answer.
        store: The working store.
    """
    if row.step == 0:
        return config.base, f"Weights: the base {config.base}."
    if row.checkpoint != "best":
        return None, "Weights are kept of the base and of the best checkpoint; choose one of these to ask."
    if not store.is_finished(config):
        return None, f"Run {config.run_id} was not trained here; train it to ask it."
    # Another machine may have had its best step elsewhere than the records.
    step = best_step(config, store.metrics(config))
    return str(store.folder(config) / "best"), f"Weights: step {step} of run {config.run_id}, its best."


class Explorer:
    """The widgets: five lists to choose an answer, a line to ask a question, a slider over unmasking steps.

    Args:
        study: Whose runs; missing ones are trained into its scale's working store when the button is pressed.
        answers: Their answers (``examples.read_answers``).
    """

    def __init__(self, study: Study, answers: pd.DataFrame):
        self.study, self.answers = study, answers
        self.configs = {config.run_id: config for config in study.configs}
        self.store = RunStore(study.scale.store)
        self.reply = Reply("", "")
        wide = widgets.Layout(width="95%")
        self.fields = {name: widgets.Dropdown(description=label, layout=wide) for name, label in FIELDS.items()}
        self.shown, self.note, self.replied, self.canvas = (widgets.HTML(layout=wide) for _ in range(4))
        self.question = widgets.Text(description="ask", layout=wide)
        self.ask_button = widgets.Button(description="Ask")
        self.train_button = widgets.Button(description="Train this run")
        self.log = widgets.Output()
        self.slider = widgets.IntSlider(description="unmasked", min=0, max=0, layout=wide)
        for name, field in self.fields.items():
            field.observe(lambda change, name=name: self._refresh(after=name), names="value")
        self.slider.observe(lambda change: self._draw_canvas(), names="value")
        self.ask_button.on_click(lambda button: self._ask())
        self.train_button.on_click(lambda button: self._train())
        buttons = widgets.HBox([self.ask_button, self.train_button])
        asking = [self.question, self.note, buttons, self.replied, self.slider, self.canvas, self.log]
        self.box = widgets.VBox([*self.fields.values(), self.shown, *asking])
        self._refreshing = False
        self._refresh()

    @property
    def chosen(self) -> dict[str, object]:
        """The value of every field."""
        return {name: field.value for name, field in self.fields.items()}

    def _refresh(self, after: str | None = None) -> None:
        """Offer for the fields after ``after`` what goes with those before, keep a choice that is still there, show it."""
        if self._refreshing:  # the loop below sets values itself
            return
        self._refreshing = True
        names = list(FIELDS)
        for name in names[0 if after is None else names.index(after) + 1 :]:
            offered, kept = options(self.answers, name, self.chosen), self.fields[name].value
            self.fields[name].options = offered
            values = [value for _, value in offered]
            first = next((value for label, value in offered if "(best)" in label), values[0]) if name == "step" else values[0]
            self.fields[name].value = kept if kept in values else first
        self._refreshing = False
        row = answer_of(self.answers, self.chosen)
        self.shown.value = answer_html(row)
        self.question.value = row.question
        self._show_reply(Reply("", ""))
        self._find_weights()

    def _find_weights(self) -> str | None:
        row = answer_of(self.answers, self.chosen)
        source, note = find_weights(self.configs[row.run_id], row, self.store)
        self.note.value = as_text(note)
        self.ask_button.disabled = source is None
        can_train = source is None and row.checkpoint == "best"
        self.train_button.layout.display = None if can_train else "none"
        return source

    def _ask(self) -> None:
        config = self.configs[answer_of(self.answers, self.chosen).run_id]
        source = self._find_weights()
        if source is None:
            return
        try:
            model, prompts = load_base(source, method=config.method, revision=self.study.scale.revisions.get(source))
            self._show_reply(ask(model, prompts, self.question.value, config))
        except ValueError as error:
            self.note.value = as_text(str(error))
            return
        if words := spelled_words(prompts, self.question.value):
            self.note.value = as_text(f"The model never saw {', '.join(words)}: its tokenizer spells it letter by letter.")

    def _show_reply(self, reply: Reply) -> None:
        self.reply = reply
        row = answer_of(self.answers, self.chosen)
        truth = row.answer if reply.question == row.question else ""  # of a question of one's own nobody knows it
        self.replied.value = f"Reply: {as_marked(truth, reply.answer)}" if reply.question else ""
        self.slider.layout.display = None if reply.commits else "none"
        self.slider.max = reply.n_steps
        self.slider.value = reply.n_steps
        self._draw_canvas()

    def _draw_canvas(self) -> None:
        self.canvas.value = canvas_html(self.reply, self.slider.value) if self.reply.commits else ""

    def _train(self) -> None:
        config = self.configs[answer_of(self.answers, self.chosen).run_id]
        self.train_button.disabled = True
        try:
            with self.log:
                ensure(self.study.scale, [config])
        finally:
            self.train_button.disabled = False
        self._find_weights()
