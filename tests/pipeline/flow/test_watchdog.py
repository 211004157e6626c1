"""A lane whose driver makes a mistake is found out; one that only waits is left alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given, settings

from pipeline.flow.call_times import CallAge, CallTimes, stage_and_actor
from pipeline.flow.calls import Action, Pack, Prepare
from pipeline.flow.glance import Around, Glance, glance
from pipeline.flow.prepare_stage import PREPARE
from pipeline.flow.waits import WaitReason
from pipeline.flow.watchdog import Patience, StallCause, Watchdog
from pipeline.simulate.media import WINDOW_BYTES, Media
from pipeline.simulate.shop import ALPHA, SETTINGS, Shop

PATIENCE = Patience(least_s=30.0, most_s=60.0)
MEDIA = Media(segments=((2, 1),))


class Watched:
    """A shop with a watchdog, whose driver may forget what it was told to do."""

    def __init__(self, shop: Shop | None = None, around: Around | None = None) -> None:
        self.shop = shop or Shop()
        self.times = CallTimes()
        self.dog = Watchdog(PATIENCE)
        self.around = around or Around()
        self.read = self.committed = 0
        self.news: list[float] = []
        for _ in range(2):
            self.shop.hire()

    def admit(self, *media: Media) -> None:
        for one in media:
            self.shop.admit(self.read, one)
            self.read += 1

    def act(self) -> list[Action]:
        actions = self.shop.act()
        for action in actions:
            self.times.begin(action.call, *stage_and_actor(action), self.shop.now_s)
        return actions

    def look(self) -> None:
        shop = self.shop
        done = self.times.ended + self.read + len(shop.sealed)
        if self.dog.look(done, shop.now_s, lambda: glance(shop.lane, self.times, self.around, shop.now_s)):
            self.news.append(shop.now_s)

    def answer(self, call: int) -> None:
        before = set(self.shop.pending)
        self.shop.answer(call)
        for ended in before - set(self.shop.pending):
            self.times.end(ended, self.shop.now_s)

    def go_on(self, seconds: float, lost: Callable[[Action], bool] = lambda _: False, step_s: float = 0.5) -> None:
        until_s = self.shop.now_s + seconds
        while self.shop.now_s < until_s:
            self.act()
            for call, action in list(self.shop.pending.items()):
                if call in self.shop.pending and not lost(action):
                    self.answer(call)
            self.shop.commit()
            self.look()
            self.shop.now_s += step_s

    def cause(self) -> StallCause:
        assert self.dog.stall is not None
        return self.dog.stall.cause


def test_an_answer_that_is_lost_is_found() -> None:
    watched = Watched()
    watched.admit(MEDIA)
    watched.go_on(70.0, lost=lambda action: isinstance(action, Prepare))
    assert watched.cause() is StallCause.CALL_OVERDUE
    assert "worker-1 has had a call of prepare for" in watched.dog.stall.detail  # type: ignore[union-attr]


def test_a_packer_that_does_not_answer_is_found() -> None:
    watched = Watched()
    watched.admit(MEDIA)
    watched.go_on(70.0, lost=lambda action: isinstance(action, Pack))
    assert watched.cause() is StallCause.PACKER_SILENT


def test_bytes_that_were_not_given_back_are_found() -> None:
    watched = Watched()
    watched.shop.lane.core.windows.take(19 * WINDOW_BYTES)
    watched.admit(MEDIA)
    watched.go_on(70.0)
    assert watched.cause() is StallCause.CREDITS_LOST
    assert f"{19 * WINDOW_BYTES} bytes are held by nothing" in watched.dog.stall.detail  # type: ignore[union-attr]


def test_work_that_nobody_is_sent_is_found() -> None:
    watched = Watched()
    watched.admit(MEDIA)
    watched.shop.lane.prepare.actions = lambda now_s: iter(())  # type: ignore[method-assign]
    watched.go_on(70.0)
    assert watched.cause() is StallCause.NOT_SENT


def test_a_batch_that_never_closes_is_found() -> None:
    watched = Watched(Shop(replace(SETTINGS, batch_wait_s=math.inf)))
    watched.admit(Media(segments=((1, 0),)))
    watched.go_on(3.0, lost=lambda action: not isinstance(action, Prepare))
    batcher = watched.shop.lane.tokenize.batchers[ALPHA]
    batcher.peek = lambda now_s, upstream: None  # type: ignore[method-assign]
    watched.admit(Media(segments=((1, 0),)))
    watched.go_on(70.0)
    assert watched.cause() is StallCause.BATCH_OPEN


def test_sealed_shards_that_nobody_commits_are_found() -> None:
    watched = Watched()
    watched.shop.commit = lambda: None  # type: ignore[method-assign]
    watched.admit(MEDIA)
    watched.go_on(70.0)
    assert watched.cause() is StallCause.COMMIT_SILENT


def test_a_commit_that_does_not_end_is_found() -> None:
    watched = Watched(around=Around(committing_s=65.0))
    watched.shop.commit = lambda: None  # type: ignore[method-assign]
    watched.admit(MEDIA)
    watched.go_on(70.0)
    assert watched.cause() is StallCause.COMMIT_SILENT
    assert "a commit has been under way for 65 s" in watched.dog.stall.detail  # type: ignore[union-attr]


def test_a_source_that_has_messages_and_gives_none_is_found() -> None:
    watched = Watched(around=Around(lag=7))
    watched.go_on(70.0)
    assert watched.cause() is StallCause.SOURCE_SILENT


def test_work_without_a_worker_is_a_stall_only_where_no_machine_is_on_its_way() -> None:
    for wanted in (False, True):
        watched = Watched(around=Around(nodes_wanted=wanted))
        for name in ("worker-1", "worker-2"):
            watched.shop.lane.core.workers.remove(name)
        watched.admit(MEDIA)
        watched.go_on(200.0)
        assert (watched.dog.stall is not None) is not wanted


def test_a_stall_is_news_once_and_again_when_it_ends() -> None:
    watched = Watched()
    watched.admit(MEDIA)
    lost: list[int] = []

    def loses(action: Action) -> bool:
        lost.append(action.call)
        return isinstance(action, Prepare)

    watched.go_on(100.0, lost=loses)
    assert len(watched.news) == 1
    watched.go_on(20.0)
    assert watched.dog.stall is None
    assert len(watched.news) == 2


def test_a_call_within_its_time_keeps_everything_else_from_being_blamed() -> None:
    dog, seen = Watchdog(PATIENCE), Glance(queued={PREPARE: 5}, free_slots={PREPARE: 1}, ready={PREPARE: 1})
    slow = replace(seen, calls=(CallAge(1, PREPARE, "w", 50.0),), p99_s={PREPARE: 5.5})
    assert not dog.look(1, 0.0, lambda: slow)
    assert not dog.look(1, 54.0, lambda: slow)
    assert dog.look(1, 56.0, lambda: replace(slow, calls=(CallAge(1, PREPARE, "w", 55.5),)))


def test_nothing_to_do_is_no_stall() -> None:
    watched = Watched()
    watched.go_on(500.0)
    assert watched.news == []


def test_what_backs_off_or_waits_for_an_outage_is_no_stall() -> None:
    dog = Watchdog(PATIENCE)
    dog.look(1, 0.0, Glance)
    seen = Glance(in_flight=3, held_back_s=math.inf, waits={PREPARE: WaitReason.BACKING_OFF})
    assert not dog.look(1, 30_000.0, lambda: seen)


def test_rows_that_wait_for_their_shard_are_no_stall_until_it_should_have_closed() -> None:
    dog = Watchdog(PATIENCE)
    dog.look(1, 0.0, Glance)
    seen = Glance(in_flight=3, held_back_s=300.0)
    assert not dog.look(1, 329.0, lambda: seen)
    assert dog.look(1, 331.0, lambda: seen)


@settings(max_examples=60)
@given(
    pauses_s=st.lists(st.floats(0.0, 25.0), min_size=1, max_size=12),
    media=st.lists(st.sampled_from([MEDIA, Media(segments=((3, 2), (1, 1))), Media(segments=((0, 0),))]), max_size=12),
    data=st.data(),
)
def test_a_run_that_goes_on_raises_no_alarm(pauses_s: list[float], media: list[Media], data: st.DataObject) -> None:
    watched = Watched()
    shop, waiting = watched.shop, list(media)
    for pause_s in pauses_s * 4:
        if waiting and not shop.lane.holds_back():
            watched.admit(waiting.pop())
        watched.act()
        # Whatever is answered, something is, whenever something is under way.
        if shop.pending:
            watched.answer(data.draw(st.sampled_from(sorted(shop.pending))))
        shop.commit()
        watched.look()
        until_s = shop.now_s + pause_s
        while shop.now_s < until_s:
            shop.now_s += 1.0
            watched.look()
            watched.act()
        shop.now_s = until_s
    assert watched.news == []
