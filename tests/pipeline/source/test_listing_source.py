from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from operators.errors import StoreUnavailableError
from pipeline.records import SourcePartition
from pipeline.source.base import LogEnds, OffsetsAt
from pipeline.source.events import Assigned, EndReached, Event, Exhausted, Messages
from pipeline.source.listing import Frozen
from pipeline.source.listing_rows import Row
from pipeline.source.listing_source import ListingSource


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        self.now_s += 2.0
        return self.now_s


@dataclass
class World:
    """A store with listings in it, and a lake that knows positions. Fails as often as told."""

    sizes: list[tuple[int, ...]]
    positions: dict[str, int] = field(default_factory=dict)
    failures: list[bool] = field(default_factory=list)
    reads: int = 0

    @property
    def listings(self) -> list[Frozen]:
        return [Frozen(f"listing-x-{number}", parts) for number, parts in enumerate(self.sizes, 1)]

    def _maybe_fail(self) -> None:
        if self.failures and self.failures.pop():
            raise StoreUnavailableError("not now")

    def create(self, path: str, data: bytes) -> str:
        raise AssertionError("a source writes nothing")

    def list(self, prefix: str) -> list[str]:
        raise AssertionError("all is known")

    def read(self, path: str) -> bytes:
        self._maybe_fail()
        self.reads += 1
        _, _, source_id, name = path.split("/")
        part = int(name[5:11])
        parts = next(listing.part_rows for listing in self.listings if listing.source_id == source_id)
        first = sum(parts[:part])
        lines = [Row({"uri": f"{source_id}/{first + n}"}, "").line() for n in range(parts[part])]
        return gzip.compress(b"\n".join(lines))

    def begun(self, source_id: str) -> bool:
        raise AssertionError("nobody else reads these")

    def resolve(self, logs: Sequence[LogEnds], at_time: OffsetsAt | None) -> Mapping[SourcePartition, int]:
        self._maybe_fail()
        assert at_time is None
        assert all((ends.topic, ends.earliest) == (ends.log.source_id, 0) for ends in logs)
        return {ends.log: self.positions.get(ends.log.source_id, 0) for ends in logs}

    def source(self) -> ListingSource:
        return ListingSource(self.listings, self, self, clock=Clock())


def read_all(source: ListingSource, size: int) -> list[Event]:
    events: list[Event] = []
    for _ in range(2000):
        events += source.poll(size, 0.0)
        if any(isinstance(event, Exhausted) for event in events):
            return events
    raise AssertionError("never exhausted")


def seen(events: list[Event]) -> list[tuple[str, int]]:
    found = [m.origin for e in events if isinstance(e, Messages) for m in e.messages]
    assert all((origin.partition, origin.item) == (0, 0) for origin in found)
    return [(origin.source_id, origin.offset) for origin in found]


@settings(deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple), max_size=3),
    starts=st.lists(st.integers(0, 25), max_size=3),
    size=st.integers(1, 7),
    failures=st.lists(st.booleans(), max_size=12),
)
def test_every_row_from_the_position_on_comes_once_and_in_order(
    sizes: list[tuple[int, ...]], starts: list[int], size: int, failures: list[bool]
) -> None:
    positions = {f"listing-x-{number}": start for number, start in enumerate(starts, 1)}
    world = World(sizes, positions, failures)
    source = world.source()
    events = read_all(source, size)
    wanted = [
        (listing.source_id, row)
        for listing in world.listings
        for row in range(positions.get(listing.source_id, 0), listing.rows)
    ]
    assert seen(events) == wanted
    assert [e.offset for e in events if isinstance(e, EndReached)] == [listing.rows for listing in world.listings]
    assert isinstance(events[-1], Exhausted)
    assert sum(isinstance(event, Exhausted) for event in events) == 1
    assert source.poll(10, 0.0) == []
    assert set(source.lag().values()) <= {0}


def test_the_logs_are_assigned_before_anything_is_read() -> None:
    world = World([(2,), (1,)])
    first = world.source().poll(10, 0.0)[0]
    assert first == Assigned((SourcePartition("listing-x-1", 0), SourcePartition("listing-x-2", 0)))


def test_a_paused_source_gives_nothing_and_goes_on_where_it_was() -> None:
    source = World([(5,)]).source()
    events = source.poll(2, 0.0)
    source.pause()
    assert source.poll(10, 0.0) == []
    assert source.lag() == {SourcePartition("listing-x-1", 0): 3}
    source.resume()
    events += source.poll(10, 0.0)
    assert seen(events) == [("listing-x-1", row) for row in range(5)]


def test_values_are_the_messages_that_were_frozen() -> None:
    (message,) = [m for e in World([(1,)]).source().poll(1, 0.0) if isinstance(e, Messages) for m in e.messages]
    assert message.value == b'{"uri":"listing-x-1/0"}'
    assert (message.topic, message.key, message.timestamp_ms) == ("listing-x-1", None, 0)


def test_parts_that_are_done_are_not_read() -> None:
    world = World([(5, 5, 5)], {"listing-x-1": 12})
    assert seen(read_all(world.source(), 10)) == [("listing-x-1", row) for row in (12, 13, 14)]
    assert world.reads == 1


def test_a_closed_source_gives_nothing() -> None:
    source = World([(5,)]).source()
    source.close()
    assert source.poll(10, 0.0) == []
