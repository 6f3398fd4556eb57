"""Launching: the work is shared, done once, and survives failures, kills and interrupts. Training is a stand-in."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from maskft import launch, launcher, processes
from maskft.launch import Launcher, LaunchError, OutOfTime, ensure, in_order
from maskft.launcher import CONFIGS, Machine, side_by_side
from maskft.runs import RunConfig, RunStore
from maskft.status import show_log, status

PLAIN = Launcher(kind="plain")
# Behaves as maskft.training does, told by files in the store: seeds in `fail` raise, seeds in `hang` wait. They wait for
# two minutes, not for ever: a test that fails while its study is still waiting must end, and say so. Told to end, all take a
# second to save.
FAKE = """
import argparse, json, os, signal, sys, time, traceback
from maskft.runs import METRIC_FIELDS, RECORD_FIELDS, RunConfig, RunStore

parser = argparse.ArgumentParser()
parser.add_argument("--store")
parser.add_argument("--configs")
arguments = parser.parse_args()
store = RunStore(arguments.store)

def told(what, config):
    try:
        return str(config.seed) in (store.root / what).read_text().split()
    except FileNotFoundError:
        return False

def save(*_):
    time.sleep(1)
    (store.root / "saved").touch()
    sys.exit(143)

def train(config, staging):
    print("training", config.run_id, flush=True)
    signal.signal(signal.SIGTERM, save)
    with open(store.root / "work", "a") as work:
        work.write(f"{config.seed} {os.getpid()} {os.environ.get('OMP_NUM_THREADS')}\\n")
    store.report_progress(config, step=0, phase="training", weight_done=0.0)
    time.sleep(0.3)
    if told("fail", config):
        raise RuntimeError(f"seed {config.seed} went wrong")
    if told("fill", config):
        import torch
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    if told("die", config):
        os.kill(os.getpid(), 9)
    until = time.monotonic() + 120
    while told("hang", config) and time.monotonic() < until:
        time.sleep(0.1)
    row = dict.fromkeys(METRIC_FIELDS, 0)
    (staging / "metrics.jsonl").write_text("".join(json.dumps(row | {"step": s}) + "\\n" for s in config.eval_steps))
    (staging / "losses.jsonl").touch()
    (staging / "generations.jsonl").touch()
    store.publish(config, staging, dict.fromkeys(RECORD_FIELDS))

for line in open(arguments.configs):
    config = RunConfig.from_dict(json.loads(line))
    with store.claim(config) as staging:
        if staging is not None:
            try:
                train(config, staging)
            except Exception:
                store.report_failure(config, traceback.format_exc())
"""


def make_config(seed: int, **changes) -> RunConfig:
    values = {
        "dataset": "wiki",
        "source": "synthetic",
        "data_fingerprint": "f00d",
        "method": "ar",
        "base": "tiny-ar",
        "base_revision": "1",
        "learning_rate": 1e-3,
        "eval_steps": (0, 10),
        "seed": seed,
    }
    return RunConfig(**(values | changes))


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    (tmp_path / "fake_training.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[1]}")
    (tmp_path / "store").mkdir()
    return RunStore(tmp_path / "store")


def fake_ensure(configs, store, **arguments) -> None:
    ensure(configs, store, **({"scale_launcher": PLAIN, "module": "fake_training"} | arguments))


def work_done(store: RunStore) -> list[list[str]]:
    """`[seed, pid, OMP_NUM_THREADS]` of every attempt at a run."""
    path = store.root / "work"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def wait_until(claim, what: str) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        if claim():
            return
        time.sleep(0.1)
    pytest.fail(f"90 s passed without {what}")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_one_run_of_each_base_and_data_set_comes_first_so_that_others_find_its_answers_of_step_0():
    """Of five runs the longest two ask one base the same questions, and so do the two that are next."""
    steps = {"a": 50, "b": 40, "c": 30, "d": 20, "e": 10}
    others = {"c": {"base": "another"}, "d": {"base": "another"}, "e": {"dataset": "biography"}}
    runs = {name: make_config(0, eval_steps=(0, n), **others.get(name, {})) for name, n in steps.items()}
    ordered = in_order([runs[name] for name in "edcbaa"], lambda run: run.total_steps)
    assert [name for run in ordered for name in runs if runs[name] == run] == ["a", "c", "e", "b", "d"]


def test_missing_runs_are_trained_once_by_several_workers_and_finished_ones_start_nothing(store, capsys, monkeypatch):
    """Six cores for two workers are three threads each; the longest run, of 99 steps, is the first in the list."""
    monkeypatch.setattr(launcher, "available_cores", lambda: 6)
    configs = [make_config(0), make_config(1), make_config(2), make_config(3, eval_steps=(0, 99))]
    fake_ensure(configs, store, workers=2)
    assert store.missing(configs) == []
    work = work_done(store)
    assert sorted(seed for seed, _, _ in work) == ["0", "1", "2", "3"]
    (listed,) = (store.root / ".logs").glob("runs-*.jsonl")
    assert [json.loads(line)["seed"] for line in listed.read_text().splitlines()] == [3, 0, 1, 2]
    assert len(list((store.root / ".logs").glob("worker-*.log"))) == 2
    assert {threads for _, _, threads in work} == {"3"}
    out = capsys.readouterr().out
    assert "4 runs, 2 worker(s)" in out and "-m fake_training --store" in out
    assert "4/4 runs, 100% of the work" in out
    fake_ensure(configs, store)
    assert len(work_done(store)) == 4 and capsys.readouterr().out == ""


def test_a_failed_run_is_reported_with_its_log_and_command_and_stops_no_other(store):
    (store.root / "fail").write_text("1")
    configs = [make_config(0), make_config(1), make_config(2)]
    with pytest.raises(LaunchError) as caught:
        fake_ensure(configs, store, workers=1, progress=False)
    assert store.missing(configs) == [configs[1]]
    message = str(caught.value)
    assert message.startswith("1 run(s) failed") and configs[1].run_id in message
    assert configs[0].run_id not in message and "RuntimeError: seed 1 went wrong" in message
    (store.root / "fail").unlink()
    command = message.rpartition("again: ")[2]
    assert subprocess.run(shlex.split(command), stdout=subprocess.DEVNULL).returncode == 0
    assert store.missing(configs) == [] and not store.failure_path(configs[1]).exists()


def test_a_gpu_whose_memory_runs_out_is_told_with_what_needs_less(store):
    (store.root / "fill").write_text("1")
    configs = [make_config(0), make_config(1)]
    with pytest.raises(LaunchError, match="OutOfMemoryError: CUDA out of memory.*\n.*maskft plan.*--activation-checkpointing") as caught:
        fake_ensure(configs, store, workers=1, progress=False)
    assert caught.value.failed == (configs[1],)


def test_a_module_that_cannot_start_fails_every_run_and_its_log_is_shown_once(store):
    with pytest.raises(LaunchError) as caught:
        fake_ensure([make_config(0), make_config(1)], store, workers=1, module="no_such_module", progress=False)
    message = str(caught.value)
    assert message.count("No module named no_such_module") == 1 and "(as above)" in message
    assert make_config(0).run_id in message and make_config(1).run_id in message


def test_a_killed_worker_loses_its_run_only_until_the_next_call(store):
    (store.root / "hang").write_text("0")
    configs = [make_config(0, eval_steps=(0, 99)), make_config(1)]
    with ThreadPoolExecutor() as pool:
        call = pool.submit(fake_ensure, configs, store, workers=2, progress=False)
        wait_until(lambda: len(work_done(store)) == 2 and store.is_finished(configs[1]), "the second run")
        pid = next(int(pid) for seed, pid, _ in work_done(store) if seed == "0")
        assert status(configs, store)["status"].tolist() == ["running", "done"]
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(LaunchError, match=r"ended with code -9(.|\n)*training " + configs[0].run_id):
            call.result()
    (store.root / "hang").unlink()
    fake_ensure(configs, store, progress=False)
    assert store.missing(configs) == []
    assert Counter(seed for seed, _, _ in work_done(store)) == {"0": 2, "1": 1}


def test_two_calls_at_once_train_each_run_once_and_both_return_when_all_are_finished(store):
    configs = [make_config(seed) for seed in range(5)]
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(fake_ensure, wanted, store, workers=1) for wanted in (configs, configs[::-1])]
        for call in calls:
            call.result()
            assert store.missing(configs) == []
    assert sorted(seed for seed, _, _ in work_done(store)) == ["0", "1", "2", "3", "4"]


def test_a_run_in_another_process_s_hands_is_awaited(store):
    config = make_config(0)
    with ThreadPoolExecutor() as pool:
        with store.lock(config):
            call = pool.submit(fake_ensure, [config], store, progress=False)
            time.sleep(1)
            assert not call.done() and work_done(store) == []
        call.result()
    assert len(work_done(store)) == 1 and store.is_finished(config)


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, "plain"), (signal.SIGTERM, "plain"), (signal.SIGTERM, "cpu")])
def test_an_interrupt_lets_the_workers_save_ends_them_and_leaves_a_clean_store(store, number, kind):
    """Also where accelerate stands between, which ends before the training that it started has saved."""
    (store.root / "hang").write_text("0")
    config = make_config(0)
    script = (
        "import json, signal; from maskft.launch import *; from maskft.runs import *\n"
        # A shell's background job inherits SIGINT ignored, and so would everything that this suite starts there.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"config = RunConfig.from_dict(json.loads({json.dumps(config.to_dict())!r}))\n"
        f"ensure([config], RunStore({str(store.root)!r}), scale_launcher=Launcher(kind='{kind}'), module='fake_training')"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        wait_until(lambda: work_done(store), "a start of the run")
        pid = int(work_done(store)[0][1])
        process.send_signal(number)
        assert b"KeyboardInterrupt" in process.communicate(timeout=2 * processes.GRACE_S)[1]
    assert process.returncode != 0 and not is_alive(pid) and (store.root / "saved").exists()
    assert not store.is_running(config) and not store.folder(config).exists()
    assert status([config], store)["status"].tolist() == ["missing"]


def test_after_its_minutes_a_call_ends_its_workers_who_save_and_the_next_call_goes_on(store, monkeypatch):
    configs = [make_config(0), make_config(1)]
    (store.root / "hang").write_text("1")

    def is_time() -> bool:
        return store.is_finished(configs[0]) and store.is_running(configs[1])

    clock = SimpleNamespace(monotonic=lambda: 600.1 if is_time() else 0.0, sleep=time.sleep)
    with monkeypatch.context() as patch, pytest.raises(OutOfTime, match="^10 minutes are over: 1 of 2 runs are still missing; the same command goes on"):
        patch.setattr(launch, "time", clock)
        fake_ensure(configs, store, workers=2, progress=False, minutes=10.0)
    assert (store.root / "saved").exists() and not store.is_running(configs[1])
    assert status(configs, store)["status"].tolist() == ["done", "missing"]
    (store.root / "hang").unlink()
    fake_ensure(configs, store, progress=False, minutes=10.0)
    assert store.missing(configs) == [] and Counter(seed for seed, *_ in work_done(store)) == {"0": 1, "1": 2}


def test_a_session_that_does_not_listen_is_ended_by_force_and_one_that_has_ended_costs_nothing():
    deaf = subprocess.Popen(
        [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"],
        start_new_session=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    deaf.stdout.readline()
    processes.end_groups([deaf], 0.5)
    assert deaf.wait(10) == -signal.SIGKILL
    started = time.monotonic()
    processes.end_groups([deaf], 60.0)
    assert time.monotonic() - started < 30
    deaf.stdout.close()


def test_accelerate_starts_the_training_module(store):
    fake_ensure([make_config(0), make_config(1)], store, scale_launcher=Launcher(kind="cpu"), workers=1)
    assert [seed for seed, _, _ in work_done(store)] == ["0", "1"]
    (log,) = (store.root / ".logs").glob("worker-0-*.log")
    assert "defaults used instead" not in log.read_text()


def test_status_tells_have_running_failed_and_missing(store):
    have, running, failed, _ = configs = [make_config(seed) for seed in range(4)]
    (store.root / "fail").write_text("2")
    with pytest.raises(LaunchError):
        fake_ensure([have, failed], store, workers=1, progress=False)
    with store.lock(running):
        table = status([*configs, have], store)
    assert table["run_id"].tolist() == [config.run_id for config in configs]
    assert table["status"].tolist() == ["done", "running", "failed", "missing"]


def test_progress_is_the_share_of_the_expected_cost(store, capsys, monkeypatch):
    """Costs 99 and 33: with 2/3 of the first done, 66 of 132 are; what lies beyond a share of 0 to 1 is cut."""
    monkeypatch.setattr("maskft.progress.time", SimpleNamespace(time=lambda: 1000.0))
    long, short = make_config(0, eval_steps=(0, 99)), make_config(1, eval_steps=(0, 33))
    bar = launch._Progress([long, short], store, lambda config: config.total_steps, shown=True)
    bar.update(now=True)
    store.report_progress(long, step=66, phase="training", weight_done=2 / 3)
    (store.root / ".progress" / "1.json").write_text("half a no")
    bar.update()  # too soon for another line
    bar.started -= 100
    bar.update(now=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "0/2 runs, 0% of the work, 0:00:00 passed",
        "0/2 runs, 50% of the work, 0:01:40 passed, about 0:01:40 left",
    ]
    store.report_progress(long, step=99, phase="evaluation", weight_done=7.0)
    assert bar._share() == 99 / 132


def test_a_launcher_says_how_a_process_is_started():
    arguments = ["--store", "s"]
    assert PLAIN.command("m", arguments) == [sys.executable, "-m", "m", "--store", "s"]
    cpu = Launcher().command("m", arguments)
    assert cpu[1:5] == ["-m", "accelerate.commands.launch", "--num_processes", "1"]
    assert cpu[5:] == ["--config_file", str(CONFIGS / "cpu.yaml"), "-m", "m", "--store", "s"]
    gpus = Launcher(kind="gpu", config_file=Path("mine.yaml"), num_processes=4).command("m", arguments)
    assert gpus[3:] == ["--num_processes", "4", "--config_file", "mine.yaml", "-m", "m", "--store", "s"]
    names = [Launcher(kind="gpu", num_processes=n, num_machines=m).settings.stem for n, m in ((1, 1), (4, 1), (2, 1), (8, 2))]
    assert names == ["one_gpu", "four_gpus", "four_gpus", "several_nodes"]
    nodes = Launcher(kind="gpu", num_processes=8, num_machines=2)
    second = nodes.command("m", arguments, machine=Machine(rank=1, first="node7", port=20_123))
    given = ["--num_machines", "2", "--machine_rank", "1", "--main_process_ip", "node7", "--main_process_port", "20123"]
    assert second[3:5] == ["--num_processes", "8"] and second[7:] == [*given, "-m", "m", *arguments]
    with pytest.raises(ValueError, match="--executor slurm"):
        nodes.command("m", arguments)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_takes_the_settings_as_they_are(path):
    """Processes of two machines are counted together; a CPU is one process; precision is not accelerate's."""
    found = load_config_from_file(str(path))
    assert (found.num_processes, found.num_machines, found.use_cpu) == {
        "cpu": (1, 1, True), "one_gpu": (1, 1, False), "four_gpus": (4, 1, False), "several_nodes": (8, 2, False),
    }[path.stem]  # fmt: skip
    assert found.mixed_precision == "no" and (found.distributed_type == "MULTI_GPU") == (found.num_processes > 1)


def test_workers_share_the_cores_or_the_gpus_of_a_machine(monkeypatch):
    """6 cores: two runs get 3 threads each, ten get one each on 6 workers. 5 GPUs hold two runs of 2."""
    monkeypatch.setattr(launcher, "available_cores", lambda: 6)
    assert side_by_side(PLAIN, None, 2) == [{"OMP_NUM_THREADS": "3"}] * 2
    assert side_by_side(PLAIN, None, 10) == [{"OMP_NUM_THREADS": "1"}] * 6
    assert side_by_side(PLAIN, 8, 10) == [{"OMP_NUM_THREADS": "1"}] * 8
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,3,6,7")
    pairs = side_by_side(Launcher(kind="gpu", num_processes=2), None, 9)
    assert pairs == [{"CUDA_VISIBLE_DEVICES": "0,2"}, {"CUDA_VISIBLE_DEVICES": "3,6"}]
    with pytest.raises(ValueError, match="use 1 to 2: a run takes 2 of 5 GPUs"):
        side_by_side(Launcher(kind="gpu", num_processes=2), 3, 9)
    with pytest.raises(ValueError, match="a run takes 8 GPU"):
        side_by_side(Launcher(kind="gpu", num_processes=8), None, 1)
    # Two GPUs of three cores each: three runs share one, though five may.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    shared = side_by_side(Launcher(kind="gpu", runs_per_gpu=5), None, 9)
    assert [share["CUDA_VISIBLE_DEVICES"] for share in shared] == ["0", "1"] * 3
    assert all(share["OMP_NUM_THREADS"] == "1" and share[launcher.GPU_SHARE] == "3" for share in shared)
    assert {share[launcher.GPU_SHARE] for share in side_by_side(Launcher(kind="gpu", runs_per_gpu=5), None, 3)} == {"2"}
    monkeypatch.setattr(launcher, "smallest_gpu_gib", lambda: 23.6)
    assert len(side_by_side(Launcher(kind="gpu", runs_per_gpu=5, gib_per_run=10.0), None, 9)) == 2 * 2
    assert len(side_by_side(Launcher(kind="gpu", runs_per_gpu=5, gib_per_run=30.0), None, 9)) == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert launcher.available_gpus() == []


def test_a_worker_that_is_killed_takes_no_other_run_with_it(store):
    """One worker for three runs dies in the first; another takes its place."""
    (store.root / "die").write_text("0")
    configs = [make_config(0, eval_steps=(0, 99)), make_config(1), make_config(2)]
    with pytest.raises(LaunchError, match="killed, as the system does when memory runs out") as caught:
        fake_ensure(configs, store, workers=1, progress=False)
    assert caught.value.failed == (configs[0],) and store.missing(configs) == [configs[0]]
    assert Counter(seed for seed, _, _ in work_done(store)) == {"0": 1, "1": 1, "2": 1}
    assert configs[0].run_id in show_log(configs[0].run_id, store)
    with pytest.raises(LookupError, match="no log of 'ar'"):
        show_log("ar", store)


def test_studies_of_two_processes_share_a_store_and_one_that_is_stopped_leaves_its_run_to_the_other(store):
    """The first is stopped while it holds seed 0; the second, which waited for that, trains it after all."""
    (store.root / "hang").write_text("0")
    configs = [make_config(0), make_config(1)]
    script = (
        "import json, sys; from maskft.launch import *; from maskft.runs import *\n"
        "configs = [RunConfig.from_dict(json.loads(line)) for line in sys.argv[2:]]\n"
        "ensure(configs, RunStore(sys.argv[1]), scale_launcher=Launcher(kind='plain'), module='fake_training', workers=1)"
    )
    command = [sys.executable, "-c", script, str(store.root)]
    lines = [json.dumps(config.to_dict()) for config in configs]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, *lines[:1]], **quiet) as first:
        wait_until(lambda: work_done(store), "a start of seed 0")
        with subprocess.Popen([*command, *lines], **quiet) as second:
            wait_until(lambda: store.is_finished(configs[1]), "the end of seed 1")
            assert second.poll() is None and len(work_done(store)) == 2
            first.send_signal(signal.SIGTERM)
            first.wait(60)
            (store.root / "hang").unlink()
            assert second.wait(60) == 0
    assert store.missing(configs) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "tpu"}, "kind='tpu' is not one of cpu, gpu, plain"),
        ({"num_processes": 2}, "num_processes=2 with kind='cpu'"),
        ({"kind": "gpu", "num_processes": 0}, "num_processes=0"),
        ({"kind": "gpu", "num_processes": 4, "num_machines": 3}, "num_machines=3 with num_processes=4"),
        ({"kind": "gpu", "num_processes": 4, "runs_per_gpu": 2}, "runs_per_gpu=2 with num_processes=4"),
    ],
)
def test_a_launcher_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Launcher(**arguments)


def test_an_impossible_number_of_workers_is_refused(store):
    for workers, kind in ((0, "cpu"), (2, "gpu")):
        with pytest.raises(ValueError, match=f"workers={workers} with kind='{kind}'"):
            ensure([make_config(0)], store, scale_launcher=Launcher(kind=kind), workers=workers)


def test_available_cores_do_not_exceed_the_affinity():
    assert 1 <= launcher.available_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("says", "gib"), [("echo 81559; echo 24564", 24564 / 1024), ("echo '[N/A]'", 0.0), ("exit 9", 0.0), (None, 0.0)])
def test_a_gpu_whose_memory_nothing_tells_is_not_shared(says, gib, tmp_path, monkeypatch):
    """Where several runs might not fit, one takes the GPU."""
    if says:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{says}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(launcher, "available_cores", lambda: 6)
    assert launcher.smallest_gpu_gib() == gib
    assert len(side_by_side(Launcher(kind="gpu", runs_per_gpu=5, gib_per_run=10.0), None, 9)) == max(1, int(gib // 10))
