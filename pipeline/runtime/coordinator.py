"""The loop that joins everything: sources feed lanes, lanes command actors, what is sealed is committed.

One thread. Work on the lake goes through `LakeDesk`, which has a thread of its own, so that a slow store never keeps
the consumers from being polled.
"""

from __future__ import annotations

import gc
import random
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import ray
import structlog

from operators.errors import StopError
from pipeline.flow.glance import Around
from pipeline.lake.pace import Pace
from pipeline.runtime.desk import CommitResult, LakeDesk
from pipeline.runtime.lane_run import LaneRun
from pipeline.runtime.scaler import Scaler
from pipeline.scale.decide import Decision

_log = structlog.get_logger(__name__)

GC_THRESHOLD = 50_000
"""New objects between two collections."""

ROUND_S = 0.05
"""The longest that a round waits for actors before it polls the sources again."""


class EndReason(StrEnum):
    """Why a run ended."""

    IDLE = "idle"
    """Every source was at its end and everything is committed (`until_idle`)."""
    ASKED = "asked"
    """SIGTERM or SIGINT: what was begun is committed."""
    STOPPED = "stopped"
    """Every lane stopped with an error."""


@dataclass(slots=True)
class Progress:
    """Counters of one run.

    Attributes:
        commits: that were settled, whether they added a version or found all there already.
        commit_s: what the last one took.
        version: of the lake as this process knows it.
    """

    commits: int = 0
    commit_s: float = 0.0
    version: int = 0


class Coordinator:
    """See the module.

    Args:
        lanes: each with its source, its state machine and its driver.
        desk: commits.
        scaler: decides the pools' sizes.
        interval_s: between commits, at least; see `pipeline.lake.pace`.
        observe: called once a round with the time; writes status and progress.
    """

    def __init__(
        self,
        lanes: Sequence[LaneRun],
        desk: LakeDesk,
        scaler: Scaler,
        interval_s: float,
        observe: Callable[[Coordinator, float], None],
    ) -> None:
        self.lanes = lanes
        self.desk = desk
        self.progress = Progress(version=desk.base_version)
        for lane in lanes:
            lane.lane.obey(desk.predicates, desk.base_version)
        self._scaler = scaler
        self._pace = Pace(interval_s, random.random)
        self._observe = observe
        self._commit: Future[CommitResult] | None = None
        self._due = self._pace.first(time.monotonic())
        self._due_since_s = time.monotonic()
        self._began_s = 0.0
        self._asked = False
        self.draining = False

    @property
    def committing(self) -> bool:
        """Whether a commit is under way."""
        return self._commit is not None

    def around(self, lane: LaneRun, now_s: float) -> Around:
        """What the watchdog must know of a lane's surroundings."""
        return Around(
            committing_s=None if self._commit is None else now_s - self._began_s,
            commit_every_s=self._due.at_s - self._due_since_s,
            lag=0 if lane.paused or lane.error is not None else lane.lag,
            nodes_wanted=bool(self.wanted_nodes),
        )

    @property
    def wanted_nodes(self) -> str:
        """What the cluster was asked for, for people; "" where it has all that is wanted."""
        return self._scaler.wanted_nodes

    @property
    def decisions(self) -> Mapping[str, Decision]:
        """The last decision of each pool."""
        return self._scaler.decisions

    def ask_to_end(self) -> None:
        """Drain, commit and leave. Safe to call from a signal handler."""
        self._asked = True

    def run(self, *, until_idle: bool) -> EndReason:
        """Until asked to end, or until everything there is has been committed.

        Raises:
            StopError: something that no lane can go on after; what was committed stays so.
        """
        with _rare_collections():
            return self._run(until_idle=until_idle)

    def _run(self, *, until_idle: bool) -> EndReason:
        while True:
            now_s = time.monotonic()
            for lane in self.lanes:
                lane.poll(now_s)
            sent = sum(lane.step(now_s) for lane in self.lanes)
            self._scaler.tick(now_s)
            self._receive(wait_s=0.0 if sent else ROUND_S)
            self._commit_step(time.monotonic(), hurry=self.draining)
            self._observe(self, now_s)
            if not self.draining and (self._asked or (until_idle and all(lane.idle for lane in self.lanes))):
                self.draining = True
                for lane in self.lanes:
                    lane.drain(abandon=self._asked)
            if self.draining and self._commit is None and all(lane.lane.quiet for lane in self.lanes):
                return self._end_reason()
            if all(lane.error is not None for lane in self.lanes) and not self.draining:
                self._asked = True

    def errors(self) -> Mapping[str, StopError]:
        """By lane, what stopped it."""
        return {lane.name: lane.error for lane in self.lanes if lane.error is not None}

    def close(self) -> None:
        """Leave the groups, stop the actors, write the live lists."""
        for lane in self.lanes:
            lane.close()
        self._scaler.close()
        self.desk.close()

    def _end_reason(self) -> EndReason:
        if all(lane.error is not None for lane in self.lanes):
            return EndReason.STOPPED
        return EndReason.ASKED if self._asked else EndReason.IDLE

    def _receive(self, wait_s: float) -> None:
        owner = {ref: lane for lane in self.lanes for ref in lane.driver.refs}
        if not owner:
            time.sleep(wait_s)
            return
        ready, rest = ray.wait(list(owner), num_returns=1, timeout=wait_s, fetch_local=False)
        if ready and rest:
            ready += ray.wait(rest, num_returns=len(rest), timeout=0, fetch_local=False)[0]
        for ref in ready:
            owner[ref].driver.receive(ref, time.monotonic())

    def _commit_step(self, now_s: float, *, hurry: bool) -> None:
        if self._commit is not None:
            if self._commit.done():
                self._committed(self._commit.result())
                self._commit = None
            return
        if not hurry and now_s < self._due.at_s:
            return
        sealed = [part for lane in self.lanes for part in lane.take_sealed()]
        if sealed:
            self._began_s = now_s
            self._commit = self.desk.commit(sealed)
        else:
            self._due, self._due_since_s = self._pace.after(now_s, took_s=0.0, conflicts=0), now_s

    def _committed(self, result: CommitResult) -> None:
        self._due, self._due_since_s = self._pace.after(self._began_s, result.took_s, result.conflicts), self._began_s
        self.progress.commits += 1
        self.progress.commit_s = result.took_s
        self.progress.version = result.version
        for lane in self.lanes:
            lane.lane.obey(result.predicates, result.version)
            lane.committed(result)
        verdicts = Counter(part.verdict.value for part in result.parts)
        _log.info(
            "committed",
            version=result.version,
            took_s=round(result.took_s, 3),
            conflicts=result.conflicts,
            next_in_s=round(max(0.0, self._due.at_s - time.monotonic()), 1),
            pace=self._due.reason.value,
            **verdicts,
        )


@contextmanager
def _rare_collections() -> Generator[None]:
    """What is in flight lives long and holds no cycles: looking for some again and again took a fifth of the time."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
