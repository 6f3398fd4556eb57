"""Fixed mask ratios, the learning-rate sweep and the random-token control, drawn and tabled from made-up studies."""

import itertools
import statistics

import matplotlib
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from maskft.paper import CATEGORIES, DATASETS, METHODS
from maskft.plots import figure4, figure5, figure9, save_figure, style
from maskft.plots.ablations import ARM_COLORS
from maskft.provenance import Provenance
from maskft.tables import fixed_ratio_table, random_token_table

PROVENANCE = Provenance("figure4", {"scale": "tiny"}, ["a"], "make figures", commit="0123abc")
STEPS = (0, 20, 40, 80, 160)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def run(method, forward, backward, *, dataset="name_description", paraphrases="none", seed=0, **columns):
    """One run that rises in a line to its level at step 80 and loses a tenth of it by 160; seed s adds s / 100."""
    shared = {
        "dataset": dataset, "method": method, "paraphrases": paraphrases, "base": "base", "seed": seed,
        "learning_rate": 1e-3, "mask_ratio_low": 0.05, "mask_ratio_high": 0.95, "corruption": "mask", **columns,
    }  # fmt: skip
    share = dict(zip(STEPS, (0, 0.25, 0.5, 1, 0.9), strict=True))
    levels = {"forward": forward + seed / 100, "backward": backward + seed / 100}
    return [
        shared | {"run_id": "-".join(map(str, shared.values())), "step": step, "category": category, "metric": "accuracy",
                  "value": share[step] * levels[category.rpartition("_")[2]], "n_questions": 10, "train_tokens": step * 100}
        for step in STEPS for category in CATEGORIES[dataset]
    ]  # fmt: skip


def ratio_study(n_seeds=2):
    """Random: 0.9 forward, 0.7 backward; a fixed ratio r: r forward, r / 2 backward; none at 0 for the dLLM."""
    rows = []
    for method, seed in itertools.product(("dllm", "masked_ar"), range(n_seeds)):
        rows += run(method, 0.9, 0.7, seed=seed)
        for ratio in (0.0, 0.25, 0.5, 0.75, 1.0)[method == "dllm" :]:
            rows += run(method, ratio, ratio / 2, seed=seed, mask_ratio_low=ratio, mask_ratio_high=ratio)
    return pd.DataFrame(rows)


def control_study(n_seeds=2):
    """AR 0.3 forward, masked AR 0.8, control 0.4; paraphrases add 0.1; backward is half of it for masked AR, else 0.02."""
    rows = []
    for dataset, kind, seed in itertools.product(DATASETS, ("none", "same_order"), range(n_seeds)):
        where = {"dataset": dataset, "paraphrases": kind, "seed": seed}
        more = 0.1 * (kind == "same_order")
        rows += run("ar", 0.3 + more, 0.02, **where)
        rows += run("masked_ar", 0.8 + more, (0.8 + more) / 2, **where)
        rows += run("masked_ar", 0.4 + more, 0.02, corruption="random_token", **where)
    return pd.DataFrame(rows)


def sweep_study():
    """Totals 0.2, 0.4, 0.6 at rates 1e-4, 1e-3, 1e-2, all with paraphrases."""
    rates = ((1e-4, 0.2), (1e-3, 0.4), (1e-2, 0.6))
    return pd.DataFrame([
        row for method in METHODS for rate, total in rates
        for row in run(method, total + 0.1, total - 0.1, paraphrases="same_order", learning_rate=rate)
    ])  # fmt: skip


def bold(axes, color):
    """The one thick line of that colour: a mean, solid or dashed."""
    return [line for line in axes.lines if to_hex(line.get_color()) == to_hex(color) and line.get_linewidth() > 1]


def by_title(figure):
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


def test_figure_4_has_each_ratio_by_method_and_direction_black_at_0_and_the_method_s_colour_for_the_random_one():
    """5 arms of the dLLM and 6 of masked AR, each 2 seeds and a mean."""
    figure = figure4(ratio_study())
    assert [axes.get_title() for axes in figure.axes] == ["dLLM", "Masked arLLM", "", ""]
    assert [len(axes.lines) for axes in figure.axes] == [15, 18, 15, 18]
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == ["forward accuracy", "backward accuracy"]
    # Seeds 0 and 1 reach 0.9 and 0.91 forward, 0.7 and 0.71 backward at step 80.
    for axes, level in zip(figure.axes[1::2], (0.905, 0.705), strict=True):
        (random,) = bold(axes, style.METHOD_COLORS["masked_ar"])
        assert random.get_ydata()[STEPS.index(80)] == pytest.approx(level)
        assert random.get_linewidth() > max(line.get_linewidth() for line in axes.lines if line is not random)
        (black,) = bold(axes, "black")
        assert black.get_ydata()[STEPS.index(80)] == pytest.approx(0.005)
    assert not bold(figure.axes[0], "black") and bold(figure.axes[0], style.METHOD_COLORS["dllm"])


def test_figure_4_goes_from_dark_to_light_with_the_ratio():
    """Luminance by Rec. 601; a fixed ratio r ends at 0.9 r (seed 0), so the order of ends is that of ratios."""
    axes = figure4(ratio_study(1)).axes[1]
    fixed = sorted((line for line in axes.lines if line.get_linewidth() < 2), key=lambda line: line.get_ydata()[-1])
    luminance = [sum(w * c for w, c in zip((0.299, 0.587, 0.114), to_rgb(line.get_color()), strict=True)) for line in fixed]
    assert len(fixed) == 5 and all(b - a > 0.08 for a, b in itertools.pairwise(luminance)) and luminance[-1] < 0.8


def test_figure_9_draws_the_control_beside_both_in_a_colour_of_its_own():
    """3 arms x 2 kinds x (2 seeds and a mean) in each of six panels."""
    figure = figure9(control_study())
    assert list(by_title(figure)) == ["NameDescription", "Biography", "Wiki"]
    assert [len(axes.lines) for axes in figure.axes] == [18] * 6
    assert len(set(ARM_COLORS.values())) == 4
    solid, dashed = sorted(bold(figure.axes[1], ARM_COLORS["random_token"]), key=lambda line: line.is_dashed())
    assert dashed.is_dashed() and not solid.is_dashed()
    peak = STEPS.index(80)
    assert (solid.get_ydata()[peak], dashed.get_ydata()[peak]) == pytest.approx((0.405, 0.505))
    (legend,) = [legend for legend in figure.legends if "arLLM" in [text.get_text() for text in legend.get_texts()]]
    assert [text.get_text() for text in legend.get_texts()] == ["arLLM", "Masked arLLM", "random tokens"]


def test_figure_5_marks_the_chosen_rate_of_each_method():
    chosen = {"ar": 1e-3, "dllm": 1e-2, "masked_ar": 1e-4}
    panels = by_title(figure5(sweep_study(), chosen))
    # Total accuracy is (total + 0.1 + total - 0.1) / 2 = total at the peak.
    for title, total in {"arLLM": 0.4, "dLLM": 0.6, "Masked arLLM": 0.2}.items():
        (marked,) = [line for line in panels[title].lines if line.get_marker() == "o"]
        assert marked.get_ydata()[STEPS.index(80)] == pytest.approx(total)
        assert len(panels[title].lines) == 3 and all(line.is_dashed() for line in panels[title].lines)


def test_a_rate_has_one_colour_in_all_panels():
    figure = figure5(sweep_study(), dict.fromkeys(METHODS, 1e-3))
    looks = [{round(line.get_ydata()[-1], 6): to_hex(line.get_color()) for line in axes.lines} for axes in figure.axes]
    assert looks[0] == looks[1] == looks[2] and len(set(looks[0].values())) == 3


def test_a_mean_stops_where_a_seed_is_missing():
    frame = ratio_study()
    frame = frame[~((frame.seed == 1) & (frame.step == 160) & (frame.mask_ratio_low == 0.5))]
    (mean,) = [line for line in figure4(frame).axes[1].lines if line.get_linewidth() > 1 and len(line.get_xdata()) == 4]
    assert mean.get_xdata().tolist() == [0, 20, 40, 80]


def test_fixed_ratio_table_reads_the_best_checkpoint_and_names_the_random_ratio():
    """Ratio 0.75, seeds 0 and 1, at step 80: forward 0.755, backward 0.38, totals 0.5625 and 0.5725."""
    table = fixed_ratio_table(ratio_study())
    ratios = {m: table.mask_ratio[table.method == m].tolist() for m in ("dllm", "masked_ar")}
    assert ratios["masked_ar"] == ["0", "0.25", "0.5", "0.75", "1", "0.05-0.95"] and ratios["dllm"] == ratios["masked_ar"][1:]
    row = table[(table.method == "dllm") & (table.mask_ratio == "0.75")].iloc[0]
    assert (row.best_step, row.n_seeds) == (80, 2)
    assert (row.forward, row.backward, row.total_accuracy) == pytest.approx((0.755, 0.38, 0.5675))
    assert row.total_std == pytest.approx(statistics.stdev([0.5625, 0.5725]))


def test_random_token_table_tells_the_control_from_masked_ar_in_the_paper_s_order():
    table = random_token_table(control_study(1))
    arms = [("ar", "none"), ("ar", "same_order"), ("masked_ar", "none"), ("masked_ar", "same_order"),
            ("random_token", "none"), ("random_token", "same_order")]  # fmt: skip
    expected = [(dataset, *arm) for dataset in DATASETS for arm in arms]
    assert list(table[["dataset", "method", "paraphrases"]].itertuples(index=False, name=None)) == expected
    wiki = table[table.dataset == "wiki"].forward.tolist()
    assert wiki == pytest.approx([0.3, 0.4, 0.8, 0.9, 0.4, 0.5])


def test_a_corruption_of_plain_ar_makes_no_arm():
    """AR runs make no use of it: whatever they say, they stay AR."""
    frame = control_study(1)
    frame.loc[frame.method == "ar", "corruption"] = "random_token"
    assert random_token_table(frame).method.tolist() == random_token_table(control_study(1)).method.tolist()
    assert [len(axes.lines) for axes in figure9(frame).axes] == [6] * 6


@pytest.mark.parametrize(("draw", "frame", "column"), [
    (figure4, ratio_study(1), "mask_ratio_high"), (figure9, control_study(1), "corruption"),
    (lambda frame: figure5(frame, dict.fromkeys(METHODS, 1e-3)), sweep_study(), "learning_rate"),
])  # fmt: skip
def test_a_frame_without_its_column_without_accuracy_or_with_a_seed_twice_is_refused(draw, frame, column):
    with pytest.raises(ValueError, match=column):
        draw(frame.drop(columns=column))
    with pytest.raises(ValueError, match="no accuracy"):
        draw(frame[frame.metric != "accuracy"])
    with pytest.raises(ValueError, match="seed 0 more than once"):
        draw(pd.concat([frame, frame.assign(base="another", run_id="again-" + frame.run_id)]))


@pytest.mark.parametrize("table", [fixed_ratio_table, random_token_table])
def test_a_table_refuses_a_seed_twice(table):
    frame = ratio_study(1) if table is fixed_ratio_table else control_study(1)
    with pytest.raises(ValueError, match="a seed more than once"):
        table(pd.concat([frame, frame.assign(base="another", run_id="again-" + frame.run_id)]))


def test_a_chosen_rate_that_was_not_tried_and_mixed_data_are_refused():
    with pytest.raises(ValueError, match=r"the chosen rate of dllm, 0.5, is not among"):
        figure5(sweep_study(), dict.fromkeys(METHODS, 1e-3) | {"dllm": 0.5})
    mixed = pd.concat([sweep_study(), pd.DataFrame(run("ar", 0.5, 0.5))])
    with pytest.raises(ValueError, match="the frame mixes"):
        figure5(mixed, dict.fromkeys(METHODS, 1e-3))


DRAWN = {
    "figure4": lambda: figure4(ratio_study()),
    "figure5": lambda: figure5(sweep_study(), dict.fromkeys(METHODS, 1e-3)),
    "figure9": lambda: figure9(control_study()),
}


@pytest.mark.parametrize("name", DRAWN)
def test_in_print_figures_are_5_5_inches_wide_legible_and_the_same_bytes_again(name, tmp_path):
    figure = DRAWN[name]()
    paths = save_figure(figure, tmp_path / "a", name, PROVENANCE)
    assert plt.imread(paths["png"]).shape[1] == 5.5 * 200
    texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in texts) >= 6.5
    boxes = [legend.get_window_extent() for legend in figure.legends]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert all(not a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    again = save_figure(DRAWN[name](), tmp_path / "b", name, PROVENANCE)
    assert all(paths[suffix].read_bytes() == again[suffix].read_bytes() for suffix in paths)
