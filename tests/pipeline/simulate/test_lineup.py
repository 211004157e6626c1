from __future__ import annotations

import random

from pipeline.simulate.draw import draw_faults
from pipeline.simulate.faults import Event
from pipeline.simulate.lineup import Lineup, draw_lineup

CALM_S = 18.0


def drawn(wanted: set[Event]) -> list[Lineup]:
    """Line-ups of seeds that have exactly these of deploy and rollback."""
    lineups: list[Lineup] = []
    for seed in range(300):
        rng = random.Random(seed)
        faults = draw_faults(rng)
        if {event for event in (Event.DEPLOY, Event.ROLLBACK) if faults.events[event]} == wanted:
            lineups.append(draw_lineup(rng, faults, CALM_S))
    return lineups


def test_without_a_deploy_a_product_may_join_and_none_changes() -> None:
    lineups = drawn(set())
    assert {len(lineup.editions) for lineup in lineups} == {1, 2}
    for lineup in lineups:
        assert [product.name for product in lineup.final] == ["alpha", "beta"]
        assert all(len(lineup.history(product.name)) == 1 for product in lineup.final)
        assert not any(edition.forced for edition in lineup.editions)


def test_a_deploy_changes_one_product_under_a_higher_revision() -> None:
    changed = [lineup for lineup in drawn({Event.DEPLOY}) if any(edition.forced for edition in lineup.editions)]
    assert changed
    for lineup in changed:
        (new,) = [product for product in lineup.final if product.revision == 2]
        assert len(lineup.history(new.name)) == 2
        assert lineup.history(new.name)[1] == new.key
        assert lineup.at(0.0) is lineup.editions[0]
        assert lineup.at(CALM_S).products == lineup.final


def test_a_rollback_has_the_first_key_again_and_the_highest_revision() -> None:
    rolled = [lineup for lineup in drawn({Event.DEPLOY, Event.ROLLBACK}) if lineup.editions[-1].rolls_back]
    assert rolled
    for lineup in rolled:
        (back,) = [product for product in lineup.final if product.revision == 3]
        first, *_, last = lineup.history(back.name)
        assert first == last == back.key
        assert len(lineup.history(back.name)) in {1, 3}
