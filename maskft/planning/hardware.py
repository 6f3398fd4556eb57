"""GPU kinds as data, with their sources, and the shares of their peaks that a plan assumes.

Peaks are those of dense bf16 products and of one direction of the link, half of what makers print for both.
"""

from dataclasses import dataclass

from maskft.planning.memory import GIB
from maskft.planning.shapes import Real


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU.

    Attributes:
        name: As the command line has it.
        flops: Peak operations per second in bf16.
        memory: Bytes.
        bandwidth: Bytes per second to its own memory.
        link: Bytes per second to the other GPUs of a node, one direction.
    """

    name: str
    flops: Real
    memory: Real
    bandwidth: Real
    link: Real


# NVIDIA's data sheets of the SXM modules.
GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("A100-40GB", 312e12, 40 * GIB, 1.555e12, 300e9),
        Gpu("A100-80GB", 312e12, 80 * GIB, 2.039e12, 300e9),
        Gpu("H100", 989e12, 80 * GIB, 3.35e12, 450e9),  # A.4: "4x 80G H100 GPUs"
        Gpu("H200", 989e12, 140 * GIB, 4.8e12, 450e9),
    )
}
GPUS_PER_NODE = 8
# Bytes per second into a node: 400 Gb/s for each of its GPUs, as in torchtitan's benchmarks. A ring over all GPUs crosses
# between nodes once for each network card, so a collective gets the node's sum.
NETWORK = GPUS_PER_NODE * 50e9

# torchtitan's benchmark of 2024-12: Llama 3.1 8B with FSDP2 on 8 H100, not compiled, 5,762 tokens a second and GPU at 8192 tokens:
# by our count of operations 33.7 % of peak (it says 33). Its sequences are
# long. Ours, of 256 tokens on one H200, had 27 to 40 %, and answers of a dLLM 39 % (tests/benchmarks/records/gpu_*.json).
COMPUTE_SHARE = 0.337
# Seconds that one layer takes at least, measured on the machine of an H200, nothing compiled: however quick the GPU is, a pass
# takes no less. Answers, whose passes are recorded and launched at once (``recording``), took 1.23 s at Llama's 8B shape for 128
# passes of 32 layers (gpu_llama.json). A whole step
# of SmolLM2's shape took 0.093 s for 30 layers (training_step_smollm2.json): that time is the host's, so another one has others.
# Since then narrow models' steps are recorded too (training_step_smollm2_recorded.json): of those a plan is on the safe side.
ANSWER_LAUNCH = 3.0e-4
STEP_LAUNCH = 3.1e-3
# Assumptions.
BANDWIDTH_SHARE = 0.7
LINK_SHARE = 0.7
MEMORY_SHARE = 0.92  # the rest is the driver's, the communication library's, and fragments


def get_gpu(name: str) -> Gpu:
    """The GPU kind called ``name``.

    Raises:
        ValueError: If there is none.
    """
    if name not in GPUS:
        raise ValueError(f"GPU {name!r} is not one of {', '.join(GPUS)}")
    return GPUS[name]


def link_speed(gpu: Gpu, gpus: int) -> Real:
    """Bytes per second that a collective over ``gpus`` GPUs gets: the link's, over several nodes at most the network's."""
    return LINK_SHARE * (gpu.link if gpus <= GPUS_PER_NODE else min(gpu.link, NETWORK))
