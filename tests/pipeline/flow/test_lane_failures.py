"""A lane whose stores go down, and a lane that makes nothing but letters: on a virtual clock, under load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from operators.errors import NotFoundError, ReferenceMalformedError
from operators.records import Origin
from pipeline.flow.calls import Prepare
from pipeline.flow.core import LaneSettings
from pipeline.flow.failures import FailureSettings
from pipeline.flow.prepare_stage import PREPARE
from pipeline.flow.waits import WaitReason
from pipeline.records import Letter
from pipeline.simulate.media import FOREVER, TOKEN_BYTES, WINDOW_BYTES, Media
from pipeline.simulate.shop import ALPHA, BETA, PACKERS, Shop

BUCKET = "s3://media/"
MANY = LaneSettings(
    prepare_batch=8,
    tokenize_windows=16,
    lease_bytes=3 * WINDOW_BYTES,
    window_bytes=1000 * WINDOW_BYTES,
    token_bytes=1000 * TOKEN_BYTES,
    spool_bytes=10_000 * TOKEN_BYTES,
    most_ready=200,
    most_uncommitted=1000,
    seal_age_s=5.0,
)
GONE = NotFoundError("404").failure()
MALFORMED = ReferenceMalformedError("uri: missing").failure()


class Load:
    """A shop with a source that gives so many messages a second, as long as the lane wants them; a step is 0.1 s.

    Attributes:
        sent_at_s: by time, how many leases were sent to places that were down.
    """

    def __init__(self, settings: LaneSettings, place_of: Callable[[int], str], rate_hz: int = 50) -> None:
        self.shop = Shop(settings, target_rows=200)
        self._place_of = place_of
        self._each_step = rate_hz // 10
        self.next_offset = 0
        self.tries_at_down: list[float] = []
        for _ in range(4):
            self.shop.hire()

    def go(self, seconds: float, *, admits: bool = True, media: Media | None = None) -> None:
        end_s = self.shop.now_s + seconds
        while self.shop.now_s < end_s:
            self.step(admits=admits, media=media or Media())

    def step(self, *, admits: bool, media: Media) -> None:
        shop = self.shop
        for _ in range(self._each_step):
            if admits and not shop.lane.holds_back():
                shop.admit(self.next_offset, media, place=self._place_of(self.next_offset))
                self.next_offset += 1
        for action in shop.act():
            if isinstance(action, Prepare):
                uris = [lease.reference.uri for lease in action.leases]
                self.tries_at_down += [shop.now_s for uri in uris if any(uri.startswith(d) for d in shop.bench.down)]
        for call in list(shop.pending):
            shop.answer(call)
        shop.commit()
        shop.now_s += 0.1

    def until_done(self, within_s: float) -> float:
        began_s = self.shop.now_s
        while len(self.shop.lane.core.ledger):
            self.step(admits=False, media=Media())
            assert self.shop.now_s - began_s < within_s, self.shop.lane.core.waits
        return self.shop.now_s - began_s

    @property
    def letters(self) -> int:
        return sum(len(sealed.letters) for sealed in self.shop.sealed)

    @property
    def done(self) -> set[int]:
        return {origin.offset for _, origin in self.shop.outcomes()}


def test_a_store_that_is_down_for_ten_minutes_under_load_gives_no_letters_and_all_is_done_soon_after() -> None:
    load = Load(MANY, lambda _: BUCKET)
    load.go(20.0)
    load.shop.bench.down = {"s3://media"}
    load.go(600.0)
    lane = load.shop.lane
    assert lane.core.waits[PREPARE] is WaitReason.OUTAGE
    assert lane.waits_for_outage
    (outage,) = lane.outages.values()
    assert (outage.place, outage.since_s < 25.0, "503" in outage.error) == ("s3://media", True, True)
    # Throttled: after the first minute a probe every few seconds and nothing else.
    assert sum(at_s > 80.0 for at_s in load.tries_at_down) < 540 / 5
    assert len(lane.core.ledger) == 1000
    load.shop.bench.down = set()
    took_s = load.until_done(60.0)
    print(f"{load.next_offset} messages, done {took_s:.1f} s after the store came back")
    assert load.letters == 0
    assert load.done == set(range(load.next_offset))
    load.shop.at_rest()


def test_throughput_comes_back_within_seconds_and_step_by_step() -> None:
    load = Load(MANY, lambda _: BUCKET)
    load.shop.bench.down = {"s3://media"}
    load.go(120.0)
    load.shop.bench.down = set()
    sent: list[int] = []
    while not sent or sum(sent) < 500:
        load.shop.now_s += 0.1
        actions = [action for action in load.shop.act() if isinstance(action, Prepare)]
        sent += [sum(len(action.leases) for action in actions)] if actions else []
        for call in list(load.shop.pending):
            load.shop.answer(call)
    assert sent[:3] == [1, 2, 4]
    assert load.shop.now_s < 120.0 + 20.0


def test_one_dead_host_among_ten_is_an_outage_of_that_host_only() -> None:
    load = Load(MANY, lambda offset: f"https://host-{offset % 10}/")
    load.shop.bench.down = {"https://host-3"}
    load.go(100.0)
    assert set(load.shop.lane.outages) == {"https://host-3"}
    assert load.letters == 0
    assert load.next_offset > 50 * 99
    waiting = {entry.message.origin.offset % 10 for entry in load.shop.lane.core.ledger if entry.since_s < 80.0}
    assert waiting == {3}
    assert not load.shop.lane.waits_for_outage
    load.shop.bench.down = set()
    load.until_done(60.0)
    assert load.letters == 0
    assert load.done == set(range(load.next_offset))


def test_a_lane_of_many_hosts_that_is_cut_off_from_all_of_them_makes_no_letters_either() -> None:
    load = Load(MANY, lambda offset: f"https://host-{offset}/")
    load.go(10.0)
    load.shop.bench.down = {f"https://host-{offset}" for offset in range(20_000)}
    load.go(300.0)
    assert load.shop.lane.waits_for_outage
    assert "everywhere" in load.shop.lane.outages
    load.shop.bench.down = set()
    took_s = load.until_done(60.0)
    print(f"{load.next_offset} hosts, done {took_s:.1f} s after the network came back")
    assert load.letters == 0


def test_a_host_that_stays_dead_is_given_up_in_the_end_and_its_items_become_letters() -> None:
    settings = replace(MANY, failures=FailureSettings(outage_most_s=300.0))
    load = Load(settings, lambda offset: f"https://host-{offset % 10}/")
    load.shop.bench.down = {"https://host-3"}
    load.go(100.0)
    load.until_done(400.0)
    assert load.shop.now_s > 300.0
    found = load.shop.outcomes()
    letters = {origin.offset for (_, origin), (one,) in found.items() if isinstance(one, Letter)}
    assert letters == set(range(3, load.next_offset, 10))
    (one,) = found[ALPHA, Origin("s", 0, 3, 0)]
    assert isinstance(one, Letter) and one.failure.code == "fetch.failed"


def test_a_lane_that_gives_its_only_store_up_stops_without_a_letter() -> None:
    load = Load(replace(MANY, failures=FailureSettings(outage_most_s=300.0)), lambda _: BUCKET)
    load.go(10.0)
    load.shop.bench.down = {"s3://media"}
    while load.shop.lane.excess is None:
        load.step(admits=True, media=Media())
        assert load.shop.now_s < 400.0
    assert load.shop.now_s > 300.0
    load.go(40.0)
    assert load.letters == 0


def test_an_object_that_alone_fails_on_a_healthy_host_is_guilty() -> None:
    load = Load(MANY, lambda _: BUCKET)
    load.go(2.0)
    load.shop.admit(load.next_offset, Media(flaky=FOREVER), place=BUCKET)
    bad = load.next_offset
    load.next_offset += 1
    load.go(120.0)
    load.until_done(60.0)
    assert load.shop.outcome(ALPHA, bad) == "fetch.failed"
    assert load.letters == 2


def test_an_item_that_was_condemned_just_before_an_outage_showed_is_tried_again() -> None:
    load = Load(MANY, lambda _: BUCKET)
    load.shop.bench.down = {"s3://media"}
    load.shop.admit(0, Media(), place=BUCKET)
    load.next_offset = 1
    while not load.shop.lane.core.failures.held:
        load.step(admits=False, media=Media())
    load.go(60.0)
    assert load.shop.lane.core.failures.held == 0
    load.shop.bench.down = set()
    load.until_done(60.0)
    assert load.shop.outcome(ALPHA, 0) == 1
    assert load.letters == 0


def test_letters_are_held_for_the_window_and_then_come_out() -> None:
    load = Load(replace(MANY, failures=FailureSettings(window_s=10.0)), lambda _: BUCKET)
    load.shop.admit(0, Media(ended=GONE))
    load.shop.admit(1, MALFORMED)
    load.next_offset = 2
    load.go(9.5)
    assert load.letters == 0
    assert len(load.shop.lane.core.ledger) >= 1
    load.go(20.0)
    assert load.letters == 4
    assert [load.shop.outcome(BETA, offset) for offset in (0, 1)] == ["fetch.not_found", "reference.malformed"]


@pytest.mark.parametrize("bad", [Media(ended=GONE), MALFORMED])
def test_a_lane_of_nothing_but_letters_stops_and_none_of_them_is_committed(bad: Media) -> None:
    shop = Load(MANY, lambda _: BUCKET).shop
    offset = 0
    while shop.lane.excess is None:
        for _ in range(5):
            shop.admit(offset, bad, place=BUCKET)
            offset += 1
        shop.run(until=lambda: True, step_s=0.1)
        assert shop.now_s < 29.0
    excess = shop.lane.excess
    assert (excess.share, excess.ended >= 100, len(excess.codes)) == (1.0, True, 1)
    assert excess.codes[0].uri.startswith("t/0/" if bad is MALFORMED else BUCKET)
    shop.lane.draining = True
    shop.run()
    assert shop.sealed == []
    shop.at_rest()


def test_what_is_fine_is_committed_although_the_lane_stops() -> None:
    shop = Load(MANY, lambda _: BUCKET).shop
    for offset in range(200):
        shop.admit(offset, Media(ended=GONE) if offset % 4 else Media())
    shop.lane.draining = True
    shop.run()
    assert shop.lane.excess is not None and shop.lane.excess.share > 0.7
    assert {origin.offset for _, origin in shop.outcomes()} == set(range(0, 200, 4))
    shop.at_rest()


def test_a_run_of_few_items_ends_with_its_letters_at_once() -> None:
    shop = Load(MANY, lambda _: BUCKET).shop
    for offset in range(50):
        shop.admit(offset, Media(ended=GONE))
    shop.lane.draining = True
    shop.run()
    assert shop.now_s < 5.0
    assert len(shop.outcomes()) == 100


def test_a_run_that_ends_does_not_wait_for_an_outage() -> None:
    load = Load(MANY, lambda offset: f"https://host-{offset % 2}/")
    load.go(5.0)
    load.shop.bench.down = {"https://host-1"}
    load.go(60.0)
    lane = load.shop.lane
    lane.draining = True
    assert lane.abandon_queued() > 0
    load.until_done(20.0)
    assert lane.quiet
    assert load.letters == 0


def test_a_message_of_which_one_item_waits_for_an_outage_is_dropped_whole_when_the_run_ends() -> None:
    load = Load(MANY, lambda _: BUCKET)
    shop = load.shop
    shop.bench.down = {"s3://media"}
    load.go(5.0)
    shop.admit(5000, Media(), MALFORMED, place=BUCKET)
    shop.lane.draining = True
    shop.run()
    assert shop.outcomes() == {}


def test_a_lost_packer_does_not_bring_a_held_letter_twice() -> None:
    shop = Load(MANY, lambda _: BUCKET).shop
    shop.admit(0, Media(ended=GONE), Media())
    shop.run(until=lambda: shop.lane.core.failures.held > 0)
    for packer in PACKERS:
        shop.lose_packer(packer)
    shop.run()
    assert (shop.outcome(ALPHA, 0, 0), shop.outcome(ALPHA, 0, 1)) == ("fetch.not_found", 1)


def test_what_is_revoked_takes_its_held_letters_and_its_parked_items_with_it() -> None:
    load = Load(MANY, lambda _: BUCKET)
    load.shop.bench.down = {"s3://media"}
    load.shop.admit(0, MALFORMED)
    load.shop.admit(1, Media(ended=GONE), place="s3://other/")
    load.next_offset = 2
    load.go(10.0)
    load.shop.lane.revoke([entry.message.log for entry in load.shop.lane.core.ledger])
    load.go(40.0, admits=False)
    load.shop.at_rest()
    assert load.letters == 0
