"""The source against a real Kafka: what the embedded broker does not have."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicCollection, TopicPartition

from operators.errors import ConfigError, OffsetGapError, TopicRecreatedError
from pipeline.source.events import Assigned, EndReached, Event, Hole
from tests.integration.kafka_bench import PATIENCE_S, PROTOCOLS, Bench, Lake, discard, messages, offsets

pytestmark = pytest.mark.services


@pytest.fixture
def bench(kafka_bootstrap: str) -> Iterator[Bench]:
    made = Bench(kafka_bootstrap)
    yield made
    made.close()


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
