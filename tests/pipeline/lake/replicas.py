"""Replicas that commit to one log through a store that takes its time, under a virtual clock.

The commit machine, the read-ahead and the pace are the production ones; store and clock are played.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.lake.codec import parse_delta
from pipeline.lake.commit import Commit
from pipeline.lake.delta import Opening, Start
from pipeline.lake.follow import ReadAhead
from pipeline.lake.pace import Due, Pace
from pipeline.lake.paths import shard_path, version_path
from pipeline.lake.proposal import Action, Committed, CreateAnswered, CreateVersion, Proposal, ReadVersion, VersionRead
from pipeline.lake.state import LakeState
from pipeline.lake.store import CreateAnswer
from pipeline.records import Sealed, Shard, SourcePartition, Span
from tests.pipeline.lake.commit_world import KEY, product

Seconds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Latency:
    """What a store takes, drawn evenly between two bounds."""

    put_s: Seconds = (0.03, 0.1)
    read_s: Seconds = (0.02, 0.06)


@dataclass(frozen=True, slots=True)
class Landed:
    """One commit: when it was proposed, what it took, what it met."""

    replica: int
    at_s: float
    took_s: float
    conflicts: int
    due: Due


Call = tuple[float, float, Callable[[], Any]]
"""How long until it takes effect, until it is answered, and what it does."""
Steps = Generator[Call, Any, None]


@dataclass
class Replicas:
    """See the module.

    Attributes:
        latencies: one for each replica.
        adapts: the interval follows conflicts; else it stays as configured (with its jitter).
    """

    rng: random.Random
    latencies: Sequence[Latency]
    interval_s: float
    adapts: bool = True
    now_s: float = 0.0
    landed: list[Landed] = field(default_factory=list[Landed])
    puts: int = 0
    reads: int = 0
    log: dict[str, bytes] = field(default_factory=dict[str, bytes])
    _queue: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _ids: itertools.count[int] = field(default_factory=itertools.count)

    def run(self, until_s: float) -> list[Landed]:
        """The commits that were proposed and landed until then."""
        logs = [SourcePartition("topic", number) for number in range(len(self.latencies))]
        opening = Proposal(openings=(Opening(product(), "image"),), starts=tuple(Start(KEY, log, 0) for log in logs))
        state = LakeState()
        action = self._machine(opening, state, "first").begin()
        assert isinstance(action, CreateVersion)
        self.log[action.path] = action.body
        for number, latency in enumerate(self.latencies):
            self._go_on(self._replica(number, latency, logs[number]), None)
        while self._queue and self._queue[0][0] < until_s:
            self.now_s, _, then = heapq.heappop(self._queue)
            then()
        return self.landed

    def waiting_s(self, replica: int) -> float:
        """How long ago this replica landed its last commit."""
        return self.now_s - max((each.at_s + each.took_s for each in self.landed if each.replica == replica), default=0)

    def _at(self, at_s: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (at_s, next(self._ids), then))

    def _go_on(self, steps: Steps, answer: Any) -> None:
        effect_s, answer_s, do = steps.send(answer)

        def takes_effect() -> None:
            result = do()
            self._at(self.now_s + answer_s - effect_s, lambda: self._go_on(steps, result))

        self._at(self.now_s + effect_s, takes_effect)

    def _replica(self, number: int, latency: Latency, log: SourcePartition) -> Steps:
        state, ahead, pace = LakeState(), ReadAhead(), Pace(self.interval_s, self.rng.random)
        due, offset = pace.first(0.0), 0
        while True:
            wait_s = max(0.0, due.at_s - self.now_s)
            yield wait_s, wait_s, lambda: None
            began_s = self.now_s
            yield from self._refresh(state, ahead, latency)
            path = shard_path(KEY, "2026-11-24", state.version, f"{number}x{offset}")
            shard = Shard(KEY, path, 10, 100, 1000, "00" * 32)
            proposal = Proposal((Sealed(KEY, (shard,), (Span(log, ((offset, offset + 10),)),)),))
            offset += 10
            machine = self._machine(proposal, state, f"{number}")
            action: Action = machine.begin()
            while not isinstance(action, Committed):
                if isinstance(action, CreateVersion):
                    answer = yield self._put(latency, action.path, action.body)
                    ahead.after_put(exists=answer is CreateAnswer.EXISTS)
                    action = machine.handle(CreateAnswered(answer))
                else:
                    assert isinstance(action, ReadVersion)
                    yield from self._read(ahead, latency, action.version)
                    action = machine.handle(VersionRead(ahead.take(action.version)))
            took_s = self.now_s - began_s
            conflicts = action.conflicts if self.adapts else 0
            due = pace.after(began_s, took_s if self.adapts else 0.0, conflicts)
            self.landed.append(Landed(number, began_s, took_s, action.conflicts, due))

    def _refresh(self, state: LakeState, ahead: ReadAhead, latency: Latency) -> Steps:
        ahead.forget()
        while True:
            yield from self._read(ahead, latency, state.version + 1)
            body = ahead.take(state.version + 1)
            if body is None:
                return
            state.apply(parse_delta(body))

    def _machine(self, proposal: Proposal, state: LakeState, writer: str) -> Commit:
        return Commit(proposal, state, writer=writer, new_id=lambda: f"id{next(self._ids)}", now_ms=lambda: 0)

    def _put(self, latency: Latency, path: str, body: bytes) -> Call:
        def put() -> CreateAnswer:
            self.puts += 1
            return CreateAnswer.CREATED if self.log.setdefault(path, body) is body else CreateAnswer.EXISTS

        answer_s = self.rng.uniform(*latency.put_s)
        return self.rng.random() * answer_s, answer_s, put

    def _read(self, ahead: ReadAhead, latency: Latency, version: int) -> Steps:
        wanted = ahead.wanted(version)
        if not wanted:
            return

        def read() -> dict[int, bytes | None]:
            self.reads += len(wanted)
            return {each: self.log.get(version_path(each)) for each in wanted}

        # All at once: the slowest counts, and all are as old as the oldest.
        answer_s = max(self.rng.uniform(*latency.read_s) for _ in wanted)
        ahead.give((yield self.rng.random() * answer_s, answer_s, read))
