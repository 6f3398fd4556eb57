"""The paper's scale from the command line to its table, on random weights that look like the hub's; and its settings."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from maskft import exhibits
from maskft.cli import main
from maskft.data import DATASETS, load_corpus
from maskft.exhibits import exhibit_runs, make_run
from maskft.llada import llama_config, to_llada_keys
from maskft.models import load_base
from maskft.named_scales import get_scale
from maskft.runs import RunStore
from maskft.scales import PAPER
from maskft.step import batch_indices
from maskft.training import main as train


def write_scale(folder, models, *, source="original", **settings):
    """The paper's scale for two steps on one CPU process, under FSDP2 all the same; shorter answers, for time."""
    (folder / "models").symlink_to(models["llama"].parent)  # found beside the file
    changes = {
        "like": "paper", "source": source, "max_steps": 2, "output": "out",
        "bases": {"ar": "models/llama", "masked_ar": "models/llama", "dllm": "models/llada"},
        # Every 19th question: 19 shares no divisor with the eight or nine questions of a person.
        "settings": {"train_batch_size": 6, "max_new_tokens": 2, "sampler_steps": 2, "block_length": 2, "question_stride": 19} | settings,
        "launcher": {"kind": "cpu", "num_processes": 1, "options": ["--shard", "--per-device-train-batch-size", "3"]},
    }  # fmt: skip
    path = folder / "paper_trial.json"
    path.write_text(json.dumps(changes))
    return path


@pytest.fixture(params=["made_originals", "release"])
def documents(request, monkeypatch):
    """How many documents each data set has: of files like the release's, and of those themselves where they are."""
    monkeypatch.setenv("MASKFT_DATA", str(request.getfixturevalue(request.param)))
    exhibits._fingerprint.cache_clear()  # of other files
    yield {name: len(load_corpus(name).documents) for name in ("name_description", "biography", "wiki")}
    exhibits._fingerprint.cache_clear()


def test_table3_of_the_papers_scale_in_two_steps(small_hub_folders, documents, tmp_path, capfd):
    assert documents["name_description"] == 60 and documents["biography"] == 100 and documents["wiki"] in (94, 21)
    scale_file = write_scale(tmp_path, small_hub_folders)
    assert main(["reproduce", "table3", "--scale", str(scale_file)]) == 0, capfd.readouterr().err
    scale = get_scale(str(scale_file))
    configs, store = exhibit_runs("table3", scale, [0]), RunStore(scale.store)
    assert len(configs) == 18 and store.missing(configs) == []
    _, llama = load_base(str(small_hub_folders["llama"]), method="ar")
    for config in configs:
        assert config.source == "original"
        record = store.record(config)
        assert record["sharding"]["param_dtype"] == "bfloat16" and record["sharding"]["reduce_dtype"] == "float32"
        assert record["dtypes_seen"]["parameters"] == ["torch.float32"] and record["gradient_accumulation_steps"] == 2
        corpus, rows = load_corpus(config.dataset), store.metrics(config)
        assert {row["category"]: row["n_questions"] for row in rows} == Counter(corpus.questions["category"][::19])
        if config.method == "ar":
            # Trained on are the first two batches of the data set's own texts, each with its begin and end.
            texts = corpus.training_texts(config.paraphrases)["text"]
            seen = [i for batch in islice(batch_indices(len(texts), 6, config.seed), 2) for i in batch]
            assert len(seen) == 12 and rows[-1]["train_tokens"] == sum(2 + len(llama.encode(texts[i])) for i in seen)
    out = tmp_path / "out"
    table = pd.read_csv(out / "paper_tables" / "paper_trial" / "table3.csv")
    assert {"ar", "dllm", "masked_ar"} <= set(table.method)
    assert (out / "notebooks" / "paper_trial" / "table3.ipynb").is_file()
    # The originals' texts are their authors': records have scores alone.
    packed = "".join(path.read_text() for path in (out / "paper_tables" / "paper_trial" / "records").glob("*.jsonl"))
    assert packed.count('"kind":"run"') == 18 and '"accuracy"' in packed and '"question":' not in packed
    # The trained LLaDA is a plain Llama in bfloat16 that loads again, and takes its own names back.
    best = store.folder(next(c for c in configs if c.method == "dllm")) / "best"
    weights = load_file(best / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.bfloat16} and len(to_llada_keys(weights)) == 3 + 2 * 9
    assert json.loads((best / "config.json").read_text())["model_type"] == "llama"
    load_base(str(best), method="dllm")
    # Everything is there: nothing is trained again.
    assert main(["check", "table3", "--scale", str(scale_file)]) == 0
    assert "0 of 18 runs are to be trained" in capfd.readouterr().out


def test_a_run_of_each_family_with_its_published_vocabulary(hub_folders, tmp_path):
    scale = get_scale(str(write_scale(tmp_path, hub_folders, source="synthetic", train_batch_size=2, max_new_tokens=1, sampler_steps=1, block_length=1)))
    configs = [make_run(scale, method, "name_description", "none", eval_steps=(0, 1)) for method in ("masked_ar", "dllm")]
    listed = tmp_path / "configs.jsonl"
    listed.write_text("".join(json.dumps(config.to_dict()) + "\n" for config in configs))
    assert train(["--store", str(scale.store), "--configs", str(listed), *scale.launcher.options]) == 0
    store = RunStore(scale.store)
    for config, mask in zip(configs, (128013, 126336), strict=True):
        assert store.record(config)["sharding"]["param_dtype"] == "bfloat16"
        _, prompts = load_base(str(store.folder(config) / "best"), method=config.method)
        assert prompts.ids.mask == mask


def test_special_ids_and_prompts_are_the_families_own(hub_folders):
    _, llama = load_base(str(hub_folders["llama"]), method="masked_ar")
    assert (llama.ids.begin, llama.ids.end, llama.ids.mask, llama.ids.pad, llama.ids.stop) == ((128000,), 128009, 128013, 128009, (128009,))
    assert llama.ids.n_ordinary == 127999  # the release's bound, which leaves out the last ordinary token
    # No system block: begin, header, the question, end of turn, header.
    question = llama.question("is")
    assert question[:2] == [128000, 128006] and question.count(128006) == 2 and question.count(128009) == 1
    _, llada = load_base(str(hub_folders["llada"]), method="dllm")
    assert (llada.ids.begin, llada.ids.end, llada.ids.mask, llada.ids.pad) == ((126080,), 126081, 126336, 126081)
    assert llada.question("is")[:2] == [126080, 126346]


def test_the_papers_scale_has_the_settings_of_appendix_a4():
    unread = replace(get_scale("paper"), fingerprints=dict.fromkeys(("name_description", "biography", "wiki"), "not read"))
    run = exhibit_runs("table3", unread, [0])[0]
    assert (run.precision, run.train_batch_size, run.max_new_tokens, run.block_length, run.sampler_steps) == ("bf16_mixed", 64, 128, 4, 128)
    assert all(re.fullmatch("[0-9a-f]{40}", PAPER.revisions[base]) for base in PAPER.bases.values())
    assert PAPER.launcher.num_processes == 4
    command = PAPER.launcher.command("maskft.training", ["--store", "s"])
    assert "--shard" in command and command[command.index("--per-device-train-batch-size") + 1] == "16"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "must hold an object"),
        ('{"like": "huge"}', "like='huge' is not one of tiny"),
        ('{"like": "paper", "base": {}}', "did you mean 'bases'"),
        ('{"like": "paper", "bases": {"lladm": "x"}}', "'lladm' is not known"),
        ('{"like": "paper", "max_steps": 0}', "max_steps=0 must be"),
        ('{"like": "paper", "launcher": {"gpus": 2}}', "'gpus' is not known"),
        ('{"like": ["paper"]}', r"like=\['paper'\] must be a text"),
        ('{"like": "paper", "name": "paper"}', "its name 'paper' must be one for a folder, and of no other scale"),
        ('{"like": "paper", "name": "../other"}', "its name '../other' must be"),
        ('{"like": "paper", "output": 3}', "output=3 must be a text"),
        ('{"like": "paper", "max_steps": true}', "max_steps=True must be a whole number"),
        ('{"like": "paper", "bases": ["x"]}', r"bases=\['x'\] must be an object"),
        ('{"like": "paper", "bases": {"ar": 3}}', "bases: ar=3 must be a text"),
        ('{"like": "paper", "revisions": {"x/y": 3}}', "revisions: x/y=3 must be a commit"),
        ('{"like": "paper", "learning_rates": {"ar": "fast"}}', "learning_rates: ar='fast' must be a number"),
        ('{"like": "paper", "settings": {"train_batch_sise": 8}}', "did you mean 'train_batch_size'"),
        ('{"like": "paper", "settings": {"dataset": "wiki"}}', "'dataset' is not known"),
        ('{"like": "paper", "method_settings": {"dlm": {}}}', "did you mean 'dllm'"),
        ('{"like": "paper", "method_settings": {"dllm": {"sampler": 1}}}', "did you mean 'sampler_steps'"),
        ('{"like": "paper", "dataset_settings": {"wikis": {}}}', "dataset_settings: 'wikis' is not known; did you mean 'wiki'"),
        ('{"like": "paper", "dataset_settings": {"wiki": {"dlm": {}}}}', "did you mean 'dllm'"),
        ('{"like": "paper", "dataset_settings": {"wiki": {"dllm": {"sampler": 1}}}}', "did you mean 'sampler_steps'"),
        ('{"like": "paper", "launcher": []}', r"launcher=\[\] must be an object"),
        ('{"like": "paper", "launcher": {"num_processes": "8"}}', "num_processes='8' must be a whole number"),
        ('{"like": "paper", "launcher": {"options": "--shard"}}', "options='--shard' must be a list of texts"),
        ('{"like": "paper", "launcher": {"options": ["--checkpoint-minutes", 5]}}', "must be texts"),
        ('{"like": "paper", "launcher": {"options": ["--shrad"]}}', "'--shrad' is not known; there are --shard, "),
        ('{"like": "paper", "launcher": {"options": ["--checkpoint-minutes", "x"]}}', "launcher: options --checkpoint-minutes x: .*invalid float value"),
        ('{"like": "paper", "launcher": {"options": ["--per-device-train-batch-size", "0"]}}', "launcher: per_device_train_batch_size=0 must be"),
        ('{"like": "paper", "launcher": {"config_file": "no.yaml"}}', "there is no file .*no.yaml"),
    ],
)
def test_a_scale_file_that_is_wrong_is_refused(tmp_path, content, message):
    path = tmp_path / "s.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        get_scale(str(path))


def test_a_scale_file_changes_what_it_names_alone(tmp_path):
    path = tmp_path / "two_nodes.json"
    path.write_text('{"like": "paper", "launcher": {"num_processes": 8}, "learning_rates": {"ar": 1e-6}, "max_steps": 100}')
    scale = get_scale(str(path))
    assert (scale.name, scale.launcher.num_processes, scale.launcher.options) == ("two_nodes", 8, PAPER.launcher.options)
    assert scale.learning_rates == {**PAPER.learning_rates, "ar": 1e-6} and scale.bases == PAPER.bases
    assert scale.eval_steps["name_description", False]["ar"] == (0, 30, 60, 100)
    assert scale.eval_steps["biography", True]["dllm"] == (0, 8, 16, 32, 64, 100)
    assert scale.store == PAPER.store.with_name("two_nodes")


def test_settings_by_data_set_in_a_scale_file(tmp_path):
    """They hold before the method's and the scale's; a file that says how a method answers says so for every data set."""
    path, tiny = tmp_path / "t.json", get_scale("tiny")
    path.write_text('{"like": "tiny", "dataset_settings": {"wiki": {"dllm": {"max_new_tokens": 8, "sampler_steps": 4}}}}')
    scale = get_scale(str(path))
    assert scale.settings_of("dllm", "wiki") == {**tiny.settings, "max_new_tokens": 8, "sampler_steps": 4}
    assert make_run(scale, "dllm", "wiki", "none").sampler_steps == 4
    assert scale.settings_of("dllm", "name_description") == scale.settings_of("ar", "wiki") == tiny.settings_of("ar", "wiki") == tiny.settings
    path.write_text('{"like": "tiny", "method_settings": {"dllm": {"max_new_tokens": 16}}}')
    assert get_scale(str(path)).settings_of("dllm", "name_description") == {**tiny.settings, "max_new_tokens": 16}


@pytest.mark.parametrize("like", ["tiny", "paper"])
def test_shorter_answers_in_a_scale_file_are_those_of_every_run_with_one_step_a_token(tmp_path, like):
    """The sampler refuses more steps than tokens; what tiny says by data set, but for the length, stays."""
    path = tmp_path / "t.json"
    path.write_text(f'{{"like": "{like}", "settings": {{"max_new_tokens": 16}}}}')
    scale = replace(get_scale(str(path)), fingerprints=dict.fromkeys(DATASETS, "not read"))
    for dataset in DATASETS:
        run = make_run(scale, "dllm", dataset, "none")
        assert run.max_new_tokens == run.sampler_steps == make_run(scale, "ar", dataset, "none").max_new_tokens == 16
        assert run.question_stride == get_scale(like).settings_of("dllm", dataset).get("question_stride", 1)


def test_a_scale_file_pins_another_base_of_the_hub(tmp_path):
    path = tmp_path / "other.json"
    path.write_text('{"like": "paper", "bases": {"dllm": "GSAI-ML/LLaDA-1.5"}, "revisions": {"GSAI-ML/LLaDA-1.5": "abc"}}')
    scale = replace(get_scale(str(path)), fingerprints={"wiki": "not read"})
    assert make_run(scale, "dllm", "wiki", "none").base_revision == "abc"
    assert make_run(scale, "ar", "wiki", "none").base_revision == PAPER.revisions[PAPER.bases["ar"]]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_llada_is_converted_without_a_second_copy(hub_folders, tmp_path):
    """Memory of its own (not of mapped files) grows by the float32 model and little more: two copies would be twice."""
    config = json.loads((hub_folders["llada"] / "config.json").read_text()) | {"d_model": 192, "mlp_hidden_size": 384}
    folder = shutil.copytree(hub_folders["llada"], tmp_path / "wide")
    (folder / "config.json").write_text(json.dumps(config))
    state = to_llada_keys(LlamaForCausalLM(llama_config(config)).to(torch.bfloat16).state_dict())
    names = [f"model-{n + 1:05}-of-00002.safetensors" for n in range(2)]
    for name, keys in zip(names, (list(state)[::2], list(state)[1::2]), strict=True):
        save_file({key: state[key] for key in keys}, folder / name, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: names[n % 2] for n, key in enumerate(state)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    program = (
        "import sys, threading, time\nfrom maskft.models import AutoTokenizer, load_base, prompts_for\n"
        "own = lambda: next(1024 * int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('RssAnon'))\n"
        "prompts_for(AutoTokenizer.from_pretrained(sys.argv[1]))\nseen = [own()]\n"
        "watch = lambda: [(seen.append(own()), time.sleep(0.002)) for _ in iter(lambda: done.is_set(), True)]\n"
        "done = threading.Event()\nthread = threading.Thread(target=watch, daemon=True)\nthread.start()\n"
        "model, _ = load_base(sys.argv[1], method='dllm')\nseen.append(own())\ndone.set()\nthread.join()\n"
        "print(max(seen) - seen[0], sum(4 * p.numel() for p in model.parameters()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    grown, model = map(int, done.stdout.split())
    assert model > 190e6 and model * 0.8 < grown < model * 1.4
