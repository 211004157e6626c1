"""The source as a member of a group, against a real Kafka."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from operators.errors import ConfigError
from pipeline.source.events import EndReached, Event, Hole, Lost, Revoked
from pipeline.source.kafka import KafkaSource
from tests.integration.kafka_bench import PATIENCE_S, PROTOCOLS, Bench, Lake, discard, messages, offsets

pytestmark = pytest.mark.services


@pytest.fixture
def bench(kafka_bootstrap: str) -> Iterator[Bench]:
    made = Bench(kafka_bootstrap)
    yield made
    made.close()


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
def test_what_was_given_away_while_paused_is_read_when_it_comes_back(bench: Bench, protocol: str) -> None:
    """librdkafka remembers the pause of a partition that is taken away, even by a revocation of all."""
    topic, group = bench.topic(), uuid.uuid4().hex
    paused = bench.source(Lake(), topic, group=group, **PROTOCOLS[protocol])
    bench.drain(paused)
    paused.pause()
    guest = bench.source(Lake(), topic, group=group, **PROTOCOLS[protocol])

    def both() -> None:
        paused.poll(1, 0.02)
        guest.poll(1, 0.02)

    bench.wait(lambda: len(guest.lag()) == len(paused.lag()) == 2, both)
    paused.resume()
    guest.close()
    bench.wait(lambda: len(paused.lag()) == 4, lambda: discard(paused.poll(1, 0.02)))
    bench.publish(topic, 40)
    events: list[Event] = []
    bench.wait(lambda: len(messages(events)) == 40, lambda: events.extend(paused.poll(500, 0.05)))
    assert offsets(events) == {partition: list(range(10)) for partition in range(4)}


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


def test_with_kip_848_the_newer_of_two_members_of_one_static_name_is_refused(bench: Bench) -> None:
    topic, group = bench.topic(), uuid.uuid4().hex
    static = {"group.instance.id": "one", "group.protocol": "consumer"}
    older = bench.source(Lake(), topic, group=group, **static)
    bench.drain(older)
    newer = bench.source(Lake(), topic, group=group, name_wait_s=2.0, **static)

    def both() -> None:
        older.poll(10, 0.05)
        newer.poll(10, 0.05)

    with pytest.raises(ConfigError, match=r"group\.instance\.id 'one' is held by another member"):
        bench.wait(lambda: False, both)
    bench.publish(topic, 8)
    assert len(messages(bench.drain(older))) == 8, "the older one goes on"


def test_a_static_name_whose_owner_died_is_waited_for(bench: Bench) -> None:
    topic, group = bench.topic(), uuid.uuid4().hex
    bench.publish(topic, 40)
    static = {"group.instance.id": "one", "group.protocol": "consumer"}
    dead = multiprocessing.get_context("spawn").Process(
        target=join_and_die, args=(bench.bootstrap, topic, group, static)
    )
    dead.start()
    dead.join(PATIENCE_S)
    assert dead.exitcode == -signal.SIGKILL
    successor = bench.source(Lake(), topic, group=group, **static)
    assert len(messages(bench.drain(successor))) == 40


def join_and_die(bootstrap: str, topic: str, group: str, properties: Mapping[str, Any]) -> None:
    """A process that joins a group and is killed."""
    bench = Bench(bootstrap)
    bench.drain(bench.source(Lake(), topic, group=group, **properties))
    os.kill(os.getpid(), signal.SIGKILL)
