"""FSDP2 for real: two gloo processes, by the function that GPUs use."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters

from maskft import training
from maskft.execution import Execution, check_compiler
from maskft.runs import RunStore
from maskft.sharding import compute_dtype, mixed_precision_policy
from maskft.training import main


def test_the_policy_is_the_papers():
    policy = mixed_precision_policy("bf16_mixed")
    assert (policy.param_dtype, policy.reduce_dtype, policy.cast_forward_inputs) == (torch.bfloat16, torch.float32, True)
    assert mixed_precision_policy("float32").param_dtype is None
    assert [compute_dtype(p) for p in ("float32", "bf16_mixed", "bf16")] == [torch.float32, torch.bfloat16, torch.bfloat16]


def test_weights_are_spread_reduced_in_float32_and_sampled_from_without_a_collective(torchrun):
    ranks = torchrun(Path(__file__).with_name("sharded_ranks.py"))
    output, _ = ranks.communicate(timeout=240)
    assert ranks.returncode == 0, output[-3000:]


@pytest.fixture(scope="module")
def trained(make_config, torchrun, tmp_path_factory):
    """Four runs by one process as ever, and by two under FSDP2 in parts of 3 documents with activations recomputed."""
    root = tmp_path_factory.mktemp("trained")
    configs = {
        "ar": make_config("ar"), "masked_ar": make_config("masked_ar"), "mixed": make_config("dllm", precision="bf16_mixed"),
        "pure": make_config("masked_ar", precision="bf16"),
    }  # fmt: skip
    listed = root / "configs.jsonl"
    listed.write_text("".join(json.dumps(config.to_dict()) + "\n" for config in configs.values()))
    assert main(["--store", str(root / "one"), "--configs", str(listed)]) == 0
    execution = ["--shard", "--per-device-train-batch-size", "3", "--activation-checkpointing"]
    two = torchrun("-m", "maskft.training", "--store", root / "two", "--configs", listed, *execution)
    output, _ = two.communicate(timeout=400)
    assert two.returncode == 0, output[-3000:]
    return configs, RunStore(root / "one"), RunStore(root / "two")


def losses(store, config):
    return [json.loads(line) for line in (store.folder(config) / "losses.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("name", "tolerance"), [("ar", 1e-5), ("masked_ar", 1e-5), ("mixed", 0.01), ("pure", 0.01)])
def test_two_sharded_processes_have_the_losses_of_one(trained, name, tolerance):
    configs, one, two = trained
    pairs = list(zip(losses(one, configs[name]), losses(two, configs[name]), strict=True))
    assert len(pairs) == 2
    for alone, both in pairs:
        assert math.isclose(alone["loss"], both["loss"], rel_tol=tolerance)
        # Which tokens are masked shows in the number of targets of a dLLM.
        assert {k: alone[k] for k in alone if k.startswith("n_")} == {k: both[k] for k in both if k.startswith("n_")}
    metrics = [[(row["step"], row["category"], row["n_questions"]) for row in s.metrics(configs[name])] for s in (one, two)]
    assert metrics[0] == metrics[1]


@pytest.mark.parametrize("shard", [False, True])
def test_compiled_layers_have_the_losses_of_plain_ones(trained, torchrun, tmp_path, shard, monkeypatch):
    """By one process, whose dLLM answers with compiled layers too, and by two under FSDP2."""
    configs, one, _ = trained
    configs = [configs["masked_ar"], configs["mixed"]]
    listed = tmp_path / "configs.jsonl"
    listed.write_text("".join(json.dumps(config.to_dict()) + "\n" for config in configs))
    arguments = ["--store", tmp_path / "compiled", "--configs", listed, "--compile-layers"]
    if shard:
        ranks = torchrun("-m", "maskft.training", *arguments, "--shard")
        output, _ = ranks.communicate(timeout=400)
        assert ranks.returncode == 0, output[-3000:]
    else:
        torch._dynamo.reset()  # or what another test compiled would do
        counters.clear()
        compiled_for, compile_layers = [], training.compile_layers
        monkeypatch.setattr(training, "compile_layers", lambda model, **how: compiled_for.append(how) or compile_layers(model, **how))
        assert main([str(each) for each in arguments]) == 0
        assert compiled_for == [{"answers": False}, {"answers": True}]
        assert counters["stats"]["unique_graphs"] > 0
    compiled = RunStore(tmp_path / "compiled")
    for config, tolerance in zip(configs, (1e-5, 0.01), strict=True):
        assert compiled.record(config)["compile_layers"] is True and one.record(config)["compile_layers"] is False
        for plain, fused in zip(losses(one, config), losses(compiled, config), strict=True):
            assert math.isclose(plain["loss"], fused["loss"], rel_tol=tolerance)
            assert math.isclose(plain["grad_norm"], fused["grad_norm"], rel_tol=max(tolerance, 1e-4))
        scores = [{(row["step"], row["category"]) for row in store.metrics(config)} for store in (one, compiled)]
        assert scores[0] == scores[1]


def test_the_record_says_what_was_in_force(trained):
    configs, one, two = trained
    record = two.record(configs["mixed"])
    # 8 documents on 2 processes are 4 each, taken as 2 and 2.
    assert (record["n_processes"], record["gradient_accumulation_steps"], record["per_device_train_batch_size"]) == (2, 2, 2)
    assert record["activation_checkpointing"] is True and record["resumed_at"] == []
    assert record["sharding"] == {
        "strategy": "fsdp2", "n_shards": 2, "n_units": 3, "master_dtype": "float32", "param_dtype": "bfloat16",
        "reduce_dtype": "float32", "cast_forward_inputs": True, "seen": {"weights": "bfloat16", "inputs": "bfloat16"},
    }  # fmt: skip
    assert two.record(configs["ar"])["sharding"]["param_dtype"] == "float32"
    assert two.record(configs["pure"])["sharding"]["master_dtype"] == "bfloat16"
    assert one.record(configs["mixed"])["sharding"] is None


def test_the_best_weights_are_kept_whole_in_the_dtype_of_computation(trained):
    from safetensors.torch import load_file

    from maskft.models import load_base

    configs, _, two = trained
    for name, dtype in (("ar", torch.float32), ("mixed", torch.bfloat16)):
        best = two.folder(configs[name]) / "best"
        assert {tensor.dtype for tensor in load_file(best / "model.safetensors").values()} == {dtype}
        load_base(str(best), method=configs[name].method)
    assert not list(two.root.rglob("checkpoint-*")) and not list(two.root.rglob("resume"))


@pytest.mark.parametrize(("n_ranks", "per_device", "parts"), [(4, 16, 1), (2, 16, 2), (1, 16, 4), (1, None, 1), (3, 16, 2), (64, 16, 1)])
def test_64_documents_are_taken_in_as_many_parts_as_they_need(n_ranks, per_device, parts):
    assert Execution(per_device_train_batch_size=per_device).micro_batches(64, n_ranks) == parts


@pytest.mark.parametrize("wrong", [{"per_device_train_batch_size": 0}, {"checkpoint_minutes": -1.0}, {"checkpoint_minutes": math.nan}])
def test_a_number_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.* must be at least"):
        Execution(**wrong)


@pytest.mark.parametrize(("device", "compiler", "said"), [("cpu", "", "g\\+\\+, clang"), ("cuda", "", "none of gcc"), ("cpu", "nowhere", "CXX=nowhere")])
def test_layers_are_not_compiled_without_a_compiler(monkeypatch, tmp_path, device, compiler, said):
    for variable in ("CC", "CXX"):
        monkeypatch.setenv(variable, compiler) if compiler else monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=f"--compile-layers needs a compiler.*{said}.*install one"):
        check_compiler(device)
    for name in ("gcc", "g++"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    if not compiler:
        check_compiler(device)


def test_a_run_is_not_begun_where_its_layers_cannot_be_compiled(make_config, monkeypatch, tmp_path):
    config = make_config("ar")
    (tmp_path / "configs.jsonl").write_text(json.dumps(config.to_dict()) + "\n")
    monkeypatch.setenv("CXX", "nowhere")
    monkeypatch.setenv("CC", "nowhere")
    with pytest.raises(ValueError, match="needs a compiler"):
        main(["--store", str(tmp_path / "store"), "--configs", str(tmp_path / "configs.jsonl"), "--compile-layers"])
    assert not (tmp_path / "store").exists() or not any((tmp_path / "store").iterdir())
