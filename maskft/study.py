"""Which runs each exhibit needs, what is missing, and ``ensure`` to train it. Exhibits share runs.

A run is a ``RunConfig`` built here from a ``Scale``; what a scale does not say is the default of ``RunConfig``, which is
the paper's or the release's (Appendix A.4).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

from .data import DATASETS, load_corpus
from .launch import ensure as launch_missing
from .models import revision_of
from .runs import RecordStore, RunConfig, RunStore, Store
from .scales import Scale, get_scale

METHODS = ("ar", "dllm", "masked_ar")
# Table 3: "The paraphrases used for the Wiki dataset are the same-order paraphrase set."
TABLE3_PARAPHRASES = ("none", "same_order")
# Figure 2: "we average across 4 random seed for the dLLM and masked AR on NameDescription and Biography Datasets"
N_PAPER_SEEDS = 4


@cache
def _fingerprint(dataset: str, source: str, world_seed: int) -> str:
    return load_corpus(dataset, source=source, world_seed=world_seed).fingerprint


@cache
def _revision(base: str) -> str:
    return revision_of(base)


def make_run(
    scale: Scale,
    method: str,
    dataset: str,
    paraphrases: str,
    *,
    seed: int = 0,
    world_seed: int = 0,
    base: str | None = None,
    **changes,
) -> RunConfig:
    """The run of ``method`` on ``dataset`` at ``scale``.

    Args:
        scale: Models, data, budget and learning rates.
        method: ``ar``, ``dllm`` or ``masked_ar``.
        dataset: One of the three.
        paraphrases: ``none``, ``same_order`` or ``permute_order``.
        seed: Seed of masks and of the order of documents.
        world_seed: Which synthetic world; 0 for original data.
        base: Another base than the scale's.
        **changes: Further fields of ``RunConfig``.

    Raises:
        ValueError: If a value is not allowed.
        FileNotFoundError: If a shipped base or original data are missing.
    """
    base = base or scale.bases[method]
    values = {
        "dataset": dataset,
        "source": scale.source,
        "world_seed": world_seed,
        "data_fingerprint": _fingerprint(dataset, scale.source, world_seed),
        "paraphrases": paraphrases,
        "method": method,
        "base": base,
        "base_revision": scale.revisions.get(base) or _revision(base),
        "learning_rate": scale.learning_rates[method],
        "eval_steps": scale.eval_steps[dataset, paraphrases != "none"][method],
        "seed": seed,
        **scale.settings,
    }
    return RunConfig(**values | changes)


def table3_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """Every method on every data set, without paraphrases and with same-order ones (Table 3, Figure 2)."""
    return [
        make_run(scale, method, dataset, paraphrases, seed=seed, world_seed=world_seed)
        for seed in seeds
        for dataset in DATASETS
        for paraphrases in TABLE3_PARAPHRASES
        for method in METHODS
    ]


def control_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """Masked AR from a base that never met the demask prompt, on the sets that the claims are about."""
    if scale.control_base is None:
        return []
    return [
        make_run(scale, "masked_ar", dataset, "none", seed=seed, world_seed=world_seed, base=scale.control_base)
        for seed in seeds
        for dataset in ("name_description", "biography")
    ]


def sweep_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """The learning-rate sweep on NameDescription with paraphrases, the same grid for every method (Figure 5)."""
    runs = [make_run(scale, m, "name_description", "same_order", seed=s, world_seed=world_seed) for s in seeds for m in METHODS]
    return [replace(run, learning_rate=rate) for run in runs for rate in scale.sweep]


def exhibit_runs(exhibit: str, scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """The runs of an exhibit.

    Raises:
        ValueError: If the exhibit is unknown, or a seed is negative or given twice.
    """
    exhibits = {
        "table3": lambda *a: table3_runs(*a) + control_runs(*a),
        "figure2": table3_runs,
        "sweep": sweep_runs,
    }
    if exhibit not in exhibits:
        raise ValueError(f"exhibit {exhibit!r} is not one of {', '.join(exhibits)}")
    check_seeds(seeds)
    return exhibits[exhibit](scale, list(seeds), world_seed)


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise ValueError unless ``seeds`` are distinct whole numbers from 0, at least one."""
    whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds)
    if not seeds or not whole or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds={seeds!r} must be distinct whole numbers from 0, for example [0, 1]")


def stores(scale: Scale) -> list[Store]:
    """Where finished runs are looked for: the working store first, then the committed records."""
    return [RunStore(scale.store), RecordStore(scale.records)]


def missing_runs(scale: Scale, configs: Iterable[RunConfig]) -> list[RunConfig]:
    """Those that are finished nowhere."""
    configs = list(configs)
    for store in stores(scale):
        configs = store.missing(configs)
    return configs


def expected_cost(config: RunConfig) -> float:
    """Relative cost of a run: tokens trained, with the prompt's copy for masked AR."""
    length = {"name_description": 20, "biography": 60, "wiki": 60}[config.dataset]
    copies = {"ar": 1.0, "dllm": 1.0, "masked_ar": 2.3}[config.method]
    evaluations = len(config.eval_steps) * (300 if config.method == "dllm" else 60)
    return config.total_steps * (length * copies * config.train_batch_size / 32) + evaluations * 10


def ensure(scale: Scale | str, configs: Sequence[RunConfig], *, workers: int | None = None) -> None:
    """Train what is missing of ``configs``, by ``accelerate launch`` (``launch``)."""
    scale = get_scale(scale) if isinstance(scale, str) else scale
    launch_missing(
        missing_runs(scale, configs), RunStore(scale.store), scale_launcher=scale.launcher, workers=workers, cost=expected_cost
    )
