"""The ``maskft`` command: reproduce exhibits, see what is there, pretrain the tiny bases.

Heavy imports wait until a command needs them, so that ``maskft --help`` and a misspelt option answer at once.
"""

import argparse
import json
import sys
from collections.abc import Sequence


def _add_study_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scale", default="tiny", help="tiny, small, small:BASE or paper (default: tiny)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="run seeds 0 to N-1 (default: 1)")
    parser.add_argument("--world-seed", type=int, default=0, help="which synthetic world the documents come from (tiny)")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="maskft", description="Masked fine-tuning: the reproducible companion.")
    commands = parser.add_subparsers(dest="command", required=True)

    reproduce = commands.add_parser("reproduce", help="train what is missing and build tables and figures")
    reproduce.add_argument("exhibits", nargs="+", metavar="EXHIBIT", help="for example table3 figure2, or all")
    _add_study_options(reproduce)
    reproduce.add_argument("--workers", type=int, default=None, help="training processes side by side (default: cores)")
    reproduce.add_argument("--from-records", action="store_true", help="redraw from the committed records, train nothing")

    train = commands.add_parser("train", help="train the runs of an exhibit, build nothing")
    train.add_argument("exhibits", nargs="+", metavar="EXHIBIT", help="for example table3 figure2, or all")
    _add_study_options(train)
    train.add_argument("--workers", type=int, default=None, help="training processes side by side (default: cores)")

    status = commands.add_parser("status", help="which runs of an exhibit are there")
    status.add_argument("exhibits", nargs="+", metavar="EXHIBIT", help="for example table3 figure2, or all")
    _add_study_options(status)
    status.add_argument("--json", action="store_true", help="print the configurations, one JSON line each")

    plan = commands.add_parser("plan", help="what exhibits cost, before anything starts")
    plan.add_argument("exhibits", nargs="+", metavar="EXHIBIT", help="for example table3 figure2, or all")
    _add_study_options(plan)
    plan.add_argument("--gpu", default=None, metavar="KIND", help="H100 (default), H200, A100-80GB or A100-40GB")
    plan.add_argument("--gpus", type=int, default=None, metavar="N", help="how many (default: the scale's)")
    plan.add_argument("--per-device", type=int, default=None, metavar="N", help="sequences on a GPU at once (default: 16)")
    plan.add_argument("--checkpointing", action="store_true", help="compute activations again instead of keeping them")
    plan.add_argument("--cores", type=int, default=None, metavar="N", help="CPU cores of the tiny scale (default: all)")

    overview = commands.add_parser("overview", help="bring the README's map of exhibits up to date with the records")
    overview.add_argument("--scale", default="tiny", help="tiny, small, small:BASE or paper (default: tiny)")

    pretrain = commands.add_parser("pretrain-tiny", help="make the tiny bases and their tokenizer again")
    pretrain.add_argument("bases", nargs="*", metavar="BASE", help="which bases (default: all, one after another)")
    pretrain.add_argument("--output", default=None, help="folder to write to (default: the package's assets)")
    pretrain.add_argument("--seed", type=int, default=0)
    pretrain.add_argument("--steps", type=float, default=1.0, help="share of the full number of steps, for a trial")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, or 1 with one line that says what is wrong."""
    options = build_parser().parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except (ValueError, LookupError, OSError, RuntimeError) as error:  # OSError: no file, no network, no space
        print(f"maskft: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("maskft: stopped; finished runs are kept, the same command goes on from there", file=sys.stderr)
        return 130


def _exhibits(options: argparse.Namespace) -> list[str]:
    from .exhibits import EXHIBITS

    return list(EXHIBITS) if options.exhibits == ["all"] else options.exhibits


def _seeds(options: argparse.Namespace) -> range:
    if options.seeds < 1:
        raise ValueError(f"--seeds {options.seeds}: at least 1 is needed")
    return range(options.seeds)


def _runs(options: argparse.Namespace):
    from .exhibits import exhibit_runs
    from .scales import get_scale

    seeds, scale = _seeds(options), get_scale(options.scale)
    runs = [
        run for exhibit in _exhibits(options)
        for run in exhibit_runs(exhibit, scale, seeds, options.world_seed)
    ]  # fmt: skip
    return scale, list(dict.fromkeys(runs))


def _reproduce(options: argparse.Namespace) -> int:
    from .notebooks import NOTEBOOKS, run_notebook
    from .scales import get_scale
    from .study import ensure

    exhibits = _exhibits(options)
    if unknown := [exhibit for exhibit in exhibits if not (NOTEBOOKS / f"{exhibit}.py").is_file()]:
        known = ", ".join(sorted(path.stem for path in NOTEBOOKS.glob("*.py")))
        raise ValueError(f"no notebook makes {', '.join(unknown)}; there are {known}")
    scale = get_scale(options.scale)
    if not options.from_records:
        # Trained here, where a terminal shows the bar; the notebooks then find everything there.
        scale, runs = _runs(options)
        ensure(scale, runs, workers=options.workers)
    parameters = {
        "scale": scale.name,
        "seeds": list(_seeds(options)),
        "world_seed": options.world_seed,
        "from_records": options.from_records,
    }
    for exhibit in exhibits:
        print(f"notebook {exhibit}", flush=True)
        print(f"  {run_notebook(exhibit, parameters)}", flush=True)
    print(f"tables in {scale.tables}\nfigures in {scale.figures}")
    return 0


def _train(options: argparse.Namespace) -> int:
    from .study import ensure

    scale, runs = _runs(options)
    ensure(scale, runs, workers=options.workers)
    return 0


def _status(options: argparse.Namespace) -> int:
    from .launch import status
    from .runs import RunStore

    scale, runs = _runs(options)
    if options.json:
        print("\n".join(json.dumps(run.to_dict()) for run in runs))
    else:
        print(status(runs, RunStore(scale.store)).to_string(index=False))
    return 0


def _plan(options: argparse.Namespace) -> int:
    from .planning import show_plan
    from .scales import get_scale

    print(
        show_plan(
            _exhibits(options), get_scale(options.scale), _seeds(options), options.world_seed,
            gpu=options.gpu, gpus=options.gpus, per_device=options.per_device, checkpointing=options.checkpointing,
            cores=options.cores,
        )
    )  # fmt: skip
    return 0


def _overview(options: argparse.Namespace) -> int:
    from .overview import write_overview
    from .scales import get_scale

    print(write_overview(get_scale(options.scale)))
    return 0


def _pretrain_tiny(options: argparse.Namespace) -> int:
    from pathlib import Path

    from .models import ASSETS
    from .pretrain_tiny import choose_recipes, pretrain_all

    recipes = choose_recipes(options.bases)
    pretrain_all(Path(options.output or ASSETS), seed=options.seed, share=options.steps, recipes=recipes)
    return 0


COMMANDS = {"reproduce": _reproduce, "train": _train, "status": _status, "plan": _plan, "overview": _overview, "pretrain-tiny": _pretrain_tiny}

if __name__ == "__main__":
    sys.exit(main())
