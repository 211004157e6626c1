from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pipeline.records import SourcePartition
from pipeline.source.base import LogEnds, OffsetsAt
from pipeline.source.events import Assigned, Messages
from tests.bench import paced
from tests.bench.paced import LONG, SHORT, Enough, Latencies, PacedSource


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


class FromTheStart:
    def begun(self, source_id: str) -> bool:
        return False

    def resolve(self, logs: Sequence[LogEnds], at_time: OffsetsAt | None) -> Mapping[SourcePartition, int]:
        return dict.fromkeys([ends.log for ends in logs], 0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(paced, "time", clock)
    return clock


def source_of(latencies: Latencies, ready: bool = True) -> PacedSource:
    short, long = [Path(f"/short/{n}") for n in range(4)], [Path("/long/0")]
    return PacedSource(
        "t", short, long, FromTheStart(), latencies, lambda: ready, rate_hz=2.0, lead_s=5.0, patience_s=60.0
    )  # fmt: skip


def offsets(events: Sequence[object]) -> list[tuple[int, int]]:
    messages = [message for event in events if isinstance(event, Messages) for message in event.messages]
    return [(message.origin.partition, message.origin.offset) for message in messages]


def test_long_items_come_first_and_short_ones_at_their_rate(clock: Clock):
    latencies = Latencies()
    source = source_of(latencies)
    assert isinstance(source.poll(10, 0.0)[0], Assigned)
    assert offsets(source.poll(10, 0.0)) == [(LONG, 0)]
    clock.now_s += 4.9
    assert source.poll(10, 0.0) == []
    clock.now_s += 0.7
    assert offsets(source.poll(10, 0.0)) == [(SHORT, 0), (SHORT, 1)]
    assert latencies.due_s == [105.0, 105.5]


def test_an_item_is_due_while_the_lane_is_paused(clock: Clock):
    latencies = Latencies()
    source = source_of(latencies)
    for _ in range(2):
        source.poll(10, 0.0)
    source.pause()
    clock.now_s += 5.6
    assert source.poll(10, 0.0) == []
    assert len(latencies.due_s) == 2
    source.resume()
    clock.now_s += 10
    assert len(offsets(source.poll(10, 0.0))) == 4
    latencies.ready(0)
    assert latencies.until_ready_s() == [pytest.approx(10.6)]


def test_nothing_comes_before_the_workers_are_ready(clock: Clock):
    source = source_of(Latencies(), ready=False)
    source.poll(10, 0.0)
    clock.now_s += 100
    assert source.poll(10, 0.0) == []


def test_it_ends_once_all_short_items_are_in_the_lake(clock: Clock):
    latencies = Latencies()
    source = source_of(latencies)
    for _ in range(2):
        source.poll(10, 0.0)
    clock.now_s += 7
    source.poll(10, 0.0)
    source.advise({SourcePartition("t", SHORT): 4})
    with pytest.raises(Enough):
        source.poll(10, 0.0)
    assert latencies.until_committed_s() == pytest.approx([2.0, 1.5, 1.0, 0.5])


def test_it_ends_when_it_takes_too_long(clock: Clock):
    source = source_of(Latencies())
    for _ in range(2):
        source.poll(10, 0.0)
    clock.now_s += 5 + 2 + 61
    with pytest.raises(Enough):
        source.poll(10, 0.0)
