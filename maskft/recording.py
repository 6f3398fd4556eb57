"""Work whose kernels a host launches slower than a GPU computes them: recorded once as a CUDA graph, then replayed.

A step of a small model, or of any model that adds one token to each row, is some thousands of kernels of microseconds. A graph
launches all of them at once. It reads and writes where its tensors lay when it was recorded, so whatever a function keeps
(weights, gradients, a cache) stays in its place and is changed there.
"""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import StaticCache, StaticLayer

# Rotary embeddings whose frequencies are constants. The others look at the positions, for which the host would have to wait.
CONSTANT_ROTATIONS = ("default", "linear", "llama3", "yarn")


def can_record(model: PreTrainedModel) -> bool:
    """Whether a model's passes are the same kernels for all inputs of a shape: on a GPU, nothing depends on positions.

    ``MASKFT_CUDA_GRAPHS=0`` says no.
    """
    if model.device.type != "cuda" or os.environ.get("MASKFT_CUDA_GRAPHS") == "0":
        return False
    rotation = (getattr(model.config, "rope_parameters", None) or {}).get("rope_type", "default")
    layers = StaticCache(config=model.config, max_cache_len=1).layers
    return rotation in CONSTANT_ROTATIONS and all(type(layer) is StaticLayer for layer in layers)


class Recorded:
    """``function(*tensors)`` as one launch, from the third call with tensors of the same shapes on.

    The first call computes as ever, which sets libraries up; the second records and replays. Each shape's recording holds
    the memory of a call, which all recordings share, for no two are at work at once.

    Args:
        function: Of tensors on the GPU; returns a tensor, a tuple of them or None, launches the same kernels for all inputs of a shape and
            never waits for the GPU.
        device: The GPU; on a CPU, every call computes as ever.
    """

    def __init__(self, function: Callable[..., Tensor | tuple[Tensor, ...] | None], device: torch.device):
        self.function, self.device = function, device
        self.recordings: dict[tuple, tuple | None] = {}
        if device.type == "cuda":
            # Autograd's accumulation belongs to the stream that first used a weight; graphs cannot be recorded on the usual one.
            self.stream, self.pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()

    def __call__(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...] | None:
        """What the function returns, as a copy of its own."""
        if self.device.type != "cuda":
            return self.function(*tensors)
        key = tuple((tensor.shape, tensor.dtype) for tensor in tensors)
        if key not in self.recordings:
            self.recordings[key] = None
            return self._aside(*(tensor.to(self.device) for tensor in tensors))
        if self.recordings[key] is None:
            own, graph = [tensor.to(self.device, copy=True) for tensor in tensors], torch.cuda.CUDAGraph()
            with _without_collection(), torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
                result = self.function(*own)
            self.recordings[key] = graph, own, result
        graph, own, result = self.recordings[key]
        for mine, given in zip(own, tensors, strict=True):
            mine.copy_(given, non_blocking=True)
        graph.replay()
        return _copy(result)

    def _aside(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...] | None:
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            result = self.function(*tensors)
        torch.cuda.current_stream(self.device).wait_stream(self.stream)
        return _copy(result)


@contextmanager
def _without_collection() -> Iterator[None]:
    """A graph of before that is destroyed while another is recorded, which Python may do at any moment, ends the recording."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _copy(result: Tensor | tuple[Tensor, ...] | None) -> Tensor | tuple[Tensor, ...] | None:
    if isinstance(result, tuple):
        return tuple(map(torch.clone, result))
    return None if result is None else result.clone()
