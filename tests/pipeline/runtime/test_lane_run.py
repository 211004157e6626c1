from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from operators.errors import (
    FailureShareError,
    MediatokError,
    OffsetGapError,
    ProductSupersededError,
    SourceUnavailableError,
    TopicRecreatedError,
)
from operators.records import Modality, Origin
from pipeline.flow.calls import Prepare
from pipeline.flow.core import LaneSettings
from pipeline.flow.lane import Lane
from pipeline.graph import LanePlan
from pipeline.lake.proposal import PartResult, Reason, Verdict
from pipeline.records import Message, Sealed, SourcePartition, Span
from pipeline.runtime.desk import CommitResult, LakeDesk
from pipeline.runtime.driver import LaneDriver
from pipeline.runtime.intake import Claims, Intake
from pipeline.runtime.lane_run import LaneRun
from pipeline.source.events import Assigned, EndReached, Event, Hole, Messages
from tests.pipeline.runtime.test_desk import LOG, Policy, opened, planned, start_of


class Tape:
    """A source that gives what is put on it.

    Attributes:
        trouble: what `recheck` raises.
        silence_s: until it does.
        asked: how often it was called.
        now_s: the clock's time.
        calls: of pause and resume.
    """

    def __init__(self) -> None:
        self.events: list[Event | MediatokError] = []
        self.trouble: MediatokError | None = None
        self.silence_s = 0.0
        self.asked = 0
        self.now_s = 0.0
        self.calls: list[str] = []
        self.advised: dict[SourcePartition, int] = {}

    def poll(self, max_messages: int, timeout_s: float) -> list[Event]:
        events: list[Event] = []
        while self.events:
            event = self.events.pop(0)
            if isinstance(event, MediatokError):
                raise event
            events.append(event)
        return events

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    def recheck(self) -> None:
        self.asked += 1
        self.now_s += self.silence_s
        if self.trouble is not None:
            raise self.trouble

    def advise(self, positions: Mapping[SourcePartition, int]) -> None:
        self.advised |= positions

    def lag(self) -> Mapping[SourcePartition, int]:
        return {LOG: 5}

    def close(self) -> None:
        self.calls.append("close")


class Idle:
    """A driver that sends nothing: the lane's actions are taken by the test."""

    def step(self, now_s: float) -> int:
        return 0

    def stop(self) -> None:
        pass


class Asking(Idle):
    """A driver that asks the lane what to do, and does not do it."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    def step(self, now_s: float) -> int:
        return len(self._lane.actions(now_s))


def malformed(start: int, end: int) -> Messages:
    return Messages(tuple(Message(Origin("topic-id", 0, n, 0), "text", None, b"{") for n in range(start, end)))


def tombstones(start: int, end: int) -> Messages:
    return Messages(tuple(Message(Origin("topic-id", 0, n, 0), "text", None, None) for n in range(start, end)))


def texts(start: int, end: int) -> Messages:
    value = b'{"uri": "a", "text": "b"}'
    return Messages(tuple(Message(Origin("topic-id", 0, n, 0), "text", None, value) for n in range(start, end)))


@pytest.fixture
def plan() -> LanePlan:
    return planned()


@pytest.fixture
def tape() -> Tape:
    return Tape()


@pytest.fixture
def desk(tmp_path: Path, plan: LanePlan) -> Iterator[LakeDesk]:
    desk = opened(tmp_path, plan)
    start_of(desk, plan, Policy(0))
    yield desk
    desk.close()


@pytest.fixture
def lane(plan: LanePlan, tape: Tape, desk: LakeDesk) -> LaneRun:
    settings = LaneSettings(most_ready=8)
    machine = Lane("text", plan.views, ["p"], settings, random.Random(0), lambda: 0)
    intake = Intake(Claims({"text": (Modality.TEXT,)}), Modality.TEXT)
    tape.events.append(Assigned((LOG,)))
    return LaneRun(plan, machine, cast("LaneDriver", Idle()), tape, intake, desk, lambda: tape.now_s)


def commit(lane: LaneRun, desk: LakeDesk) -> Any:
    result = desk.commit(lane.take_sealed()).result()
    lane.committed(result)
    return result


def test_what_needs_no_worker_is_committed_and_the_source_told(lane: LaneRun, tape: Tape, desk: LakeDesk) -> None:
    tape.events += [tombstones(0, 3), Hole(LOG, 3, 6), tombstones(6, 7), EndReached(LOG, 7)]
    lane.poll(0.0)
    assert lane.idle
    commit(lane, desk)
    assert tape.advised == {LOG: 7}
    assert dict(lane.items) == dict.fromkeys(lane.plan.keys, 7)


def test_covered_messages_read_again_make_no_work(lane: LaneRun, tape: Tape, desk: LakeDesk, tmp_path: Path) -> None:
    tape.events.append(tombstones(0, 3))
    lane.poll(0.0)
    commit(lane, desk)
    start_of(desk, lane.plan, Policy(0))
    tape.events.append(texts(0, 3))
    lane.poll(0.0)
    assert not len(lane.lane.core.ledger)
    assert lane.admitted == 6
    assert dict(lane.items) == dict.fromkeys(lane.plan.keys, 3)


def test_the_time_since_publication_is_taken_at_a_messages_last_commit(lane: LaneRun, tape: Tape) -> None:
    published_ms = int(time.time() * 1000) - 60_000
    stamped = [replace(message, timestamp_ms=published_ms) for message in texts(0, 2).messages]
    tape.events.append(Messages((*stamped, *texts(2, 3).messages)))
    lane.poll(0.0)
    settled = (Span(LOG, ((0, 3),)),)
    seen: list[int] = []
    for key in lane.plan.keys:
        part = PartResult(Sealed(key, covers=settled), Verdict.ADMITTED, Reason.NEW, settled, settled, ())
        lane.committed(CommitResult(2, (part,), (), (), {}, frozenset(), 0.0))
        latencies_s = lane.take_latencies()
        assert all(60 <= each < 3600 for each in latencies_s)
        seen.append(len(latencies_s))
    assert seen == [0, 2], "once for all products, and not of the message without a timestamp"


def test_a_full_lane_pauses_its_source_and_goes_on_polling(lane: LaneRun, tape: Tape) -> None:
    tape.events.append(texts(0, 9))
    lane.poll(0.0)
    lane.poll(0.1)
    lane.poll(0.2)
    assert tape.calls == ["pause"]
    lane.lane.worker_ready("w", ["prepare"])
    assert {type(action) for action in lane.lane.actions(0.3)} == {Prepare}
    lane.poll(0.4)
    assert tape.calls == ["pause", "resume"]
    assert lane.paused_times == 1


def test_a_product_closed_by_a_higher_revision_stops_the_lane_and_leaves_its_other_products_theirs(
    lane: LaneRun, tape: Tape, desk: LakeDesk, tmp_path: Path
) -> None:
    higher = {"tokenizer": "tests.pipeline.runtime.pretend:Other", "revision": 2}
    newer = opened(tmp_path, planned(products={"first": higher}))
    tape.events.append(tombstones(0, 3))
    lane.poll(0.0)
    result = commit(lane, desk)
    assert isinstance(lane.error, ProductSupersededError)
    assert "first" in str(lane.error)
    assert {part.sealed.product[:6]: part.verdict for part in result.parts} == {
        "first-": Verdict.REFUSED,
        "second": Verdict.ADMITTED,
    }
    assert lane.lane.draining
    assert lane.lane.quiet, "what the closed product owed is given up"
    newer.close()


def test_what_was_read_from_a_topic_that_is_gone_is_discarded(lane: LaneRun, tape: Tape) -> None:
    tape.events += [tombstones(0, 3), texts(3, 5)]
    lane.poll(0.0)
    tape.trouble = TopicRecreatedError("text: another topic under this name")
    assert lane.take_sealed() == ()
    assert isinstance(lane.error, TopicRecreatedError)
    assert not len(lane.lane.core.ledger)
    assert lane.take_sealed() == ()
    assert lane.idle


def test_a_lane_that_stopped_for_a_gap_still_discards_what_is_of_another_topic(lane: LaneRun, tape: Tape) -> None:
    tape.events.append(tombstones(0, 3))
    lane.poll(0.0)
    tape.events.append(OffsetGapError("offset 9 is refused"))
    lane.poll(0.1)
    tape.trouble = TopicRecreatedError("text: another topic under this name")
    assert lane.take_sealed() == ()
    assert isinstance(lane.error, TopicRecreatedError)
    assert lane.idle


def test_a_lane_that_stopped_does_not_wait_for_a_broker_that_may_never_answer(lane: LaneRun, tape: Tape) -> None:
    tape.events += [Assigned((LOG,)), tombstones(0, 3), texts(3, 5)]
    lane.poll(0.0)
    tape.events.append(OffsetGapError("offset 9 is refused"))
    lane.poll(0.1)
    tape.trouble = SourceUnavailableError("no such topic")
    assert lane.take_sealed() == ()
    assert not len(lane.lane.core.ledger), "it will be read again"


def test_a_broker_that_does_not_answer_delays_a_commit(lane: LaneRun, tape: Tape) -> None:
    tape.events.append(tombstones(0, 3))
    lane.poll(0.0)
    tape.trouble = SourceUnavailableError("no leader")
    assert lane.take_sealed() == ()
    tape.trouble = None
    assert {sealed.product for sealed in lane.take_sealed()} == set(lane.plan.keys)
    assert lane.error is None


def test_a_broker_that_takes_long_not_to_answer_is_not_asked_at_each_commit(lane: LaneRun, tape: Tape) -> None:
    tape.events.append(tombstones(0, 3))
    lane.poll(0.0)
    tape.trouble, tape.silence_s = SourceUnavailableError("timed out"), 2.0
    asked_at_s = list[float]()
    for _ in range(100):
        asked = tape.asked
        assert lane.take_sealed() == ()
        if tape.asked > asked:
            asked_at_s.append(tape.now_s)
        tape.now_s += 1.0
    waited_s = 2.0 * len(asked_at_s)
    assert 0.05 <= waited_s / tape.now_s <= 0.1
    tape.trouble, tape.silence_s = None, 0.0
    tape.now_s += 20.0
    assert lane.take_sealed()


def test_a_broker_that_is_back_is_asked_within_half_a_minute_however_patient_its_client(
    lane: LaneRun, tape: Tape
) -> None:
    tape.events.append(tombstones(0, 3))
    lane.poll(0.0)
    tape.trouble, tape.silence_s = SourceUnavailableError("timed out"), 60.0
    assert lane.take_sealed() == ()
    tape.trouble, tape.silence_s = None, 0.0
    tape.now_s += 29.0
    assert lane.take_sealed() == ()
    tape.now_s += 1.0
    assert lane.take_sealed()


def test_a_source_that_stops_leaves_what_came_before_to_be_committed(lane: LaneRun, tape: Tape, desk: LakeDesk) -> None:
    tape.events.append(tombstones(0, 3))
    lane.poll(0.0)
    tape.events.append(OffsetGapError("offsets 3..9 are gone"))
    lane.poll(0.1)
    assert isinstance(lane.error, OffsetGapError)
    assert lane.lane.draining
    assert commit(lane, desk).positions == {LOG: 3}


def test_a_topic_whose_producer_changed_its_schema_stops_the_lane_and_becomes_no_letters(
    lane: LaneRun, tape: Tape, desk: LakeDesk
) -> None:
    lane.driver = cast("LaneDriver", Asking(lane.lane))
    tape.events += [tombstones(0, 3), malformed(3, 150)]
    lane.poll(0.0)
    lane.step(0.1)
    assert isinstance(lane.error, FailureShareError)
    for said in ("147 of the last 147 items", "(100%)", "reference.malformed (e.g. text/0/149)", "most_share (0.5)"):
        assert said in str(lane.error)
    result = commit(lane, desk)
    assert {part.sealed.letters for part in result.parts} == {()}
    assert result.positions == {LOG: 3}, "what the letters were of is read again by the next run"
    assert lane.lane.quiet


def test_letters_below_the_share_are_committed_after_their_window(lane: LaneRun, tape: Tape, desk: LakeDesk) -> None:
    lane.driver = cast("LaneDriver", Asking(lane.lane))
    tape.events += [tombstones(0, 3), malformed(3, 60), EndReached(LOG, 60)]
    lane.poll(0.0)
    lane.step(0.1)
    assert commit(lane, desk).positions == {LOG: 3}
    assert lane.idle, "held letters keep no run from its end"
    lane.step(30.0)
    assert commit(lane, desk).positions == {LOG: 60}
    assert lane.letters == 2 * 57


def test_an_unavailable_source_is_polled_again(lane: LaneRun, tape: Tape) -> None:
    tape.events += [SourceUnavailableError("away")]
    lane.poll(0.0)
    tape.events.append(tombstones(0, 1))
    lane.poll(0.1)
    assert (lane.error, lane.admitted) == (None, 1)
