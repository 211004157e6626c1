from __future__ import annotations

from dataclasses import replace

from operators.errors import NotFoundError
from operators.records import VoidReason
from pipeline.flow.calls import Pack, Prepare, Seal, Tokenize
from pipeline.flow.prepare_stage import PREPARE
from pipeline.flow.whereabouts import Doing, Whereabouts, whereabouts
from pipeline.simulate.media import FOREVER, Media
from pipeline.simulate.shop import ALPHA, BETA, SETTINGS, Shop

GONE = NotFoundError("404").failure()


def oldest(shop: Shop) -> Whereabouts:
    entry = shop.lane.core.ledger.oldest()
    assert entry is not None
    return whereabouts(shop.lane, entry, shop.now_s)


def answer_all(shop: Shop) -> None:
    for call in list(shop.pending):
        shop.answer(call)


def test_an_item_is_followed_from_the_queue_to_the_commit() -> None:
    shop = Shop(replace(SETTINGS, batch_wait_s=0.0, seal_age_s=3.0), target_rows=1000)
    (uri,) = shop.admit(7, Media())
    shop.act()
    found = oldest(shop)
    assert (found.doing, found.uri, found.origin.offset) == (Doing.QUEUED, uri, 7)
    assert found.detail == "the pool has no worker; scaling or the cluster must bring one"
    shop.hire(PREPARE)
    shop.act()
    assert oldest(shop) == Whereabouts(found.origin, uri, Doing.PREPARING, "at worker-1")
    answer_all(shop)
    shop.act()
    assert (oldest(shop).doing, oldest(shop).detail.split(":")[0]) == (Doing.BATCHING, ALPHA)
    shop.hire(ALPHA, BETA)
    shop.hire(ALPHA, BETA)
    shop.act()
    assert [type(action) for action in shop.pending.values()] == [Tokenize, Tokenize]
    assert oldest(shop).doing is Doing.TOKENIZING
    answer_all(shop)
    assert (oldest(shop).doing, oldest(shop).detail) == (Doing.TO_PACKER, "packer-0")
    shop.act()
    assert [type(action) for action in shop.pending.values()] == [Pack]
    assert (oldest(shop).doing, oldest(shop).detail) == (Doing.TO_PACKER, "packer-0")
    answer_all(shop)
    assert oldest(shop).doing is Doing.IN_PACKER
    assert oldest(shop).detail == f"packer-0: for {ALPHA}, {BETA}, until the shard closes"
    shop.now_s += 4.0
    assert any(isinstance(action, Seal) for action in shop.act())
    assert oldest(shop).doing is Doing.SEALING
    answer_all(shop)
    assert (oldest(shop).doing, oldest(shop).detail) == (Doing.SEALED, "awaits a commit")
    shop.commit()
    assert shop.lane.core.ledger.oldest() is None


def test_one_that_backs_off_says_how_often_it_was_tried_and_what_went_wrong() -> None:
    shop = Shop()
    shop.hire()
    shop.admit(0, VoidReason.REMOVAL, Media(flaky=FOREVER))
    shop.act()
    answer_all(shop)
    found = oldest(shop)
    assert (found.doing, found.origin.item) == (Doing.BACKING_OFF, 1)
    assert found.detail.startswith("try 2 in ")
    assert found.detail.endswith("503")


def test_one_whose_place_is_down_names_the_place_and_since_when() -> None:
    shop = Shop()
    shop.hire()
    shop.bench.down = {"s3://media"}
    for offset in range(3):
        shop.admit(offset, Media(), place="s3://media/")
    for _ in range(20):
        shop.act()
        answer_all(shop)
        shop.now_s += 1.0
    found = oldest(shop)
    assert found.doing is Doing.OUTAGE
    assert found.detail.startswith("s3://media is down for ")
    assert found.detail.endswith("s: 503")


def test_one_whose_letter_is_held_says_what_is_wrong_with_it() -> None:
    shop = Shop()
    shop.hire()
    shop.admit(0, Media(), Media(ended=GONE))
    for _ in range(8):
        shop.act()
        answer_all(shop)
        shop.now_s += 0.1
    found = oldest(shop)
    assert (found.doing, found.origin.item, found.detail) == (Doing.LETTER_HELD, 1, "404")


def test_one_that_is_stuck_keeps_no_other_from_being_committed_and_costs_two_ranges() -> None:
    room = {"window_bytes": 1 << 20, "token_bytes": 1 << 20, "most_uncommitted": 100_000, "most_ready": 4096}
    shop = Shop(replace(SETTINGS, prepare_batch=32, tokenize_windows=64, **room))
    for _ in range(4):
        shop.hire()
    (stuck,) = shop.admit(0, Media())
    others = 0
    stuck_call: int | None = None
    while others < 2000:
        for _ in range(50):
            others += 1
            shop.admit(others, Media())
        shop.act()
        for call, action in list(shop.pending.items()):
            if stuck_call is None and isinstance(action, Prepare):
                stuck_call = call
            if call != stuck_call:
                shop.answer(call)
        shop.commit()
        shop.now_s += 0.2
    assert stuck_call is not None
    stuck_prepare = shop.pending[stuck_call]
    assert isinstance(stuck_prepare, Prepare)
    for _ in range(60):
        shop.act()
        for call in list(shop.pending):
            if call != stuck_call:
                shop.answer(call)
        shop.commit()
        shop.now_s += 0.2
    committed = {origin.offset for _, origin in shop.outcomes()}
    held = {lease.reference.origin.offset for lease in stuck_prepare.leases}
    assert committed == set(range(others + 1)) - held
    assert len(shop.lane.core.ledger) == len(held)
    found = oldest(shop)
    assert (found.uri, found.doing) == (stuck, Doing.PREPARING)
