"""Everything that can fail late is told before anything starts, all at once."""

import json
import shutil
import sys
from collections import namedtuple
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import Qwen3Config, Qwen3ForCausalLM

from maskft import preflight, study
from maskft.data import load_corpus
from maskft.exhibits import make_run
from maskft.launcher import Launcher
from maskft.planning import Setup, planned_runs, shapes
from maskft.planning.hardware import GPUS
from maskft.planning.memory import GIB
from maskft.planning.plan import memory_of
from maskft.planning.shapes import NOT_READ, SHAPES, Shape, n_parameters, shape_in, shape_of
from maskft.preflight import PreflightError, check_device, check_study
from maskft.scales import PAPER, TINY

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


@pytest.fixture(autouse=True)
def unseen(monkeypatch):
    monkeypatch.delenv("MASKFT_DATA", raising=False)  # with texts at hand, memory is planned for their lengths
    preflight._look_at_base.cache_clear()


@pytest.fixture(scope="module")
def config():
    return make_run(TINY, "ar", "name_description", "none")


def told(configs, tmp_path):
    with pytest.raises(PreflightError) as error:
        check_study(configs, tmp_path)
    return str(error.value)


def test_a_tiny_study_passes(config, tmp_path):
    check_study([config, make_run(TINY, "dllm", "biography", "none")], tmp_path / "not" / "there" / "yet")
    assert not list(tmp_path.iterdir())


def test_untying_what_is_untied_is_refused_before_any_run_starts(config, base, tmp_path):
    check_study([make_run(TINY, "ar", "name_description", "none", base=str(base), embeddings="untied")], tmp_path)
    said = told([replace(config, embeddings="untied"), config], tmp_path)
    assert "tiny-ar has an output projection of its own already" in said and "'as_base'" in said


def error_of(kind):
    if kind is LocalEntryNotFoundError:
        return kind("no connection")
    return kind("refused", response=SimpleNamespace(headers={}, request=None))


def refuse(monkeypatch, kind):
    """Let the hub answer every request with this error."""

    def download(*arguments, **options):
        raise error_of(kind)

    monkeypatch.setattr(preflight, "hf_hub_download", download)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (GatedRepoError, "is gated: accept its licence at .*/meta-llama/Llama-3.1-8B-Instruct, then log in"),
        (RevisionNotFoundError, "has no commit abc"),
        (RepositoryNotFoundError, "neither a folder nor a repository"),
        (LocalEntryNotFoundError, "without the hub, name a folder in a scale file"),
    ],
)
def test_access_to_the_hubs_weights_is_asked_for_first(config, tmp_path, monkeypatch, kind, message):
    refuse(monkeypatch, kind)
    with pytest.raises(PreflightError, match=message):
        check_study([replace(config, base=LLAMA, base_revision="abc")], tmp_path)


@pytest.fixture
def folder(base, tmp_path):
    return shutil.copytree(base, tmp_path / "model")


def test_a_folder_that_lacks_a_file_of_its_index_is_named(folder, config, tmp_path):
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "lacks model-00002-of-00002.safetensors" in told([replace(config, base=str(folder))], tmp_path)


def test_ids_beyond_the_embedding_are_told(folder, config, tmp_path):
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"vocab_size": 1660}))
    assert "lie beyond the 1660 rows of its embedding" in told([replace(config, base=str(folder))], tmp_path)


def test_a_tokenizer_of_no_family_and_without_a_chat_template_is_told(folder, config, tmp_path):
    text = (folder / "tokenizer.json").read_text().replace("<|mask|>", "<|other|>")
    (folder / "tokenizer.json").write_text(text)
    (folder / "tokenizer_config.json").write_text((folder / "tokenizer_config.json").read_text().replace("<|mask|>", "<|other|>"))
    assert "was not taught to answer" in told([replace(config, base=str(folder))], tmp_path)


def test_all_that_is_wrong_is_told_at_once(config, tmp_path, monkeypatch):
    """The tiny base has 0.9 million parameters: 4 bytes for each run's best, and 4 + 24 for the run in training."""
    usage = namedtuple("usage", "total used free")
    refuse(monkeypatch, RepositoryNotFoundError)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 10**6, 10**6))
    message = told([replace(config, data_fingerprint="0" * 16), replace(config, base="no/such-model")], tmp_path)
    assert "has fingerprint" in message and "no/such-model" in message
    assert "0.0 GiB free and 0.0 GiB are needed (best weights of 2 runs" in message and message.count("\n- ") == 3


def test_the_papers_disk_is_counted(tmp_path, config, monkeypatch):
    """18 runs of Llama's shape, spread over processes, keep 2 bytes a parameter each; the one in training needs 26 more."""
    usage, asked = namedtuple("usage", "total used free"), replace(config, base=LLAMA, precision="bf16_mixed")
    n = 8_030_261_248  # parameters of Llama-3.1-8B by its own count
    monkeypatch.setattr(preflight, "_is_cached", lambda base, configs: True)
    runs = [replace(asked, seed=seed) for seed in range(18)]
    for free, problems in ((62 * n - 1, 1), (62 * n, 0)):
        monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path, free=free: usage(free, 0, free))
        assert len(preflight._look_at_disk(runs, {LLAMA: SHAPES[LLAMA]}, tmp_path, is_sharded=True)) == problems


def test_an_untied_run_needs_room_for_its_projection(tmp_path, base, monkeypatch):
    """32 bytes a parameter of one run, as above, and as many for a row of the embedding's width for each token of the vocabulary."""
    config = make_run(TINY, "ar", "name_description", "none", base=str(base))
    usage, untied = namedtuple("usage", "total used free"), replace(config, embeddings="untied")
    shape = shape_of(config.base)
    need = 32 * (n_parameters(shape) + shape.vocabulary * shape.width)
    for free, problems in ((need - 1, 1), (need, 0)):
        monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path, free=free: usage(free, 0, free))
        assert len(preflight._look_at_disk([untied], {config.base: shape}, tmp_path)) == problems
    one = Setup(GPUS["H100"], gpus=1)
    # Weights, gradients and two moments at least, of four bytes each.
    assert memory_of(untied, one).total - memory_of(config, one).total >= 16 * shape.vocabulary * shape.width


def test_each_run_of_those_that_train_at_the_same_time_needs_room_for_checkpoints(tmp_path, config, monkeypatch):
    """18 jobs of a cluster, each model whole: 18 x (4 + 28) bytes a parameter where all may run at once, 18 x 4 + 5 x 28 where five may."""
    usage, asked = namedtuple("usage", "total used free"), []
    runs = [replace(config, seed=seed) for seed in range(18)]
    n = n_parameters(shape_of(config.base))
    monkeypatch.setattr(preflight.shutil, "which", lambda name: None)
    for settings, bytes_each in (([], 18 * 32), (["array_parallelism=5"], 18 * 4 + 5 * 28), (["array_parallelism=99"], 18 * 32)):
        for free, fits in ((bytes_each * n, True), (bytes_each * n - 1, False)):
            monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path, free=free: usage(free, 0, free))
            try:
                study.check(replace(TINY, output=tmp_path), runs, executor="slurm", slurm=settings)
                asked.append(fits)
            except PreflightError as error:
                asked.append(not fits and "at a time" in str(error))
    assert all(asked)


@pytest.mark.parametrize(
    ("listed", "memory", "told_of"),
    [
        (4, 81559, None),  # as nvidia-smi says of an H100
        (2, 81559, "a run takes 4 GPU"),
        (4, 40960, "it needs 54.8 GiB on each of 4 GPU.* 36.8 can be used; what fits: --gpus 8; --gpu A100-80GB"),
        (4, None, None),
    ],
)
def test_the_gpus_of_a_machine_that_trains_are_looked_at_before_a_process_starts(tmp_path, monkeypatch, listed, memory, told_of):
    """The paper's runs on four GPUs of an ``nvidia-smi`` that says how many there are and how large."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    lines = {"--list-gpus": "GPU 0: a\n" * listed, "--query-gpu=memory.total": "" if memory is None else f"{memory}\n" * listed}
    tool.write_text(f"#!{sys.executable}\nimport sys\nsys.stdout.write({lines!r}[sys.argv[1]])\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(preflight, "_look_at_base", lambda base, revision: SHAPES[base])
    monkeypatch.setattr(preflight, "_look_at_data", lambda *arguments: [])
    monkeypatch.setattr(preflight, "_look_at_disk", lambda *arguments: [])
    runs = planned_runs("table3", PAPER, [0])
    if told_of is None:
        check_study(runs, tmp_path, launcher=PAPER.launcher)
    else:
        with pytest.raises(PreflightError, match=told_of):
            check_study(runs, tmp_path, launcher=PAPER.launcher)
    check_study(runs, tmp_path)  # on another machine


def test_best_weights_are_kept_in_the_precision_that_answers(config):
    """Of what is spread the copy that answers is rounded; elsewhere the weights are as trained."""
    kept = {(p, s): preflight._best(replace(config, precision=p), s) for p in ("float32", "bf16_mixed", "bf16") for s in (False, True)}
    assert [name for name, size in kept.items() if size == 2] == [("bf16_mixed", True), ("bf16", False), ("bf16", True)]
    assert set(kept.values()) == {2, 4}


def test_the_memory_of_another_base_of_the_hub_is_planned_by_its_configuration(config, tmp_path, monkeypatch):
    settings = {"model_type": "qwen2", "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4,
                "num_key_value_heads": 2, "vocab_size": 1000, "tie_word_embeddings": True}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(settings))
    asked = []
    monkeypatch.setattr(shapes, "hf_hub_download", lambda name, file, revision: asked.append(revision) or str(tmp_path / file))
    shapes._hub_config.cache_clear()
    assert shape_of("an-owner/a-qwen") == shape_of("an-owner/a-qwen", NOT_READ) == Shape(2, 64, 128, 4, 2, 1000, tied=True)
    assert asked == [None]  # once for all runs
    monkeypatch.setattr(preflight, "smallest_gpu_gib", lambda: 80.0)
    run = replace(config, base="an-owner/a-qwen", base_revision="c0ffee", source="original")
    assert preflight._look_at_gpus([run], Launcher("gpu")) == []
    monkeypatch.setattr(preflight, "smallest_gpu_gib", lambda: 0.01)
    assert "does not fit" in preflight._look_at_gpus([run], Launcher("gpu"))[0]
    assert asked == [None, "c0ffee"]  # by the commit that is loaded
    refuse = error_of(LocalEntryNotFoundError)
    monkeypatch.setattr(shapes, "hf_hub_download", lambda name, file, revision: (_ for _ in ()).throw(refuse))
    shapes._hub_config.cache_clear()
    for unknown in ("an-owner/a-qwen", "no such name"):
        with pytest.raises(ValueError, match="its shape is not known"):
            shape_of(unknown)
    shapes._hub_config.cache_clear()


def test_heads_of_a_width_of_their_own_are_counted():
    """Qwen3's: 16 heads of 128 in a width of 1024. Its norms of a head, 2 x 128 entries a layer, are not counted."""
    settings = Qwen3Config(
        hidden_size=1024, intermediate_size=3072, num_hidden_layers=2, num_attention_heads=16, num_key_value_heads=8, head_dim=128,
        vocab_size=1000, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.device("meta"):
        model = Qwen3ForCausalLM(settings)
    counted = sum(weight.numel() for weight in model.parameters())
    assert n_parameters(shape_in(settings.to_dict())) == counted - 2 * 2 * 128


def test_nothing_starts_when_something_is_missing(config, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "launch_missing", lambda *arguments, **options: pytest.fail("started"))
    monkeypatch.setattr(type(TINY), "store", property(lambda self: tmp_path))
    with pytest.raises(PreflightError, match="has fingerprint"):
        study.ensure(TINY, [replace(config, data_fingerprint="0" * 16)])


def test_a_gpu_that_is_too_small_is_told_what_would_fit(config, monkeypatch):
    """Masked AR's longest Wiki batch on four GPUs, and whole on one: by the same arithmetic as the plan's remedies."""
    device, (run,) = torch.device("cuda", 0), [r for r in planned_runs("table3", PAPER, [0]) if r.method == "masked_ar" and r.dataset == "wiki"][:1]
    setup = Setup(GPUS["H100"])

    def message(gib, shards):
        gpu(monkeypatch, free=gib * GIB, total=gib * GIB)
        with pytest.raises(PreflightError) as error:
            check_device(device, run, shape=SHAPES[LLAMA], shards=shards, rows=16, length=280, outputs=16 * 127, checkpointing=False)
        return str(error.value)

    assert f"about {memory_of(run, setup).total / GIB:.1f} are needed" in message(50, 4)
    # 46 of 50 GiB may be filled. The plan's smallest changes there:
    fits = {(n, each): memory_of(run, replace(setup, per_device=n, checkpointing=each)).total <= 46 * GIB for n in (1, 2, 4, 8, 16) for each in (False, True)}
    most = max(n for n in (1, 2, 4, 8) if fits[n, False])
    assert fits[16, True] and f"use --activation-checkpointing or --per-device-train-batch-size {most}, or" in message(50, 4)
    # 16 bytes a parameter are over a quarter on each of four: no option helps where that alone is too much.
    alone = 16 * 8_030_261_248 / GIB
    assert "use more GPUs, or" in message(30, 4) and f"moments alone take {alone / 4:.1f}" in message(30, 4)
    assert "use --shard on several GPUs" in message(80, 1) and "no AdamW in 8 bits or on the host" in message(80, 1)


def gpu(monkeypatch, *, free, total, bf16=True):
    fake = SimpleNamespace(
        is_bf16_supported=lambda including_emulation: bf16, get_device_name=lambda device: "GPU", mem_get_info=lambda device: (free, total)
    )
    monkeypatch.setattr(preflight.torch, "cuda", fake)


def test_a_gpu_is_asked_for_bfloat16_and_memory(config, monkeypatch):
    """The paper's share on 4 GPUs needs 32 GB of weights, gradients and moments and more; whole, 128 GB and more."""
    device = torch.device("cuda", 0)
    mixed = replace(config, precision="bf16_mixed")
    options = {"shape": SHAPES[LLAMA], "rows": 16, "length": 160, "outputs": 16 * 80, "checkpointing": False}
    gpu(monkeypatch, free=79 * GIB, total=80 * GIB)
    check_device(device, mixed, shards=4, **options)
    with pytest.raises(PreflightError, match="about .* are needed; use --shard on several GPUs"):
        check_device(device, mixed, shards=1, **options)
    gpu(monkeypatch, free=20 * GIB, total=80 * GIB)
    with pytest.raises(PreflightError, match="has 20.0 of 80.0 GiB free"):
        check_device(device, mixed, shards=4, **options)
    # Of 64 GPUs none has much of the model, but each answers with a whole copy: 12 / 64 + 2 bytes a parameter, and a cache of
    # 2 x 2 x 1,024 x 32 bytes for each of 160 + 96 tokens.
    whole = (12 / 64 + 2) * 8_030_261_248 + 131_072 * 256
    few = options | {"rows": 1, "outputs": 80}
    gpu(monkeypatch, free=whole + 1, total=80 * GIB)
    check_device(device, mixed, shards=64, **few)
    gpu(monkeypatch, free=whole - 1, total=80 * GIB)
    with pytest.raises(PreflightError, match=f"about {whole / GIB:.1f} are needed"):
        check_device(device, mixed, shards=64, **few)
    gpu(monkeypatch, free=79 * GIB, total=80 * GIB, bf16=False)
    with pytest.raises(PreflightError, match="has no bfloat16"):
        check_device(device, mixed, shards=4, **options)
    check_device(device, config, shards=4, **options)  # float32
    check_device(torch.device("cpu"), mixed, shards=1, **options)


@pytest.mark.parametrize("stride", [8, 159, 1000])
def test_a_stride_that_never_asks_a_category_is_told_with_the_largest_that_does(config, tmp_path, stride):
    """NameDescription's 480 questions lie in turns of eight, so that a stride of 8 asks one category alone."""
    reported = told([replace(config, question_stride=stride)], tmp_path)
    categories = load_corpus("name_description", source="synthetic").questions["category"][:]
    strides = [n for n in range(1, stride + 1) if {c for i, c in enumerate(categories) if i % n == 0} == set(categories)]
    assert strides[-1] < stride and f"question_stride={stride} asks none of the" in reported
    assert reported.endswith(f"the largest below it that asks every category is {strides[-1]}")
    check_study([replace(config, question_stride=strides[-1])], tmp_path)
