"""One `Sealed` on its way through a commit, losing the messages that the lake turns out to have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from operators.records import Origin, VoidReason
from pipeline.flow.ranges import Ranges, difference, intersection, size
from pipeline.lake.delta import OutcomeFile
from pipeline.lake.proposal import Reason
from pipeline.records import Empty, Letter, Sealed, Shard, SourcePartition, Span, ranges_of


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
            letters=tuple(letter for letter in self.left.letters if not _within(letter.origin, spans)),
            empties=tuple(empty for empty in self.left.empties if not _within(empty.origin, spans)),
            voids=_voids_left(self.left, covers),
            voided=tuple((reason, span) for reason, each in self.left.voided for span in _kept(each, covers)),
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
    taken = list(without)
    result = list[Span]()
    for span in spans:
        ranges = span.ranges
        for other in taken:
            if other.log == span.log:
                ranges = difference(ranges, other.ranges)
        if ranges:
            result.append(Span(span.log, ranges))
    return tuple(result)


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


def _within(origin: Origin, spans: Iterable[Span]) -> bool:
    log = _log_of(origin)
    here = ((origin.offset, origin.offset + 1),)
    return any(span.log == log and intersection(here, span.ranges) for span in spans)


def _log_of(origin: Origin) -> SourcePartition:
    return SourcePartition(origin.source_id, origin.partition)


def _kept(span: Span, covers: Iterable[Span]) -> tuple[Span, ...]:
    ranges: Ranges = ()
    for cover in covers:
        if cover.log == span.log:
            ranges = (*ranges, *intersection(span.ranges, cover.ranges))
    return (Span(span.log, tuple(sorted(ranges))),) if ranges else ()


def _voids_left(sealed: Sealed, covers: Sequence[Span]) -> dict[VoidReason, int]:
    """The void items in what is left of a part's messages."""
    if sealed.voided:
        counts = dict[VoidReason, int]()
        for reason, span in sealed.voided:
            counts[reason] = counts.get(reason, 0) + spans_size(_kept(span, covers))
        return {reason: count for reason, count in counts.items() if count}
    # Nobody said where they were. Where every message is one void item, as many go as messages do.
    left = spans_size(covers)
    if len(sealed.voids) == 1 and sum(sealed.voids.values()) == spans_size(sealed.covers):
        return dict.fromkeys(sealed.voids, left)
    return dict(sealed.voids)
