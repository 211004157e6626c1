"""Messages of which only some items are to be done, as jobs give them."""

from __future__ import annotations

from dataclasses import replace

from operators.records import Failure, VoidReason
from pipeline.flow.failures import FailureSettings
from pipeline.flow.prepare_stage import PREPARE
from pipeline.records import Letter
from pipeline.simulate.media import Media
from pipeline.simulate.shop import ALPHA, BETA, LOG, PACKERS, SETTINGS, Shop

GONE = Failure("fetch.not_found", "fetch", "no such object")
MALFORMED = Failure("reference.malformed", "reference", "no uri")


def one_worker_shop() -> Shop:
    shop = Shop(replace(SETTINGS, failures=FailureSettings(window_s=0.0)))
    shop.hire()
    return shop


def test_each_product_gets_the_items_that_it_wants_and_no_others():
    shop = one_worker_shop()
    wanted = {ALPHA: {1: 0}, BETA: {0: 0, 1: 0, 3: 0}}
    shop.admit(0, Media(), Media(segments=((1, 2),)), Media(), Media(), wanted=wanted)
    shop.run()
    assert {(product, origin.item) for product, origin in shop.outcomes()} == {
        (ALPHA, 1),
        (BETA, 0),
        (BETA, 1),
        (BETA, 3),
    }
    assert (shop.outcome(ALPHA, 0, 1), shop.outcome(BETA, 0, 1)) == (1, 2)
    shop.at_rest()


def test_items_that_nobody_wants_are_not_even_fetched():
    shop = one_worker_shop()
    shop.admit(0, Media(kills=frozenset({PREPARE})), Media(), wanted={ALPHA: {1: 0}, BETA: {1: 0}})
    shop.run()
    assert shop.outcome(BETA, 0, 1) == 1
    shop.at_rest()


def test_tries_add_up_over_runs():
    shop = one_worker_shop()
    wanted = {ALPHA: {0: 3, 1: 5}, BETA: {0: 1, 1: 0}}
    shop.admit(0, Media(ended=GONE), MALFORMED, wanted=wanted)
    shop.admit(1, MALFORMED, MALFORMED, wanted={ALPHA: {1: 2}, BETA: {0: 7}})
    shop.run()
    found = {
        (product[:5], origin.offset, origin.item): one.attempts
        for (product, origin), (one,) in shop.outcomes().items()
        if isinstance(one, Letter)
    }
    assert found == {
        (ALPHA[:5], 0, 0): 4,
        (ALPHA[:5], 0, 1): 6,
        (BETA[:5], 0, 0): 2,
        (BETA[:5], 0, 1): 1,
        (ALPHA[:5], 1, 1): 3,
        (BETA[:5], 1, 0): 8,
    }
    shop.at_rest()


def test_what_has_become_void_is_so_where_it_is_wanted():
    shop = one_worker_shop()
    shop.admit(0, VoidReason.NOT_MINE, Media(), VoidReason.NOT_MINE, wanted={ALPHA: {0: 1}, BETA: {1: 1, 2: 1}})
    shop.admit(1, VoidReason.NOT_MINE, Media(), products=[ALPHA], wanted={ALPHA: {0: 1}})
    shop.run()
    voids = {(sealed.product, sealed.covers[0].ranges): sealed.voids for sealed in shop.sealed}
    assert voids[ALPHA, ((1, 2),)] == {VoidReason.NOT_MINE: 1}
    assert voids[ALPHA, ((0, 1),)] == {VoidReason.NOT_MINE: 1}
    assert voids[BETA, ((0, 1),)] == {VoidReason.NOT_MINE: 1}
    shop.at_rest()


def test_a_packer_that_dies_costs_the_wanted_items_another_try():
    shop = one_worker_shop()
    shop.admit(0, Media(), Media(), Media(), wanted={ALPHA: {0: 0, 2: 0}, BETA: {2: 0}})
    for _ in range(4):
        shop.act()
        for call in list(shop.pending):
            shop.answer(call)
        shop.now_s += 0.3
    for packer in PACKERS:
        shop.lose_packer(packer)
    shop.run()
    assert {(product, origin.item) for product, origin in shop.outcomes()} == {(ALPHA, 0), (ALPHA, 2), (BETA, 2)}
    assert all(sealed.covers[0].log == LOG for sealed in shop.sealed)
    shop.at_rest()
