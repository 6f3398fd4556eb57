"""The finished runs of an exhibit: ``ensure`` trains what is missing, ``open_study`` hands them to a notebook."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from .bases import ADAPTED
from .exhibits import exhibit_runs, make_run
from .launch import ensure as launch_missing
from .named_scales import get_scale
from .runs import RecordStore, RunConfig, RunStore, Store, best_step, pack_records, read_metrics, steps_to_pack
from .scales import Scale


def expected_cost(config: RunConfig) -> float:
    """Relative cost of a run, to order runs and to guess the time left: tokens trained, and as many for evaluations.

    Masked AR trains on two copies and a prompt of 25 tokens. An evaluation of the tiny scale takes as long as about
    20,000 tokens of training, and four times that where every answer token is a pass over question and canvas.
    """
    length = {"name_description": 22, "biography": 75, "wiki": 75}[config.dataset]
    length = 2 * length + 25 if config.method == "masked_ar" else length
    evaluations = len(config.eval_steps) * (80_000 if config.method == "dllm" else 20_000)
    return float(config.total_steps * length * config.train_batch_size + evaluations)


EXECUTORS = ("local", "slurm")


def ensure(
    scale: Scale,
    configs: Sequence[RunConfig],
    *,
    workers: int | None = None,
    executor: str = "local",
    slurm: Sequence[str] = (),
    wait: bool = True,
    minutes: float | None = None,
) -> None:
    """Train what the working store lacks of ``configs``, by ``accelerate launch``.

    Committed records do not count as finished here: who asks for a reproduction gets one.

    Args:
        scale: Says how a run is started, and where its store is.
        configs: The runs.
        workers: Training processes side by side on this machine.
        executor: ``local`` for worker processes here, ``slurm`` for a job each.
        slurm: Settings of the jobs, as KEY=VALUE (``maskft.slurm_settings``).
        wait: Return when the jobs are over; else when they are submitted.
        minutes: Stop after these; runs go on from where they are at the next call.

    Raises:
        ValueError: If an option is not allowed, or not one of the executor's.
        PreflightError: If something that the runs need is not there; nothing was started.
        LaunchError: If runs failed; the others are finished.
        OutOfTime: If the minutes are over and runs are missing.
    """
    if minutes is not None and not minutes > 0:
        raise ValueError(f"--minutes {minutes} must be above 0")
    if minutes is not None and executor != "local":
        raise ValueError(f"--minutes {minutes:g} is for --executor local; jobs take theirs as --slurm timeout_min=N")
    store = RunStore(scale.store)
    missing = store.missing(configs)
    check(scale, missing, workers=workers, executor=executor, slurm=slurm)
    if executor == "local":
        launch_missing(missing, store, scale_launcher=scale.launcher, workers=workers, cost=expected_cost, minutes=minutes)
        return
    from .slurm import submit, wait_for
    from .slurm_settings import read_settings

    jobs = submit(configs, store, launcher=scale.launcher, settings=read_settings(slurm), cost=expected_cost)
    print(f"{len(jobs)} job(s) given to Slurm" + (f": {jobs[0]} to {jobs[-1]}" if jobs else ""), flush=True)
    if wait:
        wait_for(configs, store, cost=expected_cost)


def check(
    scale: Scale,
    missing: Sequence[RunConfig],
    *,
    workers: int | None = None,
    executor: str = "local",
    slurm: Sequence[str] = (),
) -> None:
    """What ``ensure`` looks at before it starts runs that are missing, of the executor they go to; options as there.

    Raises:
        ValueError: If an option is not allowed, or not one of the executor's.
        PreflightError: If something that the runs need is not there.
    """
    if executor not in EXECUTORS:
        raise ValueError(f"executor {executor!r} is not one of {', '.join(EXECUTORS)}")
    if executor == "local" and slurm:
        raise ValueError("--slurm settings need --executor slurm")
    if executor == "slurm" and workers is not None:
        raise ValueError("--workers is of --executor local; on Slurm, --slurm array_parallelism=N limits the jobs side by side")
    if not missing:
        return
    from .preflight import check_study

    is_sharded = "--shard" in scale.launcher.options
    if executor == "local":
        check_study(missing, RunStore(scale.store).root, launcher=scale.launcher, workers=workers, is_sharded=is_sharded)
        return
    from .slurm_settings import read_settings

    # Without a limit of one's own all jobs may run at the same time.
    at_once = read_settings(slurm).get("array_parallelism", len(missing))
    check_study(missing, RunStore(scale.store).root, at_once=min(at_once, len(missing)), is_sharded=is_sharded)


def is_ready(exhibit: str, scale: Scale, seeds: Sequence[int], world_seed: int = 0) -> bool:
    """Whether every run of an exhibit is in the working store."""
    return not RunStore(scale.store).missing(exhibit_runs(exhibit, scale, seeds, world_seed))


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

    def finished(self, runs: Sequence[RunConfig]) -> list[RunConfig]:
        """Those of ``runs`` that the store has, each once."""
        known = with_recorded_bases(self.store, runs) if isinstance(self.store, RecordStore) else runs
        return [run for run in dict.fromkeys(known) if self.store.is_finished(run)]

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
        asked_for = str(self.parameters["scale"])
        scale = Path(asked_for).name if asked_for.endswith(".json") else self.scale.name  # a file is given by its name
        options = f"--scale {scale} --world-seed {self.parameters['world_seed']}"
        n_seeds = max((config.seed for config in self.configs), default=0) + 1
        # From records every committed seed is read; how many each arm has, a number could not say.
        how = "--from-records" if self.parameters["from_records"] else f"--seeds {n_seeds}"
        return f"maskft reproduce {self.exhibit} {options} {how}"

    def pack(self) -> list[Path]:
        """Write the records of freshly trained runs beside the tables, small enough to be committed."""
        if isinstance(self.store, RecordStore):
            return []

        def keep(config: RunConfig, metrics: list[dict]) -> set[int]:
            # Of the runs beside the main ones (other rates, ratios, bases), the answers at the best checkpoint are enough.
            arm = config.method, config.dataset, config.paraphrases
            main = make_run(self.scale, *arm, seed=config.seed, world_seed=config.world_seed)
            return steps_to_pack(config, metrics) if config == main else {best_step(config, metrics)}

        with_texts = self.scale.source == "synthetic"
        return pack_records(self.configs, [self.store], self.scale.records, with_texts=with_texts, keep=keep)


def as_recorded(scale: Scale) -> Scale:
    """The scale with what its records were made with and this machine may have otherwise: the data, and a dLLM that was adapted."""
    configs = RecordStore(scale.records).configs()
    fingerprints = {config.dataset: config.data_fingerprint for config in configs}
    adapted = {config.base: config.base_revision for config in configs if config.method == "dllm"}
    bases = dict(zip(["dllm"], adapted, strict=False))
    return replace(
        scale, fingerprints={**scale.fingerprints, **fingerprints},
        bases={**scale.bases, **bases}, revisions={**scale.revisions, **adapted},
    )  # fmt: skip


def with_recorded_bases(store: RecordStore, runs: Sequence[RunConfig]) -> list[RunConfig]:
    """``runs``, those of an adapted dLLM with the revision that their record names: it is made anew on every machine."""
    recorded = {_of_any_adaptation(config): config for config in store.configs()}
    return [recorded.get(_of_any_adaptation(run), run) for run in runs]


def _of_any_adaptation(config: RunConfig) -> RunConfig:
    """The run, without the revision of a base that ``maskft adapt`` made."""
    is_adapted = config.source == "original" and config.base.endswith(ADAPTED)
    return replace(config, base_revision="any") if is_adapted else config


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
        LookupError: If records are asked for and an arm of the exhibit has none, unless ``allow_missing``. Of original data,
            where an arm takes a GPU, only if all arms have none; which have none is printed.
        LaunchError: If training failed.
    """
    chosen = get_scale(scale)
    if from_records and chosen.source == "original":
        chosen = as_recorded(chosen)
    configs = exhibit_runs(exhibit, chosen, seeds, world_seed)
    parameters = {"scale": scale, "seeds": list(seeds), "world_seed": world_seed, "from_records": from_records}
    if not from_records:
        store: Store = RunStore(chosen.store)
        ensure(chosen, configs)
    else:
        store = RecordStore(chosen.records)
        n_seeds = 1 + max([*seeds, *(config.seed for config in store.configs())])
        wanted = exhibit_runs(exhibit, chosen, range(n_seeds), world_seed)
        if chosen.source == "original":
            wanted = with_recorded_bases(store, wanted)
        missing = set(store.missing(wanted))
        have = [config for config in wanted if config not in missing]
        arms = {replace(_of_any_adaptation(config), seed=0) for config in have}
        lacking = [config for config in configs if replace(_of_any_adaptation(config), seed=0) not in arms]
        if lacking and not allow_missing:
            if not have or chosen.source != "original":
                raise LookupError(
                    f"no committed record in {chosen.records.name}/ for {', '.join(config.run_id for config in lacking)}; "
                    f"train them: maskft reproduce {exhibit} --scale {scale} --world-seed {world_seed}"
                )
            print("not run so far:", ", ".join(dict.fromkeys(f"{c.method} on {c.dataset} ({c.paraphrases})" for c in lacking)))
        configs = have
    return Study(exhibit, chosen, configs, store, read_metrics([store], configs), parameters)
