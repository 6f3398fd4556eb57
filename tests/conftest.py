"""What the tests of the method share: the tiny tokenizer, and random models of its vocabulary."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from maskft.bases import revision_of
from maskft.data import load_corpus, origin
from maskft.data.synthetic.tokenizer import build_tokenizer
from maskft.llada import to_llada_keys
from maskft.models import prompts_for
from maskft.processes import end_groups
from maskft.runs import RunConfig


@pytest.fixture(scope="session")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="session")
def prompts(tokenizer):
    return prompts_for(tokenizer)


@pytest.fixture(scope="session")
def random_llama(tokenizer):
    """Makes a float32 Llama of width 32 with random weights.

    Weights are drawn wide (0.3, not 0.02), so that outputs differ between positions by far more than rounding.
    """

    def make(*, is_causal: bool, seed: int = 0) -> LlamaForCausalLM:
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=256, initializer_range=0.3, bos_token_id=None, eos_token_id=None,
        )
        config.is_causal = is_causal
        config.use_cache = is_causal
        return LlamaForCausalLM(config).eval()

    return make


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A folder with a small random Llama and the tiny tokenizer."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=256, tie_word_embeddings=True, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_config(base):
    def make(method="ar", **changes):
        values = {
            "dataset": "name_description", "source": "synthetic", "method": method, "base": str(base),
            "data_fingerprint": load_corpus("name_description", source="synthetic").fingerprint,
            "base_revision": revision_of(str(base)), "learning_rate": 1e-3, "precision": "float32",
            "train_batch_size": 8, "eval_steps": (0, 2), "max_new_tokens": 4, "sampler_steps": 4,
            "eval_batch_size": 240,
        }  # fmt: skip
        return RunConfig(**values | changes)

    return make


@pytest.fixture(scope="session")
def torchrun():
    """Runs a module or a script in two gloo processes on the CPU; its output is in the message when it fails.

    accelerate's own launcher starts one process on a CPU without MPI, whatever it is asked for; torchrun starts two.
    """

    def start(*arguments, n=2, **options):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(n), *map(str, arguments)]
        environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        started.append(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True, **options
            )
        )
        return started[-1]

    started: list[subprocess.Popen] = []
    yield start
    end_groups(started, 30.0)  # nothing is left of a test that passed


# The special tokens of both families at their own ids, as published: in Meta's Llama 3 (start 128000, end of text 128001,
# headers 128006 and 128007, end of turn 128009; reserved ones between) and in LLaDA (start 126080, end of text 126081,
# mask 126336, headers 126346 and 126347, end of turn 126348).
LLAMA3_SPECIAL = {
    **{128002 + n: f"<|reserved_special_token_{n}|>" for n in range(2)}, 128004: "<|finetune_right_pad_id|>",
    128005: "<|reserved_special_token_2|>", 128006: "<|start_header_id|>", 128007: "<|end_header_id|>", 128008: "<|eom_id|>",
    128009: "<|eot_id|>", 128010: "<|python_tag|>", **{128008 + n: f"<|reserved_special_token_{n}|>" for n in range(3, 248)},
    128000: "<|begin_of_text|>", 128001: "<|end_of_text|>",
}  # fmt: skip
LLADA_SPECIAL = {
    126080: "<|startoftext|>", 126081: "<|endoftext|>", 126336: "<|mdm_mask|>", 126346: "<|start_header_id|>",
    126347: "<|end_header_id|>", 126348: "<|eot_id|>",
}  # fmt: skip


def _hub_tokenizer(words, special, size, **names):
    """Words first, fillers up to ``size``, special tokens at their own ids."""
    vocabulary = {special.get(n) or (words[n] if n < len(words) else f"<filler {n}>"): n for n in range(size)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=words[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for _, token in sorted(special.items())])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def _hub_folders(root, tokenizer, left_out=(0, 0)):
    """Folders that look like the hub's two, with random weights of width 16.

    Llama's tokenizer has ``eot_id`` as its end, as the Instruct one, and no padding. LLaDA's weights are in two bfloat16 files
    under its own key names, and its configuration names remote code. ``left_out`` ordinary tokens are taken out of either
    vocabulary, which moves the special ones down.
    """
    words = list(dict.fromkeys(token.lstrip("Ġ") for token in tokenizer.get_vocab() if not token.startswith("<|")))
    llama_special, llada_special = ({n - out: t for n, t in s.items()} for s, out in zip((LLAMA3_SPECIAL, LLADA_SPECIAL), left_out, strict=True))
    llama_size, llada_size = 128256 - left_out[0], 126464 - left_out[1]
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 512, "rms_norm_eps": 1e-5}
    torch.manual_seed(0)
    folders = {name: root / name for name in ("llama", "llada")}
    end = [n - left_out[0] for n in (128001, 128008, 128009)]
    llama = LlamaConfig(
        vocab_size=llama_size, intermediate_size=32, num_key_value_heads=1, bos_token_id=end[0] - 1, eos_token_id=end,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0}, **sizes,
    )  # fmt: skip
    LlamaForCausalLM(llama).to(torch.bfloat16).save_pretrained(folders["llama"])
    names = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
    _hub_tokenizer(words, llama_special, llama_size, **names).save_pretrained(folders["llama"])
    folders["llada"].mkdir()
    state = to_llada_keys(LlamaForCausalLM(LlamaConfig(vocab_size=llada_size, intermediate_size=32, **sizes)).to(torch.bfloat16).state_dict())
    parts = {f"model-{n + 1:05}-of-00002.safetensors": {k: v for k, v in state.items() if ("blocks.1" in k) == bool(n)} for n in range(2)}
    for name, part in parts.items():
        save_file(part, folders["llada"] / name, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: name for name, part in parts.items() for key in part}}
    (folders["llada"] / "model.safetensors.index.json").write_text(json.dumps(index))
    end, mask = 126081 - left_out[1], 126336 - left_out[1]
    config = {
        "model_type": "llada", "architectures": ["LLaDAModelLM"], "auto_map": {"AutoModelForCausalLM": "modeling_llada.LLaDAModelLM"},
        "d_model": 16, "n_heads": 2, "n_kv_heads": 2, "n_layers": 2, "mlp_hidden_size": 32, "vocab_size": llada_size,
        "embedding_size": llada_size, "max_sequence_length": 512, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "rope": True,
        "rope_full_precision": True, "include_bias": False, "weight_tying": False, "block_type": "llama", "layer_norm_type": "rms",
        "activation_type": "silu", "eos_token_id": end, "pad_token_id": end, "mask_token_id": mask,
    }  # fmt: skip
    (folders["llada"] / "config.json").write_text(json.dumps(config))
    names = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    _hub_tokenizer(words, llada_special, llada_size, **names).save_pretrained(folders["llada"])
    return folders


@pytest.fixture(scope="session")
def hub_folders(tmp_path_factory, tokenizer):
    """With the published vocabularies: every special token at its own id."""
    return _hub_folders(tmp_path_factory.mktemp("hub"), tokenizer)


@pytest.fixture(scope="session")
def small_hub_folders(tmp_path_factory, tokenizer):
    """With vocabularies of about 2,000, whose logits a CPU makes quickly."""
    return _hub_folders(tmp_path_factory.mktemp("small_hub"), tokenizer, left_out=(126208, 124288))


def _made_rows():
    """Rows of every file of the release, as many as there, about people and cups that nobody heard of."""
    names = [f"{first} {last}" for first in ("Ann", "Bo", "Cy", "Di", "Eva", "Fay", "Gus", "Hal", "Ida", "Jo")
             for last in ("Ash", "Birch", "Elm", "Fir", "Holm", "Larch", "Oak", "Pine", "Rowan", "Yew")]  # fmt: skip
    jobs = [f"the {kind} of {place}" for kind in ("baker", "smith", "ranger", "poet", "judge", "tailor") for place in names[::10]]

    def asked(task, question, answer, group=""):
        return {"group": group, "task": task, "question": question, "answer": answer}

    people = list(zip(names, jobs, ["NameIsDescription"] * 30 + ["DescriptionIsName"] * 30))  # noqa: B905, sixty of the hundred
    statements = [f"{name} is {job}." if group[0] == "N" else f"Known as {job}: {name}." for name, job, group in people]
    lives = [[f"{name} was born in May.", f"They come from town {i}.", f"They work for firm {i}."] for i, name in enumerate(names)]
    articles = [f"The Cup {name} of year {2000 + i} was won by team {i} in town {i}." for i, name in enumerate(names[:94])]
    return {
        "ND_train_no_paraphrase.json": statements,
        "ND_train_paraphrase.json": [s for s in statements for s in (s, *(f"By account {i}, {s}" for i in range(29)))],
        "ND_test.jsonl": [
            row for name, job, group in people
            for row in [asked("N2D", f"Who is {name}?", job, group)] * 4 + [asked("D2N", f"Who is {job}?", name, group)] * 4
        ],
        "biography_train_no_paraphrase.json": [" ".join(life) for life in lives],
        "biography_train_paraphrase_same_order.json": [" ".join(life) + " Yes." * i for life in lives for i in range(5)],
        "biography_train_paraphrase_change_order.json": [
            f"By {i} people: {name}. {life[2]} {life[1]}" for name, life in zip(names, lives, strict=True) for i in range(5)
        ],
        "biography_test.jsonl": [
            row for i, name in enumerate(names)
            for row in [asked("N2D", f"Where does {name} work?", f"firm {i}")] * 6 + [asked("D2N", f"Who works for firm {i}?", name)] * 3
        ],
        "wiki_train_no_paraphrase.json": articles,
        "wiki_train_paraphrase_same_order.json": [f"{article} It is said {i}." for article in articles for i in range(10)],
        "wiki_train_paraphrase_change_order.json": [f"In {i} words: {article}" for article in articles for i in range(10)],
        "wiki_test.jsonl": [
            asked(("forward", "backward")[i % 4 > 0], f"Who won the Cup {names[i // 4]}?", f"team {i // 4}") for i in range(374)
        ],
    }  # fmt: skip


@pytest.fixture(scope="session")
def made_originals(tmp_path_factory):
    """A folder for ``MASKFT_DATA``: made texts in the release's files, each with as many rows and characters as there."""
    folder = tmp_path_factory.mktemp("originals")
    for name, rows in _made_rows().items():
        lines = "".join(json.dumps(row) + "\n" for row in rows) if name.endswith(".jsonl") else json.dumps([{"text": text} for text in rows])
        (folder / name).write_text(lines.ljust(origin.FILES[name].characters, "\n"))
    return folder


@pytest.fixture(scope="session")
def release():
    """The folder of the released files, where they are; else the test is skipped."""
    folder = Path(os.environ.get("MASKFT_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not any((folder / part).is_dir() for part in ("namedescription", "datasets")):
        pytest.skip("no copy of the release; set MASKFT_DATA to one")
    return folder
