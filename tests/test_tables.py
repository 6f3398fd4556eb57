"""From the long metrics frame to tables and their files."""

import json
import math
import statistics
from pathlib import Path

import pandas as pd
import pytest

from maskft.paper import BEFORE, CATEGORIES, DATASETS, METHODS, PUBLISHED_ACCURACY, TABLE3
from maskft.provenance import Provenance
from maskft.runs import write_atomically
from maskft.tables import (
    LAYOUTS,
    accuracy_table,
    before_fine_tuning,
    best_checkpoints,
    display_table,
    last_checkpoints,
    learning_rate_sweep,
    summarise,
    versus_paper,
    write_accuracy_table,
    write_table,
)

TABLE3_LAYOUT = LAYOUTS["table3"]

PROVENANCE = Provenance("table3", {"scale": "tiny", "seeds": 2}, ["b", "a"], "make reproduce", commit="0123abc")


def run(dataset, method, paraphrases, seed, curve, **columns):
    """Rows of one run whose categories all have the accuracies of `curve` ({step: value}); rouge +0.01, exact -0.01."""
    shared = {"base": "dllm" if method == "dllm" else "ar", "learning_rate": 1e-3, "n_questions": 10} | columns
    run_id = f"{dataset}-{method}-{paraphrases}-{shared['base']}-{shared['learning_rate']}-{seed}"
    return [
        {"run_id": run_id, "dataset": dataset, "method": method, "paraphrases": paraphrases, "seed": seed,
         "step": step, "category": category, "metric": metric, "value": value + shift} | shared
        for step, value in curve.items()
        for category in CATEGORIES[dataset]
        for metric, shift in (("accuracy", 0.0), ("rouge1_recall", 0.01), ("exact_match", -0.01))
    ]  # fmt: skip


def study(seeds=(0, 1)):
    """Every run of Table 3: starts at 0.05, peaks at 0.8 + 0.1 seed on step 20 for even and 40 for odd seeds."""
    rows = []
    for dataset in DATASETS:
        for method in METHODS:
            for paraphrases in ("none", "same_order"):
                for seed in seeds:
                    peak = 40 if seed % 2 else 20
                    curve = {step: 0.5 for step in (10, 20, 40, 80)} | {0: 0.05, peak: 0.8 + 0.1 * seed}
                    rows += run(dataset, method, paraphrases, seed, curve)
    return pd.DataFrame(rows)


def test_a_sweep_has_the_best_total_of_each_rate_and_its_mean_over_seeds():
    """At 1e-3 the seeds' best totals are 0.6 at step 10 and 0.8 at step 20: mean 0.7, median step 15."""
    rows = run("name_description", "ar", "same_order", 0, {0: 0.1, 10: 0.6, 20: 0.5})
    rows += run("name_description", "ar", "same_order", 1, {0: 0.1, 10: 0.6, 20: 0.8})
    rows += run("name_description", "ar", "same_order", 0, {0: 0.9, 10: 0.2, 20: 0.3}, learning_rate=2e-3)
    sweep = learning_rate_sweep(pd.DataFrame(rows))
    assert sweep.to_dict("list") == {
        "method": ["ar", "ar"], "learning_rate": [1e-3, 2e-3], "best_step": [15.0, 20.0],
        "total_accuracy": pytest.approx([0.7, 0.3]), "n_seeds": [2, 1],
    }  # fmt: skip


def test_each_run_is_read_at_its_own_best_step():
    best = best_checkpoints(study())
    assert {seed: set(rows.step) for seed, rows in best.groupby("seed")} == {0: {20}, 1: {40}}
    assert set(best.metric) == {"accuracy", "rouge1_recall", "exact_match"}


def test_the_best_step_is_chosen_by_the_mean_of_the_directions_and_by_accuracy_alone():
    """Totals: step 10 (1.0 + 0.0) / 2 = 0.5, step 20 (0.6 + 0.5) / 2 = 0.55. Exact match would choose step 10."""
    rows = run("wiki", "ar", "none", 0, {10: 0.0, 20: 0.0})
    values = {(10, "forward"): 1.0, (10, "backward"): 0.0, (20, "forward"): 0.6, (20, "backward"): 0.5}
    for row in rows:
        row["value"] = values[row["step"], row["category"]] if row["metric"] == "accuracy" else float(row["step"] == 10)
    assert set(best_checkpoints(pd.DataFrame(rows)).step) == {20}


def test_the_last_checkpoint_is_the_last_step_of_each_run():
    frame = pd.concat([study(), pd.DataFrame(run("wiki", "ar", "permute_order", 0, {0: 0, 7: 0.3}))])
    last = last_checkpoints(frame).groupby("paraphrases").step.unique()
    assert {paraphrases: list(steps) for paraphrases, steps in last.items()} == {
        "none": [80],
        "same_order": [80],
        "permute_order": [7],
    }


@pytest.mark.parametrize("choose", [best_checkpoints, last_checkpoints])
def test_a_run_with_step_zero_only_is_an_error(choose):
    with pytest.raises(ValueError, match="0"):
        choose(pd.DataFrame(run("wiki", "ar", "none", 0, {0: 0.1})))


def test_a_category_without_accuracy_at_a_step_is_an_error():
    frame = pd.DataFrame(run("wiki", "ar", "none", 0, {10: 0.2, 20: 0.3}))
    with pytest.raises(ValueError, match=r"steps \[20\]"):
        best_checkpoints(frame[(frame.step != 20) | (frame.category != "backward")])


@pytest.mark.parametrize("choose", [best_checkpoints, last_checkpoints, before_fine_tuning])
def test_a_run_read_twice_is_an_error(choose):
    with pytest.raises(ValueError, match="more than once"):
        choose(pd.concat([study(), study().head(9)]))


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match=r"lacks \['base', 'seed'\]"):
        summarise(study().drop(columns=["seed", "base"]))


def test_summaries_are_mean_and_sample_deviation_over_seeds():
    """Values 0.8, 0.9 and 1.0 for seeds 0, 1, 2: mean 0.9, deviation with ddof 1 is 0.1."""
    summary = summarise(best_checkpoints(study(seeds=(0, 1, 2))))
    cell = summary[(summary.dataset == "wiki") & (summary.method == "ar") & (summary.metric == "accuracy")].iloc[0]
    assert (cell["mean"], cell["std"], cell.n_seeds) == (pytest.approx(0.9), pytest.approx(0.1), 3)
    assert statistics.stdev([0.8, 0.9, 1.0]) == pytest.approx(cell["std"])
    single = summarise(best_checkpoints(study(seeds=(0,))))
    assert single["std"].isna().all() and set(single.n_seeds) == {1}


@pytest.mark.parametrize(
    ("seed", "columns", "message"),
    [
        (5, {"base": "ar_control"}, "mixes base"),
        (5, {"learning_rate": 3e-4}, "mixes learning_rate"),
        (0, {"run_id": "again"}, "seed 0 more than once"),
    ],
)
def test_a_cell_never_mixes_bases_learning_rates_or_repeated_seeds(seed, columns, message):
    extra = pd.DataFrame(run("wiki", "ar", "none", seed, {20: 0.5}, **columns))
    with pytest.raises(ValueError, match=message):
        summarise(best_checkpoints(pd.concat([study(), extra])))


def test_rows_before_fine_tuning_are_step_zero_once_a_seed_and_not_for_masked_ar():
    before = before_fine_tuning(study())
    assert set(before.method) == {"ar", "dllm"} and set(before.paraphrases) == {BEFORE} and set(before.step) == {0}
    # 2 methods x 2 seeds x 8 categories x 3 metrics
    assert len(before) == 2 * 2 * 8 * 3


def test_the_paper_s_numbers_stand_beside_the_obtained_ones_for_accuracy_only():
    tidy = versus_paper(study())
    assert list(tidy.columns) == [
        "dataset", "method", "paraphrases", "category", "metric", "paper", "obtained", "std", "n_seeds",
    ]  # fmt: skip
    assert len(tidy) == 64 * 3 and not tidy.duplicated(list(tidy.columns[:5])).any()
    for row in tidy.itertuples():
        cell = (row.dataset, row.method, row.paraphrases, row.category)
        if row.metric == "accuracy":
            assert row.paper == TABLE3[cell]
            # before: 0.05 in each run; after: the mean of 0.8 and 0.9
            assert row.obtained == pytest.approx(0.05 if row.paraphrases == BEFORE else 0.85)
        else:
            assert math.isnan(row.paper)
    assert set(tidy.n_seeds) == {2}


def test_permute_order_rows_join_when_they_were_run_and_cells_not_run_stay_empty():
    frame = study()
    frame = pd.concat([frame[frame.method != "dllm"], pd.DataFrame(run("wiki", "ar", "permute_order", 0, {5: 0.6}))])
    tidy = versus_paper(frame)
    permuted = tidy[(tidy.paraphrases == "permute_order") & (tidy.metric == "accuracy")]
    assert permuted[["paper", "obtained", "n_seeds"]].values.tolist() == [[0.721, 0.6, 1], [0.628, 0.6, 1]]
    absent = tidy[tidy.method == "dllm"]
    assert len(absent) == 3 * 8 * 3 and absent.obtained.isna().all() and set(absent.n_seeds) == {0}
    assert PUBLISHED_ACCURACY["wiki", "ar", "permute_order", "forward"] == 0.721


def test_the_order_of_rows_does_not_depend_on_the_order_of_the_records():
    frame = study()
    shuffled = frame.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(versus_paper(frame), versus_paper(shuffled))
    pd.testing.assert_frame_equal(accuracy_table(TABLE3_LAYOUT, frame), accuracy_table(TABLE3_LAYOUT, shuffled))


def test_table3_has_the_paper_s_rows_and_reads_the_chosen_checkpoint():
    best, last = accuracy_table(TABLE3_LAYOUT, study()), accuracy_table(TABLE3_LAYOUT, study(), "last")
    assert best["row"].tolist() == [
        "arLLM before fine-tuning",
        "dLLM before fine-tuning",
        "arLLM w/o paraphrases",
        "arLLM w paraphrases",
        "dLLM w/o paraphrases",
        "dLLM w paraphrases",
        "Masked arLLM w/o paraphrases",
        "Masked arLLM w paraphrases",
    ]
    assert best["wiki/forward"].tolist() == pytest.approx([0.05] * 2 + [0.85] * 6)
    assert last["wiki/forward"].tolist() == pytest.approx([0.05] * 2 + [0.5] * 6)
    assert accuracy_table(TABLE3_LAYOUT, study(), metric="rouge1_recall")["wiki/forward"].iloc[2] == pytest.approx(0.86)


def test_a_reader_sees_mean_and_spread_or_the_mean_alone_or_a_dash():
    """Seeds 0.8 and 0.9: mean 0.85, deviation 0.1 / sqrt(2) = 0.0707."""
    frame = pd.concat([study((0, 1))[lambda f: f.dataset != "wiki"], study((0,))[lambda f: f.dataset == "wiki"]])
    shown = display_table(TABLE3_LAYOUT, accuracy_table(TABLE3_LAYOUT, frame[frame.method != "dllm"]))
    row = shown.iloc[2]
    assert row["NameDescription", "N2D-fwd"] == "0.850 ± 0.07"
    assert row["Wiki", "Bwd"] == "0.800"
    assert row["", "Seeds"] == "2, 2, 1"
    assert shown.iloc[4]["Biography", "Fwd"] == "–" and shown.iloc[4]["", "Seeds"] == "0"


def test_files_are_the_same_bytes_each_time_and_read_back_as_numbers(tmp_path):
    first = write_accuracy_table(TABLE3_LAYOUT, study(), tmp_path / "a", PROVENANCE)
    write_accuracy_table(TABLE3_LAYOUT, study().sample(frac=1, random_state=1), tmp_path / "b", PROVENANCE)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == sorted(
        f"{name}.{suffix}"
        for name in ("table3", "table3_last", "table3_vs_paper")
        for suffix in ("csv", "json", "md", "tex")
    )
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    back = pd.read_csv(first["table3_vs_paper"])
    assert set(back.paraphrases) == {"before", "none", "same_order"}  # "none" is a name, not a missing value
    pd.testing.assert_frame_equal(back, versus_paper(study()).round(4), check_dtype=False)
    line = first["table3_vs_paper"].read_text().splitlines()[1]
    assert line == "name_description,ar,before,n2d_forward,accuracy,0.0720,0.0500,0.0000,2"


def test_one_seed_leaves_the_spread_empty_in_the_record(tmp_path):
    paths = write_accuracy_table(TABLE3_LAYOUT, study(seeds=(0,)), tmp_path, PROVENANCE)
    assert paths["table3_vs_paper"].read_text().splitlines()[1].endswith("0.0720,0.0500,,1")


def test_markdown_and_latex_hold_the_cells_and_say_how_checkpoints_were_chosen(tmp_path):
    write_accuracy_table(TABLE3_LAYOUT, study(), tmp_path, PROVENANCE)
    markdown = (tmp_path / "table3.md").read_text()
    assert "| Masked arLLM w/o paraphrases" in markdown and "0.850 ± 0.07" in markdown and "optimistic" in markdown
    assert "last checkpoint" in (tmp_path / "table3_last.md").read_text()
    latex = (tmp_path / "table3.tex").read_text()
    assert all(rule in latex for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\label{tab:table3}"))
    assert r"name\_description" in (tmp_path / "table3_vs_paper.tex").read_text()


def test_a_table_says_which_method_was_asked_a_part_of_the_questions(tmp_path):
    """Of ten questions in each category the dLLM is asked three on Biography, which has two categories, and all elsewhere."""
    frame = study()
    assert "Questions asked" not in write_accuracy_table(TABLE3_LAYOUT, frame, tmp_path, PROVENANCE)["table3"].with_suffix(".md").read_text()
    frame.loc[(frame.method == "dllm") & (frame.dataset == "biography"), "n_questions"] = 3
    for name, path in write_accuracy_table(TABLE3_LAYOUT, frame, tmp_path, PROVENANCE).items():
        if name != "table3_vs_paper":
            assert path.with_suffix(".md").read_text().rstrip().endswith(" Questions asked: dLLM 6 of 20 on Biography.")


def test_a_latex_table_wider_than_a_page_is_scaled_to_the_text_and_no_other(tmp_path):
    cell = "0.123 ± 0.045"
    for n_columns, wide in ((7, False), (8, True)):  # 7 * 13 = 91 characters, 8 * 13 = 104
        frame = pd.DataFrame({f"c{n}": [cell] for n in range(n_columns)})
        latex = write_table(frame, tmp_path, "t", PROVENANCE, display=frame)["tex"].read_text()
        assert (r"\resizebox{\textwidth}{!}{%" in latex) == wide == latex.count(r"\end{tabular}}")
        assert latex.count("{") == latex.count("}")


def test_a_sidecar_says_where_the_files_come_from(tmp_path):
    paths = write_table(pd.DataFrame({"a": [0.5]}), tmp_path, "small", PROVENANCE)
    record = json.loads(paths["json"].read_text())
    assert record["files"] == ["small.csv", "small.md", "small.tex"]
    assert record["run_ids"] == ["a", "b"] and record["commit"] == "0123abc" and record["notebook"] == "table3"
    assert record["parameters"] == {"scale": "tiny", "seeds": 2} and record["command"] == "make reproduce"
    assert record["made_by"]["pandas"] == pd.__version__


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "new" / "file", b"old")
    monkeypatch.setattr(Path, "replace", lambda self, target: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_frame_of_masked_ar_alone_has_no_row_before_and_leaves_the_rest_empty():
    """The control base's frame: 1 arm of 4 + 2 categories, 3 metrics, 2 seeds."""
    frame = study().query("method == 'masked_ar' and paraphrases == 'none' and dataset != 'wiki'")
    tidy = versus_paper(frame)
    assert tidy.obtained.notna().sum() == (4 + 2) * 3 and len(tidy) == 64 * 3
    assert set(tidy[tidy.obtained.notna()].paraphrases) == {"none"}


def test_tables_1_and_2_hold_the_paper_s_rows_and_no_others():
    """The study has arms of all methods; Table 2 names its paraphrases by their order."""
    frame = pd.concat([study(), pd.DataFrame(run("wiki", "ar", "permute_order", 0, {0: 0.05, 5: 0.6}))])
    first, second = (accuracy_table(LAYOUTS[name], frame) for name in ("table1", "table2"))
    assert first["row"].tolist() == ["arLLM before fine-tuning", "arLLM w/o paraphrases", "arLLM w paraphrases"]
    assert not [column for column in first if column.startswith("wiki")]
    assert second["row"].tolist()[2:] == ["arLLM w same-order paraphrases", "arLLM w permute-order paraphrases"]
    assert second["wiki/backward"].tolist() == pytest.approx([0.05, 0.85, 0.85, 0.6])
    published = versus_paper(frame, published=LAYOUTS["table2"].published)
    assert len(published) == 4 * 2 * 3 and set(published.method) == {"ar"}
