"""``maskft inject``, from the first check to the folder that appears at the end.

Everything that can be wrong with the input is told before anything is trained. The output appears in one step; until then
each finished part (the answers before, each trained arm) and the checkpoint of an unfinished arm wait in a hidden folder
beside it, and the same command goes on from there after an interruption.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from ..bases import revision_of
from ..checkpoints import Interrupted, Sigterm
from ..devices import device_name
from ..models import base_folder
from ..prompts import Prompts
from ..runs import RunConfig, write_atomically
from ..runs.files import canonical, sha256_of
from .check import Material, check_material, check_room, load_model
from .measure import control_questions, general_texts, peak_memory_gib, perplexity, reset_peak_memory
from .passages import read_documents
from .questions import Question, read_questions
from .report import write_report
from .resume import Checkpoint
from .teach import METHODS, add_lora, ask, check_peft, default_epochs, default_learning_rate, evaluation_steps, teach
from .written import as_lines, check_endpoint, written_questions


@dataclass(frozen=True, kw_only=True)
class Request:
    """What ``maskft inject`` is asked for.

    Attributes:
        model: An instruct model: a shipped tiny base, a folder, or a repository of the hub.
        documents: A folder or file of documents, or the name of a data set.
        output: Where the result goes; it must not exist, or be empty.
        questions: A file of questions (``questions.read_questions``), or the questions themselves; none if None.
        write_questions: Let a language model write them (``written``); the result then holds ``questions.jsonl``.
        token_limit: Most tokens that it may cost; None for no limit.
        method: ``masked_ar`` or ``ar``.
        lora_rank: Rank of adapters; None trains all parameters.
        compare_ar: Also teach by plain fine-tuning with the same number of steps, for comparison.
        learning_rate: None for that of the study's sweeps, by the model's size.
        max_steps: Optimizer steps at most; None for the study's epochs, by the model's size.
        train_batch_size: Passages of one optimizer step.
        per_device_train_batch_size: Passages on the device at once.
        passage_tokens: Longest passage; None for 128, or what the model's context allows.
        max_new_tokens: Longest answer.
        precision: ``float32``, or ``bf16_mixed`` for bfloat16 arithmetic on float32 weights; None takes that on a GPU only,
            since a CPU without units for bfloat16 is slower with it.
        held_back_share: Share of the questions by which the checkpoint is chosen.
        general_text: A file to measure perplexity on; None for the package's.
        control_questions: A file of questions that the model should still answer; None for the package's.
        text_column: Where rows have their text.
        language: Of the documents' sentences.
        seed: Of masks, order and held-back questions.
        checkpoint_minutes: How often an arm in training keeps what it needs to go on from; 0: after every step.
    """

    model: str
    documents: str | Path
    output: str | Path
    questions: str | Path | Sequence[Question] | None = None
    write_questions: bool = False
    token_limit: int | None = None
    method: str = "masked_ar"
    lora_rank: int | None = None
    compare_ar: bool = False
    learning_rate: float | None = None
    max_steps: int | None = None
    train_batch_size: int = 64
    per_device_train_batch_size: int = 16
    passage_tokens: int | None = None
    max_new_tokens: int = 128
    precision: str | None = None
    held_back_share: float = 0.25
    general_text: str | Path | None = None
    control_questions: str | Path | None = None
    text_column: str = "text"
    language: str = "en"
    seed: int = 0
    checkpoint_minutes: float = 10.0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r} is not one of {', '.join(METHODS)}")
        if self.precision not in (None, "float32", "bf16_mixed"):
            raise ValueError(f"precision={self.precision!r} is not one of float32, bf16_mixed")
        if self.compare_ar and self.method == "ar":
            raise ValueError("--compare-ar compares with plain fine-tuning, which --method ar already is; leave one out")
        if self.write_questions and self.questions is not None:
            raise ValueError("--questions and --write-questions: questions are given or written; leave one out")
        if self.token_limit is not None and not self.write_questions:
            raise ValueError("--token-limit is about --write-questions; give both or neither")
        for name in ("token_limit", "lora_rank", "max_steps", "train_batch_size", "per_device_train_batch_size", "passage_tokens", "max_new_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ValueError(f"learning_rate={self.learning_rate} must be above 0; leave it out for the default of the model's size")
        if not self.checkpoint_minutes >= 0:
            raise ValueError(f"checkpoint_minutes={self.checkpoint_minutes} must be at least 0")


def inject(request: Request, say: Callable[[str], None] = print) -> Path:
    """Teach a model documents, and write model, model card and report into ``request.output``.

    Args:
        request: What to do.
        say: Takes lines of progress.

    Returns:
        The output folder: a model or adapter that transformers loads, ``README.md`` (its card), ``report.md``,
        ``report.html`` and ``report.json``.

    Raises:
        ValueError: If something about the input is wrong; nothing was trained, the message says what to do.
        RuntimeError: If the loss is not finite, or another process works on the same output.
        PermissionError, ConnectionError: If questions are to be written and the endpoint refuses or does not answer.
        OSError: If the disk fails; what was finished is kept.
        Interrupted: On SIGTERM while an arm is in training, once a checkpoint is written.
    """
    output = Path(request.output).absolute()
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise ValueError(f"--output {request.output} exists and is not empty; name a new folder")
    if request.write_questions:
        check_endpoint()
    if request.lora_rank is not None:
        check_peft()
    reading = read_documents(request.documents, text_column=request.text_column)
    given = request.questions
    questions = read_questions(given) if isinstance(given, (str, Path)) else list(given or [])
    model, prompts = load_model(request.model, request.method)
    check = partial(
        check_material, reading, context=model.config.max_position_embeddings, prompts=prompts,
        methods={request.method, *(["ar"] if request.compare_ar else [])}, passage_tokens=request.passage_tokens,
        max_new_tokens=request.max_new_tokens, held_back_share=request.held_back_share, seed=request.seed, language=request.language,
        general=general_texts(prompts, request.general_text), control=control_questions(prompts, request.control_questions),
    )  # fmt: skip
    material = check(questions)
    work = output.parent / f".{output.name}.partial"
    if request.write_questions:
        check_room(output, model, request.lora_rank)
        with _alone(output, work):
            questions, notes = written_questions(material.cut.passages, work / "requests.jsonl", token_limit=request.token_limit)
        material = check(questions)
        material.notes.extend(notes)
    config = _config(request, request.method, material, model)
    # An arm is one way to teach; the last one is the result.
    configs = [config]
    if request.compare_ar:
        configs.insert(0, _config(replace(request, max_steps=config.total_steps), "ar", material, model))
    check_room(output, model, request.lora_rank)
    _say_plan(say, request, material, model, configs)

    with _alone(output, work):
        key = _key(request, config, material)
        before = _cached(work / f"before-{key}.json", partial(_measure, model, prompts, material, config, 0))
        say(f"before: asked {len(material.asked)} question(s), perplexity {before['perplexity']:.2f}")
        mask = prompts.tokenizer.convert_ids_to_tokens(prompts.ids.mask)
        del model, prompts  # each arm loads its own, and two large models need not fit
        arms, folder = [], work / f"{config.run_id}-{key}"
        for arm in configs:
            keep = folder if arm is config else None
            done = work / f"{arm.run_id}-{key}.json"
            checkpoint = Checkpoint(done.with_suffix(".checkpoint"), minutes=request.checkpoint_minutes, say=say)
            arms.append(_cached(done, partial(_arm, request, arm, material, keep, checkpoint, say)))
            checkpoint.drop()
        result = _result(request, material, before, arms, mask)
        write_report(result, folder)
        if request.write_questions:
            write_atomically(folder / "questions.jsonl", as_lines(questions))
        folder.replace(output)
    shutil.rmtree(work, ignore_errors=True)
    say(f"{output}: the model, its card, report.md and report.html")
    return output


@contextmanager
def _alone(output: Path, work: Path) -> Iterator[None]:
    """No other process works on ``output``; makes the hidden folder ``work``."""
    work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work / "lock", timeout=0):
            yield
    except Timeout:
        raise RuntimeError(f"another process is writing {output}; wait for it, or name another --output") from None


def _config(request: Request, method: str, material: Material, model) -> RunConfig:
    size, n_passages = sum(p.numel() for p in model.parameters()), len(material.cut.passages)
    steps = request.max_steps or default_epochs(method, size) * -(-n_passages // request.train_batch_size)
    rate = request.learning_rate if method == request.method else None
    content = [[p.text for p in material.cut.passages], [asdict(q) for q in material.held_back]]
    is_local = isinstance(base_folder(request.model), Path)
    return RunConfig(
        dataset="documents", source="own", data_fingerprint=sha256_of(canonical(content))[:16], method=method,
        base=request.model,
        base_revision=revision_of(request.model) if is_local else model.config._commit_hash or "unknown",
        learning_rate=default_learning_rate(method, size, lora=request.lora_rank is not None) if rate is None else rate,
        precision=request.precision or ("bf16_mixed" if model.device.type == "cuda" else "float32"),
        train_batch_size=request.train_batch_size, eval_steps=evaluation_steps(steps), seed=request.seed,
        max_new_tokens=request.max_new_tokens,
    )  # fmt: skip


def _key(request: Request, config: RunConfig, material: Material) -> str:
    """What decides the numbers of a part beside its configuration, hashed."""
    asked = [[asdict(q) for q in questions] for questions in (material.asked, material.control[1])]
    model = [config.base, config.base_revision, config.precision, config.max_new_tokens, request.lora_rank]
    return sha256_of(canonical([model, asked, material.general[1]]))[:8]


def _say_plan(say: Callable[[str], None], request: Request, material: Material, model, configs: list[RunConfig]) -> None:
    passages = material.cut.passages
    say(
        f"{len(material.reading.documents)} document(s), {len(passages)} passage(s) of up to {max(p.n_tokens for p in passages)} tokens, "
        f"{len(material.cut.too_long)} longer than the budget, {len(material.cut.duplicates)} duplicate(s) dropped; "
        f"{len(material.asked)} question(s) asked, {len(material.held_back)} held back"
    )
    for note in material.notes:
        say(f"note: {note}")
    weights = "all parameters" if request.lora_rank is None else f"LoRA of rank {request.lora_rank}"
    for config in configs:
        say(f"{config.method}, {weights}, at most {config.total_steps} step(s) at {config.learning_rate:g}, on {model.device}")


def _cached(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What an earlier attempt left at ``path``, or what ``make`` gives, kept there."""
    if not path.exists():
        write_atomically(path, json.dumps(make(), ensure_ascii=False))
    return json.loads(path.read_text(encoding="utf-8"))


def _measure(model, prompts: Prompts, material: Material, config: RunConfig, step: int) -> dict[str, Any]:
    clock = time.perf_counter()
    return {
        "answers": ask(model, prompts, material.asked, config, step),
        "control": ask(model, prompts, material.control[1], config, step),
        "perplexity": perplexity(model, prompts, material.general[1], config),
        "wall_time_s": time.perf_counter() - clock,
    }


def _arm(
    request: Request, config: RunConfig, material: Material, folder: Path | None, checkpoint: Checkpoint,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Teach one way, measure, and leave the model in ``folder``, if there is one."""
    reset_peak_memory()
    # From the name again: another arm's weights must not be the start of this one.
    model, prompts = load_model(request.model, config.method)
    if request.lora_rank is not None:
        add_lora(model, request.lora_rank)
        # A path relative to where we are now would be looked for elsewhere later.
        base = base_folder(request.model)
        model.peft_config["default"].base_model_name_or_path = str(base.resolve() if isinstance(base, Path) else base)
    with Sigterm() as sigterm:
        taught = teach(
            model, prompts, material.cut.passages, config, held_back=material.held_back,
            per_device_train_batch_size=request.per_device_train_batch_size, checkpoint=checkpoint, sigterm=sigterm, say=say,
        )  # fmt: skip
    if sigterm.came:  # after the last step
        raise Interrupted
    measured = _measure(model, prompts, material, config, taught.best_step)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was interrupted here
        model.generation_config.eos_token_id = list(prompts.ids.stop)
        model.save_pretrained(folder)
        prompts.tokenizer.save_pretrained(folder)
    return {"config": config.to_dict(), "taught": asdict(taught), "measured": measured, "peak_memory_gib": peak_memory_gib()}


def _result(request: Request, material: Material, before: dict, arms: list[dict], mask: str) -> dict[str, Any]:
    """Everything that the report says (``report.json``)."""
    cut_ = material.cut
    return {
        "model": base.name if isinstance(base := base_folder(request.model), Path) else base, "method": request.method, "lora_rank": request.lora_rank, "mask_token": mask,
        "documents": len(material.reading.documents), "passages": len(cut_.passages),
        "passage_tokens": sum(p.n_tokens for p in cut_.passages), "n_cut": cut_.n_cut, "too_long": cut_.too_long,
        "duplicates": cut_.duplicates, "notes": material.notes,
        "held_back": len(material.held_back), "general_text": material.general[0], "control_questions": material.control[0],
        "before": before, "arms": arms,
        "device": device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "versions": {name: version(name) for name in ("maskft", "torch", "transformers")},
    }  # fmt: skip
