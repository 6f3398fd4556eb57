"""A masked diffusion model out of the tiny AR base: it learns, goes on where it was stopped, and keeps its shift everywhere."""

import json
import random
from dataclasses import replace

import pytest
import torch

from maskft.adaptation import Adaptation, adapt, run
from maskft.adaptation.measure import HELD_OUT_RATIOS, summed_loss
from maskft.adaptation.rows import cut_into_chunks, masked_row, rows_of
from maskft.adaptation.state import load_state, save_state
from maskft.ar_shift import has_ar_shift, shift_outputs
from maskft.cli import main
from maskft.collators import DiffusionCollator
from maskft.data.synthetic.pretraining import draw_question, known_world
from maskft.losses import IGNORED
from maskft.masking import generator_for
from maskft.models import load_base
from maskft.samplers import generate_diffusion
from maskft.step import SupervisedLogits, supervised_positions

PLAN = Adaptation("tiny-ar", n_text_steps=16, n_question_steps=4, chunk_length=24, answer_length=24, batch_size=8, learning_rate=1e-3, precision="float32")
RATIOS = ("0.15", "0.5", "0.85")


@pytest.fixture(scope="module")
def texts():
    return [text for person in known_world().people[:60] for text in person.texts[:2]]


@pytest.fixture(scope="module")
def questions():
    rng = random.Random(0)
    pairs = [draw_question(rng, known.thing, backward=False) for known in known_world().people[:24]]
    return [(pair.text, pair.answer) for pair in pairs]


def weights(folder):
    return load_base(str(folder), method="dllm")[0].state_dict()


@pytest.fixture(scope="module")
def adapted(texts, questions, tmp_path_factory):
    """The whole run, never stopped."""
    output = tmp_path_factory.mktemp("adapt") / "whole"
    assert adapt(PLAN, texts, questions, output, sources=["made texts"], report_every=8)
    return output


def test_held_out_cross_entropy_falls_at_every_ratio_and_the_card_tells(adapted):
    record = json.loads((adapted / "adaptation.json").read_text())
    first, last = record["log"][0], next(row for row in record["log"] if row["step"] == PLAN.n_text_steps)
    assert [row["step"] for row in record["log"]] == [0, 8, 16, 20] and record["log"][-1]["phase"] == "questions"
    for ratio in RATIOS:
        assert last["held_out"][ratio]["cross_entropy"] < first["held_out"][ratio]["cross_entropy"] - 0.3, ratio
    # The base was pretrained on this language; without, it would be the logarithm of some 1,700 tokens, 7.4 nats.
    assert 0 < record["causal_cross_entropy_of_the_base"] < 5
    assert len(record["answers"]) == 16
    card = (adapted / "README.md").read_text()
    assert "made texts" in card and f"{last['held_out']['0.5']['cross_entropy']:.2f}" in card and "position before it" in card


def test_a_run_that_is_stopped_goes_on_to_the_same_weights(adapted, texts, questions, tmp_path, capsys):
    output = tmp_path / "again"
    calls = 0
    while not adapt(PLAN, texts, questions, output, report_every=8, save_every=7, minutes=0.0 if calls < 3 else 9.0):
        calls += 1
        assert not output.exists() and calls <= 3
    assert calls == 3 and "going on from step 3" in capsys.readouterr().out
    whole, parts = weights(adapted), weights(output)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    logs = [json.loads((folder / "adaptation.json").read_text())["log"] for folder in (adapted, output)]
    assert [row["held_out"] for row in logs[0]] == [row["held_out"] for row in logs[1]]
    assert not output.with_name("again.partial").exists()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))])
def test_moments_come_back_to_where_the_weights_are(tmp_path, device):
    """Fused AdamW takes a step after them, which it refuses where its count of steps lies elsewhere."""
    steps = []
    for _ in range(2):
        model = load_base("tiny-dllm", method="dllm")[0].to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        if steps:
            load_state(tmp_path / "resume", model, optimizer)
        for _ in range(1 if steps else 2):
            ids = torch.arange(8, device=device)[None]
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if not (tmp_path / "resume").exists():
                save_state(tmp_path / "resume", model, optimizer, {})
        steps.append([weight.detach().cpu() for weight in model.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*steps, strict=True))


def test_other_settings_or_texts_do_not_go_on_from_it(texts, questions, tmp_path):
    output = tmp_path / "a"
    assert not adapt(PLAN, texts, questions, output, minutes=0.0)
    # As many texts and questions in another order would hold out others than those that were held out.
    others = ((replace(PLAN, seed=1), texts, questions), (PLAN, texts[:-3], questions), (PLAN, texts[::-1], questions), (PLAN, texts, questions[::-1]))
    for plan, given, asked in others:
        with pytest.raises(ValueError, match="other settings, texts or questions"):
            adapt(plan, given, asked, output)
    assert (tmp_path / "a.partial" / "resume" / "state.json").is_file()  # nothing is lost


def test_a_kill_while_the_state_is_replaced_loses_no_step(texts, questions, tmp_path, capsys):
    output, resume = tmp_path / "a", tmp_path / "a.partial" / "resume"
    assert not adapt(PLAN, texts, questions, output, minutes=0.0)
    for step, name in ((2, "resume.new"), (3, "resume.old")):
        resume.rename(resume.with_name(name))
        assert not adapt(PLAN, texts, questions, output, minutes=0.0)
        assert f"going on from step {step - 1}\n" in capsys.readouterr().out


def test_the_shift_gives_each_position_the_output_of_the_one_before(prompts):
    ids = torch.tensor([prompts.document(prompts.encode("Ada Birch is the miner of the amber abbey."))])
    plain, shifted = (load_base("tiny-ar", method="dllm")[0] for _ in range(2))
    assert not has_ar_shift(plain)
    shift_outputs(shifted)
    expected, found = plain(input_ids=ids).logits, shifted(input_ids=ids).logits
    assert torch.equal(found[:, 1:], expected[:, :-1]) and torch.equal(found[:, 0], expected[:, 0])


def test_a_saved_shift_is_respected_by_collator_loss_and_sampler(adapted, prompts):
    """By hand from the unshifted decoder: the token at i, from the state at i - 1."""
    model, prompts = load_base(str(adapted), method="dllm")
    assert has_ar_shift(model)
    bare, _ = load_base(str(adapted), method="ar")  # the same weights; causal, so without the hook
    bare.config.is_causal = False
    batch = DiffusionCollator(prompts)([{"text_ids": prompts.encode("Ada Birch is the miner of the amber abbey.")}])
    rows, columns, labels = supervised_positions(batch, "dllm")
    logits = SupervisedLogits(model)(batch["input_ids"], batch["attention_mask"], rows, columns)
    states = bare.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    assert torch.equal(batch["labels"][rows, columns], labels) and (columns > 0).all()
    torch.testing.assert_close(logits, bare.lm_head(states[rows, columns - 1]), rtol=0, atol=1e-6)

    context, n = prompts.question("Who is Ada Birch?"), 4
    ids = torch.tensor([[*context, *[prompts.ids.mask] * n]])
    first = bare(input_ids=ids).logits[0, len(context) - 1 : len(context) - 1 + n].clone()
    first[:, prompts.ids.mask] = -torch.inf
    sure = first.softmax(-1).max(-1)
    commits = []
    options = {"block_length": n, "steps": n, "mask": prompts.ids.mask, "stop": (), "pad": prompts.ids.pad}
    generate_diffusion(model, [context], max_new_tokens=n, on_commit=commits.append, **options)
    place = int(sure.values.argmax())
    assert (commits[0].position, commits[0].token) == (place, int(sure.indices[place]))


def test_dropping_the_shift_predicts_from_the_position_itself(texts, tmp_path):
    assert adapt(replace(PLAN, shift="drop", n_text_steps=1, n_question_steps=0), texts, [], tmp_path / "a")
    model, _ = load_base(str(tmp_path / "a"), method="dllm")
    assert not has_ar_shift(model) and "its own position" in (tmp_path / "a" / "README.md").read_text()
    assert json.loads((tmp_path / "a" / "adaptation.json").read_text())["answers"] == []


def test_the_loss_is_the_mean_over_masked_tokens_computed_one_by_one(prompts, texts):
    model, prompts = load_base("tiny-ar", method="dllm")
    rows = [masked_row(chunk, ratio, prompts, generator_for("t", 0, i)) for i, (chunk, ratio) in enumerate(zip(cut_into_chunks(texts, prompts, 13)[:3], (0.2, 0.5, 1.0), strict=True))]
    total, count, right = summed_loss(model, rows, prompts.ids.pad)
    slow, hits = 0.0, 0
    for ids, labels in rows:
        scores = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        for position, label in enumerate(labels):
            if label != IGNORED:
                assert ids[position] == prompts.ids.mask
                slow -= float(scores[position, label])
                hits += int(scores[position].argmax() == label)
    assert count == sum(label != IGNORED for _, labels in rows for label in labels) and right == hits
    assert float(total) == pytest.approx(slow, rel=1e-5)


def test_a_chunk_has_a_mask_at_any_ratio_and_bos_never_is_one(prompts):
    chunk = list(range(20, 44))
    for i in range(50):
        ids, labels = masked_row(chunk, 0.01, prompts, generator_for("t", 0, i))
        assert ids[0] == prompts.ids.begin[0] and labels[0] == IGNORED and prompts.ids.mask in ids
        assert [label if token == prompts.ids.mask else token for token, label in zip(ids, labels, strict=True)][1:] == chunk
    assert masked_row(chunk, 1.0, prompts, generator_for("t", 0, 0))[0][1:] == [prompts.ids.mask] * 24


def test_a_pass_shows_every_chunk_once_and_then_questions(prompts):
    chunks = [[100 + i] * 3 for i in range(16)]
    plan = replace(PLAN, n_text_steps=4, batch_size=4, mask_ratio=(1.0, 1.0))
    seen = [label for step in range(4) for _, labels in rows_of(step, chunks, [("q", "a")], prompts, plan) for label in labels if label != IGNORED]
    assert sorted(seen) == sorted(token for chunk in chunks for token in chunk)
    (ids, _), *_ = rows_of(4, chunks, [("Who?", "Ada.")], prompts, plan)
    assert ids[: len(prompts.question("Who?"))] == prompts.question("Who?")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shift": "maybe"}, "keep, drop"), ({"mask_ratio": (0.0, 1.0)}, "0 < low"), ({"answer_length": 30}, "multiple of 4"),
        ({"n_text_steps": 0, "n_question_steps": 0}, "positive"), ({"learning_rate": 0.0}, "above 0"), ({"precision": "int8"}, "bf16_mixed"),
    ],
)  # fmt: skip
def test_settings_are_refused_before_anything_is_loaded(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(PLAN, **changes)


def test_too_little_text_or_a_finished_output_is_said_at_once(texts, questions, tmp_path, adapted):
    with pytest.raises(ValueError, match=r"give 0 chunks of 24 tokens beside 32 held out; at least 8"):
        adapt(PLAN, texts[:2], questions, tmp_path / "a")
    with pytest.raises(ValueError, match="more than the 16 held out"):
        adapt(PLAN, texts, questions[:16], tmp_path / "a")
    with pytest.raises(FileExistsError, match="is there already"):
        adapt(PLAN, texts, questions, adapted)
    assert not any(tmp_path.iterdir())


def test_the_command_reads_folders_and_lines(texts, questions, tmp_path, capsys):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("\n".join(texts))
    (tmp_path / "q.jsonl").write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in questions))
    short = ["--text-steps", "1", "--question-steps", "1", "--chunk-length", "24", "--answer-length", "24", "--precision", "float32"]
    where = ["--text", str(tmp_path / "text"), "--questions", str(tmp_path / "q.jsonl"), "--output", str(tmp_path / "made")]
    assert main(["adapt", "tiny-ar", "--to", "dllm", *short, *where]) == 0
    assert load_base(str(tmp_path / "made"), method="dllm") and HELD_OUT_RATIOS == (0.15, 0.5, 0.85)
    (tmp_path / "q.jsonl").write_text('{"question": "Who?"}\n')
    assert main(["adapt", "tiny-ar", "--to", "dllm", *short, *where, "--output", str(tmp_path / "b")]) == 1
    assert "q.jsonl, line 1: answer is None; expected a text" in capsys.readouterr().err
    assert main(["adapt", "tiny-ar", "--to", "dllm", *short, "--text", str(tmp_path / "nowhere")]) == 1
    assert "sotu, moby-dick, wordnet" in capsys.readouterr().err


def test_a_gradient_that_is_not_finite_stops_it_before_the_weights_take_it(texts, questions, tmp_path, monkeypatch):
    """A loss of finite value with an infinite gradient, as a square root at zero has."""
    taken = []

    def steep(*arguments):
        loss, *rest = summed_loss(*arguments)
        return (loss + (0 * loss).sqrt(), *rest)

    monkeypatch.setattr(run, "summed_loss", steep)
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *arguments, **options: taken.append(self))
    with pytest.raises(FloatingPointError, match="gradient norm is nan at step 1; use a smaller learning rate than 0.001"):
        adapt(PLAN, texts, questions, tmp_path / "new")
    assert not taken
