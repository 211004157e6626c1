from __future__ import annotations

from collections import Counter
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from operators.errors import NotFoundError, ReferenceMalformedError
from operators.records import EmptyReason, Origin, VoidReason
from pipeline.flow.calls import CallFailure, Forget, Item, Pack, Prepare, Seal, Tokenize
from pipeline.flow.prepare_stage import PREPARE
from pipeline.records import Empty, Letter, SourcePartition
from pipeline.simulate.media import FOREVER, Media
from pipeline.simulate.shop import ALPHA, BETA, LOG, PACKERS, SETTINGS, VIEW_OF, Shop

OTHER = SourcePartition("s", 1)
GONE = NotFoundError("404").failure()
MALFORMED = ReferenceMalformedError("uri: missing").failure()

MEDIA = st.builds(
    Media,
    segments=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=3, max_size=3).map(tuple),
    forks=st.sampled_from([(), (), (1,), (2,), (1, 2)]),
    breaks=st.sampled_from([None, None, None, None, None, 0, 1, 2]),
    ended=st.sampled_from([None, None, None, None, GONE, EmptyReason.NO_TOKENS, VoidReason.TAKEN_DOWN]),
    flaky=st.sampled_from([0, 0, 0, 0, 1, 2, FOREVER]),
    kills=st.sampled_from([(), (), (), (), (), (PREPARE,), (ALPHA,), (BETA,)]).map(frozenset),
    raises=st.sampled_from([(), (), (), (), (), (PREPARE,), (ALPHA,), (BETA,)]).map(frozenset),
)
ITEM = st.one_of(MEDIA, MEDIA, MEDIA, st.sampled_from([VoidReason.REMOVAL, MALFORMED]))


class LaneMachine(RuleBasedStateMachine):
    """Anything in any order; whatever happened, every message ends with one outcome an item and product."""

    def __init__(self) -> None:
        super().__init__()
        self.shop = Shop()
        self.admitted: dict[Origin, tuple[Media | Item, ...]] = {}
        self.offsets = {LOG: 0, OTHER: 0}
        self.revoked: set[Origin] = set()
        self.innocent_deaths = False

    @initialize(workers=st.integers(1, 3))
    def begin(self, workers: int) -> None:
        for _ in range(workers):
            self.shop.hire()

    @rule(log=st.sampled_from([LOG, OTHER]), items=st.lists(ITEM, min_size=1, max_size=3))
    def admit(self, log: SourcePartition, items: list[Media | Item]) -> None:
        if self.shop.lane.holds_back():
            return
        offset = self.offsets[log]
        self.offsets[log] += 1
        self.admitted[Origin("s", log.partition, offset, 0)] = tuple(items)
        self.shop.admit(offset, *items, log=log)

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 10.0]))
    def act(self, seconds: float) -> None:
        self.shop.now_s += seconds
        before = {id(one) for one in self.shop.pending.values()}
        windows, tokens = self.shop.lane.core.windows, self.shop.lane.core.tokens
        had = windows.used_bytes, tokens.used_bytes
        actions = self.shop.act()
        assert not before & {id(one) for one in actions}
        # Nothing is sent that would take a budget over its limit, unless it runs alone.
        for room, earlier, kind in ((windows, had[0], Prepare), (tokens, had[1], Tokenize)):
            sent = [one for one in actions if isinstance(one, kind)]
            most = SETTINGS.lease_bytes * SETTINGS.prepare_batch
            assert room.used_bytes <= max(earlier, room.limit_bytes + most) or len(sent) == 1
        leases = [lease for one in self.shop.pending.values() if isinstance(one, Prepare) for lease in one.leases]
        assert len({(lease.attempt, lease.cursor) for lease in leases}) == len(leases)
        busy = Counter(one.packer for one in self.shop.pending.values() if isinstance(one, Pack | Seal | Forget))
        assert set(busy.values()) <= {1}

    @precondition(lambda self: self.shop.pending)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        self.shop.answer(data.draw(st.sampled_from(sorted(self.shop.pending))))

    @precondition(lambda self: any(isinstance(one, Prepare | Tokenize) for one in self.shop.pending.values()))
    @rule(data=st.data(), how=st.sampled_from([each for each in CallFailure if each is not CallFailure.RAISED]))
    def fail(self, data: st.DataObject, how: CallFailure) -> None:
        calls = [call for call, one in self.shop.pending.items() if isinstance(one, Prepare | Tokenize)]
        self.innocent_deaths |= how is CallFailure.WORKER_DIED
        self.shop.answer(data.draw(st.sampled_from(sorted(calls))), how)

    @rule(packer=st.sampled_from(PACKERS))
    def lose_packer(self, packer: str) -> None:
        self.shop.lose_packer(packer)

    @rule()
    def commit(self) -> None:
        self.shop.commit()

    @rule(log=st.sampled_from([LOG, OTHER]))
    def revoke(self, log: SourcePartition) -> None:
        held = [entry.message.origin for entry in self.shop.lane.core.ledger if entry.message.log == log]
        self.revoked |= set(held)
        for origin, items in self.admitted.items():
            direct = not any(isinstance(item, Media) for item in items)
            if origin.partition == log.partition and direct and self.shop.lane.direct:
                self.revoked.add(origin)
        self.shop.lane.revoke([log])

    @invariant()
    def nothing_is_given_back_twice(self) -> None:
        assert self.shop.lane.core.windows.used_bytes >= 0
        assert self.shop.lane.core.tokens.used_bytes >= 0

    def teardown(self) -> None:
        shop = self.shop
        shop.run(rounds=20_000, step_s=5.0)
        core = shop.lane.core
        assert (core.windows.used_bytes, core.tokens.used_bytes) == (0, 0)
        found = shop.outcomes()
        for message, items in self.admitted.items():
            for number, item in enumerate(items):
                for product in (ALPHA, BETA):
                    outcome = found.get((product, replace(message, item=number)), [])
                    if message in self.revoked:
                        assert len(outcome) <= 1
                    else:
                        self._check(item, product, outcome)

    def _check(self, item: Media | Item, product: str, outcome: list[object]) -> None:
        if isinstance(item, VoidReason) or (isinstance(item, Media) and isinstance(item.ended, VoidReason)):
            maybe_letter = isinstance(item, Media)
            assert not outcome or (maybe_letter and isinstance(outcome[0], Letter))
            return
        (one,) = outcome
        if isinstance(one, Letter):
            bad = not isinstance(item, Media) or item.fails
            bad = bad or bool({PREPARE, product} & (item.kills | item.raises))
            assert bad or (one.failure.code == "worker.killed" and self.innocent_deaths)
        elif isinstance(one, Empty):
            assert isinstance(item, Media)
            assert item.ended is EmptyReason.NO_TOKENS or item.windows(VIEW_OF[product]) == 0
        else:
            assert isinstance(item, Media)
            assert one == item.windows(VIEW_OF[product])
            assert not item.fails
            assert not {PREPARE, product} & (item.kills | item.raises)


LaneMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
test_anything_in_any_order_ends_with_one_outcome_an_item_and_product = LaneMachine.TestCase
