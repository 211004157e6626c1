from __future__ import annotations

from dataclasses import replace

import pytest

from operators.records import VoidReason
from pipeline.flow.calls import Forget, Seal
from pipeline.records import Predicate, PredicateField
from pipeline.simulate.media import Media
from pipeline.simulate.shop import LOG, Shop

VERSION = 7


@pytest.fixture
def shop() -> Shop:
    shop = Shop(target_rows=100)
    shop.hire()
    return shop


def sealing(shop: Shop) -> int:
    """Go on until a packer is told to seal; the call's number."""
    for _ in range(50):
        shop.act()
        seals = [call for call, action in shop.pending.items() if isinstance(action, Seal)]
        if seals:
            return seals[0]
        for call in list(shop.pending):
            shop.answer(call)
        shop.now_s += 0.3
    raise AssertionError("nobody was told to seal")


def take_down(shop: Shop, uri: str) -> None:
    shop.lane.obey([Predicate(PredicateField.URI, uri)], VERSION)


def test_what_is_admitted_after_a_takedown_is_void_and_says_so(shop: Shop) -> None:
    take_down(shop, "m1")
    shop.admit(0, Media(), Media())
    shop.answer(sealing(shop))
    taken = shop.lane.take_sealed()
    assert taken
    for sealed in taken:
        assert sealed.voids == {VoidReason.TAKEN_DOWN: 1}
        assert sealed.obeys == VERSION


def test_what_was_admitted_before_a_takedown_does_not_claim_to_obey_it(shop: Shop) -> None:
    (uri,) = shop.admit(0, Media())
    call = sealing(shop)
    take_down(shop, uri)
    shop.answer(call)
    assert {sealed.obeys for sealed in shop.lane.take_sealed()} == {0}


@pytest.mark.parametrize("forget_is_sent", [False, True])
def test_nor_does_it_when_its_log_was_lost_and_won_back_meanwhile(shop: Shop, forget_is_sent: bool) -> None:
    uri, _ = shop.admit(0, Media(), Media())
    call = sealing(shop)
    message = shop.lane.core.ledger.oldest()
    assert message is not None
    shop.lane.revoke([LOG])
    take_down(shop, uri)
    shop.lane.admit(message.message, message.items, shop.lane.views, shop.now_s)
    if forget_is_sent:
        # A packer may still report with this answer what it sealed before.
        seal = shop.pending[call]
        assert isinstance(seal, Seal)
        report = shop.packers[seal.packer].seal()
        shop.lane.packed(call, replace(report, sealed=()))
        forget = next(action for action in shop.act() if isinstance(action, Forget) and action.packer == seal.packer)
        shop.lane.packed(forget.call, report)
    else:
        shop.answer(call)
    sealed = shop.lane.take_sealed()
    assert sealed
    assert {part.obeys for part in sealed if part.shards} == {0}
