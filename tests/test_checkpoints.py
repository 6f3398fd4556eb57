"""A run that is stopped goes on to the same numbers; what is not whole is never read."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from accelerate import Accelerator

from maskft import training
from maskft.checkpoints import STATE, Checkpoints
from maskft.runs import RunStore
from maskft.training import main

FILES = ("losses.jsonl", "metrics.jsonl", "generations.jsonl", "best/model.safetensors")


@pytest.fixture(scope="module")
def config(make_config):
    return make_config("dllm", eval_steps=(0, 2, 5))


@pytest.fixture(scope="module")
def listed(config, tmp_path_factory):
    path = tmp_path_factory.mktemp("list") / "configs.jsonl"
    path.write_text(json.dumps(config.to_dict()) + "\n")
    return path


@pytest.fixture(scope="module")
def uninterrupted(config, listed):
    store = RunStore(listed.parent / "whole")
    assert train(listed, store.root) == 0
    return store.folder(config)


def train(listed, root, *options):
    return main(["--store", str(root), "--configs", str(listed), *options])


def resume_folder(root, config):
    return root / ".partial" / config.run_id / "resume"


def stop_at(monkeypatch, step, what):
    """Let ``what`` happen in the forward pass of the step after ``step``."""
    plain, calls = training.batch_loss, []

    def watched(*arguments):
        calls.append(None)
        if len(calls) == step + 1:
            what()
        return plain(*arguments)

    monkeypatch.setattr(training, "batch_loss", watched)


def fail():
    raise OSError("the disk is gone")


def same_as(folder, expected):
    return all((folder / name).read_bytes() == (expected / name).read_bytes() for name in FILES)


def test_a_run_that_failed_goes_on_to_the_same_bytes_and_leaves_no_checkpoint(tmp_path, config, listed, stopped, uninterrupted):
    root = shutil.copytree(stopped, tmp_path / "store")
    # The last one, and the weights that it calls best.
    assert sorted(p.name for p in resume_folder(root, config).iterdir()) == ["best-2", "checkpoint-3"]
    assert train(listed, root) == 0
    store = RunStore(root)
    assert same_as(store.folder(config), uninterrupted)
    assert store.record(config)["resumed_at"] == [3]
    assert not list(root.rglob("resume")) and not list(root.rglob("checkpoint-*"))


def test_a_run_whose_steps_are_recorded_takes_its_moments_along(tmp_path, config, listed, monkeypatch):
    """As on a GPU: gradients that are there before a checkpoint is loaded would keep AdamW's moments out of it."""
    monkeypatch.setattr(training, "can_record_steps", lambda model: True)
    assert train(listed, tmp_path / "whole") == 0
    with monkeypatch.context() as patch:
        plain, calls = training.RecordedGradients.__call__, []

        def watched(self, *arguments):
            calls.append(None)
            if len(calls) == 4:
                fail()
            return plain(self, *arguments)

        patch.setattr(training.RecordedGradients, "__call__", watched)
        assert train(listed, tmp_path / "store", "--checkpoint-minutes", "0") == 1
    assert train(listed, tmp_path / "store") == 0
    stores = [RunStore(tmp_path / name) for name in ("store", "whole")]
    assert same_as(*(store.folder(config) for store in stores)) and stores[0].record(config)["resumed_at"] == [3]


def test_without_an_interval_gone_by_nothing_is_written(tmp_path, config, listed, monkeypatch):
    stop_at(monkeypatch, 4, fail)
    assert train(listed, tmp_path) == 1
    assert not list(tmp_path.rglob("checkpoint-*"))


@pytest.mark.parametrize("moment", ["training", "evaluation"])
def test_sigterm_leaves_a_checkpoint_and_a_code_of_its_own(tmp_path, config, listed, uninterrupted, monkeypatch, moment):
    def terminate():
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        if moment == "training":
            stop_at(patch, 3, terminate)
        else:
            plain, calls = training.answer_questions, []

            def watched(*arguments):
                calls.append(None)
                if len(calls) == 2:  # the evaluation at step 2
                    terminate()
                    time.sleep(60)  # never slept: the signal breaks it off
                return plain(*arguments)

            patch.setattr(training, "answer_questions", watched)
        assert train(listed, tmp_path) == 143
    assert signal.getsignal(signal.SIGTERM) is before
    step = 4 if moment == "training" else 2  # a step that has begun is finished
    assert (resume_folder(tmp_path, config) / f"checkpoint-{step}" / STATE).is_file()
    assert not RunStore(tmp_path).is_finished(config) and not RunStore(tmp_path).failure_path(config).exists()
    assert train(listed, tmp_path) == 0
    store = RunStore(tmp_path)
    assert same_as(store.folder(config), uninterrupted) and store.record(config)["resumed_at"] == [step]


def test_a_killed_process_goes_on_to_the_same_bytes(tmp_path, config, listed, uninterrupted):
    arguments = ["--store", str(tmp_path), "--configs", str(listed), "--checkpoint-minutes", "0"]
    # Without a step after the kill there is nothing to resume: the process waits for it in its fourth.
    program = (
        "import sys, time; from maskft import training; from tests_stop import stop\n"
        "stop(training)\nsys.exit(training.main(sys.argv[1:]))"
    )  # fmt: skip
    (tmp_path / "tests_stop.py").write_text(
        "import time\ncalls = []\n"
        "def stop(training):\n    plain = training.batch_loss\n"
        "    def watched(*a):\n        calls.append(0)\n        time.sleep(600 if len(calls) == 4 else 0)\n        return plain(*a)\n"
        "    training.batch_loss = watched\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "ACCELERATE_USE_CPU": "true"}
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint, deadline = resume_folder(tmp_path, config) / "checkpoint-3", time.monotonic() + 200
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL and checkpoint.exists()
    assert train(listed, tmp_path) == 0
    assert same_as(RunStore(tmp_path).folder(config), uninterrupted)
    assert RunStore(tmp_path).record(config)["resumed_at"] == [3]


def _no_state(path):
    (path / STATE).unlink()


def _cut_weights(path):
    weights = next(path.glob("*.distcp"))
    weights.write_bytes(weights.read_bytes()[:-1])


def _other_run(path):
    whole = json.loads((path / STATE).read_text())
    (path / STATE).write_text(json.dumps(whole | {"run_id": "another"}))


def _no_best(path):
    shutil.rmtree(path.parent / "best-2")


@pytest.fixture(scope="module")
def stopped(config, listed):
    """The store of a run that failed after its third step."""
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 3, fail)
        assert train(listed, listed.parent / "stopped", "--checkpoint-minutes", "0") == 1
    return listed.parent / "stopped"


@pytest.mark.parametrize(
    ("damage", "told"), [(_no_state, "cannot be read"), (_cut_weights, "cut short"), (_other_run, "of the run another"), (_no_best, "best-2, are missing")]
)  # fmt: skip
def test_what_is_not_whole_is_passed_over(tmp_path, config, stopped, damage, told):
    folder = resume_folder(shutil.copytree(stopped, tmp_path / "store"), config)
    checkpoints = Checkpoints(folder.parent, config, Accelerator())
    assert checkpoints._latest() == folder / "checkpoint-3"
    damage(folder / "checkpoint-3")
    (folder / "checkpoint-4.partial").mkdir()  # as a kill in the middle of writing leaves it
    with pytest.warns(UserWarning, match=told):
        assert checkpoints._latest() is None


def test_without_a_whole_checkpoint_training_begins_anew(tmp_path, config, listed, stopped, uninterrupted):
    root = shutil.copytree(stopped, tmp_path / "store")
    _cut_weights(resume_folder(root, config) / "checkpoint-3")
    with pytest.warns(UserWarning, match="cut short"):
        assert train(listed, root) == 0
    store = RunStore(root)
    assert same_as(store.folder(config), uninterrupted) and store.record(config)["resumed_at"] == []


def assert_losses_are_alike(*folders):
    alone, both = ([json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()] for folder in folders)
    for one, other in zip(alone, both, strict=True):
        assert math.isclose(one["loss"], other["loss"], rel_tol=1e-4)


def test_two_sharded_processes_are_stopped_and_one_goes_on(tmp_path, make_config, torchrun):
    """SIGTERM to torchrun, which passes it on to each process at its own time."""
    config = make_config("masked_ar", eval_steps=(0, 40))
    listed = tmp_path / "configs.jsonl"
    listed.write_text(json.dumps(config.to_dict()) + "\n")
    assert train(listed, tmp_path / "whole") == 0
    root = tmp_path / "store"
    two = torchrun("-m", "maskft.training", "--store", root, "--configs", listed, "--shard", "--checkpoint-minutes", "0")
    deadline = time.monotonic() + 200
    # Any of them: the first is gone as soon as there is a second.
    while not any(not p.suffix for p in resume_folder(root, config).glob("checkpoint-*")) and two.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    two.send_signal(signal.SIGTERM)
    output, _ = two.communicate(timeout=200)
    kept = [path.name for path in resume_folder(root, config).glob("checkpoint-*") if not path.suffix]
    assert two.returncode != 0 and len(kept) == 1, output[-3000:]
    assert train(listed, root) == 0
    store, step = RunStore(root), int(kept[0].removeprefix("checkpoint-"))
    record = store.record(config)
    assert (record["resumed_at"], record["n_processes"], record["sharding"]) == ([step], 1, None)

    assert_losses_are_alike(tmp_path / "whole" / config.run_id, store.folder(config))


def test_one_process_is_stopped_and_two_sharded_ones_go_on(tmp_path, make_config, torchrun, monkeypatch):
    """The other way round: the checkpoint of whole weights and moments is read into shards."""
    config = make_config("masked_ar", eval_steps=(0, 5))
    listed, root = tmp_path / "configs.jsonl", tmp_path / "store"
    listed.write_text(json.dumps(config.to_dict()) + "\n")
    assert train(listed, tmp_path / "whole") == 0
    with monkeypatch.context() as patched:
        stop_at(patched, 3, fail)
        assert train(listed, root, "--checkpoint-minutes", "0") == 1
    two = torchrun("-m", "maskft.training", "--store", root, "--configs", listed, "--shard")
    output, _ = two.communicate(timeout=200)
    assert two.returncode == 0, output[-3000:]
    record = RunStore(root).record(config)
    assert (record["resumed_at"], record["n_processes"], record["sharding"]["n_shards"]) == ([3], 2, 2)
    assert_losses_are_alike(tmp_path / "whole" / config.run_id, RunStore(root).folder(config))
