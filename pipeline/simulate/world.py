"""What a seed draws, and what its processes share: clock, store, broker, faults, config."""

from __future__ import annotations

import random

from pipeline.records import SourcePartition
from pipeline.simulate.broker import Broker
from pipeline.simulate.clock import Timeline
from pipeline.simulate.draw import draw_faults
from pipeline.simulate.lineup import draw_lineup
from pipeline.simulate.mistakes import Mistake
from pipeline.simulate.publish import Producers
from pipeline.simulate.store import SimulatedStore

CALM_S = 18.0
"""From here on nothing goes wrong any more."""


class World:
    """See the module.

    Attributes:
        commit_s: between two commits of a process, at least.
        latest: the configured start of a topic: at its end, else at its beginning.
        promised: by (product name, log), where the first process that read the log began: all from there is owed.
        down: places of media that are down now.
        replayed, retokenized: whether all open letters, all rows of predecessors, were gone through in the end.
        errors: what production code found to be broken.
    """

    def __init__(self, seed: int, mistake: Mistake | None) -> None:
        self.seed = seed
        self.mistake = mistake
        self.rng = random.Random(seed)  # noqa: S311  reproducible, no secret
        self.timeline = Timeline()
        self.faults = draw_faults(self.rng)
        self.store = SimulatedStore(self.timeline, self.faults, self.rng, plain_put=mistake is Mistake.PLAIN_PUT)
        self.producers = Producers(self.rng)
        self.broker = Broker(self.rng, self.producers)
        self.broker.draw()
        self.commit_s = self.rng.choice((0.5, 1.0, 2.0, 8.0))
        self.latest = self.rng.random() < 0.4
        self.lineup = draw_lineup(self.rng, self.faults, CALM_S)
        self.promised: dict[tuple[str, SourcePartition], int] = {}
        self.down = set[str]()
        self.replayed = self.retokenized = False
        self.errors: list[str] = []

    @property
    def now_s(self) -> float:
        """Virtual time."""
        return self.timeline.now_s

    def promise(self, name: str, log: SourcePartition, offset: int) -> None:
        """A process begins to read a log here; the first one's word stands."""
        self.promised.setdefault((name, log), offset)

    def caught_up(self, name: str, log: SourcePartition, offset: int) -> None:
        """Everything from here on has been read."""
        self.promised[name, log] = min(offset, self.promised.get((name, log), offset))

    def broken(self, what: str) -> None:
        """Production code found its own invariants broken."""
        self.errors.append(what)
