"""The published numbers: typing errors would show as broken sums, gaps quoted in the text, or unequal twin cells."""

import pytest

from maskft.paper import (
    BEFORE,
    CATEGORIES,
    DATASETS,
    METHODS,
    PAPER_SETTINGS,
    PUBLISHED_ACCURACY,
    TABLE1,
    TABLE2,
    TABLE3,
    TABLE3_ROWS,
    TABLE4,
)


def row(table, dataset, method, paraphrases):
    return [table[dataset, method, paraphrases, category] for category in CATEGORIES[dataset]]


def test_table3_repeats_tables_1_and_2():
    for cell, value in (TABLE1 | {c: v for c, v in TABLE2.items() if c[2] != "permute_order"}).items():
        assert TABLE3[cell] == value, cell
    assert len(TABLE1) == 3 * 6 and len(TABLE2) == 4 * 2 and len(TABLE3) == 8 * 8
    assert len(PUBLISHED_ACCURACY) == 64 + 2


@pytest.mark.parametrize(
    ("method", "paraphrases", "total"),
    [
        ("ar", BEFORE, 0.418),
        ("dllm", BEFORE, 0.454),
        ("ar", "none", 1.200),
        ("ar", "same_order", 3.954),
        ("dllm", "none", 6.714),
        ("dllm", "same_order", 7.461),
        ("masked_ar", "none", 7.001),
        ("masked_ar", "same_order", 7.205),
    ],
)
def test_each_row_of_table3_adds_up(method, paraphrases, total):
    """Sums of the eight cells as printed, e.g. arLLM before: 0.072 + 0.054 + 0.001 + 0.164 + 0.127 = 0.418."""
    assert sum(sum(row(TABLE3, dataset, method, paraphrases)) for dataset in DATASETS) == pytest.approx(total)


def test_cells_stand_where_the_paper_has_them():
    assert row(TABLE3, "name_description", "masked_ar", "none") == [0.658, 0.949, 0.992, 0.923]
    assert row(TABLE3, "biography", "dllm", "none") == [0.892, 0.696]
    assert row(TABLE3, "wiki", "masked_ar", "same_order") == [0.905, 0.794]
    assert row(TABLE2, "wiki", "ar", "permute_order") == [0.721, 0.628]


def test_table3_has_the_paper_s_eight_rows_and_no_row_before_for_masked_ar():
    after = [(method, paraphrases) for method in METHODS for paraphrases in ("none", "same_order")]
    assert list(TABLE3_ROWS) == [("ar", BEFORE), ("dllm", BEFORE), *after]


def test_table4_gives_two_numbers_for_each_curve():
    """The A column of each of the six rows as printed adds up to 2.841, 0.569, 5.417, 4.778, 5.019 and 5.100."""
    assert len(TABLE4) == 3 * 2 * 3 * 2
    assert TABLE4["biography", "dllm", "same_order", "forward"] == (1.006, 0.0015)
    assert TABLE4["wiki", "masked_ar", "none", "backward"] == (0.883, 0.0029)
    assert TABLE4["name_description", "ar", "none", "backward"] == (0.014, 0.5562)
    assert sum(a for a, _ in TABLE4.values()) == pytest.approx(23.724)


def test_every_setting_is_in_the_sentence_quoted_for_it():
    words = {
        "batch_size": ["64"],
        "per_device_train_batch_size": ["16"],
        "mask_ratio": ["0.05", "0.95"],
        "masked_ar_mask_token_id": ["128013"],
        "max_new_tokens": ["128"],
        "temperature": ["temperature 0"],
        "block_length": ["4"],
        "remasking": ["low_confidence"],
        "learning_rate": ["5e-6 for arLLM", "1e-5 for dLLM", "3e-6 for masked"],
        "n_seeds": ["4"],
    }
    for name, expected in words.items():
        assert all(word in PAPER_SETTINGS[name].quote for word in expected), name
    assert PAPER_SETTINGS["learning_rate"].value == {"ar": 5e-6, "dllm": 1e-5, "masked_ar": 3e-6}
    assert PAPER_SETTINGS["mask_ratio"].value == (0.05, 0.95)
