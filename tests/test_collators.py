"""Batches: what is masked, what is supervised, and what a sample's mask depends on."""

import pytest
import torch

from maskft.collators import ARCollator, DiffusionCollator, MaskedARCollator, pad_right
from maskft.losses import autoregressive_loss

TEXTS = ["Anya Barlow is the bold baker.", "It was held at the Apex Arena in the city of the bold baker.", "Few people."]
COLLATORS = [ARCollator, DiffusionCollator, MaskedARCollator]


@pytest.fixture(scope="module")
def texts(prompts) -> list[list[int]]:
    return [prompts.encode(text) for text in TEXTS]


def features(texts, step=0, first=0):
    return [{"text_ids": ids, "step": step, "sample": first + i} for i, ids in enumerate(texts)]


def unpadded(batch) -> list[list[int]]:
    """The ids of each row without its padding."""
    return [row[: int(n)].tolist() for row, n in zip(batch["input_ids"], batch["attention_mask"].sum(dim=1), strict=True)]


def first_copies(batch, texts, prompts) -> list[list[int]]:
    """The part of each masked-AR row where the first copy stands; an id of -1 marks the place in the context."""
    start = prompts.demask([-1], [])[0].index(-1)
    return [row[start : start + len(ids)] for row, ids in zip(unpadded(batch), texts, strict=True)]


def test_pad_right_fills_to_a_multiple():
    assert pad_right([[1, 2, 3], [4]], 0).tolist() == [[1, 2, 3], [4, 0, 0]]
    assert pad_right([[1, 2, 3], [4]], 9, 2).tolist() == [[1, 2, 3, 9], [4, 9, 9, 9]]
    assert pad_right([[1, 2]], 9, 2).tolist() == [[1, 2]]


@pytest.mark.parametrize("collator", COLLATORS)
def test_padding_is_on_the_right_is_not_attended_and_is_not_supervised(collator, prompts, texts):
    batch = collator(prompts, mask_ratio=(1.0, 1.0))(features(texts))
    width = batch["input_ids"].shape[1]
    assert width % 8 == 0 and all(batch[key].shape == (3, width) for key in ("attention_mask", "labels"))
    lengths = batch["attention_mask"].sum(dim=1)
    for row, n in enumerate(lengths.tolist()):
        assert batch["attention_mask"][row].tolist() == [1] * n + [0] * (width - n)
        assert (batch["input_ids"][row, n:] == prompts.ids.pad).all()
        assert (batch["labels"][row, n:] == -100).all()
    if collator is MaskedARCollator:
        assert lengths.tolist() == [sum(map(len, prompts.demask(ids, ids))) for ids in texts]
    else:
        assert lengths.tolist() == [len(ids) + 2 for ids in texts]  # BOS and EOS


@pytest.mark.parametrize("collator", COLLATORS)
def test_the_true_end_stays_supervised_although_padding_has_its_id(collator, prompts, texts):
    assert prompts.ids.pad == prompts.ids.end
    batch = collator(prompts, mask_ratio=(1.0, 1.0))(features(texts))
    ends = batch["attention_mask"].sum(dim=1) - 1
    assert (batch["labels"][torch.arange(3), ends] == prompts.ids.end).all()
    assert (batch["labels"] == prompts.ids.end).sum() == 3


def test_ar_supervises_every_token_of_the_document(prompts, texts):
    batch = ARCollator(prompts)(features(texts))
    assert unpadded(batch) == [prompts.document(ids) for ids in texts]
    attended = batch["attention_mask"].bool()
    assert torch.equal(batch["labels"][attended], batch["input_ids"][attended])


def test_diffusion_never_masks_bos_and_at_ratio_1_masks_all_else_with_eos(prompts, texts):
    batch = DiffusionCollator(prompts, mask_ratio=(1.0, 1.0))(features(texts))
    bos, mask = prompts.ids.begin[0], prompts.ids.mask
    assert unpadded(batch) == [[bos] + [mask] * (len(ids) + 1) for ids in texts]
    assert [row[row != -100].tolist() for row in batch["labels"]] == [[*ids, prompts.ids.end] for ids in texts]
    assert batch["n_maskable"].tolist() == [len(ids) + 1 for ids in texts]
    assert batch["mask_ratio"].tolist() == [1.0] * 3


def test_diffusion_labels_sit_at_the_masked_positions_and_hold_the_document(prompts, texts):
    batch = DiffusionCollator(prompts, mask_ratio=(0.5, 0.5))(features(texts))
    is_masked = batch["input_ids"] == prompts.ids.mask
    assert torch.equal(is_masked, batch["labels"] != -100) and 0 < is_masked.sum() < batch["n_maskable"].sum()
    restored = torch.where(is_masked, batch["labels"], batch["input_ids"])
    assert unpadded(batch | {"input_ids": restored}) == [prompts.document(ids) for ids in texts]


def test_masked_ar_supervises_the_second_copy_and_its_end_and_nothing_before(prompts, texts):
    """At ratio 1, as Figure 3: the lead-in "Here is the recovered text:" is context, so its labels are -100."""
    batch = MaskedARCollator(prompts, mask_ratio=(1.0, 1.0))(features(texts))
    lead_in = prompts.encode("Here is the recovered text:\n\n")
    for row, labels, ids in zip(unpadded(batch), batch["labels"].tolist(), texts, strict=True):
        context, target = prompts.demask([prompts.ids.mask] * len(ids), ids)
        assert row == context + target and target == [*ids, prompts.ids.end]
        assert labels == [-100] * len(context) + target + [-100] * (len(labels) - len(row))
        assert context[-len(lead_in) :] == lead_in


def test_masked_ar_at_ratio_0_shows_the_whole_text(prompts, texts):
    batch = MaskedARCollator(prompts, mask_ratio=(0.0, 0.0))(features(texts))
    assert first_copies(batch, texts, prompts) == texts
    assert not (batch["input_ids"] == prompts.ids.mask).any()


def test_masked_ar_masks_the_first_copy_only(prompts, texts):
    batch = MaskedARCollator(prompts, mask_ratio=(0.5, 0.5))(features(texts))
    masked = 0
    for copy, row, ids in zip(first_copies(batch, texts, prompts), unpadded(batch), texts, strict=True):
        assert all(seen in (true, prompts.ids.mask) for seen, true in zip(copy, ids, strict=True))
        context, target = prompts.demask(copy, ids)
        assert row == context + target
        masked += copy.count(prompts.ids.mask)
    assert 0 < masked < sum(map(len, texts))


def test_one_ratio_a_batch_or_one_a_sample(prompts, texts):
    same = [DiffusionCollator(prompts)(features(texts, step))["mask_ratio"] for step in range(20)]
    assert all(len(set(ratios.tolist())) == 1 for ratios in same)
    assert len({ratios[0].item() for ratios in same}) == 20 and all(0.05 <= r[0] <= 0.95 for r in same)
    each = DiffusionCollator(prompts, mask_ratio_scope="sample")(features(texts))["mask_ratio"]
    assert len(set(each.tolist())) == 3


def test_the_ratio_of_a_batch_is_the_same_on_every_rank(prompts, texts):
    """Samples 0-2 on one rank, 3-5 on another, of the same step."""
    first, second = (DiffusionCollator(prompts)(features(texts, 7, first)) for first in (0, 3))
    assert torch.equal(first["mask_ratio"], second["mask_ratio"])
    assert not torch.equal(first["input_ids"], second["input_ids"])


@pytest.mark.parametrize("scope", ["batch", "sample"])
@pytest.mark.parametrize(("collator", "options"), [
    (DiffusionCollator, {}), (DiffusionCollator, {"mask_count": "exact"}), (MaskedARCollator, {}),
    (MaskedARCollator, {"corruption": "random_token"}),
])
def test_a_sample_is_masked_alike_in_any_batch_and_order(collator, options, scope, prompts, texts):
    rows = features(texts, step=5)
    whole = unpadded(collator(prompts, seed=1, mask_ratio_scope=scope, **options)(rows))
    make = collator(prompts, seed=1, mask_ratio_scope=scope, **options)
    assert unpadded(make(rows[::-1])) == whole[::-1]
    assert [unpadded(make([row]))[0] for row in rows] == whole


@pytest.mark.parametrize("change", ["seed", "step", "sample"])
@pytest.mark.parametrize("options", [{}, {"corruption": "random_token"}])
def test_seed_step_and_sample_each_change_what_is_seen(change, options, prompts, texts):
    fixed = {"mask_ratio": (0.5, 0.5), **options}
    where = {"seed": 0, "step": 0, "sample": 0}

    def see(seed, step, sample):
        feature = {"text_ids": texts[1] * 3, "step": step, "sample": sample}
        return unpadded(MaskedARCollator(prompts, seed=seed, **fixed)([feature]))

    assert see(**where) != see(**where | {change: 1})


def test_exact_count_masks_half_of_the_tokens_at_ratio_one_half(prompts, texts):
    batch = DiffusionCollator(prompts, mask_ratio=(0.5, 0.5), mask_count="exact")(features(texts))
    expected = [(n + 1) // 2 for n in batch["n_maskable"].tolist()]
    assert (batch["labels"] != -100).sum(dim=1).tolist() == expected


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_the_random_token_control_replaces_the_whole_first_copy_whatever_the_ratio(ratio, prompts, texts):
    """A uniform id among more than a thousand equals the true one in less than one place of a hundred a copy."""
    long = [ids * 6 for ids in texts]
    batch = MaskedARCollator(prompts, corruption="random_token", mask_ratio=(ratio, ratio))(features(long))
    for copy, ids in zip(first_copies(batch, long, prompts), long, strict=True):
        assert all(0 <= token < prompts.ids.n_ordinary for token in copy)
        assert sum(seen == true for seen, true in zip(copy, ids, strict=True)) <= 2
    targets = [row[row != -100].tolist() for row in batch["labels"]]
    assert targets == [[*ids, prompts.ids.end] for ids in long]


@pytest.mark.parametrize("key", ["text_ids", "input_ids"])
def test_features_without_numbers_are_numbered_by_call_and_position(key, prompts, texts):
    numbered, bare = DiffusionCollator(prompts), DiffusionCollator(prompts)
    for step in range(3):
        expected = numbered(features(texts, step))
        got = bare([{key: ids} for ids in texts])
        assert all(torch.equal(got[name], expected[name]) for name in expected)


@pytest.mark.parametrize("options", [{}, {"corruption": "random_token"}, {"pad_to_multiple_of": 1}])
def test_the_model_s_own_loss_on_a_masked_ar_batch_is_ours(options, prompts, texts, random_llama):
    assert_own_loss(MaskedARCollator(prompts, **options)(features(texts)), random_llama)


def test_the_model_s_own_loss_on_an_ar_batch_is_ours(prompts, texts, random_llama):
    batch = ARCollator(prompts)(features(texts))
    # Every token but BOS is predicted: the text and its end.
    assert assert_own_loss(batch, random_llama) == sum(len(ids) + 1 for ids in texts)


def assert_own_loss(batch, random_llama) -> int:
    """transformers shifts the labels itself: the output at l predicts the token at l + 1. Returns the targets."""
    with torch.no_grad():
        output = random_llama(is_causal=True)(**batch)
    targets = batch["labels"][:, 1:]
    n_targets = int((targets != -100).sum())
    ours = autoregressive_loss(output.logits[:, :-1].flatten(0, 1), targets.flatten(), n_targets=n_targets)
    torch.testing.assert_close(ours, output.loss)
    return n_targets


def test_unknown_options_are_refused(prompts):
    with pytest.raises(ValueError, match="mask_ratio_scope='rank' is not one of batch, sample"):
        DiffusionCollator(prompts, mask_ratio_scope="rank")
    with pytest.raises(ValueError, match="corruption='noise' is not one of mask, random_token"):
        MaskedARCollator(prompts, corruption="noise")
