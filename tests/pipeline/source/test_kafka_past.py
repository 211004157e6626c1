from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from operators.errors import ConfigError, StoreUnavailableError
from pipeline.records import SourcePartition, Task
from pipeline.source.base import LogEnds, OffsetsAt
from pipeline.source.events import Assigned, Event, Exhausted, Hole, Tasks
from pipeline.source.kafka_past import KafkaPast, Owed
from tests.pipeline.source.conftest import PATIENCE_S, Bench


class Owes:
    """By partition, what is owed. Fails the first `failures` times."""

    def __init__(self, by_partition: Mapping[int, Owed], failures: int = 0) -> None:
        self.by_partition = by_partition
        self.failures = failures
        self.ends: dict[int, LogEnds] = {}

    def __call__(self, logs: Sequence[LogEnds], at_time: OffsetsAt) -> Mapping[SourcePartition, Owed]:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("away")
        self.ends = {ends.log.partition: ends for ends in logs}
        return {ends.log: self.by_partition.get(ends.log.partition, {}) for ends in logs}


def events_of(bench: Bench, owes: Owes, *topics: str, **config: Any) -> list[Event]:
    """All there are."""
    source = KafkaPast(replace(bench.broker.config(topics, "past"), **config), owes)
    events: list[Event] = []
    end_s = time.monotonic() + PATIENCE_S
    try:
        while not any(isinstance(event, Exhausted) for event in events):
            assert time.monotonic() < end_s, events
            events += source.poll(100, 0.05)
        assert not any(source.lag().values())
    finally:
        source.close()
    return events


def tasks_of(events: Sequence[Event]) -> list[Task]:
    return [task for event in events if isinstance(event, Tasks) for task in event.tasks]


def test_each_message_comes_once_for_the_products_that_it_is_owed_to(bench: Bench) -> None:
    topic = bench.topic()
    bench.publish(topic, 40)
    owes = Owes({0: {"a": ((2, 5),), "b": ((0, 3), (4, 6))}, 3: {"a": ((0, 1),)}})
    events = events_of(bench, owes, topic)
    found = {(task.message.origin.partition, task.message.origin.offset): task.products for task in tasks_of(events)}
    assert found == {
        (0, 0): ("b",),
        (0, 1): ("b",),
        (0, 2): ("a", "b"),
        (0, 3): ("a",),
        (0, 4): ("a", "b"),
        (0, 5): ("b",),
        (3, 0): ("a",),
    }
    assert all(task.wanted is None for task in tasks_of(events))
    (assigned,) = [event for event in events if isinstance(event, Assigned)]
    assert {log.partition for log in assigned.logs} == {0, 3}
    assert {(ends.earliest, ends.latest) for ends in owes.ends.values()} == {(0, 10)}


def test_where_nothing_is_owed_it_ends_at_once(bench: Bench) -> None:
    topic = bench.topic()
    bench.publish(topic, 4)
    assert events_of(bench, Owes({}), topic) == [Exhausted()]


def test_what_is_owed_beyond_the_end_of_a_log_can_not_be_read(bench: Bench) -> None:
    topic = bench.topic()
    bench.publish(topic, 4)
    events = events_of(bench, Owes({1: {"a": ((0, 100),)}}), topic)
    assert [task.message.origin.offset for task in tasks_of(events)] == [0]
    assert not any(isinstance(event, Hole) for event in events)


def test_it_waits_for_a_lake_that_is_away(bench: Bench) -> None:
    topic = bench.topic()
    bench.publish(topic, 4)
    assert len(tasks_of(events_of(bench, Owes({0: {"a": ((0, 1),)}}, failures=1), topic))) == 1


def test_a_topic_that_never_comes_is_a_wrong_setting(bench: Bench) -> None:
    with pytest.raises(ConfigError, match="no topic"):
        events_of(bench, Owes({}), "nowhere", topic_wait_s=0.0)


def test_a_pause_holds_what_is_still_to_come(bench: Bench) -> None:
    topic = bench.topic()
    bench.publish(topic, 8)
    source = KafkaPast(bench.broker.config([topic], "past"), Owes({0: {"a": ((0, 2),)}}))
    source.pause()
    quiet = [event for _ in range(10) for event in source.poll(100, 0.05)]
    assert not tasks_of(quiet)
    source.resume()
    end_s, events = time.monotonic() + PATIENCE_S, list[Event]()
    while not any(isinstance(event, Exhausted) for event in events) and time.monotonic() < end_s:
        events += source.poll(100, 0.05)
    assert len(tasks_of(events)) == 2
    source.close()
