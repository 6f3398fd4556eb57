"""Which runs exhibits need, at each scale, with the settings that the paper states."""

import itertools
import json
import re
from dataclasses import replace

import pytest

from maskft import exhibits, named_scales
from maskft.data import DATASETS, load_corpus
from maskft.exhibits import (
    EXHIBITS,
    check_seeds,
    control_runs,
    exhibit_runs,
    make_run,
    methods_of,
    sweep_runs,
    table2_runs,
    table3_runs,
)
from maskft.models import base_folder, load_tokenizer, prompts_for
from maskft.named_scales import _named_scale, get_scale
from maskft.paper import METHODS, PAPER_SETTINGS
from maskft.planning import planned_runs
from maskft.scales import PAPER, SCALES, SMALL, TINY, TWO_CORES


@pytest.fixture(autouse=True)
def pinned(monkeypatch):
    """Fingerprints and revisions without reading data or weights."""
    monkeypatch.setattr(exhibits, "_fingerprint", lambda dataset, source, world_seed: f"{dataset}-{source}-{world_seed}")
    monkeypatch.setattr(exhibits, "_revision", lambda base: f"revision of {base}")


def test_table3_is_three_methods_on_three_sets_with_and_without_paraphrases():
    runs = table3_runs(TINY, [0, 1])
    assert len(runs) == len({run.run_id for run in runs}) == 2 * 3 * 3 * 2
    assert {run.paraphrases for run in runs} == {"none", "same_order"}


def test_figure2_needs_no_run_that_table3_has_not():
    assert set(exhibit_runs("figure2", TINY, [0])) <= set(exhibit_runs("table3", TINY, [0]))


def test_the_sweep_gives_every_method_the_same_grid_on_name_description_with_paraphrases():
    runs = sweep_runs(TINY, [0])
    by_method = {m: sorted(r.learning_rate for r in runs if r.method == m) for m in METHODS}
    assert all(rates == sorted(TINY.sweep) for rates in by_method.values())
    assert {(run.dataset, run.paraphrases) for run in runs} == {("name_description", "same_order")}


def test_every_chosen_rate_is_on_the_grid_it_was_chosen_from():
    for scale in SCALES.values():
        assert set(scale.learning_rates.values()) <= set(scale.sweep)


def test_a_method_differs_from_another_only_in_what_a_scale_may_choose():
    """Same data, batch, optimizer and budget law for all methods of a scale; the length of an answer and how many are asked for
    where it says so."""
    for scale, dataset in itertools.product(SCALES.values(), DATASETS):
        runs = [make_run(scale, method, dataset, "none") for method in methods_of(scale)]
        free = {"method": "ar", "base": "b", "base_revision": "r", "learning_rate": 1.0, "eval_steps": (0, 1)}
        of_methods = [*scale.method_settings.values(), *scale.dataset_settings.get(dataset, {}).values()]
        chosen = {name for settings in of_methods for name in settings}
        assert chosen <= {"max_new_tokens", "question_stride"}
        assert len({replace(run, **free, sampler_steps=32, **dict.fromkeys(chosen, 32)) for run in runs}) == 1
        assert all(run.sampler_steps == run.max_new_tokens for run in runs if run.method == "dllm")


def test_every_answer_of_the_tiny_scale_may_be_longer_than_the_longest_text_it_was_trained_on():
    for run in (*table3_runs(TINY, [0]), *table2_runs(TINY, [0])):
        prompts = prompts_for(load_tokenizer(base_folder(run.base)))
        texts = load_corpus(run.dataset, source="synthetic").training_texts(run.paraphrases)["text"]
        assert run.max_new_tokens > max(len(prompts.encode(text)) for text in texts)


def test_every_method_of_the_tiny_scale_is_asked_every_wording_and_about_everybody():
    """And, but for Wiki, where the dLLM is asked a part, all methods the same."""
    for dataset, method in itertools.product(DATASETS, METHODS):
        corpus = load_corpus(dataset, source="synthetic")
        strides = {name: make_run(TINY, name, dataset, "none").question_stride for name in METHODS}
        assert strides == {"ar": 1, "masked_ar": 1, "dllm": 3} if dataset == "wiki" else len(set(strides.values())) == 1
        asked = corpus.asked_questions(strides[method])
        every = corpus.questions.to_list()
        assert {row["document_id"] for row in asked} == {row["document_id"] for row in every}
        beginnings, all_of_them = ({(row["category"], *row["question"].split()[:2]) for row in rows} for rows in (asked, every))
        assert beginnings == all_of_them


def test_the_control_differs_from_masked_ar_in_its_base_alone():
    scale = replace(TINY, control_base="another")
    control = control_runs(scale, [0])[0]
    main = make_run(scale, "masked_ar", control.dataset, "none")
    assert replace(control, base=main.base, base_revision=main.base_revision) == main and control.base != main.base


def test_the_paper_scale_has_the_settings_of_appendix_a4():
    ar, dllm, masked = (make_run(PAPER, method, "name_description", "none") for method in METHODS)
    assert (ar.learning_rate, dllm.learning_rate, masked.learning_rate) == (5e-6, 1e-5, 3e-6)
    assert masked.train_batch_size == PAPER_SETTINGS["batch_size"].value == 64
    assert (masked.mask_ratio, masked.max_new_tokens, masked.block_length) == ((0.05, 0.95), 128, 4)
    assert masked.eval_steps == (0, 30, 60, 120, 240, 480, 960, 1920, 2880, 3840)


def test_paper_epochs_become_true_optimizer_steps():
    """128 epochs of ceil(1800 / 64) = 29 steps; 7080 of 2 for the dLLM on Biography; 512 of ceil(940 / 64) = 15."""
    last = {
        ("name_description", "same_order", "ar"): 128 * 29,
        ("biography", "none", "dllm"): 7080 * 2,
        ("biography", "none", "ar"): 5120 * 2,
        ("biography", "same_order", "ar"): 1024 * 8,
        ("wiki", "same_order", "ar"): 512 * 15,
    }
    for (dataset, paraphrases, method), steps in last.items():
        assert make_run(PAPER, method, dataset, paraphrases).total_steps == steps


def test_world_seed_and_run_seed_make_other_runs():
    runs = {make_run(TINY, "ar", "wiki", "none", seed=s, world_seed=w).run_id for s in (0, 1) for w in (0, 1)}
    assert len(runs) == 4


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1], [True]])
def test_seeds_that_are_not_distinct_whole_numbers_are_refused(seeds):
    with pytest.raises(ValueError, match="distinct whole numbers"):
        check_seeds(seeds)


def test_unknown_exhibits_and_scales_name_what_there_is():
    with pytest.raises(ValueError, match="table1, table2, table3"):
        exhibit_runs("table9", TINY, [0])
    with pytest.raises(ValueError, match="tiny, small, paper"):
        get_scale("huge")


def test_figure_4_trains_each_fixed_ratio_of_each_method_beside_the_random_one():
    runs = exhibit_runs("figure4", TINY, [0, 1])
    ratios = {m: sorted({run.mask_ratio for run in runs if run.method == m}) for m in ("dllm", "masked_ar")}
    fixed = [(0.25, 0.25), (0.5, 0.5), (0.75, 0.75), (1.0, 1.0)]
    assert ratios == {"dllm": sorted([(0.05, 0.95), *fixed]), "masked_ar": sorted([(0.0, 0.0), (0.05, 0.95), *fixed])}
    assert {(run.dataset, run.paraphrases) for run in runs} == {("name_description", "none")} and len(runs) == 2 * 11


def test_figure_9_has_the_control_beside_masked_and_plain_ar_on_every_data_set():
    runs = exhibit_runs("figure9", TINY, [0])
    arms = {(run.method, run.corruption) for run in runs}
    assert arms == {("ar", "mask"), ("masked_ar", "mask"), ("masked_ar", "random_token")} and len(runs) == 3 * 3 * 2
    # At the paper's scale by the release's epochs, of ceil(documents / 64) steps each.
    ends = {(r.dataset, r.paraphrases): r.total_steps for r in planned_runs("figure9", PAPER, [0]) if r.corruption == "random_token"}
    assert list(ends.values()) == [2880, 96 * 29, 2560 * 2, 512 * 8, 2560 * 2, 256 * 15]


def test_exhibits_share_their_runs():
    """Tables 1, 3, 4 and Figures 1, 2, 6 to 8 are views of one set; `claims` needs every run that the paper compares."""
    shared = set(table3_runs(TINY, [0]))
    for exhibit in ("table1", "table4", "figure1", "figure2", "figure6", "figure7", "figure8", "examples"):
        assert set(exhibit_runs(exhibit, TINY, [0])) <= shared, exhibit
    assert set(exhibit_runs("table2", TINY, [0])) - shared == {make_run(TINY, "ar", "wiki", "permute_order")}
    everything = exhibit_runs("claims", TINY, [0])
    assert all(set(exhibit_runs(e, TINY, [0])) <= set(everything) for e in EXHIBITS if e not in ("mixed_precision", "forgetting"))
    assert len(everything) == len(set(everything))


def test_a_method_without_a_base_is_left_out_of_exhibits_and_refused_alone():
    assert {run.method for run in exhibit_runs("claims", SMALL, [0])} == {"ar", "masked_ar"}
    with pytest.raises(ValueError, match="scale small has no base for method 'dllm'; it has ar, masked_ar"):
        make_run(SMALL, "dllm", "wiki", "none")


def test_the_small_showpiece_is_two_runs_of_two_cores_and_nothing_elsewhere():
    runs = exhibit_runs("small_scale", SMALL, [0])
    assert [(r.method, r.dataset, r.paraphrases, r.question_stride) for r in runs] == [(m, "name_description", "none", 3) for m in ("ar", "masked_ar")]
    assert not set(runs) & set(table3_runs(SMALL, [0])) and all(run.total_steps == TWO_CORES["eval_steps"][-1] for run in runs)
    assert len(sweep_runs(SMALL, [0])) == 2 * len(SMALL.sweep)
    assert exhibit_runs("small_scale", TINY, [0]) == exhibit_runs("small_scale", PAPER, [0]) == []


def test_every_third_question_asks_all_wordings_of_a_person():
    """Eight questions a person: the remainders by eight of every third question are all of them, each equally often."""
    asked = [i % 8 for i in range(0, 480, TWO_CORES["question_stride"])]
    assert {asked.count(wording) for wording in range(8)} == {20}


def test_a_stride_of_one_leaves_identities_as_they_were():
    run = make_run(TINY, "ar", "wiki", "none")
    assert run.question_stride == 1 and replace(run, question_stride=3).run_id != run.run_id
    assert run == type(run).from_dict({k: v for k, v in run.to_dict().items() if k != "question_stride"})


def test_the_small_scale_of_another_base_has_its_own_folders_and_pins_it(tmp_path, monkeypatch):
    base = tmp_path / "Some-Model-1B"
    base.mkdir()
    (base / "config.json").write_text("{}")
    _named_scale.cache_clear()
    scale = get_scale(f"small:{base}")
    run = make_run(scale, "masked_ar", "name_description", "none")
    assert run.base == str(base) and len(run.base_revision) == 16
    (folder,) = {scale.store.name, scale.tables.name, scale.figures.name}
    assert re.fullmatch("small-Some-Model-1B-[0-9a-f]{6}", folder)
    assert SMALL.store.name == "small" and scale.learning_rates == SMALL.learning_rates
    monkeypatch.setattr(named_scales, "hub_commit", lambda name: f"commit of {name}")
    assert make_run(get_scale("small:owner/name"), "ar", "wiki", "none").base_revision == "commit of owner/name"
    assert get_scale("small:owner/name").store != get_scale("small:another/name").store
    monkeypatch.chdir(tmp_path)  # what is named from here is found by a notebook in a folder of its own
    assert get_scale("small:Some-Model-1B") == scale and scale.name == f"small:{base}"


def test_the_small_scale_has_a_dllm_where_one_was_adapted(tmp_path, monkeypatch):
    monkeypatch.setenv("MASKFT_CACHE", str(tmp_path))
    _named_scale.cache_clear()
    assert "dllm" not in get_scale("small").bases
    made = tmp_path / "models" / "smollm2-135m-q4-dllm"
    made.mkdir(parents=True)
    (made / "config.json").write_text("{}")
    _named_scale.cache_clear()
    run = make_run(get_scale("small"), "dllm", "name_description", "none")
    assert run.base == made.name and run.base_revision == named_scales.revision_of(made.name)
    _named_scale.cache_clear()
    # Of another base that ends in the same name it is no twin.
    (made / "adaptation.json").write_text(json.dumps({"settings": {"base": "/elsewhere/smollm2-135m-q4"}}))
    with pytest.warns(UserWarning, match="was made of /elsewhere/smollm2-135m-q4"):
        assert "dllm" not in get_scale("small").bases
    _named_scale.cache_clear()
