"""The source against a real Kafka: what the embedded broker does not have."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from operators.errors import ConfigError, OffsetGapError, TopicRecreatedError
from pipeline.records import Message, SourcePartition
from pipeline.source.events import Assigned, EndReached, Event, Hole, Lost, Messages, Revoked
from pipeline.source.kafka import KafkaSource
from pipeline.source.kafka_config import KafkaConfig

pytestmark = pytest.mark.services

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

    def resolve(
        self, log: SourcePartition, topic: str, earliest: int, latest: int, at_time: Callable[[int], int] | None
    ) -> int:
        if self.time_ms is not None:
            assert at_time is not None
            return at_time(self.time_ms)
        return self.at.get(log.partition, earliest)


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

    def source(self, lake: Lake, *topics: str, group: str | None = None, **properties: Any) -> KafkaSource:
        given = {"bootstrap.servers": self.bootstrap, "group.id": group or uuid.uuid4().hex, "fetch.wait.max.ms": 50}
        config = KafkaConfig(topics, given | properties, topic_wait_s=5.0)
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


@pytest.fixture
def bench(kafka_bootstrap: str) -> Iterator[Bench]:
    made = Bench(kafka_bootstrap)
    yield made
    for source in made.sources:
        source.close()
    for topic in list(made.topics):
        made.delete(topic)


def discard(_: object) -> None:
    pass


def offsets(events: list[Event]) -> Mapping[int, list[int]]:
    found: dict[int, list[int]] = {}
    for message in messages(events):
        found.setdefault(message.origin.partition, []).append(message.origin.offset)
    return found


def messages(events: list[Event]) -> list[Message]:
    return [message for event in events if isinstance(event, Messages) for message in event.messages]


def test_a_topic_is_known_by_the_broker_s_id(bench: Bench) -> None:
    topic = bench.topic()
    bench.publish(topic, 1)
    described: Any = bench.admin.describe_topics(TopicCollection([topic]))[topic].result(PATIENCE_S)
    wanted = "kafka:" + str(described.topic_id).translate(str.maketrans("+/", "-_"))
    assert {message.origin.source_id for message in messages(bench.drain(bench.source(Lake(), topic)))} == {wanted}


def test_a_topic_made_anew_is_noticed_before_a_commit_and_is_another_source(bench: Bench) -> None:
    topic = bench.topic()
    bench.publish(topic, 40)
    source = bench.source(Lake(), topic)
    (before, *_) = messages(bench.drain(source))
    source.recheck()
    bench.recreate(topic)
    bench.publish(topic, 4000)  # longer than the position: a classic consumer reads on as if nothing had happened
    with pytest.raises(TopicRecreatedError, match=topic):
        source.recheck()
    source.close()
    (after, *_) = messages(bench.drain(bench.source(Lake(), topic)))
    assert after.origin.offset == before.origin.offset
    assert after.origin.source_id != before.origin.source_id


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_topic_that_is_deleted_stops_the_lane(bench: Bench, protocol: str) -> None:
    topic = bench.topic()
    bench.publish(topic, 4)
    source = bench.source(Lake(), topic, **PROTOCOLS[protocol], **{"topic.metadata.refresh.interval.ms": 500})
    bench.drain(source)
    bench.delete(topic)
    with pytest.raises(ConfigError, match=topic):
        bench.wait(lambda: False, lambda: discard(source.poll(10, 0.1)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_protocol_reads_from_where_the_lake_says(bench: Bench, protocol: str) -> None:
    topic = bench.topic()
    bench.publish(topic, 400)
    lake = Lake({0: 0, 1: 10, 2: 99, 3: 100})
    events = bench.drain(bench.source(lake, topic, **PROTOCOLS[protocol]))
    assert offsets(events) == {0: list(range(100)), 1: list(range(10, 100)), 2: [99]}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_members_come_and_go_and_each_takes_over_from_the_lake(bench: Bench, protocol: str) -> None:
    """The lake knows 40 of each partition, whoever read more."""
    topic, group = bench.topic(), uuid.uuid4().hex
    bench.publish(topic, 400)
    first = bench.source(Lake(), topic, group=group, **PROTOCOLS[protocol])
    assert len(messages(bench.drain(first))) == 400
    second = bench.source(Lake(dict.fromkeys(range(4), 40)), topic, group=group, **PROTOCOLS[protocol])
    left: list[Event] = []
    taken: list[Event] = []

    def both() -> None:
        left.extend(first.poll(500, 0.02))
        taken.extend(second.poll(500, 0.02))

    bench.wait(lambda: len({e.log for e in taken if isinstance(e, EndReached)}) == 2, both)
    for _ in range(20):
        both()
    mine = {log.partition for log in second.lag()}
    assert len(mine) == 2
    assert offsets(taken) == {partition: list(range(40, 100)) for partition in mine}
    assert {log.partition for e in left if isinstance(e, Revoked) for log in e.logs} >= mine
    assert not [e for e in left + taken if isinstance(e, Hole | Lost)]
    first.close()
    rest: list[Event] = []
    bench.wait(lambda: len(second.lag()) == 4, lambda: rest.extend(second.poll(500, 0.05)))
    bench.wait(lambda: not sum(second.lag().values()), lambda: rest.extend(second.poll(500, 0.05)))
    again = offsets(rest)
    assert all(found == list(range(40, 100)) for found in again.values())
    assert set(range(4)) - mine <= set(again)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_skipped_however_often_partitions_move(bench: Bench, protocol: str) -> None:
    """Members join and leave while messages flow in large batches; what one has delivered is in the lake at once."""
    topic, group, count = bench.topic(partitions=6), uuid.uuid4().hex, 30_000
    lake = Lake()
    delivered: dict[int, set[int]] = {partition: set() for partition in range(6)}

    def take(source: KafkaSource) -> None:
        for event in source.poll(700, 0.01):
            assert not isinstance(event, Hole), event
            for message in messages([event]):
                partition, offset = message.origin.partition, message.origin.offset
                delivered[partition].add(offset)
                assert len(delivered[partition]) > offset, "something before it is missing"
                if offset % 97 == 0:  # the lake commits now and then
                    lake.at[partition] = max(lake.at.get(partition, 0), offset)

    publisher = threading.Thread(target=bench.publish, args=(topic, count, 6))
    publisher.start()
    members = [bench.source(lake, topic, group=group, **PROTOCOLS[protocol])]
    for step in range(120):
        if step % 30 == 10:
            members.append(bench.source(lake, topic, group=group, **PROTOCOLS[protocol]))
        if step % 30 == 29:
            members.pop(0).close()
        for member in members:
            take(member)
    publisher.join()
    bench.wait(
        lambda: sum(map(len, delivered.values())) == count,
        lambda: discard([take(member) for member in members]),
    )
    assert all(sorted(found) == list(range(count // 6)) for found in delivered.values())


def test_records_deleted_before_they_were_read_are_a_gap(bench: Bench) -> None:
    topic = bench.topic(partitions=1)
    bench.publish(topic, 100, partitions=1)
    bench.delete_records(topic, 60)
    with pytest.raises(
        OffsetGapError, match=rf"offsets 20\.\.59 of topic '{topic}' partition 0 are gone.*mediatok skip"
    ):
        bench.drain(bench.source(Lake({0: 20}), topic), logs=1)
    assert offsets(bench.drain(bench.source(Lake(), topic), logs=1)) == {0: list(range(60, 100))}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_records_deleted_under_a_reader_are_a_gap(bench: Bench, protocol: str) -> None:
    topic = bench.topic(partitions=1)
    bench.publish(topic, 10, partitions=1)
    source = bench.source(Lake(), topic, **PROTOCOLS[protocol])
    bench.drain(source, logs=1)
    source.pause()
    source.poll(10, 0.2)
    bench.publish(topic, 100, partitions=1)
    bench.delete_records(topic, 50)
    source.resume()
    with pytest.raises(OffsetGapError, match=r"offsets \d+\.\.49 of topic"):
        bench.wait(lambda: False, lambda: discard(source.poll(10, 0.1)))


def test_a_position_beyond_the_end_of_the_same_topic_is_a_truncation(bench: Bench) -> None:
    topic = bench.topic(partitions=1)
    bench.publish(topic, 10, partitions=1)
    with pytest.raises(OffsetGapError, match=r"truncated: it ends at 10, but was read up to 11.*make the topic anew"):
        bench.drain(bench.source(Lake({0: 11}), topic), logs=1)


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
def test_messages_and_holes_cover_a_log_with_transactions(bench: Bench, isolation: str) -> None:
    topic = bench.topic(partitions=1)
    producer = Producer({"bootstrap.servers": bench.bootstrap, "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(PATIENCE_S)
    for number, keep in enumerate([True, False, True, False]):
        producer.begin_transaction()
        for step in range(5):
            producer.produce(topic, value=f"{number}.{step}".encode(), partition=0)
        producer.flush(PATIENCE_S)
        (producer.commit_transaction if keep else producer.abort_transaction)(PATIENCE_S)
    events = bench.drain(bench.source(Lake(), topic, **{"isolation.level": isolation}), logs=1)
    covered = list(offsets(events)[0])
    for event in events:
        if isinstance(event, Hole):
            covered += range(event.start, event.end)
    assert sorted(covered) == list(range(24)), "20 messages and 4 markers, each once"
    kept = {int((message.value or b"").partition(b".")[0]) for message in messages(events)}
    assert kept == ({0, 2} if isolation == "read_committed" else {0, 1, 2, 3})
    assert [event.offset for event in events if isinstance(event, EndReached)][-1] == 24


def test_a_start_by_time_is_found(bench: Bench) -> None:
    topic = bench.topic(partitions=1)
    producer = Producer({"bootstrap.servers": bench.bootstrap})
    for number in range(10):
        producer.produce(topic, value=b"x", partition=0, timestamp=1_700_000_000_000 + number * 1000)
    producer.flush(PATIENCE_S)
    found = bench.drain(bench.source(Lake(time_ms=1_700_000_006_500), topic), logs=1)
    assert offsets(found) == {0: [7, 8, 9]}
    assert messages(found)[0].timestamp_ms == 1_700_000_007_000
    assert offsets(bench.drain(bench.source(Lake(time_ms=1_800_000_000_000), topic), logs=1)) == {}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_advice_reaches_kafka_with_its_leader_epoch(bench: Bench, protocol: str) -> None:
    topic, group = bench.topic(partitions=1), uuid.uuid4().hex
    bench.publish(topic, 10, partitions=1)
    source = bench.source(Lake(), topic, group=group, **PROTOCOLS[protocol])
    (end,) = [e for e in bench.drain(source, logs=1) if isinstance(e, EndReached)]
    source.advise({end.log: 7})
    monitor = Consumer({"bootstrap.servers": bench.bootstrap, "group.id": group})

    def committed() -> tuple[int, int | None]:
        source.poll(1, 0.05)
        (found,) = monitor.committed([TopicPartition(topic, 0)], timeout=10)
        return found.offset, found.leader_epoch

    bench.wait(lambda: committed() == (7, 0))
    monitor.close()
    source.close()
    assert offsets(bench.drain(bench.source(Lake({0: 7}), topic, group=group, **PROTOCOLS[protocol]), logs=1)) == {
        0: [7, 8, 9]
    }


def test_a_topic_that_does_not_exist_stops_the_lane(bench: Bench) -> None:
    source = bench.source(Lake(), "mediatok-test-nowhere")
    with pytest.raises(ConfigError, match="mediatok-test-nowhere"):
        bench.drain(source)


def test_two_members_of_one_static_name_stop_the_older(bench: Bench) -> None:
    topic, group = bench.topic(), uuid.uuid4().hex
    static = {"group.instance.id": "one", "group.protocol": "classic", "heartbeat.interval.ms": 500}
    older = bench.source(Lake(), topic, group=group, **static)
    bench.drain(older)
    newer = bench.source(Lake(), topic, group=group, **static)

    def both() -> None:
        newer.poll(10, 0.05)
        older.poll(10, 0.05)

    with pytest.raises(ConfigError, match=r"fenced.*group\.instance\.id"):
        bench.wait(lambda: False, both)


def test_a_partition_that_is_added_is_read_from_its_start(bench: Bench) -> None:
    from confluent_kafka.admin import NewPartitions

    topic = bench.topic(partitions=1)
    bench.publish(topic, 5, partitions=1)
    source = bench.source(Lake(), topic, **{"topic.metadata.refresh.interval.ms": 500, "metadata.max.age.ms": 1000})
    bench.drain(source, logs=1)
    bench.admin.create_partitions([NewPartitions(topic, 2)])[topic].result(PATIENCE_S)
    time.sleep(1)
    bench.publish(topic, 6, partitions=2)
    events: list[Event] = []
    bench.wait(lambda: len(messages(events)) == 6, lambda: events.extend(source.poll(100, 0.1)))
    assert offsets(events) == {0: [5, 6, 7], 1: [0, 1, 2]}
    assert [log.partition for e in events if isinstance(e, Assigned) for log in e.logs] == [1]
