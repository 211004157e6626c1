"""A lane with workers and packers that answer when they are told to: what the lane's tests are made with."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from operators.records import MediaReference, Origin
from pipeline.flow.blame import Blame
from pipeline.flow.calls import Action, CallFailure, Forget, Item, Pack, Prepare, Seal, Tokenize
from pipeline.flow.core import LaneSettings
from pipeline.flow.failures import FailureSettings
from pipeline.flow.lane import Lane
from pipeline.flow.prepare_stage import PREPARE
from pipeline.records import Letter, Message, Sealed, Shard, SourcePartition, Wanted
from pipeline.simulate.media import PRODUCTS, TOKEN_BYTES, WINDOW_BYTES, Bench, Media, raised
from pipeline.simulate.packer import ShardRow, SimulatedPacker

ALPHA, BETA = (product.key for product in PRODUCTS)
VIEW_OF = {product.key: product.spec.view for product in PRODUCTS}
LOG = SourcePartition("s", 0)
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
    failures=FailureSettings(window_s=4.0, outage_most_s=60.0),
)


class Shop:
    """See the module.

    Attributes:
        pending: calls that have not been answered, by number.
        sealed: all that was taken for a commit.
    """

    def __init__(self, lane_settings: LaneSettings = SETTINGS, target_rows: int = 6) -> None:
        self.lane = Lane("image", VIEW_OF, PACKERS, lane_settings, random.Random(0), lambda: 0)  # noqa: S311
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
        """One worker more, for these stages or all; returns its name."""
        self._workers += 1
        name = f"worker-{self._workers}"
        self.lane.worker_ready(name, stages or (PREPARE, ALPHA, BETA))
        return name

    def admit(
        self,
        offset: int,
        *media: Media | Item,
        log: SourcePartition = LOG,
        products: Sequence[str] = (ALPHA, BETA),
        place: str = "",
        wanted: Wanted | None = None,
    ) -> list[str]:
        """One message with an item a `media`, which lies below `place`; returns the uris of its references."""
        origin = Origin(log.source_id, log.partition, offset, 0)
        items: list[Item] = []
        uris: list[str] = []
        for number, one in enumerate(media):
            if isinstance(one, Media):
                self._uris += 1
                uris.append(f"{place}m{self._uris}")
                self.media[uris[-1]] = one
                items.append(MediaReference(uris[-1], replace(origin, item=number)))
            else:
                items.append(one)
        self.lane.admit(Message(origin, "t", b"k", b"v"), items, products, self.now_s, wanted)
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
        """A packer dies with its spool and its calls; another one takes its name."""
        for call, action in list(self.pending.items()):
            if isinstance(action, Pack | Seal | Forget) and action.packer == packer:
                del self.pending[call]
        self.packers[packer] = self._packer()
        self.lane.packer_lost(packer)

    def commit(self) -> None:
        """Settle what is sealed, as a lake that takes everything."""
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
        """Assert that everything was given back."""
        core = self.lane.core
        assert self.lane.quiet
        assert (core.windows.used_bytes, core.tokens.used_bytes, self.lane.pack.spooled_bytes) == (0, 0, 0)
        assert not core.calls
        assert all(packer.spooled_rows == 0 for packer in self.packers.values())
