"""The simulated object store: whole files, exclusive creates, and answers that can't be trusted."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from operators.errors import StoreUnavailableError
from pipeline.lake.codec import parse_delta
from pipeline.lake.delta import Delta
from pipeline.lake.state import LakeState
from pipeline.lake.store import CreateAnswer
from pipeline.records import Empty, Letter
from pipeline.simulate.clock import Timeline
from pipeline.simulate.faults import Faults, Kind, PutFate
from pipeline.simulate.packer import ShardRow

SHORT_S = 0.2
LATE_S = 30.0
SLOW_S = 8.0
CHECKPOINTS_KEPT = 2

Outcomes = tuple[tuple[Letter, ...], tuple[Empty, ...]]


@dataclass(slots=True)
class SimulatedStore:
    """Log versions as bytes, shards as rows, outcomes files and live lists as records, checkpoints as states.

    Attributes:
        plain_put: a planted mistake: creating overwrites.
        archive: log versions that were deleted, which nobody but the audit can read.
        deleted: outcomes files that vacuum took, which nobody but the audit can read.
        born_s: when each shard was made.
        live: by product, the version and the files of its live list.
    """

    timeline: Timeline
    faults: Faults
    rng: random.Random
    plain_put: bool = False
    log: dict[str, bytes] = field(default_factory=dict[str, bytes])
    archive: dict[str, bytes] = field(default_factory=dict[str, bytes])
    hint: int = 0
    checkpoints: dict[int, LakeState] = field(default_factory=dict[int, LakeState])
    shards: dict[str, tuple[ShardRow, ...]] = field(default_factory=dict[str, tuple[ShardRow, ...]])
    born_s: dict[str, float] = field(default_factory=dict[str, float])
    outcomes: dict[str, Outcomes] = field(default_factory=dict[str, Outcomes])
    deleted: dict[str, Outcomes] = field(default_factory=dict[str, Outcomes])
    live: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict[str, tuple[int, tuple[str, ...]]])
    _late: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])
    _late_hints: list[int] = field(default_factory=list[int])
    _parsed: dict[bytes, Delta] = field(default_factory=dict[bytes, Delta])
    _unique: itertools.count[int] = field(default_factory=itertools.count)

    def unique(self) -> str:
        """A name that nobody else gets."""
        return f"{next(self._unique):06x}"

    def soon_s(self) -> float:
        """How long an answer usually takes."""
        return self.rng.random() * SHORT_S

    def parsed(self, body: bytes) -> Delta:
        """A log version, as production code reads it: once for all who do."""
        delta = self._parsed.get(body)
        if delta is None:
            delta = self._parsed[body] = parse_delta(body)
        return delta

    def named_since(self, floor: int) -> set[str]:
        """The data and outcome files that are live at version `floor`, or named by a later one."""
        named = set[str]()
        for path in sorted(self.log):
            delta = self.parsed(self.log[path])
            if delta.version <= floor:
                named.difference_update(*(rewrite.removes for rewrite in delta.rewrites))
            named.update(delta.paths)
        return named

    # --- reading

    def read(self, path: str) -> Generator[float, None, bytes | None]:
        """A log version, or None where there is none.

        Raises:
            StoreUnavailableError: no answer, or an error; trying again may help.
        """
        before = self.log.get(path)
        yield self.soon_s()
        self.may_fail()
        if self.faults.happens(Kind.READ_LATE):
            yield self.rng.uniform(0.0, SLOW_S)
            return before
        return self.log.get(path)

    def may_fail(self) -> None:
        """A read or a list is answered.

        Raises:
            StoreUnavailableError: it isn't.
        """
        if self.faults.happens(Kind.READ_FAILED):
            raise StoreUnavailableError("503 to a read")

    # --- writing whole files

    def write_outcomes(self, path: str, content: Outcomes) -> Generator[float]:
        """Put a file of letters and empties.

        Raises:
            StoreUnavailableError: an error, before or after the file was made.
        """
        yield self.soon_s()
        if self.faults.happens(Kind.WRITE_FAILED):
            raise StoreUnavailableError("500 to a write")
        self.outcomes[path] = content
        if self.faults.happens(Kind.WRITE_UNHEARD):
            raise StoreUnavailableError("500 to a write that took effect")

    def write_hint(self, version: int) -> None:
        """Put the hint. One that was given up lands over a newer one: any time, but best just after a vacuum."""
        if self.faults.happens(Kind.HINT_LATE):
            self._late_hints.append(version)
            self.timeline.after(self.rng.uniform(0.0, LATE_S), self.land_hint)
        else:
            self.hint = version

    def land_hint(self) -> None:
        """A hint that was given up arrives."""
        if self._late_hints:
            self.hint = self._late_hints.pop(0)

    def upload(self, path: str, rows: tuple[ShardRow, ...]) -> None:
        """Put a shard.

        Raises:
            StoreUnavailableError: an error, before or after the shard was made.
        """
        if self.faults.happens(Kind.UPLOAD_FAILED):
            raise StoreUnavailableError("500 to an upload")
        self.shards[path] = rows
        self.born_s[path] = self.timeline.now_s
        if self.faults.happens(Kind.UPLOAD_UNHEARD):
            raise StoreUnavailableError("500 to an upload that took effect")

    def checkpoint(self, state: LakeState, *, truncates: bool) -> None:
        """Write the state as a checkpoint; to delete the versions before it is a mistake."""
        self.checkpoints.setdefault(state.version, state.copy())
        for version in sorted(self.checkpoints)[:-CHECKPOINTS_KEPT]:
            del self.checkpoints[version]
        if truncates:
            for path in sorted(self.log)[: state.version - 1 - len(self.archive)]:
                self.archive[path] = self.log.pop(path)

    # --- the exclusive create

    def create(self, path: str, body: bytes, answered: Callable[[CreateAnswer], None]) -> None:
        """Put a log version if nothing is there. What happens to it does not depend on whether its author lives.

        Args:
            path: of the version.
            body: its bytes.
            answered: is told what the store says, in a while; it may be wrong.
        """
        fate = self.faults.put()
        soon_s, later_s = self.soon_s(), self.soon_s()
        if fate in {PutFate.NEVER, PutFate.CONFLICT}:
            self.timeline.after(soon_s + later_s, lambda: answered(CreateAnswer.UNCLEAR))
            return
        if fate is PutFate.LATE:
            self._late.setdefault(path, []).append(body)
            self.timeline.after(self.rng.uniform(soon_s, LATE_S), lambda: self._land(path))
            self.timeline.after(soon_s, lambda: answered(CreateAnswer.UNCLEAR))
            return
        if fate is PutFate.SLOW_ANSWER:
            later_s = self.rng.uniform(later_s, SLOW_S)

        def arrives() -> None:
            if self.rng.random() < 0.5:
                self._land(path)
            made = self._put(path, body)
            says = CreateAnswer.CREATED if made else CreateAnswer.EXISTS
            if fate is PutFate.LOST_ANSWER:
                says = CreateAnswer.UNCLEAR
            elif fate is PutFate.TWICE:
                says = CreateAnswer.EXISTS
            self.timeline.after(later_s, lambda: answered(says))

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
