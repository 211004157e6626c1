"""A worker hangs on one item: the deadline ends its calls until that item stands alone, and nobody else suffers."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings

from pipeline.flow.call_times import CallTimes, Deadlines, stage_and_actor
from pipeline.flow.calls import CallFailure, Prepare, Tokenize
from pipeline.flow.prepare_stage import PREPARE
from pipeline.simulate.media import Media
from pipeline.simulate.shop import ALPHA, BETA, Shop

MEDIA = Media(segments=((2, 1),))
DEADLINES = Deadlines(least_s=5.0, most_s=20.0)


def run(count: int, hangs: int, stage: str) -> tuple[Shop, int]:
    """Items, one of which never comes back from this stage. Returns the shop at rest, and how many were given up."""
    shop, times, killed = Shop(), CallTimes(DEADLINES), 0
    for _ in range(2):
        shop.hire()
    uris = [shop.admit(offset, MEDIA)[0] for offset in range(count)]
    begun = set[int]()
    for _ in range(4000):
        for late in times.overdue(shop.now_s):
            others = set(shop.pending)
            shop.answer(late.call, CallFailure.WORKER_DIED)
            for ended in others - set(shop.pending):
                times.end(ended, shop.now_s, answered=False)
            killed += 1
        shop.act()
        for call, action in list(shop.pending.items()):
            if call not in begun:
                begun.add(call)
                times.begin(call, *stage_and_actor(action), shop.now_s)
            leases = action.leases if isinstance(action, Prepare) else ()
            leases = tuple(item.lease for item in action.items) if isinstance(action, Tokenize) else leases
            here = stage_and_actor(action)[0] == stage
            if not (here and any(lease.reference.uri == uris[hangs] for lease in leases)):
                shop.answer(call)
                times.end(call, shop.now_s)
        shop.commit()
        if shop.lane.quiet:
            return shop, killed
        shop.now_s += 0.5
    raise AssertionError("stuck")


@settings(max_examples=40)
@given(st.integers(1, 10), st.data(), st.sampled_from([PREPARE, ALPHA]))
def test_what_hangs_becomes_a_letter_and_everything_else_gets_its_rows(
    count: int, data: st.DataObject, stage: str
) -> None:
    hangs = data.draw(st.integers(0, count - 1))
    shop, killed = run(count, hangs, stage)
    for offset in range(count):
        for product in (ALPHA, BETA):
            bad = offset == hangs and stage in {PREPARE, product}
            assert shop.outcome(product, offset) == (
                "worker.killed" if bad else MEDIA.windows(shop.lane.views[product])
            )
    # Halved from at most four to one, then alone until the third death.
    assert 3 <= killed <= 5
    shop.at_rest()
