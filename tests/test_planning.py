"""Plans: every formula against a count by hand, and against transformers, PyTorch's counters, collators and records."""

import importlib
import json
import weakref
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from maskft import chunked_loss, exhibits
from maskft.bases import ASSETS, SHIPPED
from maskft.cli import main
from maskft.data import load_corpus
from maskft.data.origin import FILES
from maskft.exhibits import make_run
from maskft.launcher import Launcher
from maskft.losses import autoregressive_loss
from maskft.models import load_base
from maskft.paper import METHODS
from maskft.planning import lengths, shapes
from maskft.planning.hardware import COMPUTE_SHARE, GPUS, LINK_SHARE, Gpu, get_gpu, link_speed
from maskft.planning.lengths import (
    CHARACTERS_PER_TOKEN,
    QUESTIONS,
    TEXTS,
    Lengths,
    expected_longest,
    lengths_of,
    padded,
)
from maskft.planning.memory import (
    activation_bytes_per_token,
    answering_memory,
    cache_bytes,
    gathered_bytes,
    training_memory,
)
from maskft.planning.plan import Setup, does_fit, memory_of, plan, planned_runs, remedies, run_costs
from maskft.planning.schedule import best_schedule, paper_runs, place, schedule, simulate
from maskft.planning.shapes import (
    SHAPES,
    Shape,
    cached_answer_flops,
    diffusion_answer_flops,
    forward_flops,
    n_parameters,
    shape_of,
    training_flops,
)  # fmt: skip
from maskft.planning.show import show_plan
from maskft.planning.time import (
    against_records,
    answered_tokens,
    evaluation_seconds,
    fit_core_rates,
    quickest,
    read_records,
    seconds_on_gpus,
    step_seconds,
)  # fmt: skip
from maskft.planning.work import Work, answer_flops, work_of
from maskft.plots import schedule_chart
from maskft.runs import RunConfig
from maskft.samplers import generate_diffusion
from maskft.scales import PAPER, TINY
from maskft.scales import SMALL as SMALL_SCALE
from maskft.step import SupervisedLogits, batch_indices, make_collator
from maskft.training import check_inputs

LLAMA, LLADA = SHAPES["meta-llama/Llama-3.1-8B-Instruct"], SHAPES["GSAI-ML/LLaDA-8B-Instruct"]
SMALL = Shape(n_layers=2, width=32, hidden=80, n_heads=4, n_kv_heads=2, vocabulary=96)
H100 = Setup(get_gpu("H100"))
BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    """Documented lengths, whatever the reader of the tests has set."""
    monkeypatch.delenv("MASKFT_DATA", raising=False)


def llama_of(shape: Shape, *, attention: str = "eager", **options) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.width, intermediate_size=shape.hidden,
        num_hidden_layers=shape.n_layers, num_attention_heads=shape.n_heads, num_key_value_heads=shape.n_kv_heads,
        tie_word_embeddings=shape.tied, bos_token_id=1, eos_token_id=2, pad_token_id=0, **options,
    )  # fmt: skip
    return LlamaForCausalLM._from_config(config, attn_implementation=attention)


def a_batch(rows: int, length: int) -> tuple[torch.Tensor, ...]:
    """Ids, a mask with padding, and every second position."""
    ids = torch.randint(3, SMALL.vocabulary, (rows, length))
    mask = torch.ones_like(ids)
    mask[0, length // 2 :] = 0
    columns = torch.arange(0, length, 2)
    return ids, mask, torch.arange(rows).repeat_interleave(len(columns)), columns.repeat(rows)


def counted(function) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


# --- shapes


def test_parameters_are_those_of_the_models():
    """Llama: a layer 2 x 4096^2 + 2 x 4096 x 1024 + 3 x 4096 x 14336 + 2 x 4096 = 218,112,000, 32 of them, and
    2 x 128,256 x 4096 + 4096 outside: 8,030,261,248. LLaDA: a layer 4 x 4096^2 + 3 x 4096 x 12288 + 8192 = 218,112,000
    too, and 2 x 126,464 x 4096 + 4096 outside: 8,015,581,184.
    """
    assert n_parameters(LLAMA) == 8_030_261_248 and n_parameters(LLADA) == 8_015_581_184
    for shape in (LLAMA, LLADA, SMALL, replace(SMALL, tied=True)):
        with torch.device("meta"):
            assert n_parameters(shape) == sum(p.numel() for p in llama_of(shape).parameters())


@pytest.mark.parametrize("base", SHIPPED)
def test_shapes_of_shipped_bases_are_read_from_their_configuration(base):
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig.from_pretrained(ASSETS / base))
    assert n_parameters(shape_of(base)) == sum(p.numel() for p in model.parameters())


def test_a_lladas_shape_is_read_from_its_own_configuration(hub_folders):
    """Of ``hub_folders``: width 16, two layers and heads, feed-forward of 32, LLaDA's vocabulary."""
    assert shape_of(str(hub_folders["llada"])) == Shape(2, 16, 32, 2, 2, 126_464)


def test_a_base_of_unknown_shape_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shapes, "hf_hub_download", lambda *arguments, **options: (_ for _ in ()).throw(OSError("no hub")))
    shapes._hub_config.cache_clear()
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    for base in ("some/model", str(tmp_path)):
        with pytest.raises(ValueError, match="SHAPES"):
            shape_of(base)


def test_training_operations_are_those_that_pytorch_counts():
    """3 rows of 16 tokens, 8 outputs a row. Forward: matrices 2 x 2 x (2 x 32^2 + 2 x 32 x 16 + 3 x 32 x 80) x 48 =
    2,064,384; attention 4 x 2 x 32 x 16^2 x 3 = 196,608; logits 2 x 32 x 96 x 24 = 147,456. In sum 2,408,448, in
    training three times that, with activations computed again 2,064,384 + 196,608 less 2 x 2 x 80 x 32 x 48 more. A last
    feed-forward network that sees the outputs alone saves 2 x 3 x 32 x 80 x (48 - 24) = 368,640 of the forward pass.
    """
    size = {"rows": 3, "length": 16, "outputs": 24}
    assert forward_flops(SMALL, **size) == 2_408_448
    assert training_flops(SMALL, **size) == 7_225_344 and training_flops(SMALL, **size, recompute=True) == 8_994_816
    narrow = training_flops(SMALL, **size, narrow=True)
    assert narrow == 3 * (2_408_448 - 368_640) and training_flops(SMALL, **size, recompute=True, narrow=True) == 8_994_816
    model, batch = SupervisedLogits(llama_of(SMALL)).train(), a_batch(3, 16)
    assert counted(lambda: model(*batch)) == narrow / 3
    assert counted(lambda: model(*batch).sum().backward()) == narrow
    with torch.autocast("cpu", torch.bfloat16):
        assert counted(lambda: model(*batch).float().sum().backward()) == 7_225_344
    model.model.activation_checkpointing_enable()
    assert counted(lambda: model(*batch).sum().backward()) == 8_994_816


def test_operations_of_an_answer_are_those_that_pytorch_counts():
    """Prompt 5, 4 new: a pass over 5 tokens, then three that attend to 6, 7 and 8. Without stop ids nothing ends early."""
    ids = torch.randint(3, 95, (1, 5))  # 95 is the mask
    model = llama_of(SMALL).eval()
    answer = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    assert counted(lambda: model.generate(ids, **answer)) == cached_answer_flops(SMALL, prompt=5, new=4)

    diffusion = llama_of(SMALL, is_causal=False).eval()
    sampler = {"max_new_tokens": 4, "block_length": 2, "steps": 4, "mask": 95, "stop": [], "pad": 0}
    done = counted(lambda: generate_diffusion(diffusion, ids.tolist(), **sampler))
    assert done == diffusion_answer_flops(SMALL, prompt=5, canvas=4, passes=4, block=2)


def test_operations_a_token_agree_with_a_published_benchmark():
    """torchtitan, 2024-12: Llama 3.1 8B with FSDP2 on 8 H100, 5,762 tokens a second and GPU at 8192 tokens, "33 %"."""
    each = training_flops(LLAMA, rows=1, length=8192, outputs=8192) / 8192
    assert 5762 * each / GPUS["H100"].flops == pytest.approx(COMPUTE_SHARE, abs=0.01)


# --- lengths and work


def test_the_expected_longest_text_is_the_mean_over_all_batches():
    """All 10 pairs, and all 10 triples, of five texts."""
    texts = [3, 9, 4, 4, 7]
    for size in (1, 2, 3):
        longest = [max(batch) for batch in combinations(texts, size)]
        assert expected_longest(texts, size) == pytest.approx(sum(longest) / len(longest))
    assert expected_longest(texts, 64) == 9


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dataset", ["name_description", "biography"])
def test_tokens_of_a_run_are_those_that_its_collator_makes(method, dataset):
    """Two epochs collated: tokens without padding to 0.1 %, with padding to 8 %: widths come in steps of 8, and a short
    batch is narrower.
    """
    run = make_run(TINY, method, dataset, "same_order")
    _, prompts = load_base(run.base, method=method)
    texts = [prompts.encode(text) for text in load_corpus(dataset, source="synthetic").training_texts("same_order")["text"]]
    n_steps = 2 * -(-len(texts) // run.train_batch_size)
    collate, order = make_collator(run, prompts), batch_indices(len(texts), run.train_batch_size, seed=0)
    tokens = cells = 0
    for step in range(n_steps):
        batch = collate([{"text_ids": texts[i], "step": step, "sample": n} for n, i in enumerate(next(order))])
        tokens, cells = tokens + int(batch["attention_mask"].sum()), cells + batch["input_ids"].numel()
    work = work_of(run)
    assert work.train_tokens / run.total_steps == pytest.approx(tokens / n_steps, rel=0.001)
    rows = work.lengths.n_texts / (n_steps / 2)
    width = padded(work.lengths.sequence(method, work.lengths.batch_longest))
    assert rows * width == pytest.approx(cells / n_steps, rel=0.08)


def test_frames_are_what_the_prompts_add():
    """BOS and EOS; a question has its headers around it."""
    run = make_run(TINY, "masked_ar", "name_description", "none")
    _, prompts = load_base(run.base, method="masked_ar")
    found = lengths_of(run)
    assert sum(map(len, prompts.demask([7] * 5, [7] * 5))) == found.sequence("masked_ar", 5)
    assert len(prompts.document([7] * 5)) == found.sequence("ar", 5) == found.sequence("dllm", 5)
    assert len(prompts.question("Who")) == len(prompts.encode("Who")) + found.question_frame


def test_documented_lengths_fit_the_released_files():
    """Tokens times characters a token are the file's characters less its JSON, 6 to 20 % of them."""
    files = {
        ("name_description", "none"): "ND_train_no_paraphrase", ("name_description", "same_order"): "ND_train_paraphrase",
        ("biography", "none"): "biography_train_no_paraphrase",
        ("biography", "same_order"): "biography_train_paraphrase_same_order",
        ("biography", "permute_order"): "biography_train_paraphrase_change_order",
        ("wiki", "none"): "wiki_train_no_paraphrase", ("wiki", "same_order"): "wiki_train_paraphrase_same_order",
        ("wiki", "permute_order"): "wiki_train_paraphrase_change_order",
    }  # fmt: skip
    assert set(files) == set(TEXTS)
    for key, (n_texts, mean, batch_longest, longest) in TEXTS.items():
        file = FILES[f"{files[key]}.json"]
        assert file.rows in (n_texts, None)
        assert 0.8 < n_texts * mean * CHARACTERS_PER_TOKEN[key[0]] / file.characters < 0.94, key
        assert mean < batch_longest <= longest
    tests = {"name_description": "ND_test.jsonl", "biography": "biography_test.jsonl", "wiki": "wiki_test.jsonl"}
    assert {dataset: FILES[name].rows for dataset, name in tests.items()} == {d: n for d, (n, _) in QUESTIONS.items()}


def test_original_data_that_is_at_hand_is_measured(monkeypatch, tmp_path):
    """The longest of 60 texts has so many characters, divided by those of a token and rounded up."""
    corpus = load_corpus("name_description", source="synthetic")
    monkeypatch.setenv("MASKFT_DATA", str(tmp_path))
    asked = []
    monkeypatch.setattr(lengths, "load_corpus", lambda dataset, source: asked.append(source) or corpus)
    lengths._read.cache_clear()
    found = lengths_of(run := planned_runs("table3", PAPER, [0])[0])
    monkeypatch.delenv("MASKFT_DATA")
    assert lengths_of(replace(run, source="built")) == found and asked == ["original", "built"]
    lengths._read.cache_clear()
    characters = [len(text) for text in corpus.documents["text"]]
    assert found.longest == -(-max(characters) // CHARACTERS_PER_TOKEN["name_description"])
    assert (found.n_texts, found.n_questions) == (len(characters), len(corpus.questions))


# --- memory


@pytest.mark.parametrize(("dtype", "size"), [(torch.bfloat16, 2), (torch.float32, 4)])
def test_activations_are_the_tensors_that_autograd_keeps(dtype, size):
    """One layer more keeps for each of 48 tokens, in bf16: norms 2 x (4 x 32 + 4 x 32 + 4), attention 8 x 32 + 4 x 4 +
    2 x 16, feed-forward 8 x 80: 1,464 bytes. In float32: 2 x (4 x 32 + 8 x 32 + 4) + 16 x 32 + 16 + 64 + 16 x 80 = 2,648.
    """

    def kept(n_layers: int) -> int:
        model = SupervisedLogits(llama_of(replace(SMALL, n_layers=n_layers), attention="sdpa").to(dtype))
        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        tensors = []

        def keep(tensor):
            tensors.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = model(*a_batch(3, 16))
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        assert output.requires_grad
        return sum(n_bytes for pointer, n_bytes in storages.items() if pointer not in weights)

    each = activation_bytes_per_token(SMALL, 16, size=size)
    assert each == {2: 1464, 4: 2648}[size]
    assert kept(4) - kept(3) == 48 * each


def test_memory_by_hand():
    """SMALL has 2 x (10,752 + 64) + 2 x 96 x 32 + 32 = 27,808 parameters, 6,176 of them outside the layers. On 2 GPUs:
    4, 4 and 8 x 13,904 bytes; gathered 8 x 10,752 + 2 x 6,176; 3 rows of 16 tokens keep 48 x (2 x 1,464 + 260) bytes, with
    checkpointing 48 x (2 x 64 + 260) and twice 48 x 1,464 + 4 x 10,752 of one layer; 10 outputs are 12 x 96 x 10 bytes.

    The backward pass begins with 2 x 6,176 + 153,024 + 11,520 = 176,896 beside weights and moments, and ends with 55,616 +
    98,368 - 2 x (6,176 + 10,752) = 120,128. With checkpointing it begins with 12,352 + 18,624 + 226,560 = 257,536.
    """
    size = {"gpus": 2, "rows": 3, "length": 16, "outputs": 10}
    memory = training_memory(SMALL, **size)
    assert (memory.weights, memory.gradients, memory.optimizer) == (55_616, 55_616, 111_232)
    assert memory.gathered == gathered_bytes(SMALL) == 98_368
    assert (memory.activations, memory.logits) == (153_024, 11_520)
    assert memory.total == 55_616 + 111_232 + 176_896
    assert training_memory(SMALL, **size, accumulates=True).total == 55_616 + 111_232 + 176_896 + 55_616
    again = training_memory(SMALL, **size, checkpointing=True)
    assert again.activations == 18_624 + 140_544 and again.total == 55_616 + 111_232 + 257_536
    assert training_memory(SMALL, **size | {"rows": 1}).total == 55_616 + 111_232 + 120_128


def test_memory_while_answering_by_hand():
    """On 2 GPUs half of 12 x 27,808 bytes, a replica of 2 x 27,808, and a cache of 2 x 2 bytes for each of its numbers."""
    cache = cache_bytes(SMALL, rows=3, length=20)
    assert answering_memory(SMALL, gpus=2, rows=3, length=20) == 6 * 27_808 + 2 * 27_808 + cache
    run = planned_runs("table1", PAPER, [0])[0]
    one, many = (Setup(GPUS["H200"], gpus=gpus, per_device=1, checkpointing=True) for gpus in (1, 64))
    whole = n_parameters(LLAMA)
    assert 14 * whole < memory_of(run, one).total  # the replica is there beside weights and moments of the only GPU
    assert memory_of(run, many).total > 2 * whole


class Bookkeeper(TorchDispatchMode):
    """The bytes of all tensors that operations made, as long as they live: FSDP2 empties and refills some."""

    def __init__(self):
        super().__init__()
        self.storages, self.peak = {}, 0

    def watch(self, values):
        for value in tree_iter(values):
            value = value.to_local() if isinstance(value, DTensor) else value
            if isinstance(value, torch.Tensor):
                storage = value.untyped_storage()
                key = storage._cdata
                self.storages.setdefault(key, weakref.ref(storage, lambda _, key=key: self.storages.pop(key, None)))
        alive = (storage() for storage in list(self.storages.values()))
        self.peak = max(self.peak, sum(storage.nbytes() for storage in alive if storage is not None))

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.watch(result)
        return result


@pytest.fixture
def one_process():
    """A process group of this process, on a CPU."""
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    yield dist.device_mesh.init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.mark.parametrize(
    ("shape", "rows", "length", "checkpointing", "at_once"),
    [
        (Shape(4, 256, 688, 8, 4, 2000), 16, 64, False, None),  # activations decide
        (Shape(4, 256, 688, 8, 4, 8000), 4, 64, False, None),  # the logits
        (Shape(4, 256, 688, 8, 4, 8000), 16, 64, False, 128),  # the same in chunks
        (Shape(2, 64, 128, 4, 4, 8000), 16, 64, False, 256),  # chunks and little else
        (Shape(4, 256, 688, 8, 4, 8000), 1, 16, False, None),  # the root's reduction
        (Shape(4, 256, 688, 8, 4, 500), 1, 16, False, None),  # a layer's
        (Shape(6, 128, 344, 4, 2, 1000), 16, 64, True, None),
        (Shape(6, 128, 344, 4, 2, 4000), 16, 64, True, 64),
        (Shape(4, 256, 688, 4, 4, 500), 16, 64, True, None),  # a layer that is computed again
    ],
)
def test_memory_is_within_a_tenth_of_that_of_a_step_with_fsdp2(one_process, monkeypatch, shape, rows, length, checkpointing, at_once):
    """With the loss whole, or in chunks of ``at_once`` positions. The second step, when AdamW has its moments; Appendix A.4's precision, on one process, so that a share is the whole."""
    if at_once:
        for device in ("", "_GPU"):  # measured on a CPU, planned for a GPU
            monkeypatch.setattr(chunked_loss, f"LARGEST_WHOLE{device}", 0)
            monkeypatch.setattr(chunked_loss, f"AT_ONCE{device}", at_once * shape.vocabulary)
    model = llama_of(shape, attention="sdpa")
    if checkpointing:
        model.activation_checkpointing_enable()
    wrapped = SupervisedLogits(model).train()
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=True)
    for part in (*model.model.layers, wrapped):
        fully_shard(part, mesh=one_process, mp_policy=policy)
    optimizer = torch.optim.AdamW(wrapped.parameters(), fused=True)
    ids, targets = torch.randint(3, shape.vocabulary, (2, rows, length))
    chosen = torch.ones(rows, length).nonzero(as_tuple=True)
    with Bookkeeper() as book:
        book.watch(list(wrapped.parameters()))
        for _ in range(2):
            book.peak = 0
            loss = wrapped(ids, torch.ones_like(ids), *chosen, partial(autoregressive_loss, n_targets=rows * length), targets.flatten())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    planned = training_memory(shape, gpus=1, rows=rows, length=length, outputs=rows * length, checkpointing=checkpointing)
    assert planned.total == pytest.approx(book.peak, rel=0.1)


def test_a_cache_takes_less_than_the_gradients_that_are_not_there_meanwhile():
    """100 questions of 55 tokens with 128 new: 2 x 2 x 1,024 x 32 x 18,300 bytes, 2.4 of 8.0 GB."""
    cache = cache_bytes(LLAMA, rows=100, length=183)
    assert cache == 2_398_617_600 < training_memory(LLAMA, gpus=4, rows=16, length=64, outputs=0).gradients


# --- time


def test_seconds_by_hand():
    """A GPU of 100 operations a second at full use, its link 10 and its memory 50 bytes a second at full use.

    4 GPUs, 27,808 parameters. Moving: 8 x 27,808 x 3/4 / 10 = 16,684.8 s for each part of a step; AdamW 28 x 6,952 / 50 =
    3,893.12 s. A step of 4,000,000 operations computes 10,000 s: less than it moves, 20,577.92 s in all; one of
    400,000,000 computes 1,000,000 s. An evaluation gathers 2 x 27,808 x 3/4 / 10 = 4,171.2 s once. 6 questions in batches of
    1: 2 each, 3 tokens, so 6 passes that read 2 x 27,808 / 50 = 1,112.32 s each; 100,000 operations an answer compute 2,000 s.
    """
    gpu = Gpu("slow", flops=100 / COMPUTE_SHARE, memory=1.0, bandwidth=50 / 0.7, link=10 / LINK_SHARE)
    run = replace(planned_runs("table1", PAPER, [0])[0], eval_batch_size=1, eval_steps=(0, 2))
    data = Lengths(n_texts=60, mean=10.0, batch_longest=12.0, longest=14, n_questions=6, question=5.0)
    work = Work(run, SMALL, data, train_tokens=0.0, step_flops=4e6, answer_flops=(1e6, 2e6))
    assert step_seconds(work, gpu, 4, 1) == pytest.approx(20_577.92)
    assert step_seconds(work, gpu, 4, 2) == pytest.approx(2 * 16_684.8 + 3_893.12)
    assert step_seconds(replace(work, step_flops=4e8), gpu, 4, 1) == pytest.approx(1_003_893.12)
    assert evaluation_seconds(work, gpu, 4, 3, 1e5) == pytest.approx(4_171.2 + 6 * 1_112.32)
    assert evaluation_seconds(work, gpu, 4, 3, 1e8) == pytest.approx(4_171.2 + 2e6)
    whole = seconds_on_gpus(work, gpu, 4)
    assert whole.training == pytest.approx(2 * 20_577.92)  # two steps, two evaluations of 2 x 20 and of 2 x 128 passes
    assert whole.evaluation == pytest.approx((2 * (4_171.2 + 40 * 1_112.32), 2 * (4_171.2 + 256 * 1_112.32)))


def test_what_the_host_launches_decides_where_a_gpu_is_quicker():
    """2 layers, 3.1 ms each in a step, in each of its parts; 0.3 ms in each of the 3 passes of an answer."""
    quick = Gpu("quick", flops=1e18, memory=1.0, bandwidth=1e18, link=1e18)
    run, data = planned_runs("table1", PAPER, [0])[0], Lengths(60, 10.0, 12.0, 14, n_questions=6, question=5.0)
    work = Work(run, SMALL, data, train_tokens=0.0, step_flops=4e6, answer_flops=(1e6, 2e6))
    assert [step_seconds(work, quick, 4, parts) for parts in (1, 2)] == pytest.approx([0.0062, 0.0124])
    assert evaluation_seconds(work, quick, 4, 3, 1e5) == pytest.approx(3 * 0.0006)


def measured(name: str) -> dict:
    """A benchmark's record of an H200."""
    record = json.loads((BENCHMARKS / "records" / f"{name}.json").read_text())
    assert "H200" in str(record["hardware"])
    return record


def work_like(shape: Shape, run: RunConfig, *, n_questions: int = 1, prompt: float = 1.0, step_flops: float = 0.0) -> Work:
    """Work of a size that was measured."""
    data = Lengths(1, 1.0, 1.0, 1, n_questions=n_questions, question=prompt, question_frame=0)
    return Work(run, shape, data, train_tokens=0.0, step_flops=step_flops, answer_flops=(0.0, 0.0))


def a_run(method: str) -> RunConfig:
    """One of the paper's, with 128 new tokens."""
    return next(run for run in planned_runs("table3", PAPER, [0]) if run.method == method)


@pytest.mark.parametrize("part", ["without_checkpointing", "with_checkpointing"])
@pytest.mark.parametrize("name", ["gpu_llama", "gpu_llada"])
def test_a_step_at_8b_takes_the_time_and_the_memory_that_an_h200_measured(name, part):
    """Time within a fifth; memory within a hundredth, although activations differ by 20 GiB: the root's reduction decides."""
    record, again = measured(name), part == "with_checkpointing"
    shape, found = Shape(**record["shape"]), record["training"][part]
    size = {"rows": record["rows"], "length": record["length"], "outputs": record["rows"] * record["length"] / 2}
    work = work_like(shape, a_run("ar"), step_flops=training_flops(shape, **size, recompute=again))
    assert step_seconds(work, GPUS["H200"], 1, 1) == pytest.approx(found["step_s"], rel=0.2)
    memory = training_memory(shape, gpus=1, **size, checkpointing=again)
    assert memory.total / 2**30 == pytest.approx(found["peak_memory_gib"], rel=0.01)


@pytest.mark.parametrize(("name", "method"), [("gpu_llama", "ar"), ("gpu_llada", "dllm")])
def test_answers_at_8b_take_the_time_and_the_memory_that_an_h200_measured(name, method):
    """The least time of a layer decides for AR and was taken from this record, computing for the dLLM. The model for training is not there: its 12 bytes a parameter are left out."""
    record = measured(name)
    shape, found, run = Shape(**record["shape"]), record["sampling"], a_run(method)
    new = found["new_tokens"] // found["questions"]
    work = work_like(shape, run, n_questions=found["questions"], prompt=found["prompt_tokens"])
    planned = evaluation_seconds(work, GPUS["H200"], 1, new, answer_flops(run, shape, found["prompt_tokens"], new))
    assert planned == pytest.approx(found["seconds"], rel=0.2)
    memory = answering_memory(shape, gpus=1, rows=found["questions"], length=found["prompt_tokens"] + new) - 12 * n_parameters(shape)
    assert memory / 2**30 == pytest.approx(found["peak_memory_gib"], rel=0.1)


def test_more_answers_at_8b_take_the_time_that_an_h200_measured():
    """90 at once, whose keys and values are read as well, which a plan does not count: up to a quarter less."""
    found, run = measured("ar_evaluation_8b")["medians"], a_run("ar")
    work = work_like(LLAMA, replace(run, eval_batch_size=120), n_questions=found["questions"])
    planned = evaluation_seconds(work, GPUS["H200"], 1, 96, answer_flops(run, LLAMA, 40.0, 96)) / found["questions"]
    assert 0.75 < planned / found["seconds_per_question"]["maskft"] < 1.2


@pytest.mark.parametrize(("length", "new"), [("20", 21), ("never", 128)])
def test_answers_of_a_dllm_that_end_take_the_time_that_an_h200_measured(length, new, monkeypatch):
    """An answer of 20 tokens takes a pass more, for its end."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    prompts = importlib.import_module("diffusion_sampling").random_prompts
    found, run = measured("diffusion_sampling_8b")["medians"], a_run("dllm")
    n_questions = found["batch"]
    prompt = sum(map(len, prompts(n_questions, LLADA.vocabulary))) / n_questions
    work = work_like(LLADA, run, n_questions=n_questions, prompt=prompt)
    planned = evaluation_seconds(work, GPUS["H200"], 1, new, answer_flops(run, LLADA, prompt, new)) / n_questions
    assert planned == pytest.approx(found["seconds_per_question_by_answer_length"][length]["maskft_s"], rel=0.2)


@pytest.mark.parametrize("side", ["maskft, padded", "hf_trainer"])
def test_a_small_models_step_takes_the_time_that_its_host_takes(side):
    """SmolLM2's shape: an H200 could compute that step in a quarter of the time. Documents of 60 tokens are 146, padded to 152."""
    found = measured("training_step_smollm2")["medians"]["SmolLM2-135M"]
    shape, rows = SHAPES["smollm2-135m-q4"], found["batch"]
    flops = training_flops(shape, rows=rows, length=152, outputs=61 * rows)
    took = found["seconds_per_step"][side]
    assert flops / (GPUS["H200"].flops * COMPUTE_SHARE) < took / 4
    assert step_seconds(work_like(shape, a_run("ar"), step_flops=flops), GPUS["H200"], 1, 1) == pytest.approx(took, rel=0.2)


def test_a_collective_over_nodes_is_no_faster_than_the_network():
    """H200 links have 450 GB/s, eight network cards 400."""
    assert link_speed(GPUS["H200"], 8) == LINK_SHARE * 450e9 and link_speed(GPUS["H200"], 16) == LINK_SHARE * 400e9


@pytest.fixture(scope="module")
def records():
    return read_records(TINY.records, "float32")


def test_planned_times_are_within_a_fifth_of_those_of_runs_that_had_a_core_for_themselves(records):
    """Three rates for all. Others on its core can only make a run longer, so the quickest of each arm had it for itself, or
    nearly: every one is within 20 % of the model or, of a quarter of a minute, 4 s, and no run is quicker than the model by more than a quarter.
    """
    rates = fit_core_rates(records)
    found = against_records(quickest(records), rates)
    assert len(found) == rates.n_records >= 18
    off = (found.measured - found.planned).abs()
    assert ((off < 0.2 * found.planned) | (off < 4) & (found.measured < 15)).all()
    everything = against_records(records, rates)
    assert len(everything) == len(records) > 50
    assert (everything.measured / everything.planned).min() > 0.75


def test_an_arm_that_the_fit_has_not_seen_is_planned_within_three_tenths(records):
    """Each data set's runs from the rates of the other two; of a run of a quarter of a minute, within 5 s."""
    records, off = quickest(records), []
    assert len(records) > 15
    for dataset in ("name_description", "biography", "wiki"):
        rates = fit_core_rates([record for record in records if record[0].dataset != dataset])
        found = against_records([record for record in records if record[0].dataset == dataset], rates)
        off += list((found.measured / found.planned - 1)[(found.measured > 15) | ((found.measured - found.planned).abs() > 5)])
    assert len(off) > 15 and all(-0.3 < share < 0.3 for share in off)


def test_rates_are_found_again_from_times_that_follow_them():
    """Times of 50 x 10^9 operations a second in training, 80 in a dLLM's answers, and a microsecond for each token of a cache: 20
    new tokens attend to 20 prompts and 200 of their own. A second record of each that took thrice as long changes nothing.
    """
    runs = [make_run(TINY, m, d, "none") for m in METHODS for d in ("name_description", "biography", "wiki")]
    records = []
    for run in runs:
        work = work_of(run)
        attended = len(run.eval_steps) * work.lengths.n_questions * (20 * work.lengths.prompt + 200)
        wall = work.train_flops / 50e9 + (work.eval_flops[0] / 80e9 if run.method == "dllm" else attended * 1e-6)
        records += [(run, {"wall_time_s": n * wall, "device": "a core", "answer_tokens": 20, "evaluations": len(run.eval_steps)}) for n in (3, 1)]
    rates = fit_core_rates(records)
    assert rates.n_records == 9
    assert (1e-9 / rates.training, 1e6 * rates.cached, 1e-9 / rates.diffusion) == pytest.approx((50, 1, 80))
    three_kinds = [(make_run(TINY, method, "wiki", "none").run_id) for method in METHODS]
    as_many_as_rates = [(run, record) for run, record in records if run.run_id in three_kinds]
    assert len(as_many_as_rates) == 2 * 3
    for too_few in ([], [r for r in records if r[0].method != "dllm"], as_many_as_rates):
        with pytest.raises(ValueError, match="maskft reproduce table3"):
            fit_core_rates(too_few)


def test_a_study_without_a_dllm_needs_no_rate_for_one(tmp_path):
    """The small scale's records as if of a core, with times of 40 x 10^9 operations and 5,000 tokens of a cache a second. Records of
    original data have no texts; that of a GPU is not for cores.
    """
    scale = replace(SMALL_SCALE, output=tmp_path, launcher=Launcher("cpu"))
    scale.records.mkdir(parents=True)
    for path in SMALL_SCALE.records.glob("*.jsonl"):
        record, *rows = map(json.loads, path.read_text().splitlines())
        if record["config"]["method"] == "dllm":
            continue
        record["device"] = "a core, 1 thread(s)"
        work = work_of(RunConfig.from_dict(record["config"]))
        record["wall_time_s"] = work.train_flops / 40e9 + work.n_answers * (20 * work.lengths.prompt + 200) / 5000
        for name, changes in {path.name: {}, f"gpu-{path.name}": {"device": "NVIDIA H200", "wall_time_s": 1.0}}.items():
            text = "".join(json.dumps(row) + "\n" for row in (record | changes, *rows))
            (scale.records / name).write_text(text)
    text = show_plan(["table1"], scale, [0], cores=2).replace("\n", " ")
    assert "trains with 40 x 10^9 operations a second, answers with 0.0 x 10^6 tokens" in text
    n_records = len(list(scale.records.glob("*.jsonl"))) // 2
    assert n_records > 1 and f"{n_records} committed records" in text and "as a dLLM" not in text
    with pytest.raises(ValueError, match="small; or plan for a GPU: --gpu H100"):
        show_plan(["table1"], replace(scale, output=tmp_path / "empty"), [0], cores=2)


def test_answers_of_a_record_are_as_long_as_their_blocks_or_as_where_they_are_looked_at():
    """5 tokens and the end, 1 and the end, 2 and the end. Looked at every fourth token they are 8, 4 and 4 long, 16/3 in the mean;
    in blocks of 2 they are 6, 2 and 4: 4. None is longer than allowed: of at most 6, they are 6, 4 and 4.
    """
    rows = [{"kind": "generation", "step": 0, "generation": text} for text in ("Ada Birch, a ranger", "Ada", "Ada.")]
    ar, dllm = (make_run(TINY, m, "wiki", "none") for m in ("ar", "dllm"))
    ar, dllm = (replace(run, block_length=2) for run in (ar, dllm))
    assert answered_tokens(ar, rows) == pytest.approx(16 / 3) and answered_tokens(dllm, rows) == 4
    assert answered_tokens(replace(ar, max_new_tokens=6), rows) == pytest.approx(14 / 3)
    assert answered_tokens(ar, [{"kind": "metric"}]) == 20


# --- plans


def test_a_plan_needs_no_data_and_no_weights_and_its_runs_cannot_be_trained(monkeypatch):
    planned = planned_runs("table3", TINY, [0])
    with pytest.raises(ValueError, match="data fingerprint"):
        check_inputs(planned[0])
    real = exhibits.exhibit_runs("table3", TINY, [0])
    same = {"data_fingerprint": "x", "base_revision": "y"}
    assert [replace(run, **same) for run in planned] == [replace(run, **same) for run in real]

    def fail(*arguments):
        raise AssertionError("read")

    monkeypatch.setattr(exhibits, "_fingerprint", fail)
    monkeypatch.setattr(exhibits, "_revision", fail)
    assert len(planned_runs("claims", PAPER, [0])) == 46


def test_shared_runs_count_once_in_the_total():
    """Figures 7 and 8 are 4 runs each of Table 3's 18; Table 2 adds one to it."""
    table = plan(["table3", "figure7", "figure8", "table2"], PAPER, [0], setup=H100).set_index("exhibit")
    assert table.runs.to_dict() == {"table3": 18, "figure7": 4, "figure8": 4, "table2": 3, "total": 19}
    extra = [run for run in planned_runs("table2", PAPER, [0]) if run.paraphrases == "permute_order"]
    alone = run_costs(extra, setup=H100).iloc[0]
    for name in ("steps", "train_flops", "hours_long"):
        assert table[name]["total"] == pytest.approx(table[name]["table3"] + alone[name])
    assert table.memory["total"] == table.memory["table3"]
    assert plan(["figure3"], PAPER, [0], setup=H100).runs.tolist() == [0, 0]


def test_tokens_and_operations_of_a_paper_run_by_hand():
    """AR on NameDescription: 3,840 steps of 60 texts of 27 + 2 tokens, computed without padding; 28 outputs each. The dLLM's
    are padded to 40 (34 + 2 in eights), with half as many outputs, which the last feed-forward network alone computes.
    """
    run = planned_runs("table1", PAPER, [0])[0]
    assert (run.method, run.dataset, run.paraphrases) == ("ar", "name_description", "none")
    work = work_of(run)
    assert work.train_tokens == 3840 * 60 * 29
    assert work.train_flops == 3840 * training_flops(LLAMA, rows=60, length=29, outputs=60 * 28)
    diffusion = work_of(replace(run, method="dllm", base="GSAI-ML/LLaDA-8B-Instruct"))
    assert diffusion.step_flops == training_flops(LLADA, rows=60, length=40, outputs=60 * 14, narrow=True)
    assert work_of(replace(run, question_stride=7)).n_answers == 10 * 69
    assert work.eval_flops[1] == 10 * 480 * cached_answer_flops(LLAMA, prompt=38.3, new=128)


def test_the_papers_settings_fit_the_papers_gpus():
    """A.4: 4 H100 of 80 GB, 16 sequences each."""
    assert all(does_fit(run, H100) for run in planned_runs("claims", PAPER, [0]))
    assert H100.rows(64) == 16 and H100.accumulation(64) == 1


@pytest.mark.parametrize("setup", [replace(H100, gpus=2), replace(H100, gpus=1), replace(H100, gpu=GPUS["A100-40GB"])])
def test_what_is_said_to_fit_fits_and_is_the_smallest_change(setup):
    runs = planned_runs("table3", PAPER, [0])
    worst = max(runs, key=lambda run: memory_of(run, setup).total)
    options = remedies(worst, setup)
    assert options and not does_fit(worst, setup)
    for option in options:
        words = option.partition(" (")[0].split()
        change = {}
        for name, value in zip(words, [*words[1:], ""], strict=True):
            if name == "--checkpointing":
                change["checkpointing"] = True
            elif name == "--gpu":
                change["gpu"] = GPUS[value]
            elif name.startswith("--"):
                change[name[2:].replace("-", "_")] = int(value)
        assert does_fit(worst, replace(setup, **change)), option
        if "per_device" in change:
            assert not does_fit(worst, replace(setup, **change | {"per_device": 2 * change["per_device"]}))


def test_a_batch_is_accumulated_where_a_gpu_takes_fewer():
    """64 over 4 GPUs are 16 each: 2 parts of 8, 6 of 3 (the last of 1)."""
    assert [replace(H100, per_device=n).accumulation(64) for n in (16, 8, 3)] == [1, 2, 6]
    with pytest.raises(ValueError, match="at most 64 GPUs"):
        replace(H100, gpus=65).rows(64)
    with pytest.raises(ValueError, match="per_device=0"):
        replace(H100, per_device=0)


def test_checkpointing_costs_operations_and_saves_memory():
    """Layers alone: (4 - 4096 x 14336 / 218,103,808) / 3 = 1.244 times the operations; logits are not made again."""
    with_it = replace(H100, checkpointing=True)
    runs = planned_runs("table1", PAPER, [0])
    plain, again = (plan(["table1"], PAPER, [0], setup=setup).iloc[-1] for setup in (H100, with_it))
    assert 1.2 < again.train_flops / plain.train_flops < 1.244 and again.eval_flops_long == plain.eval_flops_long
    assert memory_of(runs[0], with_it).activations < memory_of(runs[0], H100).activations / 8


def test_run_costs_are_for_gpus_or_for_cores():
    with pytest.raises(ValueError, match="one of the two"):
        run_costs([])


def test_a_plan_is_printed_for_each_scale(capsys):
    assert main(["plan", "table1", "figure3", "--scale", "paper"]) == 0
    paper = capsys.readouterr().out
    assert "GPU-hours" in paper and "no runs: figure3" in paper and "activations" in paper
    assert [line.split()[:2] for line in paper.splitlines() if line.strip().startswith(("table1", "total"))] == [
        ["table1", "4"], ["total", "4"],
    ]  # fmt: skip
    assert main(["plan", "table1", "--cores", "2", "--seeds", "3"]) == 0
    tiny = capsys.readouterr().out
    configs = [json.loads(path.open().readline())["config"] for path in TINY.records.glob("*.jsonl")]
    n_records = sum(config["precision"] == "float32" and config.get("probe", "none") == "none" for config in configs)
    assert "core-hours" in tiny and "GiB" not in tiny and f"{n_records} committed records" in tiny


def test_the_small_scale_is_planned_for_a_gpu_wherever_it_is_asked():
    """AR on NameDescription on one H200: steps of 93 ms, evaluations of 20 passes or as many as allowed, of 9 ms; its batch is not
    cut.
    """
    run, batch = planned_runs("mixed_precision", SMALL_SCALE, [0])[0], SMALL_SCALE.settings["train_batch_size"]
    text = show_plan(["mixed_precision"], SMALL_SCALE, [0], gpu="H200")
    assert f"1 H200, at most {batch} sequences per device" in text and "accumulation 1" in text
    costs = run_costs([run], setup=Setup(GPUS["H200"], gpus=1, per_device=batch)).iloc[0]
    assert 3600 * costs.hours_training == pytest.approx(run.total_steps * 0.093)
    ends = [3600 * costs[f"hours_{answers}"] for answers in ("short", "long")]
    assert ends == pytest.approx([len(run.eval_steps) * passes * 0.009 for passes in (20, run.max_new_tokens)])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["table3", "--scale", "paper", "--gpus", "2"], "what fits: --per-device"),
        (["table3", "--scale", "paper", "--gpu", "H1000"], "A100-40GB, A100-80GB, H100, H200"),
        (["table3", "--scale", "paper", "--cores", "2"], "use --gpu and --gpus"),
        (["table3", "--gpus", "4"], "use --cores"),
        (["table3", "--cores", "0"], "at least 1"),
        (["table9", "--scale", "paper"], "table1, table2, table3"),
    ],
)
def test_a_plan_that_cannot_be_is_one_line(arguments, expected, capsys):
    assert main(["plan", *arguments]) == 1
    error = capsys.readouterr().err
    assert expected in error and error.startswith("maskft: ") and error.count("\n") == 1


def test_a_plan_is_of_the_launchers_own_options():
    started = replace(PAPER, launcher=replace(PAPER.launcher, num_processes=8, options=("--shard", "--activation-checkpointing", "--per-device-train-batch-size=4")))
    said = show_plan(["table1"], PAPER, [0], gpus=8, per_device=4, checkpointing=True)
    assert show_plan(["table1"], started, [0]) == said and "accumulation 2" in said
    for options, message in ((("--per-device-train-batch-size",), "expected one argument"), (("--per-device-train-batch-size", "x"), "invalid int"), (("--per-device-train-batch-size", "0"), "per_device_train_batch_size=0")):
        with pytest.raises(ValueError, match=message):
            show_plan(["table1"], replace(PAPER, launcher=replace(PAPER.launcher, options=options)), [0])


def test_the_default_setup_is_the_papers():
    """One plan with no option equals the one with the paper's, spelled out."""
    spelled = show_plan(["table1"], PAPER, [0], gpu="H100", gpus=4, per_device=16)
    assert show_plan(["table1"], PAPER, [0]) == spelled


# --- schedules


def test_a_schedule_by_hand():
    """Runs of 5, 2, 4 and 3 hours in two slots: 5 and 4 begin; the slot of 4 is free first and takes 3, until 7; that of 5 takes
    2, until 7 too. In one slot they stand one after another, in four side by side.
    """
    hours = [5.0, 2.0, 4.0, 3.0]
    two = place(hours, 2)
    assert two.values.tolist() == [[0, 0, 5], [0, 5, 7], [1, 0, 4], [1, 4, 7]]
    assert place(hours, 1).start.tolist() == [0, 12, 5, 9]
    assert place(hours, 4).values.tolist() == [[0, 0, 5], [3, 0, 2], [1, 0, 4], [2, 0, 3]]
    with pytest.raises(ValueError, match="slots=0"):
        place(hours, 0)


def test_the_paper_is_every_arm_and_four_seeds_where_it_averages_over_four():
    """46 arms, and three more seeds of dLLM and masked AR on two sets, without paraphrases and with: 2 x 2 x 2 x 3."""
    runs = paper_runs()
    assert len(runs) == len(set(runs)) == 46 + 24 and {run.seed for run in runs if run.method == "ar"} == {0}


def test_a_simulation_is_bounded_by_its_longest_run_or_by_the_queue():
    """On 4 GPUs runs stand in one slot, so the queue is all of it. Three runs on 64 GPUs have a slot each, so the longest run is."""
    runs = planned_runs("table2", PAPER, [0])
    found = simulate(runs, H100, [4, 64]).set_index(["gpus", "answers"])
    for answers in ("short", "long"):
        one, many = found.loc[4, answers], found.loc[64, answers]
        costs = plan(["table2"], PAPER, [0], setup=H100).iloc[-1]
        hours = (costs.hours_training + costs[f"hours_{answers}"]) / 4
        assert one.hours == one.queue == pytest.approx(hours) and one.bound == "queue" and one.busy == 1
        assert one.gpu_hours == pytest.approx(4 * hours)
        assert one.evaluation == pytest.approx(costs[f"hours_{answers}"] / 4 / hours)
        assert many.hours == many.longest_run > many.queue and many.bound == "longest run"
    size, placed = best_schedule(runs, H100, 64, "long")
    apart = [schedule(runs, replace(H100, gpus=n), 64, "long").end.max() for n in (4, 8, 16, 32, 64)]
    assert placed.end.max() == min(apart) == apart[[4, 8, 16, 32, 64].index(size)]
    with pytest.raises(ValueError, match="at least 4"):
        simulate(runs, H100, [2])
    with pytest.raises(ValueError, match="does not fit"):
        simulate(runs, replace(H100, gpus=2), [4])


def test_a_schedule_is_drawn_to_scale():
    """Two slots of half the cluster; the run of 5 hours answers questions for 2 of them."""
    placed = place([5.0, 4.0], 2).assign(method=["ar", "dllm"], evaluation=[2.0, 0.0])
    panel = schedule_chart({"8 GPUs": placed}).axes[0]
    boxes = [path.get_extents() for collection in panel.collections for path in collection.get_paths()]
    assert [(b.x0, b.x1, b.y0, b.y1) for b in boxes] == [(0, 3, 0, 0.5), (3, 5, 0, 0.5), (0, 4, 0.5, 1), (4, 4, 0.5, 1)]
    assert panel.get_xlim() == (0, 5) and panel.get_title() == "8 GPUs"
    with pytest.raises(ValueError, match="no schedule"):
        schedule_chart({})
