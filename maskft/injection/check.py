"""Everything that can be wrong with documents, questions, the model and the machine, told before anything is trained."""

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from ..models import load_base
from ..prompts import Prompts
from .measure import WINDOW, speaks_tiny, windows
from .passages import Cut, Passage, Reading, cut
from .questions import Question, check_questions, hold_back

PASSAGE_TOKENS = 128  # the paper's Wiki articles have up to 125 (Appendix A.3)
SPARE_BYTES = 64 * 2**20  # of the disk, for tokenizer and report

# The tiny models have no chat template of their own. The space is what their tokenizer puts before a first word.
TINY_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n "
    "{{ message['content'] }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


@dataclass(frozen=True)
class Material:
    """All that is taught and asked, checked.

    Attributes:
        reading: The documents.
        cut: Their passages.
        held_back: Questions that choose the checkpoint.
        asked: Questions that tell what was learned.
        general: What perplexity is measured on: a description, and texts.
        control: What should not be forgotten: a description, and questions.
        notes: What the reader should know.
    """

    reading: Reading
    cut: Cut
    held_back: list[Question]
    asked: list[Question]
    general: tuple[str, list[str]]
    control: tuple[str, list[Question]]
    notes: list[str]


def load_model(name: str, method: str) -> tuple[PreTrainedModel, Prompts]:
    """An instruct model in float32 on the device, and the prompts of its tokenizer.

    Raises:
        ValueError: If it cannot be loaded, or nobody can ask it.
    """
    try:
        model, prompts = load_base(name, method=method)
    except OSError as error:
        raise ValueError(f"--model {name!r} cannot be loaded: {str(error).strip().splitlines()[0]}") from None
    if prompts.tokenizer.chat_template is None:
        if not speaks_tiny(prompts):
            raise ValueError(f"--model {name!r} has no chat template, so nobody can ask it; give an instruct model")
        prompts.tokenizer.chat_template = TINY_CHAT_TEMPLATE
    return model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu")), prompts


def check_material(
    reading: Reading,
    questions: list[Question],
    *,
    context: int,
    prompts: Prompts,
    methods: Iterable[str],
    passage_tokens: int | None,
    max_new_tokens: int,
    held_back_share: float,
    seed: int,
    language: str,
    general: tuple[str, list[str]],
    control: tuple[str, list[Question]],
) -> Material:
    """Cut the documents and compare all of it with each other and with the model.

    Args:
        reading: The documents.
        questions: About them.
        context: Tokens that the model can take.
        prompts: Of its tokenizer.
        methods: How it is taught; a passage must fit the prompt of each.
        passage_tokens: Longest passage; None for 128, or what the context allows.
        max_new_tokens: Longest answer.
        held_back_share: Share of the questions held back.
        seed: Of which.
        language: Of the documents' sentences.
        general: What perplexity is measured on.
        control: What should not be forgotten.

    Raises:
        ValueError: If something does not fit; the message names it and the fix.
    """
    longest = min(longest_passage(prompts, method, context) for method in methods)
    budget = passage_tokens or max(1, min(PASSAGE_TOKENS, longest))
    found = cut(reading.documents, lambda text: len(prompts.encode(text)), budget=budget, longest=longest, language=language)
    _check_control_tokens(found.passages, prompts)
    notes = [*reading.notes, *check_questions(questions, reading.documents)]
    held_back, asked = hold_back(questions, held_back_share, seed)
    if not questions:
        notes.append("no questions were given: every step is made, and what was learned is not measured")
    elif not held_back:
        notes.append("too few questions to hold some back: every step is made, and the last weights are kept")
    if not windows(prompts, general[1], WINDOW):
        raise ValueError(f"{general[0]} has no two tokens to measure perplexity on; give a longer text")
    for question in [*questions, *control[1]]:
        if len(prompts.question(question.question)) + max_new_tokens > context:
            raise ValueError(
                f"the question {question.question[:60]!r} and an answer of {max_new_tokens} tokens are longer than "
                f"the model's context of {context}; shorten it, or lower --max-new-tokens"
            )
    return Material(reading, found, held_back, asked, general, control, notes)


def longest_passage(prompts: Prompts, method: str, context: int) -> int:
    """Tokens of the longest passage that a model with this context can be taught; masked AR has it twice (Figure 3)."""
    if method == "ar":
        return context - len(prompts.document([]))
    return (context - sum(map(len, prompts.demask([], [])))) // 2


def _check_control_tokens(passages: Sequence[Passage], prompts: Prompts) -> None:
    """Refuse passages that would end a turn or be read as a mask."""
    special = set(prompts.tokenizer.all_special_ids) | {prompts.ids.mask, prompts.ids.pad, prompts.ids.end, *prompts.ids.stop}
    for passage in passages:
        if found := special.intersection(prompts.encode(passage.text)):
            tokens = ", ".join(prompts.tokenizer.convert_ids_to_tokens(sorted(found)))
            raise ValueError(f"{passage.document_id} holds the control token(s) {tokens} of this model; write them another way")


def check_room(output: Path, model, lora_rank: int | None) -> None:
    """Refuse what would run out of disk or memory.

    Raises:
        ValueError: If there is too little of either, or the place cannot be written to.
    """
    parent = next(folder for folder in output.parents if folder.exists())
    if not os.access(parent, os.W_OK):
        raise ValueError(f"{parent} cannot be written to; name another --output")
    n_all = sum(p.numel() for p in model.parameters())
    # An adapter of rank r has r numbers for each row and column of a matrix.
    n_trained = n_all if lora_rank is None else sum(lora_rank * sum(p.shape) for p in model.parameters() if p.ndim > 1)
    needed, free = 4 * n_trained + SPARE_BYTES, shutil.disk_usage(parent).free
    if free < needed:
        raise ValueError(
            f"{parent} has {free / 2**30:.2f} GiB free, the result takes {needed / 2**30:.2f} GiB; make room"
            f"{', name another --output' if lora_rank else ', name another --output or use --lora'}"
        )
    # float32 weights, and for what is trained its gradient and two moments (Appendix A.4: float32 master weights).
    needed = 4 * n_all + 12 * n_trained
    on_gpu = model.device.type == "cuda"
    total = torch.cuda.mem_get_info()[1] if on_gpu else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if total < needed:
        raise ValueError(
            f"training needs more than {needed / 2**30:.1f} GiB of memory, {'the GPU' if on_gpu else 'this machine'} has "
            f"{total / 2**30:.1f}; {'lower the rank of --lora' if lora_rank else 'use --lora'} or a smaller model"
        )
