"""The GPU benchmark at small shapes on a CPU: it runs what training runs, and its numbers belong together."""

import json

import pytest
import torch

from maskft.bench_gpu import PAPER_SHAPES, choose_precision
from maskft.cli import main


def test_the_command_writes_a_record_a_shape(tmp_path, capsys, monkeypatch):
    sizes = ["--rows", "2", "--length", "16", "--steps", "1", "--questions", "2", "--new-tokens", "4"]
    output = tmp_path / "of mine"
    monkeypatch.setattr("sys.argv", ["/usr/bin/maskft", "bench", "gpu", "--small", "--output", str(output), *sizes])
    assert main() == 0
    records = {name: json.loads((output / f"gpu_{name}.json").read_text()) for name in ("llama", "llada")}
    for name, record in records.items():
        plain, recomputed = record["training"]["without_checkpointing"], record["training"]["with_checkpointing"]
        assert record["command"] == f"maskft bench gpu --small --output 'of mine' {' '.join(sizes)}"
        assert plain["loss"] == recomputed["loss"] > 0
        assert record["training"]["compiled"]["loss"] == pytest.approx(plain["loss"], rel=0.01)
        assert record["training"]["compiled"]["sharding"] == plain["sharding"]
        assert plain["tokens_per_s"] == pytest.approx(2 * 16 / plain["step_s"])
        assert plain["sharding"]["param_dtype"] == "bfloat16" and plain["sharding"]["master_dtype"] == "float32"
        sampling = record["sampling"]
        assert sampling["sampler"] == {"llama": "generate_ar", "llada": "generate_diffusion"}[name]
        assert 0 < sampling["new_tokens"] <= 8 and record["hardware"]["device"] and record["precision"] == "bf16_mixed"
    assert not torch.distributed.is_initialized() and "llada without_checkpointing" in capsys.readouterr().out


def test_the_papers_shapes_ask_for_a_gpu(tmp_path, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["bench", "gpu", "--output", str(tmp_path)]) == 1
    assert "need a GPU" in capsys.readouterr().err
    assert main(["bench", "gpu", "--shapes", "gpt", "--small", "--output", str(tmp_path)]) == 1
    assert "is not one of llama, llada" in capsys.readouterr().err


@pytest.mark.parametrize(("gib", "precision"), [(80, "bf16"), (134, "bf16"), (135, "bf16_mixed")])
def test_precision_is_chosen_by_memory(monkeypatch, gib, precision):
    """8.03 billion parameters x 16 bytes are 119.7 GiB; with 4 more they need 134.4 of a GPU used to 92 %."""
    properties = type("P", (), {"total_memory": gib * 2**30})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert choose_precision(PAPER_SHAPES["llama"], torch.device("cuda", 0)) == precision
