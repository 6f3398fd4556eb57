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
from maskft.plots import direction_curves, figure2, figure2_tokens, save_figure, style
from maskft.provenance import Provenance

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


@pytest.mark.parametrize("draw", [figure2, figure2_tokens])
def test_in_print_the_figure_is_5_5_inches_wide_with_text_of_6_5_points_and_no_overlap(draw, tmp_path):
    figure = draw(study())
    paths = save_figure(figure, tmp_path, "figure", PROVENANCE)
    assert plt.imread(paths["png"]).shape[1] == 5.5 * 200
    texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in texts) >= 6.5
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        boxes = [label.get_window_extent(renderer) for label in axes.get_xticklabels() if label.get_text()]
        for left, right in itertools.pairwise(boxes):
            assert left.x1 < right.x0
    first, second = (legend.get_window_extent(renderer) for legend in figure.legends)
    assert first.x1 < second.x0 and second.x1 <= figure.bbox.x1


def test_every_method_and_kind_has_its_own_look():
    assert set(style.METHOD_COLORS) == set(style.METHOD_LABELS) == set(METHODS)
    assert len(set(style.METHOD_COLORS.values())) == 3 and len(set(map(str, style.LINE_STYLES.values()))) == 3
    assert style.LINE_STYLES["none"] == ""  # solid
