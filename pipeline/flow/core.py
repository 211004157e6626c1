"""What a lane's stages share: its limits, the ledger, the workers, the credits, the calls on their way."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from operators.records import Failure, MediaReference
from pipeline.flow.calls import Action, Block, Lease, Prepare, Tokenize
from pipeline.flow.credits import Credits
from pipeline.flow.failures import Failures, FailureSettings
from pipeline.flow.ledger import DirectKey, Entry, Ledger
from pipeline.flow.packline import Parcel
from pipeline.flow.waits import WaitReason
from pipeline.flow.workers import Workers
from pipeline.records import Letter, Message

PREPARE = "prepare"
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """A lane's limits.

    Attributes:
        prepare_batch: references a prepare call.
        tokenize_windows: windows a tokenize call.
        batch_wait_s: how long a tokenize batch may fill.
        lease_bytes: what one lease is expected to hold as windows, over all views.
        window_bytes: budget for windows between prepare and tokenize.
        token_bytes: budget for tokens between tokenize and pack.
        spool_bytes: what all packers together may hold on disk before they are told to seal.
        most_ready: leases waiting at which the source is paused; it goes on at a quarter of it.
        most_uncommitted: messages in flight at which the source is paused; it goes on at three quarters of it.
        seal_age_s: how long a packer may keep rows before it closes its shards.
        worker_slots: calls a worker has at once: one computes, the next one's arguments travel.
        most_tries: transient failures, not counting those of an outage, before an item becomes a letter.
        failures: how long letters are held, and when they stop the lane.
        padded: keys of products whose tokenizers pad a batch to its longest window.
    """

    prepare_batch: int = 32
    tokenize_windows: int = 64
    batch_wait_s: float = 0.05
    lease_bytes: int = 1 << 20
    window_bytes: int = 512 << 20
    token_bytes: int = 256 << 20
    spool_bytes: int = 4 << 30
    most_ready: int = 2048
    most_uncommitted: int = 50_000
    seal_age_s: float = 30.0
    worker_slots: int = 2
    most_tries: int = 6
    failures: FailureSettings = field(default_factory=FailureSettings)
    padded: frozenset[str] = frozenset()


class Core:
    """State that more than one stage touches.

    Attributes:
        calls: by number, the action on its way and the bytes reserved for what it will give.
        waits: by stage, why its next call has not been sent.
        long: calls of what is long, by worker and kind.
        fresh: prepare calls of what nobody had begun, by worker.
        preparing: prepare calls, by whether they go on with what is long.
        short_waits: whether anything short waited when the lane was last asked for actions.
        failures: how items ended of late; holds their letters.
        now_s: the lane's clock when it was last told.
    """

    def __init__(self, packers: Sequence[str], settings: LaneSettings, wall_ms: Callable[[], int]) -> None:
        self.settings = settings
        self.ledger = Ledger(packers, run_length=max(1, settings.most_ready // (4 * len(packers))))
        self.workers = Workers(settings.worker_slots)
        self.windows = Credits(settings.window_bytes)
        self.tokens = Credits(settings.token_bytes)
        self.calls: dict[int, tuple[Action, int]] = {}
        self.waits: dict[str, WaitReason] = {}
        self.long: Counter[tuple[str, type[Prepare | Tokenize]]] = Counter()
        self.fresh: Counter[str] = Counter()
        self.preparing: Counter[bool] = Counter()
        self.short_waits = False
        self.failures: Failures[Parcel | DirectKey] = Failures(settings.failures)
        self.now_s = 0.0
        self._numbers = itertools.count(1)
        self._wall_ms = wall_ms

    def next_call(self) -> int:
        """A call number, unique in this lane."""
        return next(self._numbers)

    def begin(self, action: Action, reserved_bytes: int = 0) -> Action:
        """The action is being sent: it takes a slot, and room for what it is expected to give."""
        self.calls[action.call] = (action, reserved_bytes)
        if isinstance(action, Prepare | Tokenize):
            self.workers.begin(action.worker, action.call)
            self._count(action, 1)
            self._room(action).take(reserved_bytes)
        return action

    def end(self, call: int) -> Action:
        """The call has been answered or has failed: its slot and its reservation come back."""
        action, reserved_bytes = self.calls.pop(call)
        if isinstance(action, Prepare | Tokenize):
            self.workers.end(call)
            self._count(action, -1)
            self._room(action).give(reserved_bytes)
        return action

    def _count(self, action: Prepare | Tokenize, by: int) -> None:
        if action.is_long:
            _add(self.long, (action.worker, type(action)), by)
        elif isinstance(action, Prepare):
            _add(self.fresh, action.worker, by)
        if isinstance(action, Prepare):
            self.preparing[action.is_long] += by

    def may_prepare_long(self, worker: str) -> bool:
        """Whether a worker may have a call that goes on with what is long: one at a time, no two while what is short
        waits, and none before it has begun with the tokens of what it prepares.
        """
        busy = self.long[worker, Prepare] or (self.short_waits and self.long[worker, Tokenize])
        return not busy and not self.expects_short(worker)

    def may_tokenize_long(self, worker: str) -> bool:
        """Likewise. A worker that only tokenizes fills its slots while nothing short waits."""
        if self.workers.serves(worker, PREPARE):
            busy = self.long[worker, Tokenize] or (self.short_waits and self.long[worker, Prepare])
            return not busy and not self.expects_short(worker)
        return not (self.short_waits and self.long[worker, Tokenize])

    def expects_short(self, worker: str) -> bool:
        """Whether what a worker prepares may be short, and it will tokenize it: a long call now would be between."""
        return self.fresh[worker] > 0 and self.workers.is_fused(worker)

    def _room(self, action: Prepare | Tokenize) -> Credits:
        return self.windows if isinstance(action, Prepare) else self.tokens

    def stage_wait(self, stage: str) -> WaitReason:
        """Why no worker takes a call of this stage now."""
        return WaitReason.NO_SLOT if self.workers.ready(stage) else WaitReason.NO_WORKER_READY

    def renew(self, entry: Entry, lease: Lease, *, tries: int = 0, deaths: int = 0) -> Lease:
        """The item from its start under a new attempt; whatever older ones still bring is stale."""
        attempt = self.ledger.next_attempt(entry, lease.reference.origin.item)
        return replace(lease, attempt=attempt, cursor=None, facts=None, tries=tries, deaths=deaths)

    def letter(self, message: Message, product: str, item: int, uri: str, failure: Failure, attempts: int) -> Letter:
        """An item's dead letter in one product."""
        return Letter(
            product=product,
            origin=replace(message.origin, item=item),
            uri=uri,
            failure=failure,
            topic=message.topic,
            key=message.key,
            value=message.value,
            headers=message.headers,
            attempts=attempts,
            at_ms=self._wall_ms(),
        )


def release(block: Block, room: Credits) -> None:
    """One reader less; with the last one the block's memory goes and its bytes come back."""
    block.readers -= 1
    if block.readers == 0:
        block.handle = None
        room.give(block.size_bytes)


def placeholder(entry: Entry, item: int) -> MediaReference:
    """Stands for an item that never was a reference (void, malformed) where a delivery needs one."""
    return MediaReference(uri="", origin=replace(entry.message.origin, item=item))


def _add(counter: Counter[K], key: K, by: int) -> None:
    """And forget what is 0: workers come and go."""
    counter[key] += by
    if not counter[key]:
        del counter[key]
