"""Jobs of a cluster: a Slurm of one machine where it is installed, else submitit's stand-in. Training is a stand-in too.

The Slurm is the test's own: its daemons, key, ports and folders live and die with the module.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from maskft import processes, slurm
from maskft.cli import main
from maskft.launch import Launcher, LaunchError, ensure
from maskft.runs import RunConfig, RunStore
from maskft.slurm import TrainingJob, submit, wait_for
from maskft.slurm_jobs import jobs_of
from maskft.slurm_settings import SETTINGS, read_settings
from maskft.status import show_log, show_status, status

submitit = pytest.importorskip("submitit")
DAEMONS = [shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("munged", "slurmctld", "slurmd")]
HAS_SLURM = all(DAEMONS) and shutil.which("sbatch") is not None
needs_slurm = pytest.mark.skipif(not HAS_SLURM, reason="no Slurm is installed")
PLAIN = Launcher(kind="plain")

# Behaves as maskft.training does. Seeds in `fail` raise, seeds in `die` are killed, seeds in `hang` wait until told to end,
# and then leave a checkpoint, as training does.
FAKE = """
import json, os, signal, sys, time, traceback
from maskft.runs import METRIC_FIELDS, RECORD_FIELDS, RunConfig, RunStore

store = RunStore(sys.argv[2])

def told(what, config):
    try:
        return str(config.seed) in (store.root / what).read_text().split()
    except FileNotFoundError:
        return False

def train(config, staging):
    def end(*_):
        time.sleep(told("slow", config))
        (staging / "resume").mkdir(exist_ok=True)
        (staging / "resume" / "step").write_text("7")
        sys.exit(143)
    signal.signal(signal.SIGTERM, end)
    step = (staging / "resume" / "step").read_text() if (staging / "resume" / "step").exists() else "0"
    with open(store.root / "work", "a") as work:
        work.write(f"{config.seed} {step}\\n")
    if told("fail", config):
        raise FloatingPointError(f"loss is nan of seed {config.seed}")
    if told("die", config):
        print("eating memory", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    until = time.monotonic() + 200  # a test that fails meanwhile must end, and say so
    while told("hang", config) and time.monotonic() < until:
        time.sleep(0.05)
    row = dict.fromkeys(METRIC_FIELDS, 0)
    (staging / "metrics.jsonl").write_text("".join(json.dumps(row | {"step": s}) + "\\n" for s in config.eval_steps))
    (staging / "losses.jsonl").touch()
    (staging / "generations.jsonl").touch()
    store.publish(config, staging, dict.fromkeys(RECORD_FIELDS))

n_failed = 0
for line in open(sys.argv[4]):
    config = RunConfig.from_dict(json.loads(line))
    with store.claim(config) as staging:
        if staging is not None:
            try:
                train(config, staging)
            except Exception:
                n_failed += 1
                store.report_failure(config, traceback.format_exc())
sys.exit(1 if n_failed else 0)
"""


def make_config(seed: int, **changes) -> RunConfig:
    values = {
        "dataset": "wiki", "source": "synthetic", "data_fingerprint": "f00d", "method": "ar", "base": "tiny-ar",
        "base_revision": "1", "learning_rate": 1e-3, "eval_steps": (0, 10), "seed": seed,
    }  # fmt: skip
    return RunConfig(**(values | changes))


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """`slurm`, with SLURM_CONF naming a running one of one machine with two processors, or `local`."""
    if not HAS_SLURM:
        yield "local"
        return
    # munge wants a socket that everybody can reach, and pytest's folders are private.
    root = Path(subprocess.run(["mktemp", "-d"], check=True, capture_output=True, text=True).stdout.strip())
    root.chmod(0o755)
    for name in ("state", "spool", "munge", "socket"):
        (root / name).mkdir()
    (root / "munge" / "key").write_bytes(os.urandom(1024))
    (root / "munge" / "key").chmod(0o600)
    host, user = socket.gethostname().split(".")[0], subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
    settings = {
        "ClusterName": "one", "SlurmctldHost": f"{host}(127.0.0.1)", "SlurmUser": user, "SlurmdUser": user,
        "AuthType": "auth/munge", "AuthInfo": f"socket={root}/socket/munge", "CredType": "cred/munge",
        "SlurmctldPort": _free_port(), "SlurmdPort": _free_port(), "StateSaveLocation": f"{root}/state",
        "SlurmdSpoolDir": f"{root}/spool", "SlurmctldPidFile": f"{root}/slurmctld.pid", "SlurmdPidFile": f"{root}/slurmd.pid",
        "SlurmctldLogFile": f"{root}/slurmctld.log", "SlurmdLogFile": f"{root}/slurmd.log",
        "ProctrackType": "proctrack/linuxproc", "TaskPlugin": "task/none", "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU", "SlurmdParameters": "config_overrides", "ReturnToService": 2,
        "JobAcctGatherType": "jobacct_gather/none", "AccountingStorageType": "accounting_storage/none", "MpiDefault": "none",
        "SwitchType": "switch/none", "SchedulerParameters": "sched_interval=1,batch_sched_delay=0", "KillWait": 5,
        "PreemptType": "preempt/partition_prio", "PreemptMode": "REQUEUE", "SchedulerTimeSlice": 5,
    }  # fmt: skip
    lines = [f"{key}={value}" for key, value in settings.items()]
    lines += [
        f"NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN",
        "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60",
        "PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF",
    ]
    (root / "slurm.conf").write_text("\n".join(lines) + "\n")
    before, os.environ["SLURM_CONF"] = os.environ.get("SLURM_CONF"), str(root / "slurm.conf")
    munged, slurmctld, slurmd = DAEMONS
    munge = [f"--{name}={root}/{path}" for name, path in (
        ("key-file", "munge/key"), ("socket", "socket/munge"), ("pid-file", "munge.pid"), ("log-file", "munge/log"),
        ("seed-file", "munge/seed"),
    )]  # fmt: skip
    daemons = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=(root / "daemons.log").open("ab"))
        for command in ([munged, "--foreground", "--force", "--num-threads=2", *munge], [slurmctld, "-D", "-c"], [slurmd, "-D"])
        if not time.sleep(1)  # the next talks to the one before
    ]
    try:
        wait_until(lambda: "idle" in _run("sinfo", "--noheader", "--format=%T"), "an idle node", (root / "slurmctld.log"))
        yield "slurm"
    finally:
        _run("scancel", f"--user={user}", "--signal=KILL")
        for daemon in reversed(daemons):
            daemon.terminate()
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(30)
            daemon.kill()
        del os.environ["SLURM_CONF"]
        if before is not None:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(root, ignore_errors=True)


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


def wait_until(claim, what: str, log: Path | None = None) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        if claim():
            return
        time.sleep(0.2)
    pytest.fail(f"90 s passed without {what}" + (f"\n{log.read_text()[-2000:]}" if log else ""))


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    (tmp_path / "fake_training.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[1]}")
    (tmp_path / "store").mkdir()
    return RunStore(tmp_path / "store")


@pytest.fixture
def give(cluster, store):
    """Submits runs of the stand-in for training."""

    given = []

    def give(*configs: RunConfig, **settings) -> list[str]:
        given.extend(jobs := submit(
            configs, store, launcher=PLAIN, module="fake_training", cluster=cluster,
            settings={"timeout_min": 5, "signal_delay_s": 20} | settings,
        ))  # fmt: skip
        return jobs

    yield give
    if cluster == "slurm":
        _run("scancel", *given)


def wait_for_start(store: RunStore) -> None:
    wait_until(lambda: work_done(store), "a start of the run")


def wait_for_end_of_training(store: RunStore, config: RunConfig) -> None:
    """Until it has left its checkpoint, as it does when it is told to end; then it may do better."""
    saved = store.root / ".partial" / config.run_id / "resume" / "step"
    wait_until(lambda: saved.exists() and not store.is_running(config), "the end of the training")
    (store.root / "hang").unlink()


def wait_for_second_start(store: RunStore, config: RunConfig, job_id: str) -> None:
    """Slurm lets two minutes pass before a job that was requeued may start; a test only as long as its old permits count."""
    wait_until(lambda: states(store, config) == ["queued"], "the job in the queue again")
    subprocess.run(["scontrol", "update", f"JobId={job_id}", "StartTime=now+3seconds"], check=True)
    wait_for([config], store, progress=False, look_s=0.2)


def work_done(store: RunStore) -> list[str]:
    """`seed step`: every start of a run, and the step it began at."""
    path = store.root / "work"
    return path.read_text().splitlines() if path.exists() else []


def states(store: RunStore, *configs: RunConfig) -> list[str]:
    return status(configs, store)["status"].tolist()


def test_jobs_train_each_run_once_and_a_failed_or_killed_one_is_told_with_its_log(give, store):
    """An array of four: one is NaN, one dies of SIGKILL, two are well. Nothing is submitted twice; a retry is."""
    nan, dead, *well = configs = [make_config(seed) for seed in range(4)]
    (store.root / "fail").write_text("0")
    (store.root / "die").write_text("1")
    assert len(give(*configs)) == 4
    assert not (set(states(store, *configs)) & {"missing", "cancelled"})
    with pytest.raises(LaunchError) as caught:
        wait_for(configs, store, progress=False, look_s=0.2)
    assert caught.value.failed == (nan, dead) and store.missing(configs) == [nan, dead]
    message = str(caught.value)
    assert "2 run(s) failed" in message and "FloatingPointError: loss is nan of seed 0" in message
    assert "ended with code -9" in message and "eating memory" in message and well[0].run_id not in message
    table = status(configs, store).set_index("run_id")
    assert table["status"].tolist() == ["failed", "failed", "done", "done"]
    assert "FloatingPointError" in Path(table.log[nan.run_id]).read_text() and "-9" in Path(table.log[dead.run_id]).read_text()
    assert "2 done, 2 failed" in show_status(status(configs, store)) and "eating memory" in show_log(dead.run_id, store)
    for what in ("fail", "die"):
        (store.root / what).unlink()
    assert len(give(*configs)) == 2
    wait_for(configs, store, progress=False, look_s=0.2)
    assert states(store, *configs) == ["done"] * 4
    assert sorted(work_done(store)) == ["0 0", "0 0", "1 0", "1 0", "2 0", "3 0"] and give(*configs) == []


@needs_slurm
def test_a_job_that_runs_out_of_time_saves_its_state_and_goes_on_from_it(give, store):
    """What Slurm sends before the limit is sent by hand: the first limit there is, a minute, is too long for a test."""
    config = make_config(0)
    (store.root / "hang").write_text("0")
    (job_id,) = give(config)
    wait_for_start(store)
    assert states(store, config) == ["running"] and give(config) == []
    _run("scancel", "--signal=USR2", job_id)
    wait_for_end_of_training(store, config)
    wait_for_second_start(store, config, job_id)
    assert work_done(store) == ["0 0", "0 7"]
    assert "Requeued job" in jobs_of([config], store)[config].log.read_text()


@needs_slurm
def test_a_job_that_must_make_room_saves_its_state_and_goes_on_when_there_is_room(give, store):
    """A job of a partition of higher priority wants both processors; Slurm sends SIGTERM and a minute of grace begins."""
    config = make_config(0)
    (store.root / "hang").write_text("0")
    (job_id,) = give(config)
    wait_for_start(store)
    urgent = _run("sbatch", "--parsable", "--partition=urgent", "--cpus-per-task=2", "--output=/dev/null", "--wrap=sleep 600").strip()
    try:
        wait_for_end_of_training(store, config)
        wait_until(lambda: _run("squeue", "--noheader", "--format=%T", f"--jobs={urgent}") == "RUNNING\n", "the urgent job")
        assert states(store, config) == ["queued"]
    finally:
        _run("scancel", urgent)
    wait_for_second_start(store, config, job_id)
    assert work_done(store) == ["0 0", "0 7"]


@needs_slurm
def test_a_job_that_is_requeued_by_hand_goes_on(give, store):
    config = make_config(0)
    (store.root / "hang").write_text("0")
    (job_id,) = give(config)
    wait_for_start(store)
    _run("scontrol", "requeue", job_id)
    wait_for_end_of_training(store, config)
    wait_for_second_start(store, config, job_id)
    assert work_done(store) == ["0 0", "0 7"]


@needs_slurm
def test_a_cancelled_job_saves_its_state_is_not_requeued_and_can_be_given_again(give, store):
    running, queued = configs = [make_config(0), make_config(1)]
    (store.root / "hang").write_text("0")
    first = give(running, cpus_per_task=2)
    wait_for_start(store)
    second = give(queued)
    assert states(store, *configs) == ["running", "queued"]
    _run("scancel", *first, *second)
    wait_until(lambda: states(store, *configs) == ["cancelled", "cancelled"], "the end of the jobs")
    with pytest.raises(LaunchError, match="CANCELLED"):
        wait_for(configs, store, progress=False, look_s=0.2)
    (store.root / "hang").unlink()
    assert len(give(*configs)) == 2
    wait_for(configs, store, progress=False, look_s=0.2)
    assert sorted(work_done(store)) == ["0 0", "0 7", "1 0"]


def test_two_users_who_submit_at_once_and_a_third_who_trains_here_share_the_runs(give, store):
    configs = [make_config(seed) for seed in range(4)]
    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(give, *order) for order in (configs, configs[::-1])]
        jobs = [job.result() for job in jobs]
        assert sorted(map(len, jobs)) == [0, 4]
        ensure(configs, store, scale_launcher=PLAIN, module="fake_training", workers=1, progress=False)
    wait_for(configs, store, progress=False, look_s=0.2)
    assert sorted(work_done(store)) == ["0 0", "1 0", "2 0", "3 0"]


def test_a_job_that_must_leave_waits_for_the_training_that_accelerate_started(store):
    """The stand-in takes a second to save, in which accelerate's own process is gone already."""
    config = make_config(0)
    for name in ("hang", "slow"):
        (store.root / name).write_text("0")
    job = TrainingJob(config.to_dict(), str(store.root), Launcher("cpu"), "fake_training", grace_s=60.0)
    listed = store.root / "listed.jsonl"
    listed.write_text(json.dumps(config.to_dict()) + "\n")
    command = job.launcher.command(job.module, ["--store", job.store, "--configs", str(listed)])
    job._process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_start(store)
    job.checkpoint()
    job._process.wait(60)
    assert (store.root / ".partial" / config.run_id / "resume" / "step").exists() and not store.is_running(config)


@pytest.mark.parametrize("asked", [{}, {"gpus_per_node": 1}, {"gpus_per_task": 1}, {"num_gpus": 1}])
def test_a_study_of_one_core_runs_asks_for_gpus_where_it_is_told_to(store, monkeypatch, asked):
    """Whoever submits may have no GPU, and their jobs' machines have."""
    given = {}
    monkeypatch.setattr(slurm, "TrainingJob", lambda config, root, launcher, *rest: given.setdefault("launcher", launcher) and None)
    monkeypatch.setattr(submitit.AutoExecutor, "submit", lambda self, job: SimpleNamespace(job_id="1", paths=SimpleNamespace(stdout=Path("log"))))
    monkeypatch.setattr(submitit.AutoExecutor, "update_parameters", lambda self, **parameters: given.update(parameters))
    monkeypatch.setattr(submitit.AutoExecutor, "batch", lambda self: nullcontext())
    submit([make_config(0)], store, launcher=Launcher("cpu"), settings={"timeout_min": 5} | asked, cluster="local")
    assert given["launcher"].kind == ("gpu" if asked else "cpu")


@pytest.mark.parametrize(("delay", "expected"), [(None, processes.GRACE_S), (60, 40), (120, 100), (10, 1)])
def test_what_is_left_of_the_time_before_the_limit_is_for_the_queue(store, monkeypatch, delay, expected):
    given = []
    monkeypatch.setattr(slurm, "TrainingJob", lambda *arguments: given.append(arguments[-1]))
    monkeypatch.setattr(submitit.AutoExecutor, "submit", lambda self, job: SimpleNamespace(job_id="1", paths=SimpleNamespace(stdout=Path("log"))))
    monkeypatch.setattr(submitit.AutoExecutor, "batch", lambda self: nullcontext())
    settings = {"timeout_min": 5} | ({} if delay is None else {"signal_delay_s": delay})
    submit([make_config(0)], store, launcher=PLAIN, settings=settings, cluster="local")
    assert given == [expected]


@pytest.mark.parametrize("level", [None, "DEBUG"])
def test_submitit_is_imported_without_closing_the_handlers_of_others(level):
    """In a process of its own, since submitit is imported once. What a job's process reads of the level stays as it was."""
    script = """
import logging, os, sys
from maskft.slurm_settings import read_settings

class Closable(logging.StreamHandler):
    was_closed = False

    def close(self):
        self.was_closed = True

handler = Closable()
read_settings(["partition=gpu"])
print("submitit" in sys.modules, handler.was_closed, os.environ.get("SUBMITIT_LOG_LEVEL"))
"""
    environment = {k: v for k, v in os.environ.items() if k != "SUBMITIT_LOG_LEVEL"} | ({"SUBMITIT_LOG_LEVEL": level} if level else {})
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", str(level)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("partishun=gpu", "did you mean partition"),
        ("partition", "is not KEY=VALUE"),
        ("partition=[", "--slurm 'partition=\\[' is no YAML"),
        ("nodes=3", "unknown Slurm setting 'nodes'"),  # the launcher's to say
        ("timeout_min=soon", "timeout_min='soon' must be a whole number from 1"),
        ("timeout_min=-5", "timeout_min=-5 must be"),
        ("array_parallelism=", "array_parallelism=None must be"),
        ("additional_parameters=3", "additional_parameters=3 must hold"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_submitted(given, message):
    with pytest.raises(ValueError, match=message):
        read_settings([given])


def test_settings_of_the_file_come_before_those_given_and_a_wrong_file_is_told(tmp_path, monkeypatch):
    path = tmp_path / "cluster.yaml"
    monkeypatch.setenv("MASKFT_SLURM", str(path))
    path.write_text("partition: gpu\ntimeout_min: 60\n")
    assert read_settings(["timeout_min=90"]) == {**SETTINGS, "partition": "gpu", "timeout_min": 90}
    for content, message in (("partition: [", "cluster.yaml is no YAML"), ("- gpu", "must hold KEY: VALUE lines")):
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_settings()


def test_without_submitit_one_line_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "submitit", None)
    (tmp_path / "trial.json").write_text('{"like": "tiny", "output": "out"}')
    assert main(["train", "table1", "--scale", str(tmp_path / "trial.json"), "--executor", "slurm"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("maskft: the Slurm executor needs submitit: pip install") and error.count("\n") == 1
