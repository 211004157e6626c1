from __future__ import annotations

from dataclasses import replace

from operators.records import VoidReason
from pipeline.flow.calls import Prepare, Seal, SealReason
from pipeline.flow.core import LaneSettings
from pipeline.flow.prepare_stage import PREPARE
from pipeline.simulate.media import WINDOW_BYTES, Media
from pipeline.simulate.shop import ALPHA, SETTINGS, Shop


def one_worker_shop(lane_settings: LaneSettings = SETTINGS) -> Shop:
    shop = Shop(lane_settings)
    shop.hire()
    return shop


def test_a_full_lane_holds_the_source_back_with_hysteresis():
    shop = Shop(replace(SETTINGS, most_ready=8, most_uncommitted=100))
    for offset in range(7):
        shop.admit(offset, Media())
        assert not shop.lane.holds_back()
    shop.admit(7, Media())
    assert shop.lane.holds_back()
    shop.hire(PREPARE)
    shop.act()
    assert len(shop.lane.prepare.ready) == 4
    assert shop.lane.holds_back()
    shop.hire(PREPARE)
    shop.act()
    assert not shop.lane.holds_back()
    shop.admit(8, Media())
    assert not shop.lane.holds_back()


def test_uncommitted_messages_hold_the_source_back_until_a_quarter_is_settled():
    shop = one_worker_shop()
    for offset in range(12):
        shop.admit(offset, Media())
    assert shop.lane.holds_back()
    levels: list[tuple[int, bool]] = []
    while len(shop.lane.core.ledger):
        shop.act()
        for call in list(shop.pending):
            shop.answer(call)
        shop.commit()
        levels.append((len(shop.lane.core.ledger), shop.lane.holds_back()))
        shop.now_s += 0.3
    assert all(held == (level > 9) for level, held in levels)


def test_a_lane_starved_of_messages_by_its_own_packers_tells_them_to_seal():
    shop = Shop(replace(SETTINGS, most_uncommitted=4, seal_age_s=1e9), target_rows=1000)
    shop.hire()
    for offset in range(4):
        shop.admit(offset, Media())
    reasons: list[SealReason] = []
    for _ in range(20):
        shop.lane.holds_back()
        reasons += [action.reason for action in shop.act() if isinstance(action, Seal)]
        for call in list(shop.pending):
            shop.answer(call)
        shop.commit()
    assert set(reasons) == {SealReason.STARVED}
    shop.at_rest()


def test_draining_seals_what_is_left_and_nothing_is_admitted_meanwhile():
    shop = Shop(replace(SETTINGS, seal_age_s=1e9), target_rows=1000)
    shop.hire()
    shop.admit(0, Media())
    for _ in range(10):
        shop.act()
        for call in list(shop.pending):
            shop.answer(call)
    shop.commit()
    assert not shop.sealed
    shop.lane.draining = True
    assert shop.lane.holds_back()
    shop.run(rounds=3)
    assert shop.outcome(ALPHA, 0) == 1
    shop.at_rest()


def test_what_no_worker_has_begun_can_be_abandoned_and_the_rest_ends_well():
    shop = one_worker_shop()
    for offset in range(8):
        shop.admit(offset, Media(), VoidReason.REMOVAL)
    shop.admit(8, Media(), Media())
    shop.act()
    prepares = [action for action in shop.pending.values() if isinstance(action, Prepare)]
    begun = {lease.reference.origin.offset for action in prepares for lease in action.leases}
    assert begun == {0, 1, 2, 3}
    assert shop.lane.abandon_queued() == 5
    shop.lane.draining = True
    shop.run()
    assert {origin.offset for _, origin in shop.outcomes()} == begun


def test_an_item_of_which_a_part_was_begun_is_not_abandoned():
    shop = one_worker_shop()
    shop.admit(0, Media(segments=((1, 1), (1, 1))), Media(flaky=1))
    shop.act()
    (call,) = shop.pending
    shop.answer(call)
    assert shop.lane.abandon_queued() == 0
    shop.lane.draining = True
    shop.run()
    assert [shop.outcome(ALPHA, 0, item) for item in (0, 1)] == [2, 1]
    shop.at_rest()


def test_windows_keep_within_their_budget_when_tokenizers_are_slow():
    shop = Shop(replace(SETTINGS, lease_bytes=2 * WINDOW_BYTES, window_bytes=8 * WINDOW_BYTES, most_uncommitted=1000))
    shop.hire(PREPARE)
    for offset in range(50):
        shop.admit(offset, Media())
    for _ in range(20):
        shop.act()
        for call in list(shop.pending):
            shop.answer(call)
    assert shop.lane.core.windows.peak_bytes <= 8 * WINDOW_BYTES
    assert shop.lane.core.waits[PREPARE].value == "no_bytes"
    shop.hire()
    shop.run()
    shop.at_rest()
