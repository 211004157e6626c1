"""The simulated broker and consumer: what they stand in for stands in `pipeline/source/README.md`."""

from __future__ import annotations

import random

import pytest

from operators.errors import SourceUnavailableError, TopicRecreatedError
from pipeline.records import Range, SourcePartition
from pipeline.simulate.broker import Broker, SimulatedLog
from pipeline.simulate.consumer import Consumer, GapFoundError
from pipeline.simulate.publish import Producers, Published

LATER_S = 5.0


@pytest.fixture
def broker() -> Broker:
    """A partition with messages at 0, 1, 4 (control records at 2, 3) and one at 6 that comes later."""
    rng = random.Random(0)
    broker = Broker(rng, Producers(rng))
    log = SourcePartition(broker.source_id, 0)
    drawn = [(0, 0.0, 0), (1, 0.0, 2), (4, 0.0, 1), (6, LATER_S, 0)]
    messages = [broker.producers.message(log, offset, at_s, markers) for offset, at_s, markers in drawn]
    broker.logs[log] = SimulatedLog(log, messages)
    return broker


@pytest.fixture
def consumer(broker: Broker) -> Consumer:
    return joined(broker)


def joined(broker: Broker, *, checks_ids: bool = True) -> Consumer:
    consumer = Consumer(broker, checks_ids=checks_ids)
    consumer.identify(0.0)
    consumer.place(0, 0, 0.0)
    return consumer


def read(consumer: Consumer, now_s: float, most: int = 10, again: int = 0) -> list[int | Range]:
    given = consumer.poll(0, now_s, most, again)
    return [each.offset if isinstance(each, Published) else each for each in given]


def the_log(broker: Broker) -> SimulatedLog:
    return broker.log_of(0)


def test_control_records_are_holes_before_a_message_and_at_the_end(consumer: Consumer) -> None:
    assert read(consumer, 1.0) == [0, 1, (2, 4), 4, (5, 6)]
    assert read(consumer, 1.0) == []
    assert not consumer.behind(1.0)
    assert consumer.behind(LATER_S)
    assert read(consumer, LATER_S) == [6]


def test_what_is_fetched_a_second_time_is_not_given_again(consumer: Consumer) -> None:
    assert read(consumer, 1.0, most=2) == [0, 1]
    assert read(consumer, 1.0, most=4, again=2) == [(2, 4), 4, (5, 6)]


def test_a_message_that_compaction_took_unread_is_a_hole(broker: Broker, consumer: Consumer) -> None:
    log = the_log(broker)
    log.compact(log.messages[1], 1.0)
    assert read(consumer, 1.0) == [0, (1, 4), 4, (5, 6)]
    assert log.compacted == {1}


def test_retention_below_the_position_is_no_matter_and_above_it_stops(broker: Broker, consumer: Consumer) -> None:
    assert read(consumer, 1.0, most=2) == [0, 1]
    the_log(broker).expire(2, 1.0)
    the_log(broker).expire(5, 1.0)
    with pytest.raises(GapFoundError) as found:
        read(consumer, 1.0)
    assert found.value.gap.missing == (2, 5)
    with pytest.raises(GapFoundError):
        consumer.place(0, 2, 1.0)
    consumer.place(0, 5, 1.0)
    assert read(consumer, LATER_S) == [(5, 6), 6]


def test_a_log_that_was_cut_below_the_position_stops_and_above_it_goes_on(broker: Broker, consumer: Consumer) -> None:
    assert read(consumer, 1.0, most=1) == [0]
    log = the_log(broker)
    log.cut_at(4, 1.0, broker.producers.message(log.log, 4, 1.0))
    assert read(consumer, 1.0) == [1, (2, 4), 4]
    log.cut_at(1, 2.0, None)
    with pytest.raises(GapFoundError) as found:
        read(consumer, 2.0)
    assert found.value.gap.missing is None
    assert [one.offset for one in log.messages] == [0, 1], "what comes later comes under other offsets"


@pytest.mark.parametrize("longer", [False, True])
def test_a_topic_made_anew_is_told_by_its_id(broker: Broker, consumer: Consumer, longer: bool) -> None:
    assert read(consumer, 1.0, most=2) == [0, 1]
    broker.recreate(2.0, longer=longer)
    now_s = broker.missing_until_s
    assert the_log(broker).end(now_s) > 5 if longer else the_log(broker).end(now_s) == 0
    with pytest.raises(TopicRecreatedError):
        consumer.recheck(now_s)
    again = Consumer(broker, checks_ids=True)
    again.identify(now_s)
    assert again.log(0) == SourcePartition("topic-2", 0)


def test_one_that_looks_at_no_ids_reads_the_other_topic_under_the_old_name(broker: Broker) -> None:
    consumer = joined(broker, checks_ids=False)
    assert read(consumer, 1.0, most=2) == [0, 1]
    broker.recreate(2.0, longer=True)
    now_s = broker.missing_until_s
    consumer.recheck(now_s)
    given = [each for each in consumer.poll(0, now_s, 10) if isinstance(each, Published)]
    assert given
    assert {each.message.origin.source_id for each in given} == {"topic-1"}


def test_while_there_is_no_topic_nobody_can_tell(broker: Broker, consumer: Consumer) -> None:
    broker.missing_until_s = 3.0
    assert read(consumer, 2.0) == []
    with pytest.raises(SourceUnavailableError):
        consumer.recheck(2.0)
    with pytest.raises(SourceUnavailableError):
        Consumer(broker, checks_ids=True).identify(2.0)
