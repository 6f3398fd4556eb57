"""Commands of the study: train what exhibits need, build them, and say what is there and what it costs."""

import argparse
import json
import os
import sys
from typing import Any


def add_commands(commands: Any) -> None:
    """Add reproduce, train, status, check, plan and overview to argparse's subparsers."""
    reproduce = commands.add_parser("reproduce", help="train what is missing and build tables and figures")
    _add_study_options(reproduce)
    _add_launch_options(reproduce)
    _add_minutes(reproduce)
    reproduce.add_argument("--from-records", action="store_true", help="redraw from the committed records, train nothing")
    reproduce.set_defaults(run=_reproduce)

    train = commands.add_parser("train", help="train the runs of an exhibit, build nothing")
    _add_study_options(train)
    _add_launch_options(train)
    _add_minutes(train)
    train.set_defaults(run=_train)

    status = commands.add_parser("status", help="which runs of an exhibit are done, running, queued or failed")
    _add_study_options(status, exhibits="*")
    status.add_argument("--log", default=None, metavar="RUN", help="show the end of what this run printed")
    status.add_argument("--json", action="store_true", help="print the configurations, one JSON line each")
    status.set_defaults(run=_status)

    check = commands.add_parser("check", help="whether models, data, disk and GPUs are there for what is to be trained")
    _add_study_options(check)
    _add_launch_options(check)
    check.set_defaults(run=_check)

    plan = commands.add_parser("plan", help="what exhibits cost, before anything starts")
    _add_study_options(plan)
    plan.add_argument("--gpu", default=None, metavar="KIND", help="H100 (default), H200, A100-80GB or A100-40GB")
    plan.add_argument("--gpus", type=int, default=None, metavar="N", help="how many (default: the scale's)")
    plan.add_argument("--per-device", type=int, default=None, metavar="N", help="sequences on a GPU at once (default: the scale's)")
    plan.add_argument("--checkpointing", action="store_true", help="compute activations again instead of keeping them")
    plan.add_argument("--cores", type=int, default=None, metavar="N", help="CPU cores of a scale without GPUs (default: all)")
    plan.set_defaults(run=_plan)

    overview = commands.add_parser("overview", help="bring the README's tables up to date with the records")
    overview.add_argument("--scale", default="tiny", help="tiny, small, small:BASE or paper (default: tiny)")
    overview.set_defaults(run=_overview)


def _add_study_options(parser: argparse.ArgumentParser, exhibits: str = "+") -> None:
    parser.add_argument("exhibits", nargs=exhibits, metavar="EXHIBIT", help="for example table3 figure2, or all")
    parser.add_argument("--scale", default="tiny", help="tiny, small, small:BASE, paper, or a scale file NAME.json (default: tiny)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="run seeds 0 to N-1 (default: 1)")
    parser.add_argument("--world-seed", type=int, default=0, help="which synthetic world the documents come from (tiny)")


def _add_launch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=None, help="training processes side by side (default: as many as fit)")
    parser.add_argument("--executor", default="local", help="local: processes on this machine (default); slurm: a job for each run")
    parser.add_argument(
        "--slurm", action="append", default=[], metavar="KEY=VALUE",
        help="setting of the jobs, for example partition=gpu or timeout_min=600; more in the file that MASKFT_SLURM names",
    )  # fmt: skip


def _add_minutes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--minutes", type=float, default=None, metavar="N",
        help="stop training after these, exit code 75 where runs are still missing; the same command goes on (default: no limit)",
    )  # fmt: skip


# The settings of the dLLM that the committed records are of.
ADAPT = (
    "maskft adapt {} --to dllm --batch-size 64 --chunk-length 128 --answer-length 64 --text sotu wordnet moby-dick --learning-rate 4e-4 "
    "--text-steps 800 --question-steps 250 (on a GPU; minutes)"
)


def _exhibits(options: argparse.Namespace) -> list[str]:
    from maskft.exhibits import EXHIBITS, ON_REQUEST, ONLY_SMALL

    is_drawn = getattr(options, "from_records", False)
    left_out = (() if options.scale.startswith("small") else ONLY_SMALL) + (() if is_drawn else ON_REQUEST)
    every = [name for name in EXHIBITS if name not in left_out]
    return every if options.exhibits == ["all"] else options.exhibits


def _seeds(options: argparse.Namespace) -> range:
    if options.seeds < 1:
        raise ValueError(f"--seeds {options.seeds}: at least 1 is needed")
    return range(options.seeds)


def _runs(options: argparse.Namespace):
    from maskft.exhibits import exhibit_runs
    from maskft.named_scales import get_scale

    seeds, scale = _seeds(options), get_scale(options.scale)
    if scale.source == "original" and "dllm" not in scale.bases:
        print(f"maskft: no dLLM was made of {scale.bases['ar']} on this machine, so there are no runs of it; make one: {ADAPT.format(scale.bases['ar'])}", file=sys.stderr)
    runs = [
        run for exhibit in _exhibits(options)
        for run in exhibit_runs(exhibit, scale, seeds, options.world_seed)
    ]  # fmt: skip
    return scale, list(dict.fromkeys(runs))


def _launch_options(options: argparse.Namespace) -> dict:
    return {"workers": options.workers, "executor": options.executor, "slurm": options.slurm}


def _reproduce(options: argparse.Namespace) -> int:
    from maskft.launch import LaunchError
    from maskft.launcher import available_cores
    from maskft.named_scales import get_scale
    from maskft.notebooks import NOTEBOOKS, run_notebooks
    from maskft.study import ensure, is_ready

    exhibits = _exhibits(options)
    if unknown := [exhibit for exhibit in exhibits if not (NOTEBOOKS / f"{exhibit}.py").is_file()]:
        known = ", ".join(sorted(path.stem for path in NOTEBOOKS.glob("*.py")))
        raise ValueError(f"no notebook makes {', '.join(unknown)}; there are {known}")
    scale, not_made = get_scale(options.scale), []
    if not options.from_records:
        # Trained here, where a terminal shows the bar; the notebooks then find everything there.
        scale, runs = _runs(options)
        try:
            ensure(scale, runs, **_launch_options(options), minutes=options.minutes)
        except LaunchError as error:
            print(f"maskft: {error}", file=sys.stderr)
            ready = {exhibit: is_ready(exhibit, scale, _seeds(options), options.world_seed) for exhibit in exhibits}
            not_made = [exhibit for exhibit in exhibits if not ready[exhibit]]
    parameters = {
        # A file by its whole path: the notebook runs in a folder of its own.
        "scale": os.path.abspath(options.scale) if options.scale.endswith(".json") else scale.name,
        "seeds": list(_seeds(options)),
        "world_seed": options.world_seed,
        "from_records": options.from_records,
    }
    to_make = [exhibit for exhibit in exhibits if exhibit not in not_made]
    at_a_time, failed = min(available_cores(), len(to_make) or 1), 0
    # Kernels that each start a thread for every core are slower side by side than one after another.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // at_a_time)))
    for exhibit, result in run_notebooks(to_make, parameters, scale, at_a_time=at_a_time):
        if isinstance(result, RuntimeError):
            failed += 1
            print(f"maskft: {result}", file=sys.stderr)
        else:
            print(f"notebook {exhibit}: {result}", flush=True)
    print(f"tables in {scale.tables}\nfigures in {scale.figures}")
    if not_made:
        print(f"maskft: not made, for want of failed runs: {', '.join(not_made)}; the same command tries them again", file=sys.stderr)
    return 1 if not_made or failed else 0


def _train(options: argparse.Namespace) -> int:
    from maskft.study import ensure

    scale, runs = _runs(options)
    ensure(scale, runs, **_launch_options(options), wait=False, minutes=options.minutes)
    return 0


def _status(options: argparse.Namespace) -> int:
    from maskft.named_scales import get_scale
    from maskft.runs import RunStore
    from maskft.status import show_log, show_status, status

    if options.log is not None:
        print(show_log(options.log, RunStore(get_scale(options.scale).store)))
        return 0
    if not options.exhibits:
        raise ValueError("name an exhibit, for example table3, or give --log RUN")
    scale, runs = _runs(options)
    if options.json:
        print("\n".join(json.dumps(run.to_dict()) for run in runs))
    else:
        print(show_status(status(runs, RunStore(scale.store))))
    return 0


def _check(options: argparse.Namespace) -> int:
    from maskft.runs import RunStore
    from maskft.study import check

    scale, runs = _runs(options)
    missing = RunStore(scale.store).missing(runs)
    check(scale, missing, **_launch_options(options))
    # Of other machines each training process looks at its own GPU.
    looked_at = "models, ids, data and disk" + (" and GPUs" if options.executor == "local" and scale.launcher.kind == "gpu" else "")
    print(f"{len(missing)} of {len(runs)} runs are to be trained" + (f"; {looked_at} are there" if missing else ""))
    return 0


def _plan(options: argparse.Namespace) -> int:
    from maskft.named_scales import get_scale
    from maskft.planning import show_plan

    print(
        show_plan(
            _exhibits(options), get_scale(options.scale), _seeds(options), options.world_seed,
            gpu=options.gpu, gpus=options.gpus, per_device=options.per_device, checkpointing=options.checkpointing,
            cores=options.cores,
        )
    )  # fmt: skip
    return 0


def _overview(options: argparse.Namespace) -> int:
    from maskft.named_scales import get_scale
    from maskft.overview import write_benchmarks, write_overview, write_results

    write_overview(get_scale(options.scale))
    write_results()
    print(write_benchmarks())
    return 0
