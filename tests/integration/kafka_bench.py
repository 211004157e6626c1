"""Topics on a real broker, sources that read them, and what those said."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline.records import Message, SourcePartition
from pipeline.source.base import LogEnds, OffsetsAt
from pipeline.source.events import EndReached, Event, Messages
from pipeline.source.kafka import KafkaSource
from pipeline.source.kafka_config import KafkaConfig

PATIENCE_S = 60.0
PROTOCOLS = {
    "eager": {"group.protocol": "classic", "partition.assignment.strategy": "range"},
    "cooperative": {"group.protocol": "classic", "partition.assignment.strategy": "cooperative-sticky"},
    "kip-848": {"group.protocol": "consumer"},
}


@dataclass
class Lake:
    """Positions by partition, else the log's start, or where a time says."""

    at: dict[int, int] = field(default_factory=dict)
    time_ms: int | None = None

    def begun(self, source_id: str) -> bool:
        return True

    def resolve(self, logs: Sequence[LogEnds], at_time: OffsetsAt | None) -> Mapping[SourcePartition, int]:
        if self.time_ms is not None:
            assert at_time is not None
            with ThreadPoolExecutor(1) as lake:  # the lake has a thread of its own
                return lake.submit(at_time, self.time_ms, [ends.log for ends in logs]).result()
        return {ends.log: self.at.get(ends.log.partition, ends.earliest) for ends in logs}


class Bench:
    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self.sources: list[KafkaSource] = []
        self.topics: list[str] = []

    def topic(self, name: str | None = None, partitions: int = 4) -> str:
        name = name or f"mediatok-test-{uuid.uuid4().hex[:10]}"
        self.admin.create_topics([NewTopic(name, partitions, 1)])[name].result(PATIENCE_S)
        self.topics.append(name)
        self.wait(lambda: self.admin.list_topics(name, timeout=10).topics[name].error is None)
        return name

    def delete(self, topic: str) -> None:
        self.admin.delete_topics([topic])[topic].result(PATIENCE_S)
        self.topics.remove(topic)
        self.wait(lambda: topic not in self.admin.list_topics(timeout=10).topics)

    def recreate(self, topic: str) -> None:
        self.delete(topic)
        end_s = time.monotonic() + PATIENCE_S
        while topic not in self.topics:
            try:
                self.topic(topic)
            except KafkaException:  # still being deleted
                assert time.monotonic() < end_s
                time.sleep(0.2)

    def delete_records(self, topic: str, before: int, partition: int = 0) -> None:
        at = TopicPartition(topic, partition, before)
        for future in self.admin.delete_records([at]).values():
            future.result(PATIENCE_S)

    def publish(self, topic: str, count: int, partitions: int = 4) -> None:
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5})
        for number in range(count):
            producer.produce(topic, value=str(number).encode(), partition=number % partitions)
        assert producer.flush(PATIENCE_S) == 0

    def close(self) -> None:
        for source in self.sources:
            source.close()
        for topic in list(self.topics):
            self.delete(topic)

    def source(
        self, lake: Lake, *topics: str, group: str | None = None, name_wait_s: float = 30.0, **properties: Any
    ) -> KafkaSource:
        given = {"bootstrap.servers": self.bootstrap, "group.id": group or uuid.uuid4().hex, "fetch.wait.max.ms": 50}
        config = KafkaConfig(topics, given | properties, topic_wait_s=5.0, name_wait_s=name_wait_s)
        source = KafkaSource(config, lake)
        self.sources.append(source)
        return source

    def drain(self, source: KafkaSource, logs: int = 4) -> list[Event]:
        events: list[Event] = []
        self.wait(
            lambda: len({e.log for e in events if isinstance(e, EndReached)}) == logs,
            lambda: events.extend(source.poll(500, 0.05)),
        )
        return events

    def wait(self, done: Callable[[], bool], meanwhile: Callable[[], None] = lambda: time.sleep(0.1)) -> None:
        end_s = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < end_s, "waited in vain"
            meanwhile()


def discard(_: object) -> None:
    pass


def offsets(events: list[Event]) -> Mapping[int, list[int]]:
    found: dict[int, list[int]] = {}
    for message in messages(events):
        found.setdefault(message.origin.partition, []).append(message.origin.offset)
    return found


def messages(events: list[Event]) -> list[Message]:
    return [message for event in events if isinstance(event, Messages) for message in event.messages]
