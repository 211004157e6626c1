"""What the coordinator spends on a reference: CPU time of its one thread, source and Ray's answers included.

Tiny texts that stand in their messages, a tokenizer that does next to nothing: all that is left is bookkeeping.
`python -m tests.bench.driver_cost [references] [--profile]`
"""

from __future__ import annotations

import cProfile
import functools
import json
import pstats
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import ray

from operators.records import Origin
from pipeline.app.build import build, plan
from pipeline.config import parse_config
from pipeline.graph import LanePlan
from pipeline.records import Message, SourcePartition
from pipeline.runtime import cluster
from pipeline.runtime.driver import LaneDriver
from pipeline.runtime.intake import Claims
from pipeline.source.base import LogEnds, Positions, Source
from pipeline.source.events import Assigned, Event, Exhausted, Messages

LOG = SourcePartition("bench", 0)


@dataclass(frozen=True)
class DriverCost:
    """What a run cost.

    Attributes:
        thread_s: CPU time of the coordinator's thread.
        messaging_s: of it, in sending calls to actors (pickling them included) and in taking what they answered.
        wall_s: of the run, the actors' start included.
    """

    references: int
    thread_s: float
    messaging_s: float
    wall_s: float

    @property
    def us_per_reference(self) -> float:
        """CPU µs of the coordinator a reference."""
        return self.thread_s / self.references * 1e6

    @property
    def messaging_us_per_reference(self) -> float:
        """Of these, between the lane and its actors."""
        return self.messaging_s / self.references * 1e6


@contextmanager
def timed(*places: tuple[Any, str]) -> Generator[list[float]]:
    """Adds to the one number given the CPU time of this thread in these functions (owner, name)."""
    spent_s = [0.0]

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            began_s = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent_s[0] += time.thread_time() - began_s

        return call

    with ExitStack() as stack:
        for owner, name in places:
            stack.enter_context(mock.patch.object(owner, name, wrapped(getattr(owner, name))))
        yield spent_s


class Canned:
    """A source whose messages lie in memory."""

    def __init__(self, references: int, positions: Positions) -> None:
        self._messages = [_message(number) for number in range(references)]
        self._positions = positions
        self._next = -1
        self._paused = False

    def poll(self, max_messages: int, timeout_s: float) -> list[Event]:
        """See `Source.poll`."""
        if self._next < 0:
            self._next = self._positions.resolve([LogEnds(LOG, "text", 0, len(self._messages))], None)[LOG]
            return [Assigned((LOG,))]
        if self._paused:
            return []
        given = tuple(self._messages[self._next : self._next + max_messages])
        self._next += len(given)
        return [Messages(given)] if given else [Exhausted()]

    def pause(self) -> None:
        """See `Source.pause`."""
        self._paused = True

    def resume(self) -> None:
        """See `Source.resume`."""
        self._paused = False

    def recheck(self) -> None:
        """It stays what it is."""

    def advise(self, positions: Mapping[SourcePartition, int]) -> None:
        """It keeps no books."""

    def lag(self) -> Mapping[SourcePartition, int]:
        """See `Source.lag`."""
        return {LOG: len(self._messages) - max(0, self._next)}

    def close(self) -> None:
        """There is nothing to close."""


def _message(number: int) -> Message:
    value = json.dumps({"uri": f"t{number}", "text": "Good day", "attributes": {"n": number}}).encode()
    return Message(Origin(LOG.source_id, 0, number, 0), "text", None, value)


def driver_cost(references: int = 20_000, profile: cProfile.Profile | None = None) -> DriverCost:
    """Run them through a Ray (the one that is there, or a local one) into a lake in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        text = {
            "topics": ["text"],
            "products": {"bytes": {"tokenizer": "text-bytes"}},
            "workers": {"max": 1, "cpus": 0.5},
            "limits": {"tokenize_windows": 256},
        }
        config = parse_config({"lake": f"{folder}/lake", "state": f"{folder}/state", "lanes": {"text": text}})
        plans, nodes = plan(config), cluster.start(config.ray)

        def make_source(lane: LanePlan, positions: Positions) -> Source:
            return Canned(references, positions)

        claims = Claims({"text": (plans[0].modality,)})
        built = build(
            config, "bench", make_source, claims, plans=plans, nodes=nodes, until_idle=True, show=lambda _: None
        )
        try:
            wall_s, thread_s = time.perf_counter(), time.thread_time()
            if profile is not None:
                profile.enable()
            with timed((LaneDriver, "_send"), (ray, "get"), (ray, "wait")) as messaging_s:
                built.coordinator.run(until_idle=True)
            if profile is not None:
                profile.disable()
            cost = DriverCost(references, time.thread_time() - thread_s, messaging_s[0], time.perf_counter() - wall_s)
        finally:
            built.coordinator.close()
        assert built.coordinator.lanes[0].done_messages == references
        assert not (Path(folder) / "lake" / "_meta" / "letters").exists()
        return cost


if __name__ == "__main__":
    count = int(next((word for word in sys.argv[1:] if word.isdecimal()), "20000"))
    measured = driver_cost(count)
    between = f"{measured.messaging_us_per_reference:.1f} of them between the lane and its actors"
    print(f"{measured.us_per_reference:.1f} µs a reference, {between} ({count} in {measured.wall_s:.1f} s)")
    if "--profile" in sys.argv:
        profiler = cProfile.Profile(time.thread_time)
        driver_cost(count, profiler)
        pstats.Stats(profiler).sort_stats("tottime").print_stats(28)
