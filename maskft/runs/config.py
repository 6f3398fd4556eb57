"""What can change a run's numbers, and the run's name that follows from it."""

import difflib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, no_type_check

from maskft.runs.files import canonical, sha256_of

# A field added after results were committed goes here with the value that means "as before". A configuration that has
# this value is hashed without the field, so that the identities of committed runs stay what they are.
HASH_NEUTRAL_DEFAULTS: Mapping[str, Any] = {"question_stride": 1, "probe": "none", "embeddings": "as_base"}
# Categories that a run with ``probe="forgetting"`` has beside its data set's.
IN_DOCUMENT, OWN_WORLD = "in_document", "own_world"
# And a dLLM's on Biography: facts told with the name alone, where the document has them, elsewhere, in other words, both.
BY_NAME = {"by_name": (False, False), "by_name_moved": (True, False), "by_name_reworded": (False, True), "by_name_moved_reworded": (True, True)}


def _text(default: Any = MISSING) -> Any:
    return field(default=default, metadata={"rule": "a non-empty string", "type": str, "ok": lambda v: v.strip() != ""})


def _one_of(*allowed: str, default: Any = MISSING) -> Any:
    rule = f"one of {', '.join(allowed)}"
    return field(default=default, metadata={"rule": rule, "type": str, "ok": lambda v: v in allowed})


def _whole(minimum: int, default: Any = MISSING) -> Any:
    rule = f"a whole number of at least {minimum}"
    return field(default=default, metadata={"rule": rule, "type": int, "ok": lambda v: v >= minimum})


def _real(rule: str, ok: Callable[[float], bool], default: Any = MISSING) -> Any:
    return field(default=default, metadata={"rule": rule, "type": float, "ok": lambda v: math.isfinite(v) and ok(v)})


def _several(type_: type, rule: str, ok: Callable[[tuple], bool], default: Any = MISSING) -> Any:
    return field(default=default, metadata={"rule": rule, "type": type_, "several": True, "ok": ok})


# Fields are checked and converted below (JSON has lists for tuples, 1 for 1.0), which a type checker would forestall.
@no_type_check
@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that can change a number, and nothing else. The paper's settings are Appendix A.4.

    How a run is launched is left out on purpose: the batch size is the global one, so that the identity of a run does
    not depend on the number of processes. The row "before fine-tuning" of a table is step 0 of a run.

    Args:
        dataset: which documents and questions; `documents` are a reader's own (`maskft inject`).
        source: `synthetic` for the tiny world, `original` for the published data sets, `built` for the folder that
            ``MASKFT_BUILT`` names, `own` for a reader's documents.
        world_seed: which synthetic world.
        data_fingerprint: hash of the documents and questions, as the loader reports it.
        paraphrases: which rewordings are trained on beside the statements.
        method: the training objective.
        base: the model before fine-tuning: a shipped base such as `tiny-ar`, a hub name, or a folder.
        base_revision: its commit or content hash.
        mask_ratio: ends of the uniform law of t; equal ends are a fixed ratio.
        mask_ratio_scope: one ratio for each batch or for each sample.
        mask_count: mask each token with probability t, or exactly the nearest count.
        loss_normaliser: for Eq. 1: `maskable` divides each sample's sum by its maskable tokens and averages over the
            batch, `length` divides the batch's sum by its tokens without padding, `sum` averages the sums as printed.
        corruption: `random_token` replaces every token of masked AR's first copy (the control of Figure 9).
        learning_rate: after the warmup, constant.
        betas: of AdamW.
        weight_decay: of AdamW, biases and norms excepted.
        max_grad_norm: gradients are clipped to it.
        warmup_ratio: share of all updates with a rising learning rate.
        train_batch_size: documents of one optimizer step, over all processes.
        precision: `bf16_mixed` keeps float32 master weights, `bf16` does not.
        eval_steps: true optimizer steps, ascending from 0; the last is the last step trained.
        seed: of masks, batches and dropout.
        max_new_tokens: longest answer.
        block_length: of the block-wise sampler, dLLM only.
        sampler_steps: denoising steps of an answer, dLLM only.
        eval_batch_size: questions answered together.
        question_stride: 1 asks every question; n asks the first of every n, where all would cost more than training.
        probe: `forgetting` also measures, at each evaluation, what the model has learned of its documents and what is left of
            its base's answers (`probing`; tiny scale).
        embeddings: `untied` gives a base whose output projection is its embedding a copy of it as a projection of its own, as
            Llama-3.1-8B and LLaDA have one (`models.untie`).

    Raises:
        ValueError: a field is not what it may be, or fields do not go together.
        TypeError: a field without a default is missing.
    """

    dataset: str = _one_of("name_description", "biography", "wiki", "documents")
    source: str = _one_of("synthetic", "original", "built", "own")
    world_seed: int = _whole(0, 0)
    data_fingerprint: str = _text()
    paraphrases: str = _one_of("none", "same_order", "permute_order", default="none")
    method: str = _one_of("ar", "dllm", "masked_ar")
    base: str = _text()
    base_revision: str = _text()
    mask_ratio: tuple[float, float] = _several(
        float, "two numbers with 0 <= low <= high <= 1", lambda v: len(v) == 2 and 0 <= v[0] <= v[1] <= 1, (0.05, 0.95)
    )
    mask_ratio_scope: str = _one_of("batch", "sample", default="batch")
    mask_count: str = _one_of("bernoulli", "exact", default="bernoulli")
    loss_normaliser: str = _one_of("maskable", "length", "sum", default="maskable")
    corruption: str = _one_of("mask", "random_token", default="mask")
    learning_rate: float = _real("a number above 0", lambda v: v > 0)
    betas: tuple[float, float] = _several(
        float, "two numbers from 0 to below 1", lambda v: len(v) == 2 and all(0 <= b < 1 for b in v), (0.9, 0.95)
    )
    weight_decay: float = _real("a number of at least 0", lambda v: v >= 0, 0.1)
    max_grad_norm: float = _real("a number above 0", lambda v: v > 0, 1.0)
    warmup_ratio: float = _real("a number from 0 to 1", lambda v: 0 <= v <= 1, 0.02)
    train_batch_size: int = _whole(1, 64)
    precision: str = _one_of("float32", "bf16_mixed", "bf16", default="bf16_mixed")
    eval_steps: tuple[int, ...] = _several(
        int, "ascending whole numbers that begin with 0", lambda v: v[:1] == (0,) and list(v) == sorted(set(v))
    )
    seed: int = _whole(0, 0)
    max_new_tokens: int = _whole(1, 128)
    block_length: int = _whole(1, 4)
    sampler_steps: int = _whole(1, 128)
    eval_batch_size: int = _whole(1, 100)
    question_stride: int = _whole(1, 1)
    probe: str = _one_of("none", "forgetting", default="none")
    embeddings: str = _one_of("as_base", "untied", default="as_base")

    def __post_init__(self) -> None:
        for spec in fields(self):
            given, rule = getattr(self, spec.name), spec.metadata
            try:
                if rule.get("several"):
                    value = tuple(_typed(item, rule["type"]) for item in given)
                else:
                    value = _typed(given, rule["type"])
                if not rule["ok"](value):
                    raise ValueError
            except (TypeError, ValueError):
                raise ValueError(f"{spec.name}={given!r} is not {rule['rule']}") from None
            # 1 and 1.0, a list and a tuple are one value and must have one hash.
            object.__setattr__(self, spec.name, value)
        if self.probe != "none" and self.source != "synthetic":
            raise ValueError(f"probe={self.probe!r} with source={self.source!r}: only the bases of the synthetic world are known to answer questions")
        if self.corruption == "random_token" and self.method != "masked_ar":
            raise ValueError(
                f"corruption='random_token' with method={self.method!r}: only masked_ar has a first copy to replace; "
                "use method='masked_ar' or corruption='mask'"
            )
        if self.method == "dllm":
            if self.mask_ratio[1] == 0:
                raise ValueError("mask_ratio=(0, 0) with method='dllm': Eq. 1 divides by the ratio; use one above 0")
            n_blocks, left = divmod(self.max_new_tokens, self.block_length)
            if left or self.sampler_steps % n_blocks or self.sampler_steps > self.max_new_tokens:
                raise ValueError(
                    f"max_new_tokens={self.max_new_tokens}, block_length={self.block_length}, sampler_steps="
                    f"{self.sampler_steps}: blocks must fill the answer and share the steps evenly; use a multiple of "
                    f"block_length, and a multiple of the number of blocks of at most max_new_tokens"
                )

    @property
    def total_steps(self) -> int:
        """The last optimizer step trained."""
        return self.eval_steps[-1]

    @property
    def run_id(self) -> str:
        """The run's name, readable first and unique second: `METHOD-DATASET-PARAPHRASES-sSEED-HASH`."""
        hashed = asdict(self)
        for name, neutral in HASH_NEUTRAL_DEFAULTS.items():
            if hashed[name] == neutral:
                del hashed[name]
        return f"{self.method}-{self.dataset}-{self.paraphrases}-s{self.seed}-{sha256_of(canonical(hashed))[:8]}"

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON has them: tuples are lists."""
        return json.loads(canonical(asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunConfig":
        """The inverse of `to_dict`.

        Raises:
            ValueError: an unknown field (the message names those spelled alike), a missing one, or a wrong value.
        """
        known = [spec.name for spec in fields(cls)]
        for name in values:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=3) or known
                raise ValueError(f"unknown field {name!r} of a run configuration; did you mean {', '.join(close)}?")
        missing = [s.name for s in fields(cls) if s.default is MISSING and s.name not in values]
        if missing:
            raise ValueError(f"a run configuration lacks {', '.join(missing)}; give every field without a default")
        return cls(**values)


def _typed(value: Any, type_: type) -> Any:
    """`value` as `type_`, refusing what Python would convert without a word (True to 1, "1" to 1.0, 1.5 to 1)."""
    if isinstance(value, bool) or (type_ is str) != isinstance(value, str):
        raise TypeError
    if type_ is str:
        return value
    converted = type_(value)
    if not math.isfinite(converted) or converted != value:
        raise ValueError
    return converted
