"""What a seed draws, and what its coordinators share: clock, store, broker, faults."""

from __future__ import annotations

import random

from pipeline.records import Product, SourcePartition
from pipeline.simulate.broker import Broker, draw_logs
from pipeline.simulate.clock import Timeline
from pipeline.simulate.faults import draw_faults
from pipeline.simulate.media import PRODUCTS, Media
from pipeline.simulate.mistakes import Mistake
from pipeline.simulate.store import SimulatedStore

CALM_S = 18.0
"""From here on nothing goes wrong any more."""


class World:
    """See the module.

    Attributes:
        commit_s: between two commits of a coordinator, at least.
        latest: the configured start of a topic: at its end, else at its beginning.
        joins_s: when the second product stands in the config.
        promised: by (product key, log), where the first coordinator that read the log began: all from there is owed.
        errors: what production code found to be broken.
    """

    def __init__(self, seed: int, mistake: Mistake | None) -> None:
        self.seed = seed
        self.mistake = mistake
        self.rng = random.Random(seed)  # noqa: S311  reproducible, no secret
        self.timeline = Timeline()
        self.faults = draw_faults(self.rng)
        self.store = SimulatedStore(self.timeline, self.faults, self.rng, plain_put=mistake is Mistake.PLAIN_PUT)
        self.media: dict[str, Media] = {}
        self.broker = Broker(draw_logs(self.rng, self.media))
        self.commit_s = self.rng.choice((0.5, 1.0, 2.0, 8.0))
        self.latest = self.rng.random() < 0.4
        self.joins_s = self.rng.uniform(0.0, CALM_S) if self.rng.random() < 0.4 else 0.0
        self.promised: dict[tuple[str, SourcePartition], int] = {}
        self.errors: list[str] = []

    # --- what coordinators ask ---

    def products_now(self) -> tuple[Product, ...]:
        """What the config of a process that starts now says: the second product may join in mid-run."""
        return PRODUCTS if self.faults.calm or self.timeline.now_s >= self.joins_s else PRODUCTS[:1]

    def by_policy(self, log: SourcePartition) -> int:
        """Where the configured start is now."""
        return self.broker.logs[log].end(self.timeline.now_s) if self.latest else 0

    def promise(self, product: str, log: SourcePartition, offset: int) -> None:
        """A coordinator begins to read a log here; the first one's word stands."""
        self.promised.setdefault((product, log), offset)

    def broken(self, what: str) -> None:
        """Production code found its own invariants broken."""
        self.errors.append(what)
