"""Commands for documents: build a data set from a wiki, teach a model documents of one's own."""

import argparse
import signal
import sys
from datetime import date
from typing import Any


def add_commands(commands: Any) -> None:
    """Add build-wiki and inject to argparse's subparsers."""
    build = commands.add_parser("build-wiki", help="make a Wiki data set from recent articles, as the paper did")
    _add_build_wiki(build)
    build.set_defaults(run=_build_wiki)

    inject = commands.add_parser("inject", help="teach an instruct model documents of your own, and report what it learned")
    inject.add_argument("--model", required=True, metavar="NAME", help="a shipped base, a folder, or a repository of the hub")
    inject.add_argument("--documents", required=True, metavar="FOLDER", help=".txt, .md and .jsonl files, or the name of a data set")
    inject.add_argument("--output", required=True, metavar="FOLDER", help="new folder for model, card and report")
    inject.add_argument("--questions", metavar="FILE", help="JSON lines: question, answer, and where known direction, document_id")
    inject.add_argument("--write-questions", action="store_true", help="let the model that OPENAI_BASE_URL and OPENAI_MODEL name write them")
    inject.add_argument("--token-limit", type=int, default=None, metavar="N", help="most tokens that this may cost (none)")
    inject.add_argument("--method", default="masked_ar", help="masked_ar or ar (default: masked_ar)")
    inject.add_argument("--lora", type=int, dest="lora_rank", nargs="?", const=64, metavar="RANK", help="train an adapter (rank 64) instead of all weights")
    inject.add_argument("--compare-ar", action="store_true", help="also fine-tune plainly with as many steps, and compare")
    inject.add_argument("--learning-rate", type=float, metavar="X", help="(default: from the study's sweeps, by size)")
    inject.add_argument("--max-steps", type=int, metavar="N", help="optimizer steps at most (default: the study's epochs, by size)")
    inject.add_argument("--train-batch-size", type=int, default=64, metavar="N", help="passages of a step (default: 64)")
    inject.add_argument("--per-device-train-batch-size", type=int, default=16, metavar="N", help="of them at once (default: 16)")
    inject.add_argument("--passage-tokens", type=int, metavar="N", help="longest passage (default: 128, or what the context allows)")
    inject.add_argument("--max-new-tokens", type=int, default=128, metavar="N", help="longest answer (default: 128)")
    inject.add_argument("--precision", choices=["float32", "bf16_mixed"], default=None, help="(default: bf16_mixed on a GPU, else float32)")
    inject.add_argument("--held-back-share", type=float, default=0.25, metavar="X", help="of the questions, to stop early by (default: 0.25)")
    inject.add_argument("--general-text", metavar="FILE", help="text that perplexity is measured on (default: a shipped one)")
    inject.add_argument("--control-questions", metavar="FILE", help="questions that it should still answer (default: shipped ones)")
    inject.add_argument("--text-column", default="text", metavar="NAME", help="of .jsonl files and data sets (default: text)")
    inject.add_argument("--language", default="en", metavar="CODE", help="of the sentences, ISO 639-1 (default: en)")
    inject.add_argument("--seed", type=int, default=0)
    inject.add_argument("--checkpoint-minutes", type=float, default=10.0, metavar="M", help="between checkpoints of training (default: 10)")
    inject.set_defaults(run=_inject)


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


def _build_wiki(options: argparse.Namespace) -> int:
    try:
        from maskft.building import Endpoint, Wikipedia, build_wiki
        from maskft.building.recipe import Recipe
        from maskft.building.wiki import find_articles, open_journals
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

    from maskft.checkpoints import Interrupted
    from maskft.injection import Request, inject

    values = {name: value for name, value in vars(options).items() if name not in ("command", "run")}
    try:
        inject(Request(**values), say=partial(print, flush=True))
    except Interrupted:
        print("maskft: stopped by SIGTERM; the same command goes on from there", file=sys.stderr)
        return 128 + signal.SIGTERM
    return 0
