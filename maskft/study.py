"""Which runs each exhibit needs, what is missing, and ``ensure`` to train it. Exhibits share runs.

A run is a ``RunConfig`` built here from a ``Scale``; what a scale does not say is the default of ``RunConfig``, which is
the paper's or the release's (Appendix A.4).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pandas as pd

from .data import DATASETS, load_corpus
from .launch import ensure as launch_missing
from .models import revision_of
from .paper import METHODS
from .runs import RecordStore, RunConfig, RunStore, Store, best_step, pack_records, read_metrics, steps_to_pack
from .scales import Scale, get_scale

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
        **scale.method_settings.get(method, {}),
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
        for change in [{}, *({"mask_ratio": (ratio, ratio)} for ratio in ratios)]
    ]


def sweep_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """The learning-rate sweep on NameDescription with paraphrases, the same grid for every method (Figure 5)."""
    runs = [make_run(scale, m, "name_description", "same_order", seed=s, world_seed=world_seed) for s in seeds for m in METHODS]
    return [replace(run, learning_rate=rate) for run in runs for rate in scale.sweep]


def random_token_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """Masked AR with random tokens for the masked copy, beside masked AR and plain AR (Figure 9)."""
    controls = [
        make_run(scale, "masked_ar", dataset, paraphrases, seed=seed, world_seed=world_seed, corruption="random_token")
        for seed in seeds
        for dataset in DATASETS
        for paraphrases in TABLE3_PARAPHRASES
    ]
    return controls + [run for run in table3_runs(scale, seeds, world_seed) if run.method != "dllm"]


def _of_method(method: str) -> Runs:
    return lambda *a: [run for run in table3_runs(*a) if run.method == method and run.dataset != "wiki"]


def _all_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    """The runs of every other exhibit."""
    parts = (table3_runs, control_runs, table2_runs, fixed_ratio_runs, sweep_runs, random_token_runs)
    return list(dict.fromkeys(run for part in parts for run in part(scale, seeds, world_seed)))


def _no_runs(scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> list[RunConfig]:
    return []


# The paper's exhibits by its names, and four of ours; each is a notebook. Most share their runs.
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
    "claims": _all_runs,
}


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


def expected_cost(config: RunConfig) -> float:
    """Relative cost of a run, to order runs and to guess the time left: tokens trained, and as many for evaluations.

    Masked AR trains on two copies and a prompt of 25 tokens. An evaluation of the tiny scale takes as long as about
    20,000 tokens of training, and four times that where every answer token is a pass over question and canvas.
    """
    length = {"name_description": 22, "biography": 75, "wiki": 75}[config.dataset]
    length = 2 * length + 25 if config.method == "masked_ar" else length
    evaluations = len(config.eval_steps) * (80_000 if config.method == "dllm" else 20_000)
    return config.total_steps * length * config.train_batch_size + evaluations


def ensure(scale: Scale, configs: Sequence[RunConfig], *, workers: int | None = None) -> None:
    """Train what the working store lacks of ``configs``, by ``accelerate launch`` (``launch``).

    Committed records do not count as finished here: who asks for a reproduction gets one.
    """
    store = RunStore(scale.store)
    launch_missing(store.missing(configs), store, scale_launcher=scale.launcher, workers=workers, cost=expected_cost)


@dataclass(frozen=True)
class Study:
    """The finished runs of an exhibit, as a notebook uses them.

    Attributes:
        exhibit: Its name.
        scale: Its scale.
        configs: The runs.
        store: Where they are.
        metrics: Their long metrics frame (``runs.read_metrics``).
        parameters: What was asked for.
    """

    exhibit: str
    scale: Scale
    configs: list[RunConfig]
    store: Store
    metrics: pd.DataFrame
    parameters: dict[str, object]

    @property
    def is_control(self) -> pd.Series:
        """Rows of the runs from the control base."""
        return self.metrics.base == self.scale.control_base

    @property
    def commit(self) -> str:
        """The commits that the runs were trained at. Not today's: redrawing must not change a byte."""
        commits = {self.store.record(config)["git_commit"] or "unknown" for config in self.configs}
        return ", ".join(sorted(commits))

    @property
    def command(self) -> str:
        """What makes the exhibit again."""
        options = f"--scale {self.scale.name} --world-seed {self.parameters['world_seed']}"
        n_seeds = max((config.seed for config in self.configs), default=0) + 1
        return f"maskft reproduce {self.exhibit} {options} --seeds {n_seeds}"

    def pack(self) -> list[Path]:
        """Write the records of freshly trained runs beside the tables, small enough to be committed."""
        if isinstance(self.store, RecordStore):
            return []

        def keep(config: RunConfig, metrics: list[dict]) -> set[int]:
            # Of rates that were tried and not chosen, the answers at the best checkpoint are enough.
            is_chosen = config.learning_rate == self.scale.learning_rates[config.method]
            return steps_to_pack(config, metrics) if is_chosen else {best_step(config, metrics)}

        with_texts = self.scale.source == "synthetic"
        return pack_records(self.configs, [self.store], self.scale.records, with_texts=with_texts, keep=keep)


def open_study(
    exhibit: str,
    scale: str,
    seeds: Sequence[int],
    world_seed: int,
    from_records: bool,
    *,
    allow_missing: bool = False,
) -> Study:
    """The runs of an exhibit, trained where they are missing, or read from the committed records.

    Args:
        exhibit: One of ``EXHIBITS``.
        scale: Name of the scale.
        seeds: Run seeds. Records hold their own: from them, every committed seed is read.
        world_seed: Which synthetic world.
        from_records: Read the committed records and train nothing.
        allow_missing: Of records, take those there are, be it none: for an exhibit that says itself what is not run.

    Raises:
        ValueError: If a parameter is not allowed.
        LookupError: If records are asked for and an arm of the exhibit has none, unless ``allow_missing``.
        LaunchError: If training failed.
    """
    chosen = get_scale(scale)
    configs = exhibit_runs(exhibit, chosen, seeds, world_seed)
    parameters = {"scale": scale, "seeds": list(seeds), "world_seed": world_seed, "from_records": from_records}
    if not from_records:
        store: Store = RunStore(chosen.store)
        ensure(chosen, configs)
    else:
        store = RecordStore(chosen.records)
        wanted = exhibit_runs(exhibit, chosen, range(max(N_PAPER_SEEDS, *seeds) + 1), world_seed)
        missing = set(store.missing(wanted))
        have = [config for config in wanted if config not in missing]
        arms = {replace(config, seed=0) for config in have}
        lacking = [config.run_id for config in configs if replace(config, seed=0) not in arms]
        if lacking and not allow_missing:
            raise LookupError(
                f"no committed record in {chosen.records.name}/ for {', '.join(lacking)}; "
                f"train them: maskft reproduce {exhibit} --scale {scale} --world-seed {world_seed}"
            )
        configs = have
    return Study(exhibit, chosen, configs, store, read_metrics([store], configs), parameters)
