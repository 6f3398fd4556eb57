"""Batches of questions by memory."""

from types import SimpleNamespace

import pytest
import torch

from maskft.evaluation import drafting_pays, rows_that_fit
from maskft.launcher import GPU_SHARE


def test_runs_that_share_a_gpu_leave_each_other_memory(monkeypatch):
    """A GPU of 100 GiB, all free but 10 of this process: half of the rest, or of what its part leaves."""
    gib = 2**30
    config = SimpleNamespace(num_hidden_layers=1, hidden_size=8, intermediate_size=0, is_causal=True)  # 80 numbers a token
    model = SimpleNamespace(config=config, device=torch.device("cuda"), dtype=torch.float32)
    for name, value in {"mem_get_info": (80 * gib, 100 * gib), "memory_allocated": 10 * gib, "memory_reserved": 20 * gib}.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    a_row = 80 * 1000 * 4
    assert rows_that_fit(model, 1000) == 90 * gib // 2 // a_row  # what others left, and what it holds and does not use
    monkeypatch.setenv(GPU_SHARE, "5")
    assert rows_that_fit(model, 1000) == (20 - 10) * gib // 2 // a_row
    monkeypatch.setenv(GPU_SHARE, "20")
    assert rows_that_fit(model, 1000) == 1  # it holds more than its part: a question at a time


@pytest.mark.parametrize(
    ("device", "width", "steps", "n_questions", "pays"),
    [("cpu", 128, 128, 1, False), ("cpu", 4096, 128, 1, False), ("cuda", 576, 128, 1, True), ("cuda", 576, 128, 2, False), ("cuda", 576, 64, 1, False), ("cuda", 4096, 128, 1, False)],
)
def test_a_single_question_is_drafted_where_a_gpu_launches_longer_than_it_computes(make_config, device, width, steps, n_questions, pays):
    model = SimpleNamespace(config=SimpleNamespace(hidden_size=width), device=torch.device(device))
    assert drafting_pays(model, make_config("dllm", sampler_steps=steps, max_new_tokens=128), n_questions) == pays
