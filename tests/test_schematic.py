"""Figures 1 and 3: what is drawn of prompts and of results, against the strings and numbers themselves."""

import itertools
import re

import matplotlib
import pandas as pd
import pytest
from matplotlib.colors import to_hex

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from maskft.data.schema import Corpus
from maskft.paper import CATEGORIES, METHODS
from maskft.plots import (
    direction_marks,
    example_questions,
    figure1,
    figure3,
    save_figure,
)
from maskft.plots.prompt import IN_LOSS, MASKED, passage
from maskft.plots.samples import load_prompts, training_samples
from maskft.plots.schematic import mark_of
from maskft.provenance import Provenance
from maskft.scales import TINY

PROVENANCE = Provenance("figure1", {"scale": "tiny"}, ["a"], "make figures", commit="0123abc")
TEXT = "Dorian Nash, known far and wide for being the miner of the rusty garden."
LONG = " ".join([TEXT.replace("rusty", word) for word in ("rusty", "mossy", "crystal", "sunken")])
QUESTIONS = {
    "forward": ("Who is Dorian Nash?", "the miner of the rusty garden"),
    "backward": ("Which person is the miner of the rusty garden?", "Dorian Nash"),
}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def samples(prompts):
    return training_samples(dict.fromkeys(METHODS, prompts), TEXT)


def of(samples, method):
    return samples[samples.method == method]


def read(sample) -> tuple[str, list[int]]:
    """A sample's text without spaces, and where each of its tokens starts in it."""
    tokens = [token.replace("\\n", "\n").replace(" ", "") for token in sample.token]
    return "".join(tokens), [0, *itertools.accumulate(map(len, tokens))][:-1]


def test_the_masked_prompt_is_figure_3_and_its_loss_starts_after_the_lead_in(samples):
    """By the strings alone: the prompt of Figure 3 with [MASK] for some words; what follows the lead-in is in the loss."""
    text, starts = read(of(samples, "masked_ar"))
    words = re.findall(r"\w+|[.,]", TEXT)
    masked = "".join(f"(?:{re.escape(word)}|<\\|mask\\|>)" for word in words)
    before = "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
    between = (
        "\nReturntherecoveredmaskedpassage.<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
        "Hereistherecoveredtext:\n\n"
    )
    whole = re.escape(before) + masked + re.escape(between) + re.escape(TEXT.replace(" ", "")) + re.escape("<|eot_id|>")
    assert re.fullmatch(whole, text) and text.count("<|mask|>") == of(samples, "masked_ar").is_masked.sum() > 0
    first_in_loss = text.index("text:\n\n") + len("text:\n\n")
    assert of(samples, "masked_ar").in_loss.tolist() == [start >= first_in_loss for start in starts]


def test_the_roles_of_the_masked_prompt_are_the_spans_of_its_strings(samples):
    """Each role's tokens joined are its string; a role's name stands in order of first appearance."""
    sample = of(samples, "masked_ar")
    joined = {role: "".join(tokens).replace(" ", "") for role, tokens in sample.groupby("role", sort=False).token}
    assert list(joined) == ["template", "document", "request", "end", "lead_in", "target"]
    assert joined["request"] == r"\nReturntherecoveredmaskedpassage."
    assert joined["lead_in"] == r"Hereistherecoveredtext:\n\n"
    assert joined["target"] == TEXT.replace(" ", "")
    assert joined["end"] == "<|eot_id|>" * 2
    assert joined["document"].count("<|mask|>") == sample.is_masked.sum()


def test_plain_ar_counts_all_but_the_first_token_and_the_dllm_what_is_masked(samples):
    ar, dllm = of(samples, "ar"), of(samples, "dllm")
    assert read(ar)[0] == "<|begin_of_text|>" + TEXT.replace(" ", "") + "<|eot_id|>"
    assert ar.in_loss.tolist() == [False] + [True] * (len(ar) - 1) and not ar.is_masked.any()
    assert dllm.in_loss.tolist() == dllm.is_masked.tolist() and 0 < dllm.is_masked.sum() < len(dllm)
    restored = dllm.target.where(dllm.is_masked, dllm.token)
    assert restored.tolist() == ar.token.tolist()


def test_the_ratio_is_given_and_an_unknown_method_refused(prompts):
    """At ratio 1 all of the document is masked, for the dLLM its end too; at 0 nothing is."""
    every = training_samples(dict.fromkeys(METHODS, prompts), TEXT, mask_ratio=1.0)
    n = len(prompts.encode(TEXT))
    assert every.groupby("method").is_masked.sum().to_dict() == {"ar": 0, "dllm": n + 1, "masked_ar": n}
    assert not training_samples({"masked_ar": prompts}, TEXT, mask_ratio=0.0).is_masked.any()
    with pytest.raises(ValueError, match="mixed"):
        training_samples({"mixed": prompts}, TEXT)
    with pytest.raises(ValueError, match="must satisfy"):
        training_samples({"dllm": prompts}, TEXT, mask_ratio=1.5)


def test_prompts_come_from_the_tokenizers_of_the_bases():
    loaded = load_prompts(TINY.bases, TINY.revisions)
    assert set(loaded) == set(METHODS) and loaded["ar"].encode("\n") and loaded["ar"].ids.mask != loaded["ar"].ids.end


def test_a_passage_is_the_document_as_it_is_read(samples):
    assert passage(of(samples, "ar")) == TEXT
    words = passage(of(samples, "masked_ar")).replace(",", " ,").split()
    assert all(word in (true, "[MASK]") for word, true in zip(words, re.findall(r"\w+|[.,]", TEXT)[: len(words)], strict=False))
    assert words.count("[MASK]") == of(samples, "masked_ar").is_masked.sum()


def test_figure_3_puts_yellow_under_the_loss_grey_under_other_masks_and_a_box_on_every_token(samples):
    figure = figure3(samples)
    faces = [to_hex(box.get_facecolor()) for box in figure.axes[0].patches]
    assert len(faces) == len(samples)
    assert faces.count(IN_LOSS.lower()) == samples.in_loss.sum()
    assert faces.count(MASKED.lower()) == (samples.is_masked & ~samples.in_loss).sum() > 0
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("[MASK]") == samples.is_masked.sum()
    assert texts.count("miner") == 4  # twice in masked AR's sample, once in each other one


def test_figure_3_refuses_other_frames(samples):
    with pytest.raises(ValueError, match="in_loss"):
        figure3(samples.drop(columns="in_loss"))
    with pytest.raises(ValueError, match="no samples"):
        figure3(samples[:0])


def cells(levels):
    """Summarised cells of NameDescription: N2D 0.1 above the level of a method, kind and direction, D2N 0.1 below."""
    rows = [
        {"dataset": "name_description", "method": method, "paraphrases": kind, "category": category, "metric": "accuracy",
         "mean": levels(method, kind, category.rpartition("_")[2]) + (0.1 if "n2d" in category else -0.1), "n_seeds": 2}
        for method in METHODS for kind in ("none", "same_order") for category in CATEGORIES["name_description"]
    ]  # fmt: skip
    return pd.DataFrame(rows)


def half(method, kind, direction):
    return 0.5


@pytest.mark.parametrize(("accuracy", "mark"), [
    (0.0, "fails"), (0.1, "fails"), (0.1001, "partly"), (0.5499, "partly"), (0.55, "answers"), (1.0, "answers"),
    ((0.5 + 0.6) / 2, "answers"), ((0.3 - 0.1) / 2, "fails"),
])  # fmt: skip
def test_marks_change_at_the_thresholds(accuracy, mark):
    assert mark_of(accuracy) == mark


def test_marks_are_of_the_mean_of_both_types_beside_the_paper_s():
    """The paper, Table 3: AR without paraphrases forward (0.374 + 0.017) / 2, dLLM backward (0.913 + 0.790) / 2."""
    marks = direction_marks(cells(lambda method, kind, direction: 0.9 if direction == "forward" else 0.05))
    assert len(marks) == 3 * 2 * 2
    assert set(zip(marks.direction, marks.accuracy.round(6), marks.mark, strict=True)) == {
        ("forward", 0.9, "answers"), ("backward", 0.05, "fails"),
    }  # fmt: skip
    at = marks.set_index(["method", "paraphrases", "direction"])
    assert (at.paper["ar", "none", "forward"], at.paper_mark["ar", "none", "forward"]) == (pytest.approx(0.1955), "partly")
    assert at.paper["dllm", "none", "backward"] == pytest.approx(0.8515)


def test_the_paper_s_own_marks_are_its_finding():
    """AR answers forward with paraphrases alone and never backward; the other two answer all."""
    marks = direction_marks(cells(half)).set_index(["method", "paraphrases", "direction"]).paper_mark
    assert marks["ar"].tolist() == ["partly", "fails", "answers", "fails"]
    assert set(marks["dllm"]) == set(marks["masked_ar"]) == {"answers"}


def test_a_missing_cell_is_named():
    frame = cells(half)
    with pytest.raises(ValueError, match="dllm/none/d2n_backward"):
        direction_marks(frame[~((frame.method == "dllm") & (frame.paraphrases == "none") & (frame.category == "d2n_backward"))])


def corpus():
    texts = [{"document_id": 7, "group": "n2d", "text": TEXT}]
    asked = [("n2d_forward", "Can you tell me something about Dorian Nash?"), ("n2d_forward", "Who is Dorian Nash?"),
             ("n2d_backward", "Which person is the miner of the rusty garden?")]  # fmt: skip
    answers = {"n2d_forward": "the miner of the rusty garden", "n2d_backward": "Dorian Nash"}
    questions = [{"document_id": 7, "category": c, "question": q, "answer": answers[c]} for c, q in asked]
    return Corpus.from_rows("name_description", "synthetic", texts, questions)


def test_example_questions_are_the_shortest_of_each_direction_with_their_answers():
    made = corpus()
    assert example_questions(made.documents, made.questions) == QUESTIONS
    forward = made.questions.filter(lambda question: question["direction"] == "forward")
    with pytest.raises(ValueError, match="document 7 has no backward question"):
        example_questions(made.documents, forward)


def drawn(samples, levels=half, questions=QUESTIONS):
    return figure1(direction_marks(cells(levels)), samples, questions, n_paraphrases=30)


def test_figure_1_shows_every_number_the_mark_it_gets_and_where_the_paper_s_is_another(samples):
    """Ours, all 0.9: 12 ticks and one in the legend. The paper's AR has 3 other marks: boxes, and one in the legend."""
    figure = drawn(samples, lambda *cell: 0.9)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("0.90") == 12 and texts.count("✔") == 13 and texts.count("✘") == 1
    assert len([patch for patch in figure.axes[0].patches if patch.get_linestyle() in (":", "dotted")]) == 3 + 1
    assert {"paper 0.20", "paper 0.85", "30 paraphrases", "no paraphrases", "Who is Dorian Nash?"} <= set(texts)
    half_discs = [patch for patch in drawn(samples).axes[0].patches if isinstance(patch, matplotlib.patches.Wedge)]
    assert len(half_discs) == 12 + 1


def test_figure_1_refuses_a_method_without_sample_and_a_direction_without_question(samples):
    with pytest.raises(ValueError, match="dllm"):
        drawn(samples[samples.method != "dllm"])
    with pytest.raises(ValueError, match="backward"):
        drawn(samples, questions={"forward": QUESTIONS["forward"]})


@pytest.mark.parametrize("text", [TEXT, LONG], ids=["short", "long"])
@pytest.mark.parametrize("draw", [figure3, drawn])
def test_in_print_no_text_is_small_overlaps_another_or_leaves_the_page(draw, text, prompts):
    figure = draw(training_samples(dict.fromkeys(METHODS, prompts), text))
    figure.draw_without_rendering()
    assert figure.get_figwidth() == 5.5
    texts = [*figure.axes[0].texts, *(text for legend in figure.legends for text in legend.get_texts())]
    assert min(text.get_fontsize() for text in texts) >= 6.5
    boxes = [text.get_window_extent(figure.canvas.get_renderer()) for text in texts]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1 for box in boxes)
    # A point of tolerance: extents hold the room of letters that hang below the line.
    shrunk = [box.padded(-figure.dpi / 72) for box in boxes]
    pairs = itertools.combinations(zip(texts, shrunk, strict=True), 2)
    assert not [(a.get_text(), b.get_text()) for (a, x), (b, y) in pairs if x.overlaps(y)]


@pytest.mark.parametrize("draw", [figure3, drawn])
def test_a_figure_redrawn_is_the_same_bytes(draw, samples, tmp_path):
    first, second = (save_figure(draw(samples), tmp_path / folder, "figure", PROVENANCE) for folder in "ab")
    assert plt.imread(first["png"]).shape[1] == 5.5 * 200
    assert all(first[suffix].read_bytes() == second[suffix].read_bytes() for suffix in first)
