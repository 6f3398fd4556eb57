"""How far the training of many runs is, from the notes that `RunStore.report_progress` leaves."""

import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from tqdm import tqdm

from maskft.runs import RunConfig, RunStore

PROGRESS_S = 1.0  # how often a bar moves
LINE_S = 15.0  # how often a line is printed where no bar can be


class _Progress:
    """How much of the expected cost is done: a bar on a terminal, a line now and then elsewhere (a notebook, a log)."""

    def __init__(
        self, configs: Sequence[RunConfig], store: RunStore, cost: Callable[[RunConfig], float], *, shown: bool
    ) -> None:
        self.store, self.shown = store, shown and bool(configs)
        self.cost = {config: max(float(cost(config)), 1e-9) for config in configs}
        self.left = dict.fromkeys(configs)
        self.started, self.updated = time.time(), 0.0
        self.first: float | None = None
        self.bar = None
        # Not tqdm(disable=None), which says nothing at all in a notebook or a log.
        if self.shown and sys.stderr.isatty():
            layout = "{percentage:3.0f}%|{bar}| {desc}, {elapsed} passed{postfix}"
            self.bar = tqdm(total=sum(self.cost.values()), bar_format=layout)

    def update(self, *, now: bool = False) -> None:
        """Look and show, if it is time to."""
        period = PROGRESS_S if self.bar is not None else LINE_S
        if not self.shown or (not now and time.time() - self.updated < period):
            return
        self.updated = time.time()
        self.left = {config: None for config in self.left if not self.store.is_finished(config)}
        share = self._share()
        if self.first is None:
            self.first = share  # done by an earlier attempt: not work of this one, so no measure of its speed
        elapsed, done = time.time() - self.started, share - self.first
        left = f", about {_hours((1 - share) * elapsed / done)} left" if done > 0 and share < 1 else ""
        counts = f"{len(self.cost) - len(self.left)}/{len(self.cost)} runs"
        if self.bar is not None:
            self.bar.n = share * self.bar.total
            self.bar.set_description_str(counts, refresh=False)
            self.bar.set_postfix_str(left.removeprefix(", "))
        else:
            print(f"{counts}, {share:.0%} of the work, {_hours(elapsed)} passed{left}", flush=True)

    def close(self) -> None:
        """Show where it ended."""
        self.update(now=True)
        if self.bar is not None:
            self.bar.close()

    def _share(self) -> float:
        notes = self.store.progress()
        total = 0.0
        for config, cost in self.cost.items():
            part = notes.get(config.run_id, {"weight_done": 0.0})["weight_done"] if config in self.left else 1.0
            total += cost * min(max(part, 0.0), 1.0)
        return total / sum(self.cost.values())


def _hours(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
