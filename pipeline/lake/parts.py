"""One `Sealed` on its way through a commit, losing the messages that the lake turns out to have."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from operators.records import Origin, VoidReason
from pipeline.flow.ranges import Ranges, difference, intersection, merged, size
from pipeline.lake.delta import OutcomeFile
from pipeline.lake.proposal import Reason
from pipeline.records import Empty, Letter, Range, Sealed, Shard, SourcePartition, Span, ranges_of

Outcome = TypeVar("Outcome", Letter, Empty)


@dataclass(slots=True)
class Part:
    """A `Sealed` as proposed, and what is left of it.

    Attributes:
        left: what is still to be committed.
        reason: why anything was taken away, else NEW.
        refused: nothing of it may be committed.
        obeys: the log's version up to which predicates have been heeded.
    """

    sealed: Sealed
    left: Sealed
    reason: Reason = Reason.NEW
    refused: bool = False
    obeys: int = 0

    def refuse(self, reason: Reason) -> None:
        """Take everything away."""
        self.refused, self.reason = True, reason
        self.left = Sealed(self.sealed.product, kind=self.sealed.kind)

    def drop(self, spans: Sequence[Span], reason: Reason) -> tuple[Shard, ...]:
        """Take some messages away; returns the shards whose rows are now to be filtered.

        Where nothing is left of the part, its shards go with it and none needs filtering.
        """
        if self.reason is Reason.NEW:
            self.reason = reason
        covers = spans_difference(self.left.covers, spans)
        if not covers:
            self.left = Sealed(self.sealed.product, kind=self.sealed.kind)
            return ()
        self.left = replace(
            self.left,
            covers=covers,
            letters=tuple(_outside(self.left.letters, spans)),
            empties=tuple(_outside(self.left.empties, spans)),
            voids=_voids_left(self.left, covers),
            voided=tuple(_kept(self.left.voided, covers)),
        )
        return self.left.shards

    def take_down(self, items: frozenset[Origin]) -> None:
        """These items are void from now on: their rows are gone, their letters and empties go."""
        left = self.left
        voided = list(left.voided)
        by_item: dict[tuple[SourcePartition, int], list[int]] = {}
        for origin in items:
            by_item.setdefault((_log_of(origin), origin.item), []).append(origin.offset)
        for (log, _), offsets in sorted(by_item.items()):
            voided.append((VoidReason.TAKEN_DOWN, Span(log, ranges_of(offsets))))
        self.left = replace(
            left,
            letters=tuple(letter for letter in left.letters if letter.origin not in items),
            empties=tuple(empty for empty in left.empties if empty.origin not in items),
            voids=dict(Counter(left.voids) + Counter({VoidReason.TAKEN_DOWN: len(items)})),
            voided=tuple(voided),
        )

    def replace_shard(self, old: Shard, new: Shard | None) -> None:
        """Put a filtered shard in the old one's place, or nothing."""
        pairs = ((shard, new if shard == old else shard) for shard in self.left.shards)
        self.left = replace(self.left, shards=tuple(shard for _, shard in pairs if shard is not None))


def spans_difference(spans: Iterable[Span], without: Iterable[Span]) -> tuple[Span, ...]:
    """`spans` less `without`; those with nothing left are gone."""
    taken = _by_log(without)
    result = list[Span]()
    for span in spans:
        ranges = difference(span.ranges, taken.get(span.log, ()))
        if ranges:
            result.append(Span(span.log, ranges))
    return tuple(result)


def _by_log(spans: Iterable[Span]) -> dict[SourcePartition, Ranges]:
    """All of them, so that ten thousand logs cost ten thousand steps and not their square."""
    found = dict[SourcePartition, list[Range]]()
    for span in spans:
        found.setdefault(span.log, []).extend(span.ranges)
    return {log: merged(ranges) for log, ranges in found.items()}


def spans_size(spans: Iterable[Span]) -> int:
    """How many messages these are."""
    return sum(size(span.ranges) for span in spans)


def outcome_file(product: str, path: str, letters: Sequence[Letter], empties: Sequence[Empty]) -> OutcomeFile:
    """What a delta says of a file with these letters and empties."""
    offsets = dict[SourcePartition, list[int]]()
    for letter in letters:
        log = SourcePartition(letter.origin.source_id, letter.origin.partition)
        offsets.setdefault(log, []).append(letter.origin.offset)
    spans = tuple(Span(log, ranges_of(offsets[log])) for log in sorted(offsets))
    return OutcomeFile(product, path, len(letters), len(empties), spans)


def _outside(outcomes: Iterable[Outcome], spans: Iterable[Span]) -> Iterator[Outcome]:
    """Those whose messages are not among these."""
    gone = _by_log(spans)
    starts = {log: [start for start, _ in ranges] for log, ranges in gone.items()}
    for outcome in outcomes:
        log, offset = _log_of(outcome.origin), outcome.origin.offset
        place = bisect_right(starts.get(log, ()), offset) - 1
        if place < 0 or offset >= gone[log][place][1]:
            yield outcome


def _log_of(origin: Origin) -> SourcePartition:
    return SourcePartition(origin.source_id, origin.partition)


def _kept(voided: Iterable[tuple[VoidReason, Span]], covers: Iterable[Span]) -> Iterator[tuple[VoidReason, Span]]:
    """What of these lies in messages that are left."""
    left = _by_log(covers)
    for reason, span in voided:
        if ranges := intersection(span.ranges, left.get(span.log, ())):
            yield reason, Span(span.log, ranges)


def _voids_left(sealed: Sealed, covers: Sequence[Span]) -> dict[VoidReason, int]:
    """The void items in what is left of a part's messages."""
    if sealed.voided:
        counts = dict[VoidReason, int]()
        for reason, span in _kept(sealed.voided, covers):
            counts[reason] = counts.get(reason, 0) + span.count
        return counts
    # Nobody said where they were. Where every message is one void item, as many go as messages do.
    left = spans_size(covers)
    if len(sealed.voids) == 1 and sum(sealed.voids.values()) == spans_size(sealed.covers):
        return dict.fromkeys(sealed.voids, left)
    return dict(sealed.voids)
