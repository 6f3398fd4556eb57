"""Every benchmark runs, at sizes that take seconds. Nothing here is timed: what it measures is a record's business."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from maskft.overview import PARTS

FOLDER = Path(__file__).parent / "benchmarks"
SMALL = {
    "diffusion_sampling": ["--lengths", "1", "never", "--groups", "1", "--batch", "3", "--new-tokens", "8"],
    "approximate_diffusion": ["--groups", "1", "--batch", "3", "--new-tokens", "8"],
    "drafted_sampling": ["--at-a-time", "1", "--groups", "1", "--questions", "2", "--new-tokens", "8"],
    "ar_evaluation": ["--questions", "3", "--rounds", "1", "--new-tokens", "4"],
    "training_step": ["--shapes", "tiny", "--rounds", "1", "--batch", "1", "--length", "12", "--vocabulary", "2000"],
    "growth": ["--base", "1"],
    "whole_study": [],
}
# Of a GPU's benchmarks, those that a record of a GPU is made by, at shapes to try them with.
ON_A_GPU = {
    "diffusion_sampling_8b": ("diffusion_sampling", ["--shape", "llada-small", "--lengths", "1", "never", "--batch", "3", "--new-tokens", "8", "--compiled", "--other-batches", "1"]),
    "training_step_8b": ("training_step", ["--shapes", "llama-small", "--steps", "1"]),
    "training_step_smollm2_recorded": ("training_step", ["--shapes", "SmolLM2-small", "--steps", "1"]),
    "ar_evaluation_8b": ("ar_evaluation", ["--shape", "llama-small", "--questions", "3", "--rounds", "1", "--new-tokens", "4"]),
}


def seconds_of(command: str, folder: Path, log: Path) -> float:
    """A minute for each command; there is a run afterwards that equals its committed record, and one that does not."""
    (folder / ".venv").mkdir(exist_ok=True)
    (folder / ".venv/.installed").touch()
    name, other = sorted(path.stem for path in (folder / "paper_tables/tiny/records").glob("*.jsonl"))[:2]
    for run in (name, other):
        (folder / "runs/tiny" / run).mkdir(parents=True, exist_ok=True)
    record = folder / f"paper_tables/tiny/records/{other}.jsonl"
    record.write_text(record.read_text() + '{"kind": "metric"}\n')
    return 60.0


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a benchmark as its command does, from its own folder."""
    monkeypatch.syspath_prepend(str(FOLDER))
    threads = torch.get_num_threads()

    def load(name, apart=False):
        module = importlib.import_module(name)
        # What a process of its own would do is done in this one: its start would be most of the test.
        if apart:
            return module
        if name == "growth":
            monkeypatch.setattr(module, "measure_apart", module.measure)
        if name == "whole_study":  # half an hour: its commands are listed and not run, and one run is as if trained
            monkeypatch.setattr(module, "seconds_of", seconds_of)
        if name == "training_step":
            monkeypatch.setattr(module, "peak_megabytes", lambda *_: (1.0, 1.0))
        return module

    yield load
    torch.set_num_threads(threads)
    AcceleratorState._reset_state(reset_partial_state=True)  # a peer's precision would stay that of every later test
    for name in ("common", *SMALL):
        sys.modules.pop(name, None)


def test_every_benchmark_is_run_here():
    assert set(SMALL) == {file.stem for file in FOLDER.glob("*.py")} - {"common"}
    # The record without a recorded step is what plans are held to; the other is the next shape at a larger vocabulary.
    assert set(SMALL) | set(ON_A_GPU) == set(PARTS) - {"training_step_smollm2", "training_step_128k"}


@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_runs_and_leaves_its_record(name, benchmark, tmp_path):
    record = benchmark(name).main(SMALL[name], folder=tmp_path)
    assert json.loads((tmp_path / f"{name}.json").read_text()) == json.loads(json.dumps(record))
    assert record["ratio"] > 0
    assert PARTS[name](record["medians"])


def test_the_whole_study_is_timed_command_by_command_and_compared(benchmark, tmp_path):
    """A minute a command: half an hour over their number. Of two runs one has the committed scores."""
    record = benchmark("whole_study").main([], folder=tmp_path)
    found = record["medians"]
    commands = list(found["minutes"])
    assert set(found["minutes"].values()) == {1.0} and sum("maskft reproduce" in command for command in commands) == 2
    assert record["ratio"] == pytest.approx(30 / len(commands), abs=0.005) and "by the clock" in record["hardware"]
    assert (found["runs"], found["runs_equal_to_the_committed_records"], found["minutes_of_installation"]) == (2, 1, 1.0)


@pytest.mark.parametrize("name", ON_A_GPU)
def test_a_benchmark_for_a_gpu_runs_at_a_small_shape(name, benchmark, tmp_path):
    script, arguments = ON_A_GPU[name]
    record = benchmark(script).main(arguments, folder=tmp_path)
    assert json.loads((tmp_path / f"{name}.json").read_text()) == json.loads(json.dumps(record))
    assert record["ratio"] > 0 and record["command"].startswith(f"python tests/benchmarks/{script}.py")
    assert PARTS[name](record["medians"])
    if script == "diffusion_sampling":
        medians = record["medians"]
        assert medians["float32"] == {"equal_answers": "3 of 3", "equal_tokens": "24 of 24"}
        assert set(medians["seconds_per_question_by_answer_length"]) == {"1", "never"} and set(medians["other_batches"]) == {"1"}
        rows = [*medians["seconds_per_question_by_answer_length"].values(), *medians["other_batches"].values()]

        assert all({"published_s", "maskft_s", "maskft_compiled_s"} <= set(row) for row in rows)
    elif script == "ar_evaluation":
        assert set(record["medians"]["ratio"]) == {"continuous_batching", "static_cache"} and record["medians"]["equal_answers"]["maskft"] == 3
        assert record["medians"]["float32"] == "3 of 3" and record["medians"]["equal_tokens"]["maskft"] == "12 of 12"
    else:
        (shape,) = set(record["medians"]) - {"peak_memory"}
        assert not record["medians"][shape]["failed"] and set(record["medians"][shape]["ratio"]) == {"hf_trainer", "trl"}


def test_a_side_that_fails_does_not_cost_the_others(benchmark, monkeypatch, tmp_path):
    module = benchmark("training_step")

    def fail(side, *_, **__):
        raise MemoryError(f"{side} needs more")

    monkeypatch.setattr(module, "their_steps", fail)
    record = module.main(["--shapes", "llama-small", "--steps", "1"], folder=tmp_path)
    assert record["medians"]["llama-small"]["failed"] == {
        "hf_trainer": "MemoryError: hf_trainer needs more", "trl": "MemoryError: trl needs more",
    }  # fmt: skip
    assert record["ratio"] == 0.0 and "maskft" in record["medians"]["llama-small"]["seconds_per_step"]


def test_the_peak_of_memory_is_that_of_two_steps(benchmark):
    """In megabytes. 100,000 more words of 128 numbers have weights, gradients and two moments: 205 MB of the whole peak."""
    small, large = (benchmark("training_step", apart=True).peak_megabytes("maskft", n, 1, 12) for n in (2_000, 102_000))
    assert small[1] > 100 and small[0] > 0 and sum(large) - sum(small) > 100


def test_both_diffusion_samplers_give_equal_answers_of_the_length_asked_for(benchmark, tmp_path):
    """The benchmark's reference is the published loop, so this is a test of the sampler too: an answer that ends after 1
    token, and one that never does."""
    record = benchmark("diffusion_sampling").main(SMALL["diffusion_sampling"], folder=tmp_path)
    rows = record["medians"]["seconds_per_question_by_answer_length"]
    assert {length: row["equal_answers"] for length, row in rows.items()} == {"1": "3 of 3", "never": "3 of 3"}


def test_a_record_names_no_folder_of_one_machine(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", ["whole_study.py", "--log", str(tmp_path / "study.log")])
    common = importlib.import_module("common")
    record = common.write_record("whole_study", ratio=1, goal=1, peer="a peer", what="a quantity", medians={}, folder=tmp_path)
    assert record["command"] == "python tests/benchmarks/whole_study.py --log study.log"
