"""The simulated object store: whole files, exclusive creates, and answers that can't be trusted."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.lake.store import CreateAnswer
from pipeline.records import Empty, Letter
from pipeline.simulate.clock import Timeline
from pipeline.simulate.faults import Faults, PutFate
from pipeline.simulate.packer import ShardRow

SHORT_S = 0.2
LATE_S = 30.0


@dataclass(slots=True)
class SimulatedStore:
    """Log versions as bytes, shards as rows, outcomes files as records.

    Attributes:
        plain_put: a planted mistake: creating overwrites.
        superseded: log versions that were overwritten.
    """

    timeline: Timeline
    faults: Faults
    rng: random.Random
    plain_put: bool = False
    log: dict[str, bytes] = field(default_factory=dict[str, bytes])
    shards: dict[str, tuple[ShardRow, ...]] = field(default_factory=dict[str, tuple[ShardRow, ...]])
    outcomes: dict[str, tuple[tuple[Letter, ...], tuple[Empty, ...]]] = field(
        default_factory=dict[str, tuple[tuple[Letter, ...], tuple[Empty, ...]]]
    )
    _late: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])
    _unique: itertools.count[int] = field(default_factory=itertools.count)

    def unique(self) -> str:
        """A name that nobody else gets."""
        return f"{next(self._unique):06x}"

    def read(self, path: str) -> bytes | None:
        """A log version, or None where there is none."""
        return self.log.get(path)

    def create(self, path: str, body: bytes, answered: Callable[[CreateAnswer], None]) -> None:
        """Put a log version if nothing is there. What happens to it does not depend on whether its author lives.

        Args:
            path: of the version.
            body: its bytes.
            answered: is told what the store says, in a while; it may be wrong.
        """
        fate = self.faults.put()
        soon_s = self.rng.uniform(0.0, SHORT_S)
        answer_s = soon_s + self.rng.uniform(0.0, SHORT_S)
        if fate is PutFate.NEVER:
            self.timeline.after(answer_s, lambda: answered(CreateAnswer.UNCLEAR))
            return
        if fate is PutFate.LATE:
            self._late.setdefault(path, []).append(body)
            self.timeline.after(self.rng.uniform(answer_s, LATE_S), lambda: self._land(path))
            self.timeline.after(answer_s, lambda: answered(CreateAnswer.UNCLEAR))
            return

        def arrives() -> None:
            if self.rng.random() < 0.5:
                self._land(path)
            made = self._put(path, body)
            says = CreateAnswer.CREATED if made else CreateAnswer.EXISTS
            if fate is PutFate.LOST_ANSWER:
                says = CreateAnswer.UNCLEAR
            elif fate is PutFate.TWICE:
                says = CreateAnswer.EXISTS
            self.timeline.after(answer_s - soon_s, lambda: answered(says))

        self.timeline.after(soon_s, arrives)

    def _land(self, path: str) -> None:
        """A put that was given up arrives: any time, but best just before another one."""
        if self._late.get(path):
            self._put(path, self._late[path].pop(0))

    def _put(self, path: str, body: bytes) -> bool:
        if path in self.log and not self.plain_put:
            return False
        self.log[path] = body
        return True
