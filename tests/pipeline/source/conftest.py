from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from confluent_kafka import Producer

from operators.errors import StoreUnavailableError
from pipeline.records import SourcePartition
from pipeline.source.base import LogEnds, OffsetsAt
from pipeline.source.embedded import EmbeddedBroker
from pipeline.source.events import EndReached, Event
from pipeline.source.kafka import KafkaSource

PATIENCE_S = 30.0


@dataclass
class Lake:
    """Positions as the lake would give them: by partition, else the log's start. Fails the first `failures` times.

    Attributes:
        silent: partitions that it leaves out, once.
        new: it has begun no source.
        calls: logs that it was asked for together.
    """

    at: Mapping[int, int] = field(default_factory=dict)
    failures: int = 0
    silent: set[int] = field(default_factory=set)
    new: bool = False
    calls: list[tuple[LogEnds, ...]] = field(default_factory=list)

    def begun(self, source_id: str) -> bool:
        return not self.new

    def resolve(self, logs: Sequence[LogEnds], at_time: OffsetsAt | None) -> Mapping[SourcePartition, int]:
        self.calls.append(tuple(logs))
        if self.failures > 0:
            self.failures -= 1
            raise StoreUnavailableError("the lake does not answer")
        silent, self.silent = self.silent, set()
        return {
            ends.log: self.at.get(ends.log.partition, ends.earliest)
            for ends in logs
            if ends.log.partition not in silent
        }


class Bench:
    """Publishes, makes sources and polls them."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self.broker = broker
        self.sources: list[KafkaSource] = []
        self.producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 0})

    def topic(self) -> str:
        name = f"media.{uuid.uuid4().hex[:8]}"
        self.broker.create([name])
        return name

    def publish(self, topic: str, count: int, *, partitions: int = 4, size: int = 0) -> None:
        for number in range(count):
            self.producer.poll(0)
            self.producer.produce(
                topic,
                key=str(number).encode(),
                value=str(number).encode() + b"x" * size,
                partition=number % partitions,
                headers=[("n", str(number).encode())],
            )
        assert self.producer.flush(PATIENCE_S) == 0

    def source(self, lake: Lake, *topics: str, group: str | None = None, **more: Any) -> KafkaSource:
        config = self.broker.config(topics, group or uuid.uuid4().hex)
        properties = dict(config.properties) | more.pop("properties", {})
        config = replace(config, properties=properties, **more)
        source = KafkaSource(config, lake)
        self.sources.append(source)
        return source

    def until(self, source: KafkaSource, done: Callable[[list[Event]], bool]) -> list[Event]:
        events: list[Event] = []
        end_s = time.monotonic() + PATIENCE_S
        while not done(events):
            assert time.monotonic() < end_s, f"only {events}"
            events += source.poll(500, 0.05)
        return events

    def drain(self, source: KafkaSource, logs: int = 4) -> list[Event]:
        """Until each log is at its end."""
        return self.until(source, lambda events: len({e.log for e in events if isinstance(e, EndReached)}) == logs)


@pytest.fixture
def make_lake() -> type[Lake]:
    return Lake


@pytest.fixture(scope="session")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def bench(broker: EmbeddedBroker) -> Iterator[Bench]:
    made = Bench(broker)
    yield made
    for source in made.sources:
        source.close()
