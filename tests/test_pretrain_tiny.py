"""Making the tiny bases: what a sample teaches, and that the whole command leaves complete bases."""

import json
import random
from collections import Counter
from dataclasses import replace

import pytest
import torch

from maskft import pretrain_tiny
from maskft.data.synthetic.pretraining import Example, PretrainingMix
from maskft.losses import IGNORED
from maskft.models import load_base
from maskft.pretrain_tiny import pretrain_all
from maskft.tiny_recipes import RECIPES, Recipe
from maskft.tiny_rows import BLOCK_LENGTH, LONGEST_JUMP, ar_row, batches, dllm_row, stretched_positions

QUESTION = Example("question", "Who is Ada Birch?", "the miner of the amber abbey")  # seven tokens with the end of turn
AR, CONTROL, DLLM = RECIPES


def restored(row, mask: int) -> list[int]:
    """The ids of a row with its labels in the place of its masks."""
    ids, labels = row
    return [label if token == mask and label != IGNORED else token for token, label in zip(ids, labels, strict=True)]


def test_an_ar_sample_supervises_answers_documents_and_what_is_asked_back(prompts):
    rng, text = random.Random(0), "Ada Birch is the miner of the amber abbey."
    ids, labels = ar_row(QUESTION, prompts, AR, rng)
    answer = prompts.answer(QUESTION.answer)
    assert ids == prompts.question(QUESTION.text) + answer
    assert labels == [IGNORED] * (len(ids) - len(answer)) + answer
    assert ar_row(Example("document", text), prompts, AR, rng) == (prompts.document(prompts.encode(text)),) * 2
    ids, labels = ar_row(Example("demask", text), prompts, AR, rng)
    target = prompts.encode(text) + prompts.answer("")
    assert ids[-len(target) :] == labels[-len(target) :] == target
    assert set(labels[: -len(target)]) == {IGNORED} and prompts.ids.mask in ids


def test_a_dllm_document_is_masked_and_learned_where_it_is_masked(prompts):
    text = prompts.document(prompts.encode("Ada Birch is the miner of the amber abbey."))
    plain = replace(DLLM, mask_ratio=(0.5, 0.5), spare_masks=0)
    row = dllm_row(Example("document", prompts.decode(text)), prompts, plain, random.Random(0))
    assert restored(row, prompts.ids.mask) == text
    assert [label != IGNORED for label in row[1]] == [token == prompts.ids.mask for token in row[0]]
    assert 0 < row[0].count(prompts.ids.mask) < len(text) and row[0][0] == text[0]


def test_masks_of_which_nothing_is_learned_follow_every_second_document_of_a_dllm(prompts):
    text, recipe, rng = "Ada Birch is the miner of the amber abbey.", replace(DLLM, spare_masks=5), random.Random(0)
    whole, lengths = prompts.document(prompts.encode(text)), Counter()
    for _ in range(400):
        ids, labels = dllm_row(Example("document", text), prompts, recipe, rng)
        lengths[len(ids) - len(whole)] += 1
        assert set(ids[len(whole) :]) <= {prompts.ids.mask} and set(labels[len(whole) :]) <= {IGNORED}
        assert restored((ids[: len(whole)], labels[: len(whole)]), prompts.ids.mask) == whole
    assert set(lengths) == {0, 1, 2, 3, 4}
    assert 190 < lengths[0] < 290 and all(15 < lengths[n] < 70 for n in (1, 2, 3, 4))  # 240 and 40 expected


def test_positions_jump_at_random_and_in_a_quarter_of_the_rows_never():
    share, shape = 0.1, (400, 50)
    found = stretched_positions(*shape, share, torch.Generator().manual_seed(1))
    steps = found.diff(dim=1)
    assert found.shape == shape and steps.min() == 1 and steps.max() == LONGEST_JUMP + 1
    is_plain = (steps == 1).all(dim=1)
    assert 0.15 < is_plain.float().mean() < 0.35  # 0.25, and rows whose 49 tokens drew no jump
    assert (steps[~is_plain] > 1).float().mean() == pytest.approx(share, abs=0.01)
    assert (stretched_positions(*shape, 0.0, torch.Generator()).diff(dim=1) == 1).all()


@pytest.mark.parametrize("seed", range(20))
def test_a_dllm_question_shows_the_canvas_as_the_sampler_sees_it(prompts, seed):
    """Finished blocks are there, the active block is masked in part and learned there, everything after it is masks."""
    ids, labels = row = dllm_row(QUESTION, prompts, DLLM, random.Random(seed))
    context = prompts.question(QUESTION.text)
    answer = prompts.answer(QUESTION.answer)
    full = answer + [prompts.ids.end] * (DLLM.answer_length - len(answer))
    assert ids[: len(context)] == context and len(ids) == len(labels) == len(context) + DLLM.answer_length
    canvas, canvas_labels = ids[len(context) :], labels[len(context) :]
    learned = [position for position, label in enumerate(canvas_labels) if label != IGNORED]
    blocks = {position // BLOCK_LENGTH for position in learned}
    assert len(blocks) <= 1 and blocks <= {0, 1}  # the end of turn is in the second block
    if blocks:
        stop = BLOCK_LENGTH * (blocks.pop() + 1)
        assert restored(row, prompts.ids.mask)[len(context) :][:stop] == full[:stop]
        assert canvas[stop:] == [prompts.ids.mask] * (DLLM.answer_length - stop)


def test_an_answer_that_is_filled_from_its_first_block_on_is_learned_there_alone(prompts):
    """The answer has two blocks; without the share every second draw is of the other one."""
    starts = {}
    for share in (0.0, 1.0):
        rows = [dllm_row(QUESTION, prompts, replace(DLLM, from_first_block=share), random.Random(seed)) for seed in range(40)]
        context = len(prompts.question(QUESTION.text))
        starts[share] = {(i - context) // BLOCK_LENGTH for _, labels in rows for i, label in enumerate(labels) if label != IGNORED}
    assert starts == {0.0: {0, 1}, 1.0: {0}}


def test_a_stream_has_its_number_of_steps_and_starts_with_a_burst(prompts):
    """Bursts of 8 steps of 4 samples: the first 8 steps ask nothing, the next 8 ask about half of the time."""
    recipe = replace(CONTROL, batch_size=4, mix=PretrainingMix(demask=0.0, burst=8))
    stream = list(batches(recipe, prompts, 0, 19))
    header = prompts.tokenizer.convert_tokens_to_ids("<|start_header_id|>")
    asked = [int((batch["input_ids"] == header).any(dim=1).sum()) for batch in stream]
    assert len(stream) == 19 and sum(asked[:8]) == 0 and 4 < sum(asked[8:16]) < 28 and sum(asked[16:]) == 0


def test_the_command_makes_bases_that_load_and_tell_how_they_were_made(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain_tiny, "N_QUESTIONS", 2)
    small = {"mix": PretrainingMix(demask=0.0), "mask_ratio": (0.2, 1.0), "batch_size": 2, "n_steps": 2, "answer_length": 32}
    recipes = (
        Recipe(name="a", bidirectional=False, starts_from=None, **small),
        Recipe(name="d", bidirectional=True, starts_from="a", **small),
        Recipe(name="s", bidirectional=True, starts_from="a", stretch=0.5, **small),
    )
    pretrain_all(tmp_path, recipes=recipes)
    for name, method in (("a", "ar"), ("d", "dllm"), ("s", "dllm")):
        model, _ = load_base(str(tmp_path / name), method=method)
        assert model.lm_head.weight is not model.model.embed_tokens.weight and not model.config.tie_word_embeddings
        record = json.loads((tmp_path / name / "pretraining.json").read_text())
        assert record["n_parameters"] == sum(p.numel() for p in model.parameters())
        assert record["log"][-1]["step"] == 2 and len(record["accuracy_on_its_own_world"]) == 12
    again = tmp_path / "again"
    pretrain_all(again, recipes=recipes[:1])
    first, second = (load_base(str(folder / "a"), method="ar")[0].state_dict() for folder in (tmp_path, again))
    assert all(torch.equal(first[key], second[key]) for key in first)
    plain, stretched = (load_base(str(tmp_path / name), method="dllm")[0].state_dict() for name in "ds")
    assert not torch.equal(plain["lm_head.weight"], stretched["lm_head.weight"])
    with pytest.raises(ValueError, match="starts from a, which is not in"):
        pretrain_all(tmp_path / "nowhere", recipes=recipes[1:])
