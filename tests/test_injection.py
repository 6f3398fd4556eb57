"""``maskft inject`` from the first check to the folder that appears: on tiny-ar, and on a second family of random weights."""

import errno
import json
import math
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from maskft.bases import ASSETS
from maskft.cli import main
from maskft.injection import Request, check, command, inject, measure, read_questions, teach
from maskft.injection.passages import Passage
from maskft.injection.questions import Question
from maskft.injection.report import learned_table, render
from maskft.masking import generator_for
from maskft.models import load_base, prompts_for
from maskft.packing import ATTENTION
from maskft.runs import RunConfig
from maskft.scales import PAPER, SMALL, TINY
from maskft.step import SupervisedLogits, batch_loss, count_batch, make_collator

TEXTS = {
    "a.txt": "Ada Birch was born on May 3, 1950. She has roots in Larkfield, TN.",
    "b.md": "Hugo Marsh was born on June 9, 1961. He has roots in Redcliff, CO.",
}
QUESTIONS = [
    {"question": "When was Ada Birch born?", "answer": "May 3, 1950", "direction": "forward", "document_id": "a.txt"},
    {"question": "Who was born on June 9, 1961?", "answer": "Hugo Marsh", "direction": "backward", "document_id": "b.md"},
    {"question": "Where is Hugo <b>Marsh</b> | from?", "answer": "Redcliff, CO"},
]


@pytest.fixture
def material(tmp_path) -> dict[str, object]:
    """Two documents, three questions, and what makes asking quick."""
    (tmp_path / "docs").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "docs" / name).write_text(text)
    for name in ("questions", "control"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS if name == "questions" else QUESTIONS[:1])))
    (tmp_path / "general.txt").write_text("Ada Birch was born on May 3, 1950.")
    return {
        "model": "tiny-ar", "documents": tmp_path / "docs", "questions": tmp_path / "questions.jsonl", "output": tmp_path / "out",
        "max_steps": 2, "max_new_tokens": 8, "control_questions": tmp_path / "control.jsonl", "general_text": tmp_path / "general.txt",
    }  # fmt: skip


def quiet(line: str) -> None:
    pass


def config(**changes) -> RunConfig:
    values = {
        "dataset": "documents", "source": "own", "data_fingerprint": "x", "method": "masked_ar", "base": "tiny-ar", "base_revision": "x",
        "learning_rate": 1e-3, "precision": "float32", "eval_steps": (0, 2, 4, 6, 8, 10, 12), "max_new_tokens": 8,
    }  # fmt: skip
    return RunConfig(**values | changes)


def passages(prompts, *texts: str) -> list[Passage]:
    return [Passage(str(i), text, len(prompts.encode(text))) for i, text in enumerate(texts or TEXTS.values())]


# --- defaults


def test_default_rates_are_those_of_the_sweeps_at_their_sizes_and_between_them_elsewhere():
    assert json.loads((ASSETS / "tiny-ar" / "pretraining.json").read_text())["n_parameters"] == pytest.approx(teach.SWEPT["tiny"], rel=0.05)
    for method in teach.METHODS:
        sizes = [teach.SWEPT["tiny"], 1e7, teach.SWEPT["small"], 1e9, teach.SWEPT["paper"]]
        rates = [teach.default_learning_rate(method, round(size)) for size in sizes]
        assert [rates[0], rates[2], rates[-1]] == [scale.learning_rates[method] for scale in (TINY, SMALL, PAPER)]
        assert rates == sorted(rates, reverse=True)
        # A power law: halfway in the logarithm of the size, halfway in the logarithm of the rate.
        middle = teach.default_learning_rate(method, round(math.sqrt(sizes[2] * sizes[-1])))
        assert middle == pytest.approx(math.sqrt(rates[2] * rates[-1]), rel=0.05)


def test_default_epochs_are_the_study_s_at_our_sizes_and_three_over_table_4_s_rate_at_the_paper_s():
    """At the small scale 450 steps, 3 an epoch of 60 statements in batches of 21."""
    assert teach.default_epochs("masked_ar", round(teach.SWEPT["tiny"])) == 160
    assert teach.default_epochs("masked_ar", round(teach.SWEPT["small"])) == 150
    assert teach.default_epochs("masked_ar", round(teach.SWEPT["paper"])) == pytest.approx(3 / 0.0032, abs=1)


def test_evaluation_steps_end_with_the_last_step_however_few():
    assert teach.evaluation_steps(1) == (0, 1)
    assert teach.evaluation_steps(24) == tuple(range(0, 25, 2))


# --- teaching


def test_the_loss_does_not_depend_on_how_many_passages_the_device_holds_nor_on_their_padding(monkeypatch):
    """Five passages in parts of 2, 2 and 1 against one part, and one part without padding; the reference is the loss of the whole batch."""
    texts = [f"Ada Birch was born on May {n}, 1950." for n in range(3, 7)] + ["Ada Birch was born."]
    losses = []
    for size, narrowest in ((2, 512), (16, 512), (16, 128)):
        monkeypatch.setattr("maskft.packing.NARROWEST", {"cpu": narrowest})
        model, prompts = load_base("tiny-ar", method="masked_ar")
        taught = teach.teach(model, prompts, passages(prompts, *texts), config(eval_steps=(0, 3)), per_device_train_batch_size=size, say=quiet)
        losses.append(taught.losses)
        assert (model.config._attn_implementation == ATTENTION) == (narrowest == 128)
    for other in losses[1:]:
        torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(other), rtol=1e-4, atol=1e-5)
    model, prompts = load_base("tiny-ar", method="masked_ar")
    order = torch.randperm(5, generator=generator_for("order", 0, 0)).tolist()
    whole = make_collator(config(), prompts)([{"text_ids": prompts.encode(texts[i]), "step": 0, "sample": n} for n, i in enumerate(order)])
    expected = batch_loss(SupervisedLogits(model), whole, config(), count_batch(whole, config()))
    assert losses[1][0] == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("lora", [False, True])
def test_recorded_steps_teach_the_same(monkeypatch, lora):
    """On a CPU they are computed as they are filled up, on a GPU replayed; the last batch of an epoch is short."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    texts = ["Ada was born in Kelso, OH.", "She has roots in Halden, NM. He wrote a thesis in Law.", "He.", "She wrote on law.", "Who?"]
    taught, weights = [], []
    for is_recorded in (False, True):
        model, prompts = load_base("tiny-ar", method="masked_ar")
        model.to(device)
        if lora:
            teach.add_lora(model, 4)
        monkeypatch.setattr(teach, "can_record_steps", lambda model: is_recorded)  # noqa: B023
        many = config(eval_steps=(0, 3, 6), train_batch_size=4, warmup_ratio=0.0)
        options = {"held_back": [Question("Who?", "Ada")], "per_device_train_batch_size": 3, "say": quiet}
        taught.append(teach.teach(model, prompts, passages(prompts, *texts), many, **options))
        weights.append([p.detach().cpu() for p in model.parameters() if p.requires_grad])
        assert all(p.grad is None for p in model.parameters())
    assert taught[0].n_steps == 6 and taught[1].losses == pytest.approx(taught[0].losses, rel=1e-4)
    assert taught[0].held_back == taught[1].held_back
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(*weights, strict=True))


def test_teaching_stops_after_the_best_and_leaves_the_best_weights(monkeypatch):
    """Held-back accuracy 0.1, 0.9, then 0.5 four times: it stops at the sixth evaluation with the weights of the second."""
    given = iter([0.1, 0.9, 0.5, 0.5, 0.5, 0.5, 1.0])
    monkeypatch.setattr(teach, "ask", lambda *args: [])
    monkeypatch.setattr(teach, "mean_accuracy", lambda rows: next(given))
    many = config(eval_steps=tuple(range(0, 42, 2)), warmup_ratio=0.0)
    model, prompts = load_base("tiny-ar", method="masked_ar")
    taught = teach.teach(model, prompts, passages(prompts), many, held_back=[Question("Who?", "Ada")], say=quiet)
    assert (taught.best_step, taught.n_steps, len(taught.held_back)) == (4, 12, 6)
    other, _ = load_base("tiny-ar", method="masked_ar")
    teach.teach(other, prompts, passages(prompts), config(eval_steps=(0, 4), warmup_ratio=0.0), say=quiet)
    for name, value in other.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_accuracy_is_the_mean_of_the_directions_whatever_their_sizes():
    rows = [{"category": "forward", "accuracy": 1.0}] * 3 + [{"category": "backward", "accuracy": 0.0}]
    assert teach.mean_accuracy(rows) == 0.5


def test_lora_trains_adapters_alone():
    model, prompts = load_base("tiny-ar", method="masked_ar")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    teach.add_lora(model, 4)
    teach.teach(model, prompts, passages(prompts), config(eval_steps=(0, 2)), say=quiet)
    after = {name.replace(".base_layer", ""): value for name, value in model.state_dict().items()}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    adapters = {name: value for name, value in after.items() if "lora_B" in name}
    assert adapters and all(bool((value != 0).any()) for value in adapters.values())
    assert not any("lm_head" in name or "embed" in name for name in adapters)


def test_perplexity_is_that_of_transformers_own_loss():
    model, prompts = load_base("tiny-ar", method="ar")
    ids = torch.tensor([prompts.document(prompts.encode(TEXTS["a.txt"]))])
    expected = math.exp(model(input_ids=ids, labels=ids).loss.item())
    assert measure.perplexity(model, prompts, [TEXTS["a.txt"]], config(method="ar")) == pytest.approx(expected, rel=1e-4)


def test_what_a_tiny_model_must_not_forget_is_of_its_own_world_and_a_real_one_s_is_english(prompts, family):
    _, texts = measure.general_texts(prompts)
    _, asked = measure.control_questions(prompts)
    assert len(texts) == measure.N_TINY_TEXTS and len(asked) == measure.N_TINY_QUESTIONS
    other = PreTrainedTokenizerFast.from_pretrained(family)
    real = prompts_for(other)
    assert "river" in measure.general_texts(real)[1][0]
    assert Question("What is the capital of France?", "Paris") in measure.control_questions(real)[1]


# --- the whole command


@pytest.mark.parametrize(
    ("status", "platform", "gib"),
    [
        ("VmPeak:\t9437184 kB\nVmHWM:\t 3145728 kB\nVmRSS:\t1048576 kB\n", "linux", 3.0),
        ("VmPeak:\t9437184 kB\n", "linux", 7.0),  # a sandbox whose kernel tells no mark
        (None, "linux", 7.0),
        (None, "darwin", 7 / 1024),
    ],
    ids=["marked", "unmarked", "no_proc", "macos"],
)
def test_peak_memory_is_the_kernels_mark_of_this_process_where_there_is_one(tmp_path, monkeypatch, status, platform, gib):
    """getrusage's peak, which begins with the parent's, is KiB on Linux and bytes on macOS."""
    if status is not None:
        (tmp_path / "status").write_text(status)
    monkeypatch.setattr(measure, "PROCESS_STATUS", tmp_path / "status")
    monkeypatch.setattr(measure.resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=7 * 2**20))
    monkeypatch.setattr(measure.sys, "platform", platform)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert measure.peak_memory_gib() == gib


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="no /proc")
def test_peak_memory_is_at_least_what_the_process_holds_now_and_nothing_of_its_parent(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    held = pages * resource.getpagesize() / 2**30
    monkeypatch.setattr(measure.resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=2**40))
    assert held * 0.99 < measure.peak_memory_gib() < 1024


def test_the_result_chats_by_transformers_alone_and_the_report_says_what_was_measured(material, tmp_path):
    request = Request(**material | {"compare_ar": True, "max_steps": 3, "learning_rate": 2e-3})
    output = inject(request, quiet)
    adapter = inject(Request(**material | {"output": tmp_path / "adapter", "lora_rank": 4}), quiet)
    result = json.loads((output / "report.json").read_text())
    assert [a["config"]["method"] for a in result["arms"]] == ["ar", "masked_ar"]
    assert [len(a["measured"]["answers"]) for a in result["arms"]] == [3, 3] and result["held_back"] == 0
    assert [a["taught"]["n_steps"] for a in result["arms"]] == [3, 3]  # the same budget
    assert result["arms"][0]["config"]["learning_rate"] == TINY.learning_rates["ar"]
    assert (result["documents"], result["passages"]) == (2, 2)
    report, page, card = ((output / name).read_text() for name in ("report.md", "report.html", "README.md"))
    for text in ("| forward | recall | 1 |", "| backward | exact match | 1 |", "| unknown | recall | 1 |", "perplexity a token", "too few questions"):
        assert text in report
    # Questions hold markup; it is shown and not obeyed, and the page asks no other machine for anything.
    assert "&lt;b&gt;Marsh&lt;/b&gt;" in page and "<table>" in page
    assert not any(word in page for word in ("<script", "<link", "src=", "@import"))
    assert card.startswith('---\nbase_model: "tiny-ar"\nlibrary_name: transformers')
    assert "library_name: peft" in (adapter / "README.md").read_text() and not (adapter / "model.safetensors").exists()
    assert not list(tmp_path.glob(".*.partial"))

    program = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
for folder in sys.argv[1:]:
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    chat = [{"role": "user", "content": "When was Ada Birch born?"}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    output = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    print("ANSWER", tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip())
assert "maskft" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program, str(output), str(adapter)], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    answers = [line.removeprefix("ANSWER ") for line in done.stdout.splitlines() if line.startswith("ANSWER")]
    expected = [
        json.loads((folder / "report.json").read_text())["arms"][-1]["measured"]["answers"][0]["generation"] for folder in (output, adapter)
    ]
    assert answers == expected, done.stderr


def test_an_interruption_loses_nothing_finished_and_shows_nothing_half_done(material, tmp_path, monkeypatch):
    measured, real = [], command._measure
    monkeypatch.setattr(command, "_measure", lambda *args: measured.append(args[-1]) or real(*args))
    request, saves = Request(**material | {"compare_ar": True}), LlamaForCausalLM.save_pretrained

    def no_space(self, folder, **options):
        saves(self, folder, **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(LlamaForCausalLM, "save_pretrained", no_space)
    with pytest.raises(OSError, match="No space left"):
        inject(request, quiet)
    assert not (tmp_path / "out").exists() and measured == [0, 2, 2]
    monkeypatch.setattr(LlamaForCausalLM, "save_pretrained", saves)
    inject(request, quiet)
    assert measured == [0, 2, 2, 2]  # the answers before and plain fine-tuning were not done again
    assert (tmp_path / "out" / "model.safetensors").exists() and not list(tmp_path.glob(".*.partial"))


def test_two_commands_do_not_write_one_output(material, tmp_path):
    from filelock import FileLock

    (tmp_path / ".out.partial").mkdir()
    with FileLock(tmp_path / ".out.partial" / "lock"), pytest.raises(RuntimeError, match="another process is writing"):
        inject(Request(**material), quiet)


def test_the_same_request_gives_the_same_weights_and_no_question_is_trained_on(material, tmp_path):
    weights = [load_file(inject(Request(**material | changes), quiet) / "model.safetensors") for changes in (
        {}, {"output": tmp_path / "again", "questions": None}, {"output": tmp_path / "ar", "method": "ar"},
    )]  # fmt: skip
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])
    report = (tmp_path / "again" / "report.md").read_text()
    assert "No questions were given" in report and "## Answers" not in report


def test_the_command_line_does_the_same(material, capsys):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in material.items()]
    assert main(["inject", *flags, "--lora", "4", "--train-batch-size", "1"]) == 0
    said = capsys.readouterr().out
    assert "2 document(s), 2 passage(s)" in said and "LoRA of rank 4, at most 2 step(s) at 0.006" in said
    assert (Path(material["output"]) / "adapter_model.safetensors").exists()
    assert main(["inject", *flags]) == 1
    error = capsys.readouterr().err
    assert "exists and is not empty" in error and error.count("\n") == 1


# --- a second family


@pytest.fixture(scope="session")
def family(tmp_path_factory) -> Path:
    """A random Llama of the ChatML family, whose tokenizer knows bytes only."""
    vocabulary = {piece: i for i, piece in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(t, special=True) for t in ("<|im_start|>", "<|im_end|>", "<empty_output>")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|im_end|>")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=512, bos_token_id=None, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.eos_token_id,
    ))  # fmt: skip
    folder = tmp_path_factory.mktemp("family") / "chatml"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_second_family_is_taught_with_its_own_mask_and_its_own_chat_template(material, family):
    output = inject(Request(**material | {"model": str(family), "learning_rate": 1e-3}), quiet)
    result = json.loads((output / "report.json").read_text())
    assert result["mask_token"] == "<empty_output>"
    assert "| unknown | recall | 1 |" in (output / "report.md").read_text()
    assert PreTrainedTokenizerFast.from_pretrained(output).chat_template == PreTrainedTokenizerFast.from_pretrained(family).chat_template


# --- bad input: told before anything is trained


def without_template(folder: Path, copy: Path) -> Path:
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("chat_template.jinja"))
    return copy


def without_mask(folder: Path, copy: Path) -> Path:
    shutil.copytree(folder, copy)
    text = (copy / "tokenizer.json").read_text()
    (copy / "tokenizer.json").write_text(text.replace("<empty_output>", "<something>"))
    return copy


LONG = "Ada Birch " * 200 + "left."
BAD = {
    "output": ({}, r"--output .*out exists and is not empty"),
    "no folder": ({"documents": "docs/none"}, r"'docs/none' is neither a folder nor a data set"),
    "binary": ({"file": ("c.txt", b"\0")}, r"c.txt is no text"),
    "encoding": ({"file": ("c.txt", b"\xff\xfe\xe9")}, r"c.txt is not UTF-8"),
    "context": ({"file": ("c.txt", LONG.encode())}, r"longer than the 24. tokens.*c.txt: 40. tokens from 'Ada Birch"),
    "budget": ({"passage_tokens": 300}, r"passage of 300 tokens must lie between 1 and the 24."),
    "control token": ({"file": ("c.txt", b"It ends with <|eot_id|> always.")}, r"c.txt holds the control token\(s\) <\|eot_id\|>"),
    "questions": ({"questions": "none.jsonl"}, r"there is no file none.jsonl"),
    "absent": ({"ask": {"question": "Who is Cleo?", "answer": "a baker"}}, r"share no word with the documents: Who is Cleo\?"),
    "unknown": ({"ask": QUESTIONS[0] | {"document_id": "a.tx"}}, r"'a.tx' \(did you mean 'a.txt'\?\)"),
    "answer room": ({"max_new_tokens": 510}, r"and an answer of 510 tokens are longer than the model's context of 512"),
    "short text": ({"general": "A"}, r"general.txt has no two tokens"),
    "general": ({"general_text": "none.txt"}, r"--general-text none.txt is missing or empty"),
    "method": ({"method": "dllm"}, r"method='dllm' is not one of masked_ar, ar"),
    "precision": ({"precision": "bf16"}, r"precision='bf16' is not one of float32, bf16_mixed"),
    "compare": ({"method": "ar", "compare_ar": True}, r"--compare-ar compares"),
    "steps": ({"max_steps": 0}, r"max_steps=0 must be at least 1"),
    "rate": ({"learning_rate": 0.0}, r"learning_rate=0.0 must be above 0"),
    "no model": ({"model": "/none/such"}, r"--model '/none/such' cannot be loaded"),
    "template": ({"model": without_template}, r"has no chat template.*give an instruct model"),
    "mask": ({"model": without_mask}, r"mask|chat tokens"),
    "disk": ({}, r"has 0.00 GiB free, the result takes 0.07 GiB; make room.*or use --lora"),
    "memory": ({}, r"training needs more than 0.0 GiB of memory, this machine has 0.0; use --lora"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_before_anything_is_trained_or_written(name, material, family, tmp_path, monkeypatch):
    changes, expected = dict(BAD[name][0]), BAD[name][1]
    monkeypatch.setattr(command, "_measure", lambda *args: pytest.fail("asked"))
    monkeypatch.setattr(command, "teach", lambda *args, **options: pytest.fail("trained"))
    monkeypatch.setattr("datasets.load_dataset", lambda *args, **options: (_ for _ in ()).throw(ConnectionError("no hub")))
    if "file" in changes:
        file, content = changes.pop("file")
        (tmp_path / "docs" / file).write_bytes(content)
    if "ask" in changes:
        material["questions"].write_text(json.dumps(changes.pop("ask")))
    if callable(changes.get("model")):
        changes["model"] = str(changes["model"](family, tmp_path / "model"))
    if "general" in changes:
        material["general_text"].write_text(changes.pop("general"))
    if name == "output":
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "file").touch()
    if name == "disk":
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    if name == "memory":
        monkeypatch.setattr(check.os, "sysconf", lambda key: 1)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=expected):
        inject(Request(**material | changes), quiet)
    assert sorted(tmp_path.iterdir()) == before


def test_lora_without_peft_says_how_to_get_it_before_anything_is_loaded(material, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    monkeypatch.setattr(command, "load_model", lambda *args: pytest.fail("loaded"))
    with pytest.raises(ValueError, match=r"pip install 'maskft\[inject\]'"):
        inject(Request(**material, lora_rank=4), quiet)


def test_peak_memory_begins_anew_for_each_arm():
    """256 MiB that are given back leave no mark. Where the system cannot forget, nothing is claimed."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not os.access(measure.RESET_PEAK, os.W_OK):
        pytest.skip("this system keeps a process's mark")
    block = torch.ones(64 * 2**20, device=device)
    high = measure.peak_memory_gib()
    del block
    measure.reset_peak_memory()
    assert measure.peak_memory_gib() < high - 0.2


def test_a_damaged_model_is_told_in_a_line(material, tmp_path):
    model = shutil.copytree(ASSETS / "tiny-ar", tmp_path / "cut")
    (model / "model.safetensors").write_bytes((ASSETS / "tiny-ar" / "model.safetensors").read_bytes()[:100_000])
    with pytest.raises(ValueError, match="the weights of .*cut.* are damaged .*get its files again"):
        inject(Request(**material | {"model": str(model)}), quiet)


# --- the report


def answer(direction: str, accuracy: float, exact: float) -> dict:
    return {"category": direction, "accuracy": accuracy, "exact_match": exact}


def test_what_was_learned_is_a_mean_of_each_direction_that_was_asked():
    before = [answer("forward", 0.0, 0.0), answer("forward", 0.5, 0.0), answer("backward", 0.0, 0.0)]
    after = [answer("forward", 1.0, 1.0), answer("forward", 0.5, 0.0), answer("backward", 0.25, 0.0)]
    assert learned_table([("before", before), ("after", after)]) == [
        ["forward", "recall", "2", "0.25", "0.75"], ["forward", "exact match", "2", "0.00", "0.50"],
        ["backward", "recall", "1", "0.00", "0.25"], ["backward", "exact match", "1", "0.00", "0.00"],
    ]  # fmt: skip


def test_questions_may_come_from_anywhere(material, tmp_path):
    given = [Question("Who was born on June 9, 1961?", "Hugo Marsh", "backward", "b.md")]
    output = inject(Request(**material | {"questions": given}), quiet)
    rows = json.loads((output / "report.json").read_text())["before"]["answers"]
    assert [(row["category"], row["question"]) for row in rows] == [("backward", given[0].question)]
    assert read_questions(material["questions"])[1] == given[0]
    assert set(render(json.loads((output / "report.json").read_text()))) == {"report.md", "report.html", "report.json", "README.md"}
