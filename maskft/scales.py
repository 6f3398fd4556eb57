"""The three scales: which models, data, budget, learning rates and launcher. Never the method.

Every value that the paper gives carries its sentence; where it is silent, the release or our reason.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .bases import SMALL_BASE, SMALL_REVISION
from .launcher import Launcher, can_use_gpu
from .paper import METHODS

REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class Scale:
    """Everything in which two scales may differ.

    Attributes:
        name: ``tiny``, ``small``, ``small:BASE`` or ``paper``.
        source: ``synthetic`` or ``original`` data.
        bases: Base model by method; a method without one is left out of the study.
        revisions: Commit by base, for bases of the hub; shipped bases are pinned by their content.
        fingerprints: Of data by data set, instead of reading it: for plans. Training compares them with the data.
        control_base: An AR base that never met the demask prompt; None where there is none.
        learning_rates: The rate of each method, chosen on the sweep.
        sweep: The grid that it was chosen from, the same for every method.
        sweep_paraphrases: Paraphrases of the sweep on NameDescription; the paper's has them.
        eval_steps: Optimizer steps by (data set, whether with paraphrases) and method.
        random_token_steps: The last of them in the random-token control (Figure 9), where it is shorter.
        settings: Further fields of ``RunConfig``. A dLLM without ``sampler_steps`` takes one for each new token.
        method_settings: Those in which one method differs.
        dataset_settings: By data set and method, those in which a method differs there.
        launcher: How training starts.
        output: Where runs, tables and figures go.
    """

    name: str
    source: str
    bases: Mapping[str, str]
    learning_rates: Mapping[str, float]
    sweep: tuple[float, ...]
    eval_steps: Mapping[tuple[str, bool], Mapping[str, tuple[int, ...]]]
    settings: Mapping[str, object]
    launcher: Launcher
    revisions: Mapping[str, str] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    control_base: str | None = None
    sweep_paraphrases: str = "same_order"
    method_settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    dataset_settings: Mapping[str, Mapping[str, Mapping[str, object]]] = field(default_factory=dict)
    random_token_steps: Mapping[tuple[str, bool], int] = field(default_factory=dict)
    output: Path = REPOSITORY

    @property
    def folder(self) -> str:
        """Its name as that of a folder: of a base its last part, and six hex digits that tell it from another's of that name."""
        name, colon, base = self.name.partition(":")
        return f"{name}-{Path(base).name}-{hashlib.sha256(base.encode()).hexdigest()[:6]}" if colon else name

    def settings_of(self, method: str, dataset: str) -> dict[str, object]:
        """Fields of ``RunConfig`` of one method's runs on one data set: what is said most closely of them holds."""
        return {**self.settings, **self.method_settings.get(method, {}), **self.dataset_settings.get(dataset, {}).get(method, {})}

    @property
    def store(self) -> Path:
        """Where runs of this scale are trained and kept."""
        return self.output / "runs" / self.folder

    @property
    def tables(self) -> Path:
        """Where its tables go."""
        return self.output / "paper_tables" / self.folder

    @property
    def figures(self) -> Path:
        """Where its figures go."""
        return self.output / "figures" / self.folder

    @property
    def records(self) -> Path:
        """The committed records of its runs."""
        return self.tables / "records"


def _same_for_all(*steps: int) -> dict[str, tuple[int, ...]]:
    return {method: (0, *steps) for method in ("ar", "dllm", "masked_ar")}


def _epochs(points: tuple[int, ...], steps_per_epoch: int) -> dict[str, tuple[int, ...]]:
    """Evaluation points that the release states in epochs, as optimizer steps."""
    return _same_for_all(*(epoch * steps_per_epoch for epoch in sorted(points)))


def _doubling(first: int, last: int) -> tuple[int, ...]:
    points = [first]
    while points[-1] * 2 <= last:
        points.append(points[-1] * 2)
    return tuple(points)


# As in the paper, the same steps with and without paraphrases. AR is at its best early, the dLLM latest (the release gives
# it the longest runs too).
_TINY_NAME_DESCRIPTION = {
    "ar": (0, 10, 20, 30, 40, 60, 80),
    "masked_ar": (0, 20, 40, 80, 120, 160),
    "dllm": (0, 100, 200, 300, 400),
}
_TINY_BIOGRAPHY = {
    "ar": (0, 20, 40, 60, 80, 120),
    "masked_ar": (0, 40, 80, 120, 160),
    "dllm": (0, 200, 400, 600),
}
_TINY_WIKI = {
    "ar": (0, 10, 20, 40, 60, 80, 120),
    "masked_ar": (0, 20, 40, 80, 120),
    "dllm": (0, 100, 200, 300),
}

TINY = Scale(
    name="tiny",
    source="synthetic",
    bases={"ar": "tiny-ar", "masked_ar": "tiny-ar", "dllm": "tiny-dllm"},
    control_base="tiny-ar-no-demask",
    learning_rates={"ar": 1e-3, "dllm": 2e-3, "masked_ar": 2e-3},
    sweep=(2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3),
    eval_steps={
        (dataset, with_paraphrases): steps
        for dataset, steps in {
            "name_description": _TINY_NAME_DESCRIPTION, "biography": _TINY_BIOGRAPHY, "wiki": _TINY_WIKI,
        }.items()
        for with_paraphrases in (False, True)
    },
    # The control ends sooner, as by the release: there at three quarters, half and half of masked AR's steps. Runs as long as masked
    # AR's had been no better, but for 0.02 in total.
    random_token_steps={
        (dataset, with_paraphrases): last
        for dataset, last in {"name_description": 120, "biography": 80, "wiki": 80}.items()
        for with_paraphrases in (False, True)
    },
    # float32 on a CPU: the numbers are then those of any machine, and a CPU without bfloat16 units is not slower.
    # Answers may be half as long again as the longest text of Biography and Wiki (62 and 64 tokens): a dLLM recites its document,
    # and not from the first word on. It pays for its whole canvas at every token, so on NameDescription, whose texts have at
    # most 21, it gets 32, and on the others it is asked a part of the questions, which has every wording: of Biography's 900 the 225
    # that all methods are asked; of Wiki's 372, of which a third is 37 forward and 87 backward, the others are asked all.
    settings={"precision": "float32", "train_batch_size": 60, "max_new_tokens": 96, "eval_batch_size": 120},
    dataset_settings={
        "name_description": {"dllm": {"max_new_tokens": 32}},
        "biography": {method: {"question_stride": 4} for method in METHODS},
        "wiki": {"dllm": {"question_stride": 3}},
    },
    launcher=Launcher("cpu"),
)  # fmt: skip

# One GPU: the whole study. The same steps with and without paraphrases, as in the paper; the dLLM learns slowest.
_SMALL_STEPS = {
    "ar": (0, 30, 60, 120, 180, 240),
    "masked_ar": (0, 60, 120, 180, 240, 330, 450),
    "dllm": (0, 100, 200, 400, 600, 900, 1200),
}
# Two cores: NameDescription without paraphrases, plain against masked AR (``exhibits.small_scale_runs``), three steps an epoch.
# A third of the questions: all of them would cost as much as training. 3 shares no divisor with the eight questions of a
# person, so all wordings are asked. Up to 180 steps 2e-4 is level with 4e-4 for masked AR, and it is plain AR's best.
TWO_CORES = {
    "learning_rate": 2e-4, "eval_steps": (0, 45, 90, 135, 180), "train_batch_size": 20, "max_new_tokens": 48, "eval_batch_size": 40, "question_stride": 3,
}  # fmt: skip

SMALL = Scale(
    name="small",
    source="original",
    bases={"ar": SMALL_BASE, "masked_ar": SMALL_BASE},
    revisions={SMALL_BASE: SMALL_REVISION},
    # On the sweep, the least rate whose best checkpoint is within 0.01 of the best of all.
    learning_rates={"ar": 2e-4, "masked_ar": 4e-4, "dllm": 2e-4},
    sweep=(1e-4, 2e-4, 4e-4, 8e-4),
    sweep_paraphrases="none",  # the runs that the scale is about, and the shortest
    eval_steps={
        (dataset, with_paraphrases): _SMALL_STEPS
        for dataset in ("name_description", "biography", "wiki")
        for with_paraphrases in (False, True)
    },
    # Batches of 21: the Wiki articles at hand are 21, and at 20 every second batch would be a single one.
    settings={"precision": "bf16_mixed", "train_batch_size": 21, "max_new_tokens": 64, "eval_batch_size": 1000},
    # A step of 135 million parameters is launched slower than a GPU of the data centre computes it. On an H200 eleven runs took
    # up to 120 GiB together, most of it for answering.
    launcher=Launcher("gpu", runs_per_gpu=12, gib_per_run=10.0) if can_use_gpu() else Launcher("cpu"),
)

PAPER = Scale(
    name="paper",
    source="original",
    # Section 3: "We choose Llama-3.1-8B-Instruct (Dubey et al., 2024) and LLaDA-8B-Instruct (Nie et al., 2025b) models"
    bases={
        "ar": "meta-llama/Llama-3.1-8B-Instruct",
        "masked_ar": "meta-llama/Llama-3.1-8B-Instruct",
        "dllm": "GSAI-ML/LLaDA-8B-Instruct",
    },
    # The commits that those who name one name (nine public repositories and more for each): the last of Llama's, and LLaDA's
    # with the attention mask of October 2025. Their weights are those of the first release.
    revisions={
        "meta-llama/Llama-3.1-8B-Instruct": "0e9e39f249a16976918f6564b8830bc894c89659",
        "GSAI-ML/LLaDA-8B-Instruct": "08b83a6feb34df1a6011b80c3c00c7563e963b07",
    },
    # A.4: "5e-6 for arLLM; 1e-5 for dLLM; 3e-6 for masked arLLM"
    learning_rates={"ar": 5e-6, "dllm": 1e-5, "masked_ar": 3e-6},
    # Figure 5 does not state its grid. Open: factors of about two around the chosen rates.
    sweep=(1e-6, 3e-6, 5e-6, 1e-5, 2e-5),
    # Epochs by the release; steps per epoch = documents / 64, the last batch short.
    eval_steps={
        ("name_description", False): _epochs((30, 60, 120, 240, 480, 960, 1920, 2880, 3840), 1),
        ("name_description", True): _epochs((*_doubling(1, 128), 96), 29),
        ("biography", False): {
            **_epochs(_doubling(5, 5120), 2),
            "dllm": (0, *(2 * epoch for epoch in (*_doubling(5, 5120), 7080))),  # the release gives the dLLM 7080 epochs
        },
        ("biography", True): _epochs((*_doubling(1, 1024), 768), 8),
        ("wiki", False): _epochs(_doubling(10, 5120), 2),
        ("wiki", True): _epochs((*_doubling(1, 512), 384), 15),
    },
    # Also by the release: 2880 and 96 epochs, 2560 and 512, 2560 and 256.
    random_token_steps={
        ("name_description", False): 2880, ("name_description", True): 96 * 29, ("biography", False): 2560 * 2,
        ("biography", True): 512 * 8, ("wiki", False): 2560 * 2, ("wiki", True): 256 * 15,
    },
    # A.4: "a batch size of 64 (16 per device)", "max new token length 128 and temperature 0", "block length 4",
    # MixedPrecisionPolicy(param_dtype="bf16", reduce_dtype="float32", cast_forward_inputs=True)
    settings={"precision": "bf16_mixed", "train_batch_size": 64, "max_new_tokens": 128, "block_length": 4, "eval_batch_size": 100},
    # A.4: "4x 80G H100 GPUs"; FSDP2 (``sharding``).
    launcher=Launcher(
        "gpu", num_processes=4, options=("--shard", "--per-device-train-batch-size", "16", "--checkpoint-minutes", "30")
    ),
)  # fmt: skip

SCALES = {scale.name: scale for scale in (TINY, SMALL, PAPER)}
