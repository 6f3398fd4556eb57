"""Table 4: fits of A (1 - exp(-k x)) to made-up curves, and the paper's k in true steps."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest

from maskft.paper import DATASETS, METHODS, STEPS_PER_EPOCH, TABLE4, true_rate
from maskft.provenance import Provenance
from maskft.tables import (
    convergence_fits,
    convergence_table,
    convergence_versus_paper,
    display_convergence,
    mean_curves,
    write_convergence_table,
)
from maskft.tables.convergence import is_determined

PROVENANCE = Provenance("table4", {"scale": "tiny"}, ["a"], "make figures", commit="0123abc")
STEPS = (0, 10, 20, 40, 80, 160, 320)
CURVE = ["dataset", "method", "paraphrases", "direction"]


def curve(cell, values, steps=STEPS, seed=0) -> pd.DataFrame:
    """One run's accuracies in one direction, as `direction_curves` gives them."""
    run = dict(zip(CURVE, cell, strict=True)) | {"run_id": f"{'-'.join(cell[:3])}-{seed}", "seed": seed}
    return pd.DataFrame([run | {"step": step, "accuracy": value} for step, value in zip(steps, values, strict=True)])


def rising(a, k, noise=0.0):
    """A (1 - exp(-k x)), by turns above and below by `noise`, and 0 at step 0."""
    return [a * (1 - math.exp(-k * step)) + noise * (-1) ** i * (step > 0) for i, step in enumerate(STEPS)]


def study(seeds=(0, 1)) -> pd.DataFrame:
    """Every curve of the table: A 0.5 for AR, 0.7 and 0.9 for the others, k 0.02, halved without paraphrases; seeds
    stand 0.05 above and below."""
    return pd.concat(
        curve(cell, np.multiply(rising(0.5 + 0.2 * METHODS.index(cell[1]), 0.02 if cell[2] != "none" else 0.01, 0.01),
                                1 + 0.05 * (-1) ** seed), seed=seed)
        for cell in TABLE4 for seed in seeds
    )  # fmt: skip


def fits_of(*curves) -> pd.DataFrame:
    return convergence_fits(mean_curves(pd.concat(curves)))


def test_the_mean_curve_has_the_steps_that_every_seed_has():
    """0.2 and 0.4 at step 10 have the mean 0.3; step 20 has one seed of two and falls away; the other curve has one seed."""
    cell, alone = ("wiki", "dllm", "none", "forward"), ("wiki", "dllm", "none", "backward")
    means = mean_curves(
        pd.concat([
            curve(cell, [0.0, 0.2, 0.9], steps=(0, 10, 20)), curve(cell, [0.0, 0.4], steps=(0, 10), seed=1),
            curve(alone, [0.1, 0.5], steps=(0, 20), seed=1),
        ])
    )  # fmt: skip
    assert means[["direction", "step", "accuracy", "n_seeds"]].values.tolist() == [
        ["backward", 0, 0.1, 1], ["backward", 20, 0.5, 1], ["forward", 0, 0.0, 2], ["forward", 10, pytest.approx(0.3), 2],
    ]  # fmt: skip


def test_a_seed_twice_is_an_error():
    again = study((0,)).assign(run_id="again")
    with pytest.raises(ValueError, match=r"has seed 0 more than once.*filter the frame"):
        mean_curves(pd.concat([study((0,)), again]))


def test_a_fit_is_that_of_the_mean_over_seeds_and_the_best_of_a_fine_grid():
    """Seeds 0.05 of themselves above and below the curve leave it as their mean: A near 0.9, k near 0.01."""
    cell = ("biography", "masked_ar", "none", "backward")
    fit = fits_of(study()).set_index(CURVE).loc[cell]
    y, x = np.array(rising(0.9, 0.01, 0.01)[1:]), np.array(STEPS[1:])
    grid = itertools.product(np.linspace(0.8, 1.0, 201), np.linspace(0.008, 0.012, 201))
    best = min(grid, key=lambda ak: np.sum((ak[0] * (1 - np.exp(-ak[1] * x)) - y) ** 2))
    assert (fit.A, fit.k) == (pytest.approx(best[0], abs=1e-3), pytest.approx(best[1], abs=2e-5))
    assert fit.n_seeds == 2 and 0 < fit.A_error < 0.05 and 0 < fit.k_error < 0.005


def test_a_number_is_determined_from_two_standard_errors_on():
    fits = pd.DataFrame({"A": [0.8, 0.8, 2.3, 0.0], "A_error": [0.4, 0.41, 1.4, 0.0]})
    assert is_determined(fits, "A").tolist() == [True, False, False, True]


def test_what_the_points_do_not_determine_has_no_value_in_the_table():
    """A line through 0 has neither A nor k; a level from the first point on has A alone, its mean 0.25; zeros have A = 0."""
    cells = [(dataset, "dllm", "none", "forward") for dataset in DATASETS]
    line, level, zeros = [0.0005 * step for step in STEPS], [0.0, *[0.26, 0.24] * 3], [0.0] * 7
    fits = fits_of(*(curve(cell, values) for cell, values in zip(cells, (line, level, zeros), strict=True)))
    fits = fits.set_index("dataset").loc[list(DATASETS)].reset_index()
    assert is_determined(fits, "A").tolist() == [False, True, True]
    assert is_determined(fits, "k").tolist() == [False, False, False]
    tidy = convergence_versus_paper(fits)
    tidy = tidy[(tidy.method == "dllm") & (tidy.paraphrases == "none") & (tidy.direction == "forward")]
    assert tidy.obtained.tolist() == pytest.approx([math.nan, math.nan, 0.25, math.nan, 0.0, math.nan], nan_ok=True, abs=1e-6)
    assert tidy.std_error.isna().tolist() == tidy.obtained.isna().tolist() and set(tidy.n_seeds) == {1}
    shown = display_convergence(convergence_table(fits)).iloc[3]
    assert [shown[label, "Forward", "k"] for label in ("NameDescription", "Biography", "Wiki")] == ["–"] * 3
    assert shown["NameDescription", "Forward", "A"] == "–" and shown["Biography", "Forward", "A"].startswith("0.250 ± 0.0")


def test_too_few_points_name_the_curve():
    with pytest.raises(ValueError, match="wiki/ar/none/forward: 2 points"):
        fits_of(curve(("wiki", "ar", "none", "forward"), [0.0, 0.1, 0.2], steps=(0, 10, 20)))


def test_the_paper_s_rate_in_true_steps_gives_the_same_curve():
    """128 epochs of NameDescription are 3840 nominal and 128 x ceil(1800 / 64) = 3712 true steps; k x must stay."""
    for dataset, texts, epochs, last in (
        ("name_description", 1800, 128, 3840), ("biography", 500, 1024, 10240), ("wiki", 940, 512, 10240),
    ):  # fmt: skip
        nominal, true = STEPS_PER_EPOCH[dataset]
        assert nominal * epochs == last and true == math.ceil(texts / 64)
        for cell, (_, k) in TABLE4.items():
            if cell[0] == dataset and cell[2] == "same_order":
                assert true_rate(k, dataset, "same_order") * epochs * true == pytest.approx(k * last)
                assert true_rate(k, dataset, "none") == k


def test_the_twin_has_both_parameters_of_the_paper_s_36_curves_and_those_not_run():
    fits = fits_of(study())
    tidy = convergence_versus_paper(fits[fits.method != "dllm"])
    assert list(tidy.columns) == [*CURVE, "parameter", "paper", "obtained", "std_error", "n_seeds", "unit"]
    assert len(tidy) == 36 * 2 and not tidy.duplicated([*CURVE, "parameter"]).any()
    assert tidy.dataset.drop_duplicates().tolist() == list(DATASETS)
    k = tidy.set_index([*CURVE, "parameter"]).paper
    # 0.0093 x 30 / 29, 0.0014 x 10 / 8, 0.0069 x 20 / 15, and as it is without paraphrases
    assert k["name_description", "ar", "same_order", "forward", "k"] == pytest.approx(0.0096207, rel=1e-4)
    assert k["biography", "masked_ar", "same_order", "forward", "k"] == pytest.approx(0.00175)
    assert k["wiki", "ar", "same_order", "forward", "k"] == pytest.approx(0.0092)
    assert k["wiki", "ar", "none", "forward", "k"] == 0.035 and k["wiki", "ar", "none", "forward", "A"] == 0.241
    absent = tidy[tidy.method == "dllm"]
    assert absent.obtained.isna().all() and set(absent.n_seeds) == {0}
    assert tidy[tidy.method != "dllm"].obtained.notna().all() and set(tidy[tidy.method == "ar"].n_seeds) == {2}
    with pytest.raises(ValueError, match="two fits"):
        convergence_versus_paper(pd.concat([fits, fits[:1]]))


def test_the_table_has_the_paper_s_rows_and_reads_the_fit_of_each_cell():
    """A is 0.5, 0.7, 0.9 by method; k is 0.02 with paraphrases and 0.01 without."""
    table = convergence_table(fits_of(study(), *[curve(("wiki", "ar", "none", d), rising(0.3, 0.02, 0.01), seed=2)
                                                 for d in ("forward", "backward")]))  # fmt: skip
    assert table["row"].tolist() == [
        "arLLM w paraphrases",
        "arLLM w/o paraphrases",
        "dLLM w paraphrases",
        "dLLM w/o paraphrases",
        "Masked arLLM w paraphrases",
        "Masked arLLM w/o paraphrases",
    ]
    assert table["biography/forward/A"].tolist() == pytest.approx([0.5, 0.5, 0.7, 0.7, 0.9, 0.9], rel=0.05)
    assert table["biography/backward/k"].tolist() == pytest.approx([0.02, 0.01] * 3, rel=0.15)
    shown = display_convergence(table)
    row, cell = table.iloc[4], shown.iloc[4]["Wiki", "Backward", "A"]
    assert cell == f"{row['wiki/backward/A']:.3f} ± {row['wiki/backward/A/std_error']:.3f}"
    assert shown.iloc[4]["Wiki", "Backward", "k"].startswith("0.02") and " ± 0.00" in shown.iloc[4]["Wiki", "Backward", "k"]
    assert shown["", "", "Seeds"].tolist() == ["2", "2, 2, 3", "2", "2", "2", "2"]


def test_files_hold_small_rates_are_the_same_bytes_each_time_and_say_what_is_comparable(tmp_path):
    """k = 0.02 / 400 = 0.00005 at steps 400 times as far apart; four decimals would leave 0.0001 or 0.0000."""
    curves = study().assign(step=lambda frame: frame.step * 400)
    fits = fits_of(curves)
    paths = write_convergence_table(fits, tmp_path / "a", PROVENANCE)
    write_convergence_table(fits_of(curves.sample(frac=1, random_state=0)), tmp_path / "b", PROVENANCE)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [f"{name}.{suffix}" for name in ("table4", "table4_vs_paper") for suffix in ("csv", "json", "md", "tex")]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    back = pd.read_csv(paths["table4_vs_paper"])
    versus = convergence_versus_paper(fits)
    assert list(back.columns)[:9] == "dataset method paraphrases category metric paper obtained std n_seeds".split()
    for column in ("paper", "obtained", "std_error"):
        found = back["std" if column == "std_error" else column]
        assert found.to_numpy() == pytest.approx(versus[column].to_numpy(), rel=6e-4)
    table = pd.read_csv(paths["table4"])
    assert table["wiki/forward/k"].to_numpy() == pytest.approx(convergence_table(fits)["wiki/forward/k"].to_numpy(), rel=6e-4)
    markdown, twin = ((tmp_path / "a" / f"{name}.md").read_text() for name in ("table4", "table4_vs_paper"))
    assert "NameDescription Forward A" in markdown and "not comparable in absolute terms, only across methods" in markdown
    assert "30/29 (NameDescription), 10/8 (Biography), 20/15 (Wiki)" in twin
    assert r"\multicolumn{4}{c}{Biography}" in (tmp_path / "a" / "table4.tex").read_text()
    assert json.loads((tmp_path / "a" / "table4.json").read_text())["run_ids"] == ["a"]
