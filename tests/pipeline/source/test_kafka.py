from __future__ import annotations

import time
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from structlog.testing import capture_logs

from operators.errors import ConfigError, OffsetGapError, SourceUnavailableError, TopicRecreatedError
from pipeline.records import Message
from pipeline.source.events import Assigned, EndReached, Event, Hole, Messages, Revoked
from pipeline.source.kafka import KafkaSource
from pipeline.source.kafka_config import KafkaConfig

PROTOCOLS = {
    "eager": {"group.protocol": "classic", "partition.assignment.strategy": "range"},
    "cooperative": {"group.protocol": "classic", "partition.assignment.strategy": "cooperative-sticky"},
    "kip-848": {"group.protocol": "consumer"},
}


def offsets(events: list[Event]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for message in messages(events):
        found.setdefault(message.origin.partition, []).append(message.origin.offset)
    return found


def messages(events: list[Event]) -> list[Message]:
    return [message for event in events if isinstance(event, Messages) for message in event.messages]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_partition_is_read_from_where_the_lake_says(bench: Any, make_lake: Any, protocol: str) -> None:
    topic = bench.topic()
    bench.publish(topic, 400)
    lake = make_lake(at={0: 0, 1: 10, 2: 99, 3: 100})
    source = bench.source(lake, topic, properties=PROTOCOLS[protocol])
    events = bench.drain(source)
    assert offsets(events) == {0: list(range(100)), 1: list(range(10, 100)), 2: [99]}
    assert not [e for e in events if isinstance(e, Hole)]
    (assigned,) = [e for e in events if isinstance(e, Assigned)]
    assert events.index(assigned) == 0
    assert sorted(log.partition for log in assigned.logs) == [0, 1, 2, 3]
    (asked,) = lake.calls
    assert {(ends.topic, ends.earliest, ends.latest) for ends in asked} == {(topic, 0, 100)}
    assert sorted((e.log.partition, e.offset) for e in events if isinstance(e, EndReached)) == [
        (0, 100), (1, 100), (2, 100), (3, 100),
    ]  # fmt: skip


def test_a_message_arrives_whole(bench: Any, make_lake: Any) -> None:
    topic = bench.topic()
    bench.publish(topic, 1)
    before_ms = time.time() * 1000 - 60_000
    (message,) = messages(bench.drain(bench.source(make_lake(), topic)))
    assert (message.topic, message.key, message.value, message.headers) == (topic, b"0", b"0", (("n", b"0"),))
    assert message.timestamp_ms > before_ms
    assert (message.origin.partition, message.origin.offset, message.origin.item) == (0, 0, 0)


def test_a_tombstone_has_no_value(bench: Any, make_lake: Any) -> None:
    topic = bench.topic()
    bench.producer.produce(topic, key=b"k", partition=2)
    bench.producer.flush()
    (message,) = messages(bench.drain(bench.source(make_lake(), topic)))
    assert (message.key, message.value, message.headers) == (b"k", None, ())


def test_what_the_group_committed_is_of_no_interest(bench: Any, make_lake: Any) -> None:
    topic = bench.topic()
    bench.publish(topic, 40)
    first = bench.source(make_lake(), topic, group="advised")
    events = bench.drain(first)
    first.advise({e.log: 10 for e in events if isinstance(e, EndReached)})
    first.close()
    second = bench.source(make_lake(at={0: 3, 1: 3, 2: 3, 3: 3}), topic, group="advised")
    assert offsets(bench.drain(second)) == {partition: list(range(3, 10)) for partition in range(4)}


def test_advice_is_what_kafka_has_for_lag_monitors(bench: Any, make_lake: Any) -> None:
    topic = bench.topic()
    bench.publish(topic, 40)
    source = bench.source(make_lake(), topic, group="lagging")
    logs = sorted({message.log for message in messages(bench.drain(source))})
    source.advise({logs[0]: 4, logs[2]: 9})
    monitor = Consumer({"bootstrap.servers": bench.broker.bootstrap, "group.id": "lagging"})
    end_s = time.monotonic() + 20
    wanted = [-1001, -1001, -1001, -1001]
    while wanted != [4, -1001, 9, -1001] and time.monotonic() < end_s:
        source.poll(10, 0.05)
        wanted = [p.offset for p in monitor.committed([TopicPartition(topic, n) for n in range(4)], timeout=5)]
    monitor.close()
    assert wanted == [4, -1001, 9, -1001]


def test_advice_for_what_is_not_ours_is_ignored(bench: Any, make_lake: Any) -> None:
    topic = bench.topic()
    source = bench.source(make_lake(), topic)
    log = next(e.log for e in bench.drain(source) if isinstance(e, EndReached))
    source.advise({type(log)("kafka:another", 0): 5})
    source.advise({})
    source.close()
    source.advise({log: 5})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_paused_source_gives_nothing_and_loses_nothing(bench: Any, make_lake: Any, protocol: str) -> None:
    topic = bench.topic()
    source = bench.source(make_lake(), topic, properties=PROTOCOLS[protocol])
    events = bench.drain(source)
    bench.publish(topic, 400)
    events += bench.until(source, lambda found: bool(messages(found)))
    source.pause()
    bench.publish(topic, 400)
    for _ in range(20):
        assert messages(source.poll(500, 0.05)) == []
    source.resume()
    events += bench.until(source, lambda found: len(messages(events + found)) >= 800)
    assert offsets(events) == {partition: list(range(200)) for partition in range(4)}


def test_a_source_paused_before_its_first_assignment_gives_nothing(bench: Any, make_lake: Any) -> None:
    topic = bench.topic()
    bench.publish(topic, 40)
    source = bench.source(make_lake(), topic)
    source.pause()
    events = bench.until(source, lambda found: any(isinstance(e, Assigned) for e in found))
    for _ in range(20):
        events += source.poll(500, 0.05)
    assert messages(events) == []
    assert sum(source.lag().values()) == 40
    source.resume()
    assert len(messages(bench.until(source, lambda found: len(messages(found)) == 40))) == 40


def test_lag_is_what_was_not_given_yet(bench: Any, make_lake: Any) -> None:
    topic = bench.topic()
    bench.publish(topic, 40)
    source = bench.source(make_lake(at={0: 7}), topic)
    given = 0
    for _ in range(500):
        given += len(messages(source.poll(5, 0.01)))
        if source.lag():
            assert sum(source.lag().values()) == 33 - given
        if given == 33:
            break
    assert set(source.lag().values()) == {0}
    bench.publish(topic, 4)
    bench.until(source, lambda found: len(messages(found)) == 4)
    assert set(source.lag().values()) == {0}


def test_a_position_below_the_log_is_a_gap_that_is_named(bench: Any, make_lake: Any) -> None:
    topic = bench.topic()
    bench.publish(topic, 100, partitions=1, size=200_000)  # 20 MB, of which the broker keeps 5
    source = bench.source(make_lake(at={0: 0}), topic)
    with pytest.raises(OffsetGapError, match=r"offsets 0\.\.\d+ of topic .* partition 0 are gone.*mediatok skip"):
        bench.drain(source)
    with pytest.raises(OffsetGapError):  # and it stays so
        source.poll(10, 0.05)


def test_what_vanishes_while_it_is_read_is_a_gap_too(bench: Any, make_lake: Any) -> None:
    topic = bench.topic()
    bench.publish(topic, 10, partitions=1)
    source = bench.source(make_lake(), topic)
    bench.drain(source)
    source.pause()
    bench.publish(topic, 100, partitions=1, size=200_000)
    source.poll(10, 0.05)
    source.resume()
    with pytest.raises(OffsetGapError, match=r"offsets 10\.\.\d+ of topic .* partition 0 are gone"):
        bench.until(source, lambda found: bool(messages(found)))


def test_a_position_beyond_the_log_says_that_the_topic_is_another(bench: Any, make_lake: Any) -> None:
    topic = bench.topic()
    bench.publish(topic, 40)
    with pytest.raises(TopicRecreatedError, match=r"ends at 10, but was read up to 11.*source_epoch"):
        bench.drain(bench.source(make_lake(at={1: 11}), topic))


def test_the_embedded_broker_gives_each_start_a_source_of_its_own(bench: Any, make_lake: Any) -> None:
    topic = bench.topic()
    bench.publish(topic, 4)
    ids = [
        {message.origin.source_id for message in messages(bench.drain(bench.source(make_lake(), topic, **epoch)))}
        for epoch in ({}, {}, {"source_epoch": "another"})
    ]
    assert ids[0] == ids[1] != ids[2]
    assert all(source_id.startswith("kafka-epoch:") for source_id in set.union(*ids))


def test_several_topics_are_read_side_by_side(bench: Any, make_lake: Any) -> None:
    topics = [bench.topic(), bench.topic()]
    for topic in topics:
        bench.publish(topic, 8)
    events = bench.drain(bench.source(make_lake(), *topics), logs=8)
    assert len({message.origin.source_id for message in messages(events)}) == 2
    assert sorted(message.topic for message in messages(events)) == sorted(topics * 8)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_lake_that_does_not_answer_delays_the_start_and_loses_nothing(
    bench: Any, make_lake: Any, protocol: str
) -> None:
    topic = bench.topic()
    bench.publish(topic, 40)
    lake = make_lake(failures=2)
    events = bench.drain(bench.source(lake, topic, properties=PROTOCOLS[protocol]))
    assert offsets(events) == {partition: list(range(10)) for partition in range(4)}
    assert [len(asked) for asked in lake.calls] == [4, 4, 4], "all at once, each time"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_partitions_whose_start_can_not_be_told_yet_do_not_keep_the_others(
    bench: Any, make_lake: Any, protocol: str
) -> None:
    topic = bench.topic()
    bench.publish(topic, 40)
    lake = make_lake(silent={1, 2})
    events = bench.drain(bench.source(lake, topic, properties=PROTOCOLS[protocol]))
    assert offsets(events) == {partition: list(range(10)) for partition in range(4)}
    assert [len(e.logs) for e in events if isinstance(e, Assigned)] == [2, 2]


def test_the_first_reader_of_a_topic_begins_all_its_partitions(bench: Any, make_lake: Any) -> None:
    """Else "latest" would mean the log's start for the partitions of those that come a moment later."""
    topic = bench.topic()
    lake = make_lake()
    first = bench.source(lake, topic, group="first")
    bench.drain(first)
    new = make_lake(new=True)
    second = bench.source(new, topic, group="first")

    def shared(_: list[Event]) -> bool:
        first.poll(1, 0.01)  # it has to hear that it gives some away
        return bool(second.lag())

    bench.until(second, shared)
    assert len(second.lag()) < 4
    assert {len(asked) for asked in new.calls} == {4}


def test_a_second_member_takes_partitions_over(bench: Any, make_lake: Any) -> None:
    topic = bench.topic()
    bench.publish(topic, 400)
    first = bench.source(make_lake(), topic, group="shared")
    bench.drain(first)
    second = bench.source(make_lake(at=dict.fromkeys(range(4), 40)), topic, group="shared")
    lost: list[Event] = []
    taken: list[Event] = []
    end_s = time.monotonic() + 60
    while len({e.log for e in taken if isinstance(e, EndReached)}) < 2 and time.monotonic() < end_s:
        lost += first.poll(500, 0.02)
        taken += second.poll(500, 0.02)
    (revoked,) = [e for e in lost if isinstance(e, Revoked)]
    mine = {log.partition for log in revoked.logs}
    assert len(mine) == 2
    assert offsets(taken) == {partition: list(range(40, 100)) for partition in mine}
    assert set(first.lag()).isdisjoint(second.lag())


def test_an_unknown_topic_stops_the_lane_after_a_while(bench: Any, make_lake: Any) -> None:
    source = bench.source(make_lake(), "media.nowhere", topic_wait_s=0.5)
    with pytest.raises(ConfigError, match=r"no topic 'media\.nowhere'"):
        bench.drain(source)


def test_a_topic_that_appears_in_time_is_read(bench: Any, make_lake: Any) -> None:
    topic = f"late.{time.time_ns()}"
    source = bench.source(make_lake(), topic)
    assert source.poll(10, 0.3) == []
    bench.publish(topic, 4)
    assert len(messages(bench.drain(source))) == 4


def test_a_broker_without_ids_that_does_not_say_so_is_not_taken_for_one(bench: Any, make_lake: Any) -> None:
    topic = bench.topic()
    source = bench.source(make_lake(), topic, topic_ids=True, topic_wait_s=0.5, request_timeout_s=0.3)
    with pytest.raises(SourceUnavailableError):
        bench.drain(source)


def test_a_broker_that_is_away_is_waited_for(make_lake: Any) -> None:
    config = KafkaConfig(
        ("t",),
        {"bootstrap.servers": "127.0.0.1:1", "group.id": "g"},
        topic_wait_s=1.5,
        request_timeout_s=0.3,
    )
    source = KafkaSource(config, make_lake())
    with capture_logs() as logs, pytest.raises(SourceUnavailableError, match=r"127\.0\.0\.1:1"):
        for _ in range(1000):
            assert source.poll(10, 0.05) == []
    assert any(entry["event"] == "waiting for kafka" for entry in logs)
    assert source.poll(10, 0.05) == [], "it may be called again"
    source.close()
    assert source.poll(10, 0.05) == []


@pytest.mark.parametrize("topic_ids", [False, True])
def test_refused_credentials_stop_the_lane_without_showing_them(bench: Any, make_lake: Any, topic_ids: bool) -> None:
    topic = bench.topic()
    sasl = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "ada",
        "sasl.password": "hunter2",
    }
    source = bench.source(make_lake(), topic, properties=sasl, topic_ids=topic_ids, request_timeout_s=0.5)
    with pytest.raises(ConfigError, match="_AUTHENTICATION") as caught:
        bench.drain(source)
    assert "hunter2" not in str(caught.value)
