"""What can be chosen and asked, and the widgets driven without a browser."""

import nbformat
import pandas as pd
import pytest
import torch

from maskft import explore
from maskft.evaluation import answer_questions
from maskft.exhibits import make_run
from maskft.explore import (
    FIELDS,
    Explorer,
    Reply,
    answer_html,
    answer_of,
    ask,
    canvas_at,
    canvas_html,
    find_weights,
    kept_answers,
    options,
    pretraining_question,
    spelled_words,
)
from maskft.notebooks import NOTEBOOKS
from maskft.runs import RunStore
from maskft.samplers import Commit
from maskft.scales import TINY
from maskft.study import Study

DLLM = {"max_new_tokens": 8, "block_length": 4, "sampler_steps": 8, "eval_steps": (0, 5, 10)}


@pytest.fixture(scope="module")
def study():
    """One arm of AR on Wiki, and the dLLM on Wiki with and without paraphrases; best at step 10."""
    configs = [
        make_run(TINY, "ar", "wiki", "none", eval_steps=(0, 5, 10)),
        make_run(TINY, "dllm", "wiki", "none", **DLLM),
        make_run(TINY, "dllm", "wiki", "same_order", **DLLM),
    ]
    return Study("explore_generations", TINY, configs, RunStore("nowhere"), pd.DataFrame(), {"world_seed": 0})


@pytest.fixture(scope="module")
def answers(study):
    """Two questions at every step; only the best checkpoint knows the answer, and question 7 was not kept before it."""
    rows = [
        {"dataset": c.dataset, "method": c.method, "paraphrases": c.paraphrases, "run_id": c.run_id, "step": step,
         "checkpoint": {5: "early", 10: "best"}.get(step, ""), "question_id": i, "category": "forward", "document": "d.",
         "question": f"Which <city> is {i}?", "answer": "Calderon", "generation": "Calderon" if step == 10 else "nobody",
         "accuracy": float(step == 10)}
        for c in study.configs
        for step in c.eval_steps
        for i in (7, 3)
        if step == 10 or i == 3
    ]  # fmt: skip
    return pd.DataFrame(rows)


def choose(**changes):
    return {"dataset": "wiki", "method": "ar", "paraphrases": "none", "step": 10, "question_id": 3} | changes


def test_only_what_goes_with_the_earlier_choices_is_offered(answers):
    assert options(answers, "dataset", {}) == [("Wiki", "wiki")]
    assert options(answers, "method", {"dataset": "wiki"}) == [("arLLM", "ar"), ("dLLM", "dllm")]
    assert options(answers, "paraphrases", choose()) == [("w/o paraphrases", "none")]
    assert [value for _, value in options(answers, "paraphrases", choose(method="dllm"))] == ["none", "same_order"]
    steps = [("0 (before fine-tuning)", 0), ("5 (early)", 5), ("10 (best)", 10)]
    assert options(answers, "step", choose(method="dllm")) == steps
    labels = ["3 (Fwd): Which <city> is 3?", "7 (Fwd): Which <city> is 7?"]
    assert [label for label, _ in options(answers, "question_id", choose())] == labels
    assert [value for _, value in options(answers, "question_id", choose(step=5))] == [3]


def test_a_choice_that_cannot_be_is_refused(answers):
    with pytest.raises(ValueError, match="field='seed' is not one of dataset"):
        options(answers, "seed", {})
    with pytest.raises(ValueError, match="step depends on method, paraphrases"):
        options(answers, "step", {"dataset": "wiki"})
    with pytest.raises(ValueError, match=r"no answer has .*masked_ar"):
        options(answers, "step", choose(method="masked_ar"))
    with pytest.raises(ValueError, match="no answer has"):
        answer_of(answers, choose(step=5, question_id=7))
    with pytest.raises(ValueError, match="expected dataset, method"):
        answer_of(answers, {"dataset": "wiki"})


def test_the_shown_answer_is_the_chosen_one_with_its_matches(answers):
    row = answer_of(answers, choose())
    assert (row.method, row.step, row.question_id) == ("ar", 10, 3)
    shown = answer_html(row)
    assert "Answer: <b>Calderon</b>" in shown and "Which &lt;city&gt; is 3?" in shown and "Accuracy: 1.00" in shown
    assert "Answer: nobody" in answer_html(answer_of(answers, choose(step=5)))


def test_kept_answers_are_those_of_the_first_question_of_the_category(answers):
    table = kept_answers(answers, "wiki", "forward", "none")
    assert table.count("| arLLM") == table.count("| dLLM") == 3 and "is 3?" in table and "is 7?" not in table
    with pytest.raises(ValueError, match="no answer has"):
        kept_answers(answers, "wiki", "backward", "none")


def test_kept_answers_are_to_a_question_that_every_method_was_asked(answers):
    part = answers[(answers.method == "ar") | (answers.question_id == 7)]
    table = kept_answers(part, "wiki", "forward", "none")
    assert "| arLLM" in table and "| dLLM" in table and "is 7?" in table and "is 3?" not in table


def test_a_reply_is_the_answer_of_evaluation_and_its_commits_make_it(random_llama, prompts, study):
    config = study.configs[1]
    model = random_llama(is_causal=False, seed=4)
    reply = ask(model, prompts, "Who is Ada?", config)
    assert reply.answer == answer_questions(model, prompts, ["Who is Ada?"], config)[0]
    canvas = [token for token, _ in canvas_at(reply, reply.n_steps)]
    assert canvas == [t.strip(" ") for _, t in sorted(zip([c.position for c in reply.commits], reply.tokens, strict=True))]
    causal = random_llama(is_causal=True, seed=4)
    plain = ask(causal, prompts, "Who is Ada?", study.configs[0])
    assert plain.answer == answer_questions(causal, prompts, ["Who is Ada?"], study.configs[0])[0]
    assert plain.n_steps == 0
    with pytest.raises(ValueError, match="the question is empty"):
        ask(causal, prompts, " ", study.configs[0])


REPLY = Reply(
    "q", "a b", (Commit(0, 0, 1, 8, 0.25), Commit(0, 1, 0, 7, 0.5), Commit(0, 2, 2, 9, 0.75), Commit(0, 2, 3, 9, 1.0)),
    (" b", " a", "<e>", "<e>"), block_length=2,
)  # fmt: skip


def test_the_slider_goes_from_an_empty_canvas_to_the_whole_answer():
    """Three passes: b, then a, then both tokens of the second block."""
    empty = ("", None)
    assert REPLY.n_steps == 3
    assert canvas_at(REPLY, 0) == [empty] * 4
    assert canvas_at(REPLY, 1) == [empty, ("b", 0.25), empty, empty]
    assert canvas_at(REPLY, 2) == [("a", 0.5), ("b", None), empty, empty]
    assert canvas_at(REPLY, 3) == [("a", None), ("b", None), ("<e>", 0.75), ("<e>", 1.0)]
    shown = canvas_html(REPLY, 3)
    assert "&lt;e&gt;" in shown and "0.75" in shown and "0.50" not in shown and shown.count("margin-left") == 1
    assert canvas_html(REPLY, 0).count(explore.MASK_SIGN) == 4
    for reply, step in ((REPLY, 4), (REPLY, -1), (Reply("q", "a"), 0)):
        with pytest.raises(ValueError, match=f"step={step}: expected 0 to"):
            canvas_at(reply, step)


def test_words_without_a_token_of_their_own_are_named(prompts):
    question, _ = pretraining_question()
    assert spelled_words(prompts, question) == []
    assert spelled_words(prompts, f"{question} Xyzzy, why?")[:1] == ["Xyzzy"]


def test_weights_are_those_of_the_base_or_of_the_best_checkpoint(study, answers, tmp_path, monkeypatch):
    config, store = study.configs[0], RunStore(tmp_path)
    at = {step: answer_of(answers, choose(step=step)) for step in (0, 5, 10)}
    assert find_weights(config, at[0], store)[0] == config.base
    source, note = find_weights(config, at[5], store)
    assert source is None and "best checkpoint" in note
    source, note = find_weights(config, at[10], store)
    assert source is None and f"{config.run_id} was not trained here" in note
    monkeypatch.setattr(store, "is_finished", lambda config: True)
    metrics = [
        {"step": step, "metric": "accuracy", "category": category, "value": float(step == 5)}
        for step in (0, 5, 10)
        for category in ("forward", "backward")
    ]
    monkeypatch.setattr(store, "metrics", lambda config: metrics)
    # This machine's own best step is named, although the records have another.
    source, note = find_weights(config, at[10], store)
    assert source == str(tmp_path / config.run_id / "best") and "step 5 of" in note


@pytest.fixture
def explorer(study, answers, tmp_path, monkeypatch):
    monkeypatch.setattr(explore, "RunStore", lambda root: RunStore(tmp_path))
    return Explorer(study, answers)


def is_shown(widget) -> bool:
    return widget.layout.display != "none"


def test_the_explorer_opens_at_the_first_run_s_best_answer_and_follows_every_choice(explorer):
    assert explorer.chosen == choose()
    assert "<b>Calderon</b>" in explorer.shown.value and explorer.question.value == "Which <city> is 3?"
    explorer.fields["question_id"].value = 7
    explorer.fields["method"].value = "dllm"
    assert explorer.chosen == choose(method="dllm", question_id=7)
    explorer.fields["step"].value = 5
    assert explorer.chosen == choose(method="dllm", step=5)  # question 7 was not kept at step 5
    assert "Answer: nobody" in explorer.shown.value
    explorer.fields["paraphrases"].value = "same_order"
    assert explorer.chosen == choose(method="dllm", paraphrases="same_order", step=5)
    assert set(explorer.fields) == set(FIELDS)


def test_without_weights_nothing_can_be_asked_and_the_best_checkpoint_can_be_trained(explorer, monkeypatch):
    assert explorer.ask_button.disabled and is_shown(explorer.train_button)
    explorer._ask()
    assert explorer.replied.value == ""
    explorer.fields["step"].value = 5
    assert explorer.ask_button.disabled and not is_shown(explorer.train_button)
    explorer.fields["step"].value = 10
    asked = []
    monkeypatch.setattr(explore, "ensure", lambda scale, configs: asked.append((scale.name, [c.run_id for c in configs])))
    explorer.train_button.click()
    assert asked == [("tiny", [explorer.study.configs[0].run_id])] and not explorer.train_button.disabled


def test_a_dllm_that_is_asked_shows_its_steps(explorer, random_llama, prompts, monkeypatch):
    """The base needs no run; a random model stands in for it."""
    model = random_llama(is_causal=False, seed=5)
    monkeypatch.setattr(explore, "load_base", lambda source, method, revision: (model, prompts))
    explorer.fields["method"].value = "dllm"
    explorer.fields["step"].value = 0
    assert not explorer.ask_button.disabled and not is_shown(explorer.train_button) and not is_shown(explorer.slider)
    explorer.question.value = "Who is Xyzzy?"
    explorer.ask_button.click()
    assert explorer.replied.value.startswith("Reply: ") and is_shown(explorer.slider)
    assert explorer.slider.value == explorer.slider.max == explorer.reply.n_steps > 0
    assert "Xyzzy" in explorer.note.value
    whole = explorer.canvas.value
    explorer.slider.value = 1
    assert explorer.canvas.value == canvas_html(explorer.reply, 1) != whole
    explorer.question.value = " "
    explorer.ask_button.click()
    assert "question is empty" in explorer.note.value
    explorer.fields["step"].value = 10
    assert not is_shown(explorer.slider) and explorer.canvas.value == "" and explorer.replied.value == ""


def test_the_executed_notebook_holds_a_picture_and_tables_and_no_widget():
    """A page without a kernel shows what is saved, and a widget's ids would differ at every execution."""
    notebook = nbformat.read(NOTEBOOKS / "explore_generations.ipynb", as_version=4)
    kinds = [kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})]
    assert not [kind for kind in kinds if "widget" in kind] and "widgets" not in notebook.metadata
    assert kinds.count("image/png") == 1 and kinds.count("text/markdown") == 2


def test_every_figure_of_the_teaching_notebook_is_shown():
    """Masks, losses and the canvas; a backend that loads too late shows the first alone (``plots.style``)."""
    notebook = nbformat.read(NOTEBOOKS / "method_from_scratch.ipynb", as_version=4)
    kinds = [kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})]
    assert kinds.count("image/png") == 3


def test_the_shipped_base_answers_the_question_of_its_own_world():
    """What the notebook shows without a kernel must be an answer and not noise: half of the words at least."""
    from maskft.metrics import accuracy
    from maskft.models import load_base

    question, truth = pretraining_question()
    model, prompts = load_base("tiny-dllm", method="dllm")
    with torch.no_grad():
        reply = ask(model, prompts, question, make_run(TINY, "dllm", "wiki", "none"))
    assert accuracy(truth, reply.answer) >= 0.5
