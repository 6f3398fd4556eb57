"""``maskft inject`` after a kill, a crash or SIGTERM within an arm: as if nothing had been, bit for bit."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from maskft.cli import main
from maskft.injection import Request, command, inject, resume, teach
from maskft.injection.resume import Checkpoint

PEOPLE = [("Ada Birch", "May 3, 1950", "Larkfield, TN"), ("Hugo Marsh", "June 9, 1961", "Redcliff, CO"), ("Cleo Frost", "July 7, 1972", "Kelso, OH")]
N_STEPS = 6  # and so many evaluations
KILLED_AT = 3  # steps that were done by then: in the middle of an epoch, which has two


class Crash(Exception):
    pass


@pytest.fixture
def material(tmp_path) -> dict[str, object]:
    """Three documents in batches of two, eight questions of which four are held back, a checkpoint after every step."""
    (tmp_path / "docs").mkdir()
    questions = []
    for name, born, city in PEOPLE:
        (tmp_path / "docs" / f"{name}.txt").write_text(f"{name} was born on {born}. {name} has roots in {city}.")
        questions.append({"question": f"When was {name} born?", "answer": born, "direction": "forward"})
        questions.append({"question": f"Who was born on {born}?", "answer": name, "direction": "backward"})
        questions.append({"question": f"Who has roots in {city}?", "answer": name, "direction": "backward"})
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, questions)))
    (tmp_path / "control.jsonl").write_text(json.dumps(questions[0]))
    (tmp_path / "general.txt").write_text("Ada Birch was born on May 3, 1950.")
    return {
        "model": "tiny-ar", "documents": str(tmp_path / "docs"), "questions": str(tmp_path / "questions.jsonl"),
        "output": str(tmp_path / "out"), "control_questions": str(tmp_path / "control.jsonl"),
        "general_text": str(tmp_path / "general.txt"), "max_steps": N_STEPS, "max_new_tokens": 8, "held_back_share": 0.5,
        "train_batch_size": 2, "learning_rate": 2e-3, "checkpoint_minutes": 0.0,
    }  # fmt: skip


def quiet(line: str) -> None:
    pass


def on_step(monkeypatch, step: int, act, method: str = "masked_ar") -> None:
    """Do ``act`` in the middle of the step after ``step`` of that arm, once."""
    real, left = teach.learning_rate_factor, [1]

    def factor(at, config):
        if (at, config.method) == (step, method) and left:
            left.pop()
            act()
        return real(at, config)

    monkeypatch.setattr(teach, "learning_rate_factor", factor)


def crash():
    raise Crash


def results(output: Path) -> dict:
    """Weights and numbers, without what differs between two attempts: times, memory, and where it was taken up."""
    report = json.loads((output / "report.json").read_text())
    for part in (report["before"], *report["arms"], *(arm["measured"] for arm in report["arms"]), *(arm["taught"] for arm in report["arms"])):
        for name in ("wall_time_s", "peak_memory_gib", "resumed_at"):
            part.pop(name, None)
    (weights,) = output.glob("*.safetensors")
    return {"report": report, "weights": load_file(weights)}


def assert_same(output: Path, reference: Path) -> None:
    one, other = results(output), results(reference)
    assert one["report"] == other["report"]
    assert one["weights"].keys() == other["weights"].keys()
    for name, value in one["weights"].items():
        assert torch.equal(value, other["weights"][name]), name


def resumed_at(output: Path) -> dict[str, list[int]]:
    arms = json.loads((output / "report.json").read_text())["arms"]
    return {arm["config"]["method"]: arm["taught"]["resumed_at"] for arm in arms}


@pytest.fixture
def uninterrupted(material, tmp_path):
    """The output folder of the same request with changes, which nothing interrupted and which wrote no checkpoint on the way."""

    def make(**changes) -> Path:
        return inject(Request(**material | {"checkpoint_minutes": 10.0} | changes | {"output": tmp_path / "reference"}), quiet)

    return make


# --- as if nothing had been


@pytest.mark.parametrize("lora_rank", [None, 4], ids=["all parameters", "lora"])
@pytest.mark.parametrize("method", ["ar", "masked_ar"])
def test_a_crashed_arm_goes_on_and_ends_with_the_same_bits(material, uninterrupted, monkeypatch, tmp_path, method, lora_rank):
    """Either arm of a comparison; the other is done once. The best weights are those of before the crash."""
    monkeypatch.setattr(teach, "mean_accuracy", lambda rows: 0.9 if rows[0]["step"] == KILLED_AT - 1 else 0.1)
    changes = {"compare_ar": True, "lora_rank": lora_rank}
    reference = uninterrupted(**changes)
    on_step(monkeypatch, KILLED_AT, crash, method)
    with pytest.raises(Crash):
        inject(Request(**material | changes), quiet)
    # One file, of the arm in training: that of the arm before is gone with its end.
    (kept,) = (tmp_path / ".out.partial").glob("*.checkpoint")
    assert kept.name.startswith(f"{method}-")
    said = []
    output = inject(Request(**material | changes), said.append)
    assert f"{method} goes on from step {KILLED_AT}" in said
    assert resumed_at(output) == {name: [KILLED_AT] if name == method else [] for name in ("ar", "masked_ar")}
    assert_same(output, reference)
    assert [arm["taught"]["best_step"] for arm in results(output)["report"]["arms"]] == [KILLED_AT - 1] * 2
    assert not list(tmp_path.glob(".*.partial")) and not list(output.glob("*.checkpoint"))


def test_a_killed_process_leaves_a_checkpoint_that_another_takes_up(material, uninterrupted, tmp_path):
    program = """
import json, os, signal, sys
from maskft.injection import Request, inject, teach
real = teach.learning_rate_factor
def factor(step, config):
    if step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(step, config)
teach.learning_rate_factor = factor
inject(Request(**json.loads(sys.argv[1])))
"""
    killed = subprocess.run([sys.executable, "-c", program, json.dumps(material), str(KILLED_AT)], capture_output=True, text=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    output = inject(Request(**material), quiet)
    assert resumed_at(output) == {"masked_ar": [KILLED_AT]}
    assert_same(output, uninterrupted())


@pytest.mark.parametrize("when", ["training", "asking"])
def test_sigterm_ends_with_a_checkpoint_however_long_the_time_between_two(material, uninterrupted, monkeypatch, capsys, when):
    """In a step, which is made to its end; in an evaluation, which breaks off and is made again."""
    ask, before = teach.ask, signal.getsignal(signal.SIGTERM)

    def terminated(model, prompts, questions, config, step):
        if step == KILLED_AT:
            os.kill(os.getpid(), signal.SIGTERM)
        return ask(model, prompts, questions, config, step)

    flags = [f"--{name.replace('_', '-')}={value}" for name, value in (material | {"checkpoint_minutes": 10.0}).items()]
    with monkeypatch.context() as patch:
        if when == "asking":
            patch.setattr(teach, "ask", terminated)
        else:
            on_step(patch, KILLED_AT - 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert main(["inject", *flags]) == 128 + signal.SIGTERM
    assert "the same command goes on from there" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before
    assert main(["inject", *flags]) == 0
    output = Path(str(material["output"]))
    assert resumed_at(output) == {"masked_ar": [KILLED_AT]}
    assert_same(output, uninterrupted())


def test_a_crash_after_the_last_step_does_not_train_again(material, uninterrupted, monkeypatch):
    """Even where the time between two checkpoints has not passed; measuring takes its time as well."""
    monkeypatch.setattr(teach, "PATIENCE", N_STEPS)
    rare, measure = Request(**material | {"checkpoint_minutes": 10.0}), command._measure
    with monkeypatch.context() as patch:
        patch.setattr(command, "_measure", lambda *args: measure(*args) if args[-1] == 0 else crash())
        with pytest.raises(Crash):
            inject(rare, quiet)
    output = inject(rare, quiet)
    assert resumed_at(output) == {"masked_ar": [N_STEPS]}
    assert_same(output, uninterrupted())


# --- what is not taken up


def test_no_checkpoint_keeps_weights_of_a_gradient_that_is_not_finite(material, uninterrupted, monkeypatch):
    """The same command goes on from the step before, with the same bits."""
    plain, steps = teach.batch_loss, []

    def steep(*arguments):
        steps.append(plain(*arguments))
        return steps[-1] + (0 * steps[-1]).sqrt() if len(steps) == KILLED_AT else steps[-1]

    with monkeypatch.context() as patch:
        patch.setattr(teach, "batch_loss", steep)
        with pytest.raises(RuntimeError, match=f"gradient norm is nan at step {KILLED_AT}; use a smaller --learning-rate"):
            inject(Request(**material), quiet)
    output = inject(Request(**material), quiet)
    assert resumed_at(output) == {"masked_ar": [KILLED_AT - 1]}
    assert_same(output, uninterrupted())


def grown(material: dict) -> dict:
    (Path(material["documents"]) / "more.txt").write_text("Iris Vale was born on May 8, 1950.")
    return {}


CHANGES = {
    "documents": grown,
    "rate": lambda material: {"learning_rate": 1e-3},
    "seed": lambda material: {"seed": 1},
    "adapters": lambda material: {"lora_rank": 4},
    "steps": lambda material: {"max_steps": N_STEPS + 1},
    "method": lambda material: {"method": "ar"},
    "share held back": lambda material: {"held_back_share": 0.6},
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_request_does_not_take_up_the_checkpoint(material, monkeypatch, tmp_path, name):
    with monkeypatch.context() as patch:
        on_step(patch, 2, crash)
        with pytest.raises(Crash):
            inject(Request(**material), quiet)
    said: list[str] = []
    output = inject(Request(**material | CHANGES[name](material)), said.append)
    assert list(resumed_at(output).values()) == [[]] and not [line for line in said if "goes on" in line or "passed over" in line]
    assert not list(tmp_path.glob(".*.partial"))


def damage_byte(content: bytes) -> bytes:
    """In the middle, which is in the weights or moments: no reader of the format would stumble."""
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


@pytest.mark.parametrize("damage", [damage_byte, lambda content: content[: len(content) // 2], lambda content: b"", lambda content: b"x" * 999],
                         ids=["a byte", "cut short", "empty", "something else"])  # fmt: skip
def test_a_damaged_checkpoint_is_passed_over_with_a_word(material, uninterrupted, monkeypatch, tmp_path, damage):
    with monkeypatch.context() as patch:
        on_step(patch, 2, crash)
        with pytest.raises(Crash):
            inject(Request(**material), quiet)
    (kept,) = (tmp_path / ".out.partial").glob("*.checkpoint")
    kept.write_bytes(damage(kept.read_bytes()))
    said: list[str] = []
    output = inject(Request(**material), said.append)
    assert [line for line in said if kept.name in line and "is passed over" in line]
    assert resumed_at(output) == {"masked_ar": []}
    assert_same(output, uninterrupted())


# --- the file


def test_a_checkpoint_is_due_when_its_minutes_have_passed(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(resume, "time", SimpleNamespace(monotonic=lambda: now[0]))
    checkpoint, always = Checkpoint(tmp_path / "a.checkpoint", minutes=2.0, say=quiet), Checkpoint(tmp_path / "b.checkpoint", minutes=0.0)
    assert not checkpoint.is_due() and always.is_due()
    now[0] += 119
    assert not checkpoint.is_due()
    now[0] += 1
    assert checkpoint.is_due()
    checkpoint.save({"x": torch.ones(2)})
    assert not checkpoint.is_due()


def test_a_write_that_breaks_off_leaves_the_checkpoint_before_it(tmp_path, monkeypatch):
    said: list[str] = []
    checkpoint = Checkpoint(tmp_path / "a.checkpoint", say=said.append)
    checkpoint.save({"x": torch.zeros(3), "step": 1})

    def breaks_off(state, path):
        Path(path).write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(torch, "save", breaks_off)
    checkpoint.save({"x": torch.ones(3), "step": 2})
    assert len(said) == 1 and "no checkpoint was written" in said[0] and "training goes on" in said[0]
    loaded = checkpoint.load()
    assert loaded["step"] == 1 and torch.equal(loaded["x"], torch.zeros(3))
    assert [path.name for path in tmp_path.iterdir()] == ["a.checkpoint"]


@pytest.mark.parametrize(("free", "is_written"), [(2 * 400, True), (2 * 400 - 1, False)])
def test_a_checkpoint_leaves_room_for_the_result(tmp_path, monkeypatch, free, is_written):
    """A hundred numbers of four bytes, nested as an optimizer's."""
    monkeypatch.setattr(resume, "shutil", SimpleNamespace(disk_usage=lambda path: SimpleNamespace(free=free)))
    said: list[str] = []
    checkpoint = Checkpoint(tmp_path / "a.checkpoint", say=said.append)
    checkpoint.save({"a": torch.zeros(60), "optimizer": {"state": {0: {"exp_avg": torch.zeros(40)}}}})
    assert checkpoint.path.exists() == is_written == (not said)


def test_minutes_below_none_are_refused(material):
    for minutes in (-1.0, float("nan")):
        with pytest.raises(ValueError, match=r"checkpoint_minutes=.* must be at least 0"):
            Request(**material | {"checkpoint_minutes": minutes})
