"""Which runs each exhibit needs. Exhibits share runs.

A run is a ``RunConfig`` built here from a ``Scale``; what a scale does not say is the default of ``RunConfig``, which is
the paper's or the release's (Appendix A.4).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from .bases import revision_of
from .data import DATASETS, load_corpus
from .paper import METHODS
from .runs import RunConfig
from .scales import TWO_CORES, Scale

# Table 3: "The paraphrases used for the Wiki dataset are the same-order paraphrase set."
TABLE3_PARAPHRASES = ("none", "same_order")
# Figure 2: "we average across 4 random seed for the dLLM and masked AR on NameDescription and Biography Datasets"
N_PAPER_SEEDS = 4
# Section 7 and Figure 4. A dLLM cannot train at 0, where nothing is masked.
FIXED_RATIOS = {"dllm": (0.25, 0.5, 0.75, 1.0), "masked_ar": (0.0, 0.25, 0.5, 0.75, 1.0)}

Runs = Callable[[Scale, Sequence[int], int], list[RunConfig]]


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
        ValueError: If a value is not allowed, or the scale has no base for the method.
        FileNotFoundError: If a shipped base or original data are missing.
    """
    if method not in scale.bases and base is None:
        raise ValueError(f"scale {scale.name} has no base for method {method!r}; it has {', '.join(scale.bases)}")
    base = base or scale.bases[method]
    settings = scale.settings_of(method, dataset) | changes
    if method == "dllm" and "max_new_tokens" in settings:
        settings = {"sampler_steps": settings["max_new_tokens"]} | settings  # one token a pass, as in A.4
    values = {
        "dataset": dataset,
        "source": scale.source,
        "world_seed": world_seed,
        "data_fingerprint": scale.fingerprints.get(dataset) or _fingerprint(dataset, scale.source, world_seed),
        "paraphrases": paraphrases,
        "method": method,
        "base": base,
        "base_revision": scale.revisions.get(base) or _revision(base),
        "learning_rate": scale.learning_rates[method],
        "eval_steps": scale.eval_steps[dataset, paraphrases != "none"][method],
        "seed": seed,
    }
    return RunConfig(**values | settings)


def methods_of(scale: Scale) -> list[str]:
    """The methods that a scale has a base for, in the paper's order."""
    return [method for method in METHODS if method in scale.bases]


def table3_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """Every method on every data set, without paraphrases and with same-order ones (Table 3, Figure 2)."""
    return [
        make_run(scale, method, dataset, paraphrases, seed=seed, world_seed=world_seed)
        for seed in seeds
        for dataset in DATASETS
        for paraphrases in TABLE3_PARAPHRASES
        for method in methods_of(scale)
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


def table1_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """AR on NameDescription and Biography, without paraphrases and with them (Table 1)."""
    return [run for run in table3_runs(scale, seeds, world_seed) if run.method == "ar" and run.dataset != "wiki"]


def table2_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """AR on Wiki, without paraphrases, with same-order and with permute-order ones (Table 2)."""
    return [
        make_run(scale, "ar", "wiki", paraphrases, seed=seed, world_seed=world_seed)
        for seed in seeds
        for paraphrases in ("none", "same_order", "permute_order")
    ]


def fixed_ratio_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """dLLM and masked AR on NameDescription with fixed mask ratios, beside the random one (Figure 4)."""
    return [
        make_run(scale, method, "name_description", "none", seed=seed, world_seed=world_seed, **change)
        for seed in seeds
        for method, ratios in FIXED_RATIOS.items()
        if method in scale.bases
        for change in [{}, *({"mask_ratio": (ratio, ratio)} for ratio in ratios)]
    ]


def sweep_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """The learning-rate sweep on NameDescription, the same grid for every method (Figure 5: with paraphrases)."""
    runs = [make_run(scale, m, "name_description", scale.sweep_paraphrases, seed=s, world_seed=world_seed) for s in seeds for m in methods_of(scale)]
    return [replace(run, learning_rate=rate) for run in runs for rate in scale.sweep]


def random_token_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """Masked AR with random tokens for the masked copy, beside masked AR and plain AR (Figure 9)."""
    controls = []
    for seed in seeds:
        for dataset in DATASETS:
            for paraphrases in TABLE3_PARAPHRASES:
                arm = dataset, paraphrases != "none"
                steps = scale.eval_steps[arm]["masked_ar"]
                steps = tuple(step for step in steps if step <= scale.random_token_steps.get(arm, steps[-1]))
                controls.append(make_run(scale, "masked_ar", dataset, paraphrases, seed=seed, world_seed=world_seed, corruption="random_token", eval_steps=steps))
    return controls + [run for run in table3_runs(scale, seeds, world_seed) if run.method != "dllm"]


def mixed_precision_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """AR on NameDescription with float32 master weights and with bfloat16 ones, at the chosen rate and the sweep's smallest.

    A.4 gives mixed precision "around 30 % performance gain": bfloat16 weights lose updates smaller than their spacing.
    """
    rates = sorted({scale.sweep[0], scale.learning_rates["ar"]})
    return [
        make_run(scale, "ar", "name_description", "none", seed=seed, world_seed=world_seed, learning_rate=rate, precision=precision)
        for seed in seeds
        for rate in rates
        for precision in ("bf16_mixed", "bf16")
    ]


def forgetting_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """The runs without paraphrases on the sets that the claims are about, probed and twice as long on Biography: what is learned
    and what is forgotten. Of the synthetic world alone, whose questions the bases are known to answer."""
    if scale.source != "synthetic":
        return []
    runs = [
        make_run(scale, method, dataset, "none", seed=seed, world_seed=world_seed, probe="forgetting")
        for seed in seeds
        for dataset in ("name_description", "biography")
        for method in methods_of(scale)
    ]
    return [replace(run, eval_steps=(*run.eval_steps, 2 * run.total_steps)) if run.dataset == "biography" else run for run in runs]


def small_scale_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """AR and masked AR on NameDescription without paraphrases, in what two cores do in three quarters of an hour."""
    if not is_small(scale):
        return []
    return [make_run(scale, method, "name_description", "none", seed=seed, **TWO_CORES) for seed in seeds for method in ("ar", "masked_ar")]


def is_small(scale: Scale) -> bool:
    """Whether it is the small scale, of whichever base."""
    return scale.name.partition(":")[0] == "small"


def _of_method(method: str) -> Runs:
    return lambda *a: [run for run in table3_runs(*a) if run.method == method and run.dataset != "wiki"]


def _all_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """The runs of every exhibit that the claims are about."""
    parts = (table3_runs, control_runs, table2_runs, fixed_ratio_runs, sweep_runs, random_token_runs)
    return list(dict.fromkeys(run for part in parts for run in part(scale, seeds, world_seed)))


def _no_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    return []


# The paper's exhibits by its names, and ours; each is a notebook. Most share their runs.
EXHIBITS: dict[str, Runs] = {
    "table1": table1_runs,
    "table2": table2_runs,
    "table3": lambda *a: table3_runs(*a) + control_runs(*a),
    "table4": table3_runs,
    "figure1": table3_runs,
    "figure2": table3_runs,
    "figure3": _no_runs,
    "figure4": fixed_ratio_runs,
    "figure5": sweep_runs,
    "figure6": table3_runs,
    "figure7": _of_method("dllm"),
    "figure8": _of_method("masked_ar"),
    "figure9": random_token_runs,
    "examples": table3_runs,
    "method_from_scratch": _no_runs,
    "explore_generations": table3_runs,
    "mixed_precision": mixed_precision_runs,
    "forgetting": forgetting_runs,
    "your_own_documents": _no_runs,
    "small_scale": small_scale_runs,
    "claims": _all_runs,
    "cluster_simulation": _no_runs,
}
ONLY_SMALL = ("small_scale",)  # at another scale it has no runs
ON_REQUEST = ("forgetting",)  # not of the paper, and its runs take long: ``all`` draws it from records and does not train it


def exhibit_runs(exhibit: str, scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """The runs of an exhibit.

    Raises:
        ValueError: If the exhibit is unknown, or a seed is negative or given twice.
    """
    if exhibit not in EXHIBITS:
        raise ValueError(f"exhibit {exhibit!r} is not one of {', '.join(EXHIBITS)}")
    check_seeds(seeds)
    return EXHIBITS[exhibit](scale, list(seeds), world_seed)


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise ValueError unless ``seeds`` are distinct whole numbers from 0, at least one."""
    whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds)
    if not seeds or not whole or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds={seeds!r} must be distinct whole numbers from 0, for example [0, 1]")
