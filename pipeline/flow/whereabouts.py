"""Where a message in flight is, for people: what its item that is furthest behind is doing, and what it waits for."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum

from operators.records import MediaReference, Origin
from pipeline.flow.calls import Pack, Prepare, Seal, Tokenize
from pipeline.flow.lane import Lane
from pipeline.flow.ledger import Entry
from pipeline.flow.packline import Parcel
from pipeline.flow.prepare_stage import PREPARE
from pipeline.records import Letter


class Doing(IntEnum):
    """From the first step to the last."""

    OUTAGE = 0
    BACKING_OFF = 1
    QUEUED = 2
    PREPARING = 3
    BATCHING = 4
    TOKENIZING = 5
    LETTER_HELD = 6
    TO_PACKER = 7
    IN_PACKER = 8
    SEALING = 9
    SEALED = 10

    @property
    def label(self) -> str:
        """As it is shown: "backing off"."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Of one item.

    Attributes:
        uri: "" where it is no reference.
        detail: where, with whom, how often already, and why.
    """

    origin: Origin
    uri: str
    doing: Doing
    detail: str


Found = tuple[int, Doing, str]
"""An attempt, what it does, and the details."""


def whereabouts(lane: Lane, entry: Entry, now_s: float) -> Whereabouts:
    """Of the item of a message in flight that is furthest behind. Looks through all queues: not for every round."""
    items = {attempt: item for item, attempt in enumerate(entry.attempts)}
    wanted = items.keys()
    found = (*_held_back(lane, wanted, now_s), *_in_calls(lane, wanted), *_queued(lane, wanted))
    behind = min(((doing, items[attempt], detail) for attempt, doing, detail in found), default=None)
    doing, item, detail = behind or _with_its_packer(lane, entry)
    known = entry.items[item]
    uri = known.uri if isinstance(known, MediaReference) else ""
    return Whereabouts(replace(entry.message.origin, item=item), uri, doing, detail)


def _with_its_packer(lane: Lane, entry: Entry) -> tuple[Doing, int, str]:
    if not entry.owed:
        return Doing.SEALED, 0, "awaits a commit"
    calls = (action for action, _ in lane.core.calls.values())
    if any(isinstance(action, Seal) and action.packer == entry.packer for action in calls):
        return Doing.SEALING, 0, f"{entry.packer} uploads a shard"
    return Doing.IN_PACKER, 0, f"{entry.packer}: for {', '.join(sorted(entry.owed))}, until the shard closes"


def _held_back(lane: Lane, wanted: Collection[int], now_s: float) -> Iterator[Found]:
    """What may not go yet."""
    ready = lane.prepare.ready
    for place, lease in ready.each_parked():
        if lease.attempt in wanted:
            outage = lane.outages.get(place)
            told = f"{place} is down for {now_s - outage.since_s:.0f} s: {outage.error}" if outage else place
            yield lease.attempt, Doing.OUTAGE, told
    for due_s, lease, why in ready.each_delayed():
        if lease.attempt in wanted:
            yield lease.attempt, Doing.BACKING_OFF, f"try {lease.tries + 1} in {max(0.0, due_s - now_s):.0f} s: {why}"
    for held in lane.core.failures.waiting:
        if isinstance(held, Parcel) and held.delivery.attempt in wanted and isinstance(held.delivery.ended, Letter):
            yield held.delivery.attempt, Doing.LETTER_HELD, held.delivery.ended.failure.message


def _in_calls(lane: Lane, wanted: Collection[int]) -> Iterator[Found]:
    """What an actor has."""
    for action, _ in lane.core.calls.values():
        match action:
            case Prepare(worker=worker, leases=leases):
                attempts, doing, where = [lease.attempt for lease in leases], Doing.PREPARING, f"at {worker}"
            case Tokenize(worker=worker, product=product, items=items):
                attempts, doing = [item.lease.attempt for item in items], Doing.TOKENIZING
                where = f"{product} at {worker}"
            case Pack(packer=packer, deliveries=deliveries):
                attempts, doing, where = [each.attempt for each in deliveries], Doing.TO_PACKER, packer
            case _:
                continue
        yield from ((attempt, doing, where) for attempt in attempts if attempt in wanted)


def _queued(lane: Lane, wanted: Collection[int]) -> Iterator[Found]:
    """What waits for an actor."""
    for lease in lane.prepare.ready.each_queued():
        if lease.attempt in wanted:
            yield lease.attempt, Doing.QUEUED, _why(lane, PREPARE)
    for product, batcher in lane.tokenize.batchers.items():
        for piece in batcher.pieces():
            for item in piece.items:
                if item.lease.attempt in wanted:
                    yield item.lease.attempt, Doing.BATCHING, f"{product}: {_why(lane, product)}"
    for packer, line in lane.pack.lines.items():
        for parcel in line.parcels():
            if parcel.delivery.attempt in wanted:
                yield parcel.delivery.attempt, Doing.TO_PACKER, packer


def _why(lane: Lane, stage: str) -> str:
    """Why a stage's next call has not been sent."""
    reason = lane.core.waits.get(stage)
    return reason.explanation if reason else "its turn has not come"
