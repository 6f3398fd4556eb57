"""Figures drawn from a made-up study."""

import itertools
import json
import math

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from maskft.paper import CATEGORIES, METHODS
from maskft.plots import (
    direction_curves,
    figure2,
    figure2_tokens,
    figure6,
    save_figure,
    seed_curves,
    seed_spread,
    style,
    table4_fits,
    total_curves,
)
from maskft.provenance import Provenance
from maskft.tables import best_checkpoints, convergence_fits, mean_curves

PROVENANCE = Provenance("figure2", {"scale": "tiny"}, ["a"], "make figures", commit="0123abc")
LAST_STEP = {"name_description": 200, "biography": 800, "wiki": 400}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def study(n_seeds=3, datasets=tuple(CATEGORIES)) -> pd.DataFrame:
    """Curves that rise to a level of their own, N2D cells 0.1 above D2N ones; tokens 100 a step, masked AR 250."""
    rng = np.random.default_rng(0)
    rows = []
    for dataset in datasets:
        for method in METHODS:
            for paraphrases in ("none", "same_order"):
                for seed in range(n_seeds):
                    wobble = rng.normal(scale=0.02)
                    for step in [0, *(s for s in (5, 10, 25, 50, 100, 200, 400, 800) if s <= LAST_STEP[dataset])]:
                        for category in CATEGORIES[dataset]:
                            cured = method != "ar" or (paraphrases == "same_order" and category.endswith("forward"))
                            level = 0.85 if cured else 0.2 if category.endswith("forward") else 0.02
                            value = level * (1 - math.exp(-step / (30 if method == "ar" else 60)))
                            value += (0.05 if "n2d" in category else -0.05 if "d2n" in category else 0.0) + wobble
                            rows.append({
                                "run_id": f"{dataset}-{method}-{paraphrases}-{seed}", "dataset": dataset,
                                "method": method, "paraphrases": paraphrases, "base": "base", "seed": seed,
                                "learning_rate": 1e-3, "step": step, "category": category, "metric": "accuracy",
                                "value": min(max(value, 0.0), 1.0), "n_questions": 10,
                                "train_tokens": step * (250 if method == "masked_ar" else 100) * 64 + (step > 0) * seed,
                            })  # fmt: skip
    return pd.DataFrame(rows)


def bold(axes, method, kind):
    return [
        line
        for line in axes.lines
        if line.get_color() == style.METHOD_COLORS[method]
        and line.get_linewidth() > 1
        and line.is_dashed() == (kind != "none")
    ]


def test_name_description_directions_are_the_mean_of_its_two_types():
    """n2d 0.6 and d2n 0.2 forward give 0.4; 0.1 and 0.3 backward give 0.2."""
    values = {"n2d_forward": 0.6, "d2n_forward": 0.2, "n2d_backward": 0.1, "d2n_backward": 0.3}
    frame = study(1, ["name_description"]).query("step == 10 and method == 'ar' and paraphrases == 'none'")
    curves = direction_curves(frame.assign(value=frame.category.map(values)))
    assert dict(zip(curves.direction, curves.accuracy, strict=True)) == pytest.approx({"forward": 0.4, "backward": 0.2})


def test_panels_are_data_sets_by_directions_and_hold_each_method_s_mean_and_seeds():
    frame = study()
    figure = figure2(frame)
    axes = np.array(figure.axes).reshape(2, 3)
    assert [ax.get_title() for ax in axes[0]] == ["NameDescription", "Biography", "Wiki"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["forward accuracy", "backward accuracy"]
    assert figure.get_supxlabel() == "optimizer step"
    for ax in axes.flat:
        # 3 methods x 2 kinds: 3 seeds and a mean each
        assert len(ax.lines) == 3 * 2 * (3 + 1)
        assert ax.get_xscale() == "symlog" and ax.get_xlim()[0] == 0 and ax.get_ylim() == (-0.03, 1.03)
    for row, direction in enumerate(("forward", "backward")):
        (line,) = bold(axes[row, 2], "dllm", "same_order")
        cell = frame.query(
            f"dataset == 'wiki' and method == 'dllm' and paraphrases == 'same_order' and category == '{direction}'"
        )
        expected = cell.groupby("step").value.mean()
        assert line.get_xdata().tolist() == expected.index.tolist()
        assert line.get_ydata() == pytest.approx(expected.to_numpy())


def test_a_mean_stops_where_a_seed_is_missing():
    """Without seed 2's step 400 the bold line ends at 200; the other seeds' thin ones go on."""
    frame = study()
    frame = frame[~((frame.seed == 2) & (frame.step == 400) & (frame.dataset == "wiki"))]
    axes = figure2(frame).axes[2]
    assert axes.get_title() == "Wiki"
    assert bold(axes, "ar", "none")[0].get_xdata()[-1] == 200
    assert sorted({line.get_xdata()[-1] for line in axes.lines}) == [200, 400]


def test_one_seed_is_drawn_once_and_bold():
    assert all(len(ax.lines) == 6 for ax in figure2(study(1)).axes)


def test_against_tokens_masked_ar_is_further_right_at_the_same_step():
    """Step 800 of Biography: 64 documents x 250 tokens x 800 = 12.8 M against 5.12 M, plus the mean seed, 1."""
    figure = figure2_tokens(study())
    axes = figure.axes[1]
    assert bold(axes, "masked_ar", "none")[0].get_xdata()[-1] == 12_800_001
    assert bold(axes, "ar", "none")[0].get_xdata()[-1] == 5_120_001
    assert figure.get_supxlabel() == "training tokens"


def test_an_unknown_axis_or_one_without_its_column_is_an_error():
    with pytest.raises(ValueError, match="'epoch'"):
        figure2(study(1), x="epoch")
    with pytest.raises(ValueError, match="'train_tokens'"):
        figure2_tokens(study(1).drop(columns="train_tokens"))


def test_nothing_to_draw_or_a_seed_twice_is_an_error():
    with pytest.raises(ValueError, match="no accuracy"):
        figure2(study(1), paraphrases=("permute_order",))
    frame = study(1, ["wiki"])
    again = frame.assign(learning_rate=3e-4, run_id="again-" + frame.run_id)
    with pytest.raises(ValueError, match="seed 0 more than once"):
        figure2(pd.concat([frame, again]))


def test_permute_order_is_drawn_only_when_asked_for():
    """Three methods: two kinds are 6 lines, three kinds 9."""
    frame = study(1, ["wiki"])
    extra = frame.query("paraphrases == 'none'")
    frame = pd.concat([frame, extra.assign(paraphrases="permute_order", run_id="p-" + extra.run_id)])
    assert len(figure2(frame).axes[0].lines) == 6
    assert len(figure2(frame, paraphrases=tuple(style.LINE_STYLES)).axes[0].lines) == 9


def test_a_figure_redrawn_is_the_same_bytes(tmp_path):
    frame = study(2, ["wiki"])
    for folder, records in (("a", frame), ("b", frame.sample(frac=1, random_state=0))):
        paths = save_figure(figure2(records), tmp_path / folder, "figure2", PROVENANCE)
        plt.close("all")
    assert sorted(path.name for path in paths.values()) == ["figure2.json", "figure2.pdf", "figure2.png"]
    for name in ("figure2.json", "figure2.pdf", "figure2.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert b"CreationDate" not in paths["pdf"].read_bytes()
    changed = save_figure(figure2(frame.assign(value=frame.value * 0.9)), tmp_path, "figure2", PROVENANCE)
    assert changed["png"].read_bytes() != paths["png"].read_bytes()
    assert json.loads(paths["json"].read_text())["files"] == ["figure2.pdf", "figure2.png"]


def figure7(frame):
    return seed_curves(frame[frame.dataset != "wiki"], "dllm")


def fits_of(frame):
    points = mean_curves(direction_curves(frame))
    return points, convergence_fits(points)


def fits_figure(frame):
    return table4_fits(*fits_of(frame))


@pytest.mark.parametrize("draw", [figure2, figure2_tokens, figure6, figure7, fits_figure])
def test_in_print_the_figure_is_5_5_inches_wide_with_text_of_6_5_points_and_no_overlap(draw, tmp_path):
    figure = draw(study())
    paths = save_figure(figure, tmp_path, "figure", PROVENANCE)
    assert plt.imread(paths["png"]).shape[1] == 5.5 * 200
    texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in texts) >= 6.5
    renderer = figure.canvas.get_renderer()
    titles = [axes.title.get_window_extent(renderer) for axes in figure.axes if axes.get_title()]
    labels = [
        [label.get_window_extent(renderer) for label in axes.get_xticklabels() if label.get_text()]
        for axes in figure.axes
    ]
    for boxes in (titles, *labels):
        for left, right in itertools.pairwise(boxes):
            assert left.x1 < right.x0
    legends = [legend.get_window_extent(renderer) for legend in figure.legends]
    for first, second in itertools.pairwise(legends):
        assert first.x1 < second.x0 or first.y0 > second.y1
    assert max(legend.x1 for legend in legends) <= figure.bbox.x1


def test_every_method_and_kind_has_its_own_look():
    assert set(style.METHOD_COLORS) == set(style.METHOD_LABELS) == set(METHODS)
    assert len(set(style.METHOD_COLORS.values())) == 3 and len(set(map(str, style.LINE_STYLES.values()))) == 3
    assert style.LINE_STYLES["none"] == ""  # solid


def marks(axes):
    """Points of each drawn series of marks."""
    lines = [line for line in axes.lines if line.get_marker() == "o"]
    return {(line.get_color(), line.get_markerfacecolor()): line.get_xydata().tolist() for line in lines}


def test_total_accuracy_is_the_mean_of_the_directions_and_its_best_step_the_one_the_tables_read():
    """Directions 0.4 (of 0.6 and 0.2) and 0.2 (of 0.1 and 0.3) give 0.3 in total."""
    values = {"n2d_forward": 0.6, "d2n_forward": 0.2, "n2d_backward": 0.1, "d2n_backward": 0.3}
    frame = study(1, ["name_description"])
    one = frame.assign(value=frame.category.map(values) + (frame.step == 50) * 0.01)
    totals = total_curves(one)
    assert totals[totals.step == 10].accuracy.tolist() == pytest.approx([0.3] * 6)
    assert totals[totals.is_best].step.tolist() == [50] * 6
    whole = total_curves(study())
    found = whole[whole.is_best].set_index("run_id").step
    assert found.to_dict() == best_checkpoints(study()).groupby("run_id").step.first().to_dict()


def test_figure6_marks_the_best_checkpoint_of_each_run_on_its_own_curve():
    """Wiki without paraphrases: dLLM seeds peak at 100, 200 and 400 with total 0.9; all others are best at the last step."""
    frame = study()
    arm = (frame.dataset == "wiki") & (frame.method == "dllm") & (frame.paraphrases == "none")
    frame.loc[arm & (frame.step == frame.seed.map({0: 100, 1: 200, 2: 400})), "value"] = 0.9
    figure = figure6(frame)
    assert [axes.get_title() for axes in figure.axes] == ["NameDescription", "Biography", "Wiki"]
    for axes in figure.axes:
        # 3 methods x 2 kinds: 3 seeds, a mean and a series of marks
        assert len(axes.lines) == 3 * 2 * (3 + 1 + 1) and len(marks(axes)) == 6
    blue = style.METHOD_COLORS["dllm"]
    assert marks(figure.axes[2])[blue, blue] == [[100, 0.9], [200, 0.9], [400, 0.9]]
    totals = total_curves(frame).query("dataset == 'wiki' and method == 'dllm' and paraphrases == 'same_order' and is_best")
    assert marks(figure.axes[2])[blue, "white"] == totals[["step", "accuracy"]].values.tolist()


def test_seed_curves_hold_every_seed_in_one_shade_and_the_mean_of_one_method():
    frame = study(4)
    figure = seed_curves(frame, "masked_ar")
    axes = np.array(figure.axes).reshape(2, 6)
    assert [ax.get_title() for ax in axes[0, :3]] == [
        "NameDescription\nno paraphrases", "NameDescription\nparaphrases", "Biography\nno paraphrases",
    ]  # fmt: skip
    cell = frame.query("dataset == 'wiki' and method == 'masked_ar' and paraphrases == 'none' and category == 'backward'")
    *seeds, mean = axes[1, 4].lines
    for seed, line in enumerate(seeds):
        assert line.get_ydata() == pytest.approx(cell[cell.seed == seed].sort_values("step").value.to_numpy())
    assert mean.get_ydata() == pytest.approx(cell.groupby("step").value.mean().to_numpy())
    assert mean.get_linewidth() > 3 * seeds[0].get_linewidth() and mean.get_zorder() < seeds[0].get_zorder()
    shades = {tuple(line.get_color() for line in ax.lines[:4]) for ax in axes.flat}
    assert len(shades) == 1 and len(set(shades.pop())) == 4
    with pytest.raises(ValueError, match="'masked'"):
        seed_curves(frame, "masked")
    with pytest.raises(ValueError, match="seed 0 more than once"):
        seed_curves(pd.concat([frame, frame.assign(run_id="again-" + frame.run_id)]), "dllm")


def test_the_spread_over_seeds_is_taken_at_each_seed_s_best_checkpoint_and_at_the_widest_step():
    """Forward: seed 0 is best at 10 with 0.4, seed 1 at 20 with 0.8: deviation 0.4 / sqrt(2). At step 10 both differ by
    0.3, at 20 by 0.5; at 40, by 0.9, but only seed 1 was evaluated. Backward is 0.1 at all steps: no spread."""
    forward = {(0, 10): 0.4, (0, 20): 0.3, (1, 10): 0.1, (1, 20): 0.8, (1, 40): 0.7}
    rows = [
        {"run_id": f"r{seed}", "dataset": "wiki", "method": "dllm", "paraphrases": "none", "seed": seed, "step": step,
         "category": category, "metric": "accuracy", "value": value}
        for (seed, step), high in forward.items()
        for category, value in (("forward", high), ("backward", 0.1))
    ]  # fmt: skip
    spread = seed_spread(pd.DataFrame(rows))
    assert spread.direction.tolist() == ["forward", "backward"] and spread.n_seeds.tolist() == [2, 2]
    assert spread["best"].tolist() == pytest.approx([0.4 / math.sqrt(2), 0])
    assert spread["largest"].tolist() == pytest.approx([0.5 / math.sqrt(2), 0])
    alone = seed_spread(pd.DataFrame(rows).query("seed == 1"))
    assert alone[["best", "largest"]].isna().all(axis=None) and alone.n_seeds.tolist() == [1, 1]


def test_a_log_axis_has_at_least_two_numbers_after_zero_where_its_range_allows():
    """20 to 800 holds one power of ten, so 20, 50, 100, 200, 500, of which every second; 5 to 800 holds two; 3 to 4 none."""
    ticks = {}
    for first, last in ((20, 800), (5, 800), (3, 4), (50, 250)):
        axes = plt.figure().subplots()
        style.training_axis(axes, pd.Series([0, first, last]))
        ticks[first, last] = list(axes.get_xticks())
    assert ticks == {
        (20, 800): [0, 20, 100, 500], (5, 800): [0, 10, 100], (3, 4): [0, 3], (50, 250): [0, 50, 100, 200],
    }  # fmt: skip


def test_the_fits_figure_has_points_fitted_curves_and_the_asymptotes_that_are_determined():
    """Six curves a panel; with masked AR's error above its A in Wiki forward, that strip has four marks and not six."""
    points, fits = fits_of(study(2))
    unknown = (fits.dataset == "wiki") & (fits.direction == "forward") & (fits.method == "masked_ar")
    fits.loc[unknown, "A_error"] = np.inf
    figure = table4_fits(points, fits)
    axes = np.array(figure.axes).reshape(2, 3)
    for ax in axes.flat:
        strip = ax.child_axes[0]
        assert len(ax.lines) == 6 * 2 and len(marks(ax)) == 6
        assert len(strip.containers) == (4 if ax is axes[0, 2] else 6)
    fit = fits.query("dataset == 'biography' and direction == 'backward' and method == 'dllm' and paraphrases == 'none'").iloc[0]
    blue = style.METHOD_COLORS["dllm"]
    (curve,) = (line for line in axes[1, 1].lines if line.get_color() == blue and line.get_ls() == "-")
    x, y = curve.get_data()
    assert x[0] == 0 and x[-1] == 800 and y == pytest.approx([fit.A * (1 - math.exp(-fit.k * at)) for at in x])
    at = points.query("dataset == 'biography' and direction == 'backward' and method == 'dllm' and paraphrases == 'none'")
    assert marks(axes[1, 1])[blue, blue] == at[["step", "accuracy"]].values.tolist()
    marked = {line.get_ydata()[0] for line in axes[1, 1].child_axes[0].lines}
    assert fit.A in marked


def test_a_curve_of_zeros_is_drawn_as_zeros_and_one_without_a_fit_is_an_error():
    frame = study(1, ["wiki"])
    frame["value"] = frame.value.where(frame.method != "ar", 0.0)
    points, fits = fits_of(frame)
    axes = table4_fits(points, fits).axes[0]
    orange = [line for line in axes.lines if line.get_color() == style.METHOD_COLORS["ar"]]
    assert len(orange) == 4 and not any(line.get_ydata().any() for line in orange)
    with pytest.raises(ValueError, match="wiki/masked_ar/same_order/forward has 0 fits"):
        table4_fits(points, fits[:-1])
    with pytest.raises(ValueError, match="has 2 fits"):
        table4_fits(points, pd.concat([fits, fits[:1]]))
    with pytest.raises(ValueError, match="no points"):
        table4_fits(points[:0], fits)
