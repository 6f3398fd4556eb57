"""Mask ratios, masks and random tokens: their bounds, their laws, and what they depend on."""

import math

import pytest
import torch

from maskft.masking import apply_mask, draw_mask, draw_mask_ratio, generator_for, replace_with_random


def test_the_same_arguments_give_the_same_draw_and_each_argument_matters():
    base = ("mask", 1, 2, 3)
    changed = [("mask_ratio", 1, 2, 3), ("mask", 9, 2, 3), ("mask", 1, 9, 3), ("mask", 1, 2, 9), ("mask", 2, 1, 3)]

    def draw(arguments):
        return tuple(torch.rand(4, generator=generator_for(*arguments)).tolist())

    assert draw(base) == draw(base)
    assert len({draw(arguments) for arguments in [base, *changed]}) == 6


def test_digits_do_not_run_together_across_arguments():
    """Step 1 of sample 12 is not step 11 of sample 2."""
    first, second = generator_for("mask", 0, 1, 12), generator_for("mask", 0, 11, 2)
    assert first.initial_seed() != second.initial_seed()


def test_no_draw_touches_the_global_generator():
    state = torch.get_rng_state()
    draw_mask(8, 0.5, generator_for("mask", 0, 0))
    draw_mask_ratio(0.05, 0.95, generator_for("mask_ratio", 0, 0))
    replace_with_random(torch.arange(8), 5, generator_for("random_token", 0, 0))
    assert torch.equal(torch.get_rng_state(), state)


def test_ratios_are_uniform_in_their_range():
    """U(0.05, 0.95): mean 0.5 and standard deviation 0.9/sqrt(12), so 400 draws have a standard error of 0.013.
    A quarter of the draws lies below 0.05 + 0.9/4 = 0.275, with a standard error of sqrt(0.25 x 0.75 / 400) = 0.022."""
    ratios = torch.tensor([draw_mask_ratio(0.05, 0.95, generator_for("mask_ratio", 0, step)) for step in range(400)])
    assert 0.05 <= ratios.min() < 0.07 and 0.93 < ratios.max() <= 0.95
    assert abs(ratios.mean() - 0.5) < 4 * 0.9 / math.sqrt(12 * 400)
    assert abs((ratios < 0.275).float().mean() - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 400)


@pytest.mark.parametrize("fixed", [0.0, 0.25, 1.0])
def test_equal_ends_give_that_ratio(fixed):
    assert draw_mask_ratio(fixed, fixed, generator_for("mask_ratio", 0, 0)) == fixed


@pytest.mark.parametrize("bounds", [(-0.1, 0.5), (0.5, 1.1), (0.6, 0.5), (math.nan, 0.5)])
def test_a_range_outside_0_to_1_is_refused(bounds):
    with pytest.raises(ValueError, match="must satisfy 0 <= low <= high <= 1"):
        draw_mask_ratio(*bounds, generator_for("mask_ratio", 0, 0))


@pytest.mark.parametrize("count", ["bernoulli", "exact"])
def test_ratio_0_masks_nothing_and_ratio_1_everything(count):
    for step in range(20):
        assert not draw_mask(50, 0.0, generator_for("mask", 0, step), count=count).any()
        assert draw_mask(50, 1.0, generator_for("mask", 0, step), count=count).all()


@pytest.mark.parametrize("ratio", [0.05, 0.3, 0.95])
def test_bernoulli_masks_each_token_independently_with_probability_t(ratio):
    """300 masks of 40 tokens are 12,000 trials of variance t(1-t). The number masked in a row has variance 40 t(1-t)
    only if tokens are independent; its sample variance over n rows has a standard error near sqrt(2/(n-1)) of itself,
    and the excess kurtosis (1 - 6t(1-t)) / (40 t(1-t)) adds at most 0.38/n to the square (t = 0.05)."""
    masks = torch.stack([draw_mask(40, ratio, generator_for("mask", 0, step)) for step in range(300)]).double()
    variance = ratio * (1 - ratio)
    assert abs(masks.mean() - ratio) < 4 * math.sqrt(variance / masks.numel())
    assert (abs(masks.mean(dim=0) - ratio) < 5 * math.sqrt(variance / 300)).all()  # at every position
    relative = masks.sum(dim=1).var() / (40 * variance)
    assert abs(relative - 1) < 4 * math.sqrt(2 / 299 + 0.38 / 300)


@pytest.mark.parametrize(("length", "ratio", "masked"), [(10, 0.25, 3), (10, 0.24, 2), (7, 0.5, 4), (4, 0.1, 0), (0, 0.5, 0)])
def test_exact_masks_the_rounded_count_and_halves_round_up(length, ratio, masked):
    """10 x 0.25 = 2.5 and 7 x 0.5 = 3.5 round up to 3 and 4 (Python's round would give 2 and 4)."""
    for step in range(10):
        assert draw_mask(length, ratio, generator_for("mask", 0, step), count="exact").sum() == masked


def test_exact_masks_every_position_equally_often():
    """Two of five tokens: each is masked with probability 0.4, over 400 draws with standard error sqrt(0.24 / 400)."""
    masks = torch.stack([draw_mask(5, 0.4, generator_for("mask", 0, s), count="exact") for s in range(400)]).double()
    assert (abs(masks.mean(dim=0) - 0.4) < 4 * math.sqrt(0.24 / 400)).all()


def test_an_unknown_count_is_refused():
    with pytest.raises(ValueError, match="count='half' is not one of bernoulli, exact"):
        draw_mask(4, 0.5, generator_for("mask", 0, 0), count="half")


def test_apply_mask_changes_the_masked_positions_only_and_leaves_its_input():
    ids = torch.tensor([5, 6, 7])
    assert apply_mask(ids, torch.tensor([True, False, True]), 99).tolist() == [99, 6, 99]
    assert ids.tolist() == [5, 6, 7]


def test_random_tokens_are_uniform_over_the_ordinary_ids():
    """Three ids, 900 draws: 300 each, with a standard error of sqrt(900 x 2/9) = 14."""
    drawn = replace_with_random(torch.full((900,), 7), 3, generator_for("random_token", 0, 0))
    assert drawn.dtype == torch.long and set(drawn.tolist()) == {0, 1, 2}
    assert (abs(drawn.bincount() - 300) < 4 * math.sqrt(900 * 2 / 9)).all()
