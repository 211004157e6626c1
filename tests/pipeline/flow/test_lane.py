from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from operators.errors import NotFoundError, ReferenceMalformedError
from operators.records import EmptyReason, MediaReference, Origin, VoidReason
from pipeline.flow.blame import Blame
from pipeline.flow.calls import Action, CallFailure, Forget, Item, Pack, Prepare, Seal, SealReason, Tokenize
from pipeline.flow.core import LaneSettings
from pipeline.flow.lane import Lane
from pipeline.flow.prepare_stage import PREPARE
from pipeline.records import Empty, Letter, Message, Sealed, Shard, SourcePartition
from pipeline.simulate.media import FOREVER, PRODUCTS, TOKEN_BYTES, WINDOW_BYTES, Bench, Media, raised
from pipeline.simulate.packer import ShardRow, SimulatedPacker

ALPHA, BETA = (product.key for product in PRODUCTS)
VIEW_OF = {product.key: product.spec.view for product in PRODUCTS}
LOG, OTHER = SourcePartition("s", 0), SourcePartition("s", 1)
GONE = NotFoundError("404").failure()
MALFORMED = ReferenceMalformedError("uri: missing").failure()
PACKERS = ("packer-0", "packer-1")
SETTINGS = LaneSettings(
    prepare_batch=4,
    worker_slots=1,
    tokenize_windows=4,
    batch_wait_s=0.5,
    lease_bytes=3 * WINDOW_BYTES,
    window_bytes=20 * WINDOW_BYTES,
    token_bytes=20 * TOKEN_BYTES,
    spool_bytes=100 * TOKEN_BYTES,
    most_ready=16,
    most_uncommitted=12,
    seal_age_s=5.0,
)


class Shop:
    """A lane with workers and packers that answer when they are told to."""

    def __init__(self, lane_settings: LaneSettings = SETTINGS, target_rows: int = 6) -> None:
        self.lane = Lane("image", VIEW_OF, PACKERS, lane_settings, random.Random(0), lambda: 0)
        self.media: dict[str, Media] = {}
        self.bench = Bench(self.media)
        self.now_s = 0.0
        self.pending: dict[int, Action] = {}
        self.shards: dict[str, tuple[ShardRow, ...]] = {}
        self.target_rows = target_rows
        self.packers = {name: self._packer() for name in PACKERS}
        self.sealed: list[Sealed] = []
        self._workers = 0
        self._uris = 0

    def _packer(self) -> SimulatedPacker:
        return SimulatedPacker(VIEW_OF, self._upload, self.target_rows * TOKEN_BYTES)

    def _upload(self, product: str, rows: tuple[ShardRow, ...]) -> Shard:
        path = f"part-{len(self.shards)}"
        self.shards[path] = rows
        return Shard(product, path, len(rows), len(rows), 0, "")

    def hire(self, *stages: str) -> str:
        self._workers += 1
        name = f"worker-{self._workers}"
        self.lane.worker_ready(name, stages or (PREPARE, ALPHA, BETA))
        return name

    def admit(
        self, offset: int, *media: Media | Item, log: SourcePartition = LOG, products: Sequence[str] = (ALPHA, BETA)
    ) -> list[str]:
        """One message with an item a `media`; returns the uris of its references."""
        origin = Origin(log.source_id, log.partition, offset, 0)
        items: list[Item] = []
        uris: list[str] = []
        for number, one in enumerate(media):
            if isinstance(one, Media):
                self._uris += 1
                uris.append(f"m{self._uris}")
                self.media[uris[-1]] = one
                items.append(MediaReference(uris[-1], replace(origin, item=number)))
            else:
                items.append(one)
        self.lane.admit(Message(origin, "t", b"k", b"v"), items, products, self.now_s)
        return uris

    def act(self) -> list[Action]:
        """Ask the lane what to do, and note it."""
        actions = self.lane.actions(self.now_s)
        self.pending |= {action.call: action for action in actions}
        return actions

    def answer(self, call: int, failure: CallFailure | None = None) -> Blame | None:
        """Carry out one call, or let it fail."""
        action = self.pending.pop(call)
        match action:
            case Prepare():
                result = failure or self.bench.prepare(action)
                if isinstance(result, CallFailure):
                    return self._fail(action, result)
                self.lane.prepared(call, *result, self.now_s)
            case Tokenize():
                result = failure or self.bench.tokenize(action)
                if isinstance(result, CallFailure):
                    return self._fail(action, result)
                self.lane.tokenized(call, result)
            case Pack():
                assert all(handle is not None for handle in action.batches)
                self.lane.packed(call, self.packers[action.packer].add(action.deliveries, action.batches))
            case Seal():
                self.lane.packed(call, self.packers[action.packer].seal())
            case Forget():
                self.lane.packed(call, self.packers[action.packer].forget(action.logs))
        return None

    def _fail(self, action: Prepare | Tokenize, how: CallFailure) -> Blame:
        if how in {CallFailure.WORKER_DIED, CallFailure.WORKER_LEFT}:
            lane_worker = action.worker
            self.lane.core.workers.remove(lane_worker)
            others = [
                other
                for other in self.pending.values()
                if isinstance(other, Prepare | Tokenize) and other.worker == lane_worker
            ]
            blame = self.lane.failed(action.call, how, raised())
            for other in others:
                # Only one call was being computed; the other one's arguments were on their way.
                del self.pending[other.call]
                self.lane.failed(other.call, CallFailure.WORKER_LEFT, raised())
            self.hire()
            return blame
        return self.lane.failed(action.call, how, raised())

    def lose_packer(self, packer: str) -> None:
        for call, action in list(self.pending.items()):
            if isinstance(action, Pack | Seal | Forget) and action.packer == packer:
                del self.pending[call]
        self.packers[packer] = self._packer()
        self.lane.packer_lost(packer)

    def commit(self) -> None:
        taken = self.lane.take_sealed()
        self.sealed += taken
        for sealed in taken:
            self.lane.settled(sealed.product, sealed.covers)

    def run(self, until: Callable[[], bool] | None = None, rounds: int = 2000, step_s: float = 0.3) -> None:
        """Let everything happen in order until nothing is in flight."""
        for _ in range(rounds):
            self.act()
            for call in list(self.pending):
                if call in self.pending:
                    self.answer(call)
            self.commit()
            if until() if until else self.lane.quiet:
                return
            self.now_s += step_s
        raise AssertionError(f"stuck: {self.lane.core.waits}, {len(self.lane.core.ledger)} in flight")

    def outcomes(self) -> dict[tuple[str, Origin], list[object]]:
        """What every item came to in every product, from all that was sealed."""
        found: dict[tuple[str, Origin], list[object]] = {}
        for sealed in self.sealed:
            for shard in sealed.shards:
                rows = Counter((row.origin, row.window_count) for row in self.shards[shard.path])
                for (origin, count), had in rows.items():
                    assert count == had
                    found.setdefault((sealed.product, origin), []).append(count)
                for row in self.shards[shard.path]:
                    assert row.token.product == sealed.product
                    assert row.token.window.start == row.window_index
                    assert self.media[row.token.window.uri] is not None
            for letter in sealed.letters:
                found.setdefault((sealed.product, letter.origin), []).append(letter)
            for empty in sealed.empties:
                found.setdefault((sealed.product, empty.origin), []).append(empty)
        return found

    def outcome(self, product: str, offset: int, item: int = 0) -> object:
        """What one item came to."""
        (one,) = self.outcomes()[product, Origin("s", 0, offset, item)]
        return one.failure.code if isinstance(one, Letter) else one

    def at_rest(self) -> None:
        """Everything was given back."""
        core = self.lane.core
        assert self.lane.quiet
        assert (core.windows.used_bytes, core.tokens.used_bytes, self.lane.pack.spooled_bytes) == (0, 0, 0)
        assert not core.calls
        assert all(packer.spooled_rows == 0 for packer in self.packers.values())


def one_worker_shop(lane_settings: LaneSettings = SETTINGS) -> Shop:
    shop = Shop(lane_settings)
    shop.hire()
    return shop


def test_a_message_becomes_rows_in_every_product():
    shop = one_worker_shop()
    shop.admit(0, Media(segments=((1, 3),)))
    shop.run()
    assert (shop.outcome(ALPHA, 0), shop.outcome(BETA, 0)) == (1, 3)
    shop.at_rest()


def test_a_message_in_flight_is_not_admitted_again():
    shop = one_worker_shop()
    shop.admit(0, Media())
    shop.admit(0, Media())
    shop.run()
    assert shop.outcome(ALPHA, 0) == 1


def test_only_the_products_that_owe_an_outcome_get_one():
    shop = one_worker_shop()
    shop.admit(0, Media(), products=[BETA])
    shop.admit(1, Media(), products=[])
    shop.admit(2, Media(), products=["of-another-lane"])
    shop.run()
    assert {(product, origin.offset) for product, origin in shop.outcomes()} == {(BETA, 0)}


def test_a_mixed_message_ends_whole_with_an_outcome_for_every_item():
    shop = one_worker_shop()
    shop.admit(0, Media(), VoidReason.REMOVAL, MALFORMED, Media(ended=EmptyReason.NO_TOKENS), Media(ended=GONE))
    shop.run()
    for product in (ALPHA, BETA):
        assert shop.outcome(product, 0, 0) == 1
        assert shop.outcome(product, 0, 2) == "reference.malformed"
        assert isinstance(shop.outcome(product, 0, 3), Empty)
        assert shop.outcome(product, 0, 4) == "fetch.not_found"
        (sealed,) = [one for one in shop.sealed if one.product == product]
        assert sealed.voids == {VoidReason.REMOVAL: 1}
    shop.at_rest()


def test_a_message_without_a_reference_needs_no_worker():
    shop = Shop()
    shop.admit(0, VoidReason.TOMBSTONE)
    shop.admit(1, MALFORMED, VoidReason.TEST_EVENT)
    shop.lane.hole(LOG, 2, 40, [ALPHA, BETA])
    assert not shop.lane.quiet
    shop.commit()
    assert shop.lane.quiet
    assert {(s.product, s.covers[0].ranges) for s in shop.sealed} == {(ALPHA, ((0, 40),)), (BETA, ((0, 40),))}
    assert shop.outcome(ALPHA, 1) == "reference.malformed"
    assert sum(sum(sealed.voids.values()) for sealed in shop.sealed) == 2 * (1 + 1 + 38)


def test_letters_carry_the_message_and_how_often_it_was_tried():
    shop = one_worker_shop()
    shop.admit(0, Media(flaky=FOREVER))
    shop.run(rounds=20_000)
    (letter,) = shop.outcomes()[ALPHA, Origin("s", 0, 0, 0)]
    assert isinstance(letter, Letter)
    assert (letter.failure.code, letter.failure.stage, letter.attempts) == ("fetch.failed", "fetch", 6)
    assert (letter.key, letter.value, letter.topic, letter.uri) == (b"k", b"v", "t", "m1")


def test_a_transient_failure_is_tried_again_and_ends_in_rows():
    shop = one_worker_shop()
    shop.admit(0, Media(flaky=3))
    shop.admit(1, Media())
    shop.run()
    assert (shop.outcome(ALPHA, 0), shop.outcome(ALPHA, 1)) == (1, 1)
    shop.at_rest()


def test_segments_with_cursors_end_whole_and_windows_are_numbered_through():
    shop = one_worker_shop()
    shop.admit(0, Media(segments=((2, 0), (0, 3), (1, 0))), Media(segments=((1, 1), (0, 0))))
    shop.run()
    assert (shop.outcome(ALPHA, 0, 0), shop.outcome(BETA, 0, 0)) == (3, 3)
    assert (shop.outcome(ALPHA, 0, 1), shop.outcome(BETA, 0, 1)) == (1, 1)
    shop.at_rest()


def test_a_view_without_windows_is_empty_in_its_product_only():
    shop = one_worker_shop()
    shop.admit(0, Media(segments=((2, 0), (1, 0))))
    shop.run()
    assert shop.outcome(ALPHA, 0) == 3
    assert isinstance(shop.outcome(BETA, 0), Empty)
    shop.at_rest()


def test_segments_may_overtake_each_other():
    shop = Shop(replace(SETTINGS, batch_wait_s=0.0))
    for _ in range(8):
        shop.hire()
    shop.admit(0, Media(segments=((2, 1), (2, 1), (2, 1))))
    for _ in range(20):
        shop.act()
        prepares = [call for call, action in shop.pending.items() if isinstance(action, Prepare)]
        if not prepares:
            break
        shop.answer(prepares[0])
    tokenizes = [call for call, action in shop.pending.items() if isinstance(action, Tokenize)]
    assert len(tokenizes) >= 3
    for call in reversed(tokenizes):
        shop.answer(call)
    shop.run()
    assert (shop.outcome(ALPHA, 0), shop.outcome(BETA, 0)) == (6, 3)
    shop.at_rest()


def test_a_death_halves_the_batch_and_three_alone_make_a_letter_while_neighbours_get_rows():
    shop = one_worker_shop()
    for offset in range(4):
        shop.admit(offset, Media(kills=frozenset({PREPARE})) if offset == 2 else Media())
    shop.act()
    (first,) = shop.pending
    assert shop.answer(first) is Blame.HALVED
    blames: list[Blame | None] = []
    for _ in range(30):
        shop.act()
        while shop.pending:
            blames.append(shop.answer(min(shop.pending)))
        shop.now_s += 1
        shop.commit()
    assert Counter(blame for blame in blames if blame not in {None, Blame.NOBODY}) == {
        Blame.HALVED: 1,
        Blame.ALONE_AGAIN: 2,
        Blame.GUILTY: 1,
    }
    assert [shop.outcome(ALPHA, offset) for offset in range(4)] == [1, 1, "worker.killed", 1]
    assert shop.outcome(BETA, 2) == "worker.killed"
    shop.at_rest()


def test_deaths_are_counted_across_a_worker_that_leaves_blameless():
    shop = one_worker_shop()
    shop.admit(0, Media())
    seen: list[Blame | None] = []
    for how in (CallFailure.WORKER_DIED, CallFailure.WORKER_LEFT, CallFailure.WORKER_DIED, CallFailure.WORKER_DIED):
        shop.act()
        (call,) = shop.pending
        seen.append(shop.answer(call, how))
    assert seen == [Blame.ALONE_AGAIN, Blame.NOBODY, Blame.ALONE_AGAIN, Blame.GUILTY]


@pytest.mark.parametrize(("trait", "code"), [("kills", "worker.killed"), ("raises", "tokenize.failed")])
def test_a_bad_item_is_a_letter_in_the_product_whose_tokenizer_it_breaks_and_nowhere_else(trait: str, code: str):
    shop = one_worker_shop()
    for offset in range(6):
        shop.admit(offset, Media(**{trait: frozenset({BETA})}, segments=((1, 2),)) if offset == 3 else Media())
    shop.run()
    assert [shop.outcome(ALPHA, offset) for offset in range(6)] == [1] * 6
    assert [shop.outcome(BETA, offset) for offset in range(6)] == [1, 1, 1, code, 1, 1]
    shop.at_rest()


def test_a_prepare_that_raises_isolates_one_item():
    shop = one_worker_shop()
    for offset in range(4):
        shop.admit(offset, Media(raises=frozenset({PREPARE})) if offset == 1 else Media())
    shop.run()
    assert [shop.outcome(ALPHA, offset) for offset in range(4)] == [1, "tokenize.failed", 1, 1]
    shop.at_rest()


def test_windows_that_are_lost_are_prepared_again():
    shop = one_worker_shop()
    shop.admit(0, Media(segments=((1, 1), (1, 1))))
    shop.admit(1, Media())
    lost = 0
    for _ in range(40):
        shop.act()
        for call, action in list(shop.pending.items()):
            if isinstance(action, Tokenize) and lost < 3:
                lost += 1
                assert shop.answer(call, CallFailure.VALUE_LOST) is Blame.NOBODY
            else:
                shop.answer(call)
        shop.commit()
        shop.now_s += 1
    assert lost == 3
    assert [shop.outcome(product, offset) for product in (ALPHA, BETA) for offset in (0, 1)] == [2, 1, 2, 1]
    shop.at_rest()


def test_a_lost_packer_has_exactly_the_unsealed_done_again():
    shop = one_worker_shop()
    for offset in range(12):
        shop.admit(offset, Media())
    prepared = Counter[int]()
    unsealed, before = set[int](), Counter[int]()
    while not shop.lane.quiet:
        for action in shop.act():
            if isinstance(action, Prepare):
                prepared.update(lease.reference.origin.offset for lease in action.leases)
        for call in list(shop.pending):
            shop.answer(call)
        if unsealed or len(prepared) < 12:
            shop.commit()
        else:
            unsealed = {entry.message.origin.offset for entry in shop.lane.core.ledger.bound_to("packer-0")}
            assert 0 < len(unsealed) < 12
            before = Counter(prepared)
            shop.lose_packer("packer-0")
        shop.now_s += 0.3
    assert set((prepared - before).elements()) == unsealed
    assert all(shop.outcome(ALPHA, offset) == 1 for offset in range(12))
    shop.at_rest()


def test_what_the_lake_did_not_take_is_made_again_although_the_packer_has_sealed_it():
    shop = one_worker_shop()
    for offset in range(3):
        shop.admit(offset, Media(), VoidReason.REMOVAL)
    refused: set[str] = set()
    while not shop.lane.quiet:
        shop.act()
        for call in list(shop.pending):
            shop.answer(call)
        for sealed in shop.lane.take_sealed():
            if sealed.product in refused:
                shop.sealed.append(sealed)
                shop.lane.settled(sealed.product, sealed.covers)
            else:
                refused.add(sealed.product)
                shop.lane.redo(sealed.product, sealed.covers)
        shop.now_s += 0.3
        assert shop.now_s < 100
    assert refused == {ALPHA, BETA}
    assert [shop.outcome(BETA, offset) for offset in range(3)] == [1, 1, 1]
    shop.at_rest()


def test_what_is_revoked_is_dropped_and_forgotten_by_the_packers():
    shop = one_worker_shop()
    for offset in range(6):
        shop.admit(offset, Media())
        shop.admit(offset, Media(), log=OTHER)
    shop.admit(6, VoidReason.TOMBSTONE, log=OTHER)
    shop.run(until=lambda: sum(packer.spooled_rows for packer in shop.packers.values()) > 3)
    shop.lane.revoke([OTHER])
    had = len(shop.sealed)
    shop.run()
    after = {origin.partition for sealed in shop.sealed[had:] for origin in [_some_origin(shop, sealed)]}
    assert after <= {0}
    assert all(shop.outcome(BETA, offset) == 1 for offset in range(6))
    shop.at_rest()


def _some_origin(shop: Shop, sealed: Sealed) -> Origin:
    (log,) = {span.log for span in sealed.covers}
    return Origin(log.source_id, log.partition, 0, 0)


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


MEDIA = st.builds(
    Media,
    segments=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=3).map(tuple),
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
        assert len({lease.attempt for lease in leases}) == len(leases)
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
        shop.lane.draining = True
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
            bad = not isinstance(item, Media) or item.ended is GONE or item.flaky == FOREVER
            bad = bad or bool({PREPARE, product} & (item.kills | item.raises))
            assert bad or (one.failure.code == "worker.killed" and self.innocent_deaths)
        elif isinstance(one, Empty):
            assert isinstance(item, Media)
            assert item.ended is EmptyReason.NO_TOKENS or item.windows(VIEW_OF[product]) == 0
        else:
            assert isinstance(item, Media)
            assert one == item.windows(VIEW_OF[product])
            assert not {PREPARE, product} & (item.kills | item.raises)


LaneMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
test_anything_in_any_order_ends_with_one_outcome_an_item_and_product = LaneMachine.TestCase
