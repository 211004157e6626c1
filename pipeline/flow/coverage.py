"""Which messages of one log are done in one product: a watermark, and a roaring bitmap of what lies beside it."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pyroaring import BitMap64

from operators.errors import InvariantError
from pipeline.flow.ranges import Ranges, difference, intersection, merged
from pipeline.records import Range, SourcePartition, Span

_HEADER = struct.Struct("<qq")
_MANY_RANGES = 64
"""From here on it is cheaper to make a bitmap of the ranges than to look each one up."""
_MANY_MEMBERS = 1 << 21
"""Up to here it is cheaper to list the members than to walk from run to run."""


def bitmap_end_of_run(bitmap: BitMap64, at: int) -> int:
    """The first offset >= `at` that is not in the bitmap: by doubling, then halving, a step."""
    if at not in bitmap:
        return at
    low, step = at + 1, 1
    while _has_all(bitmap, low, low + step):
        low += step
        step *= 2
    high = low + step  # something in [low, high) is missing, everything below low is there
    while low < high:
        middle = (low + high) // 2
        if _has_all(bitmap, low, middle + 1):
            low = middle + 1
        else:
            high = middle
    return low


def _has_all(bitmap: BitMap64, start: int, end: int) -> bool:
    """Whether all of [start, end) is there.

    `contains_range` would be the name for it, but says so too where the range ends in a container (of 65,536) that is
    not there while a later one is [pyroaring 1.2.0]: an offset would count as covered that nobody ever saw.
    """
    return bitmap.range_cardinality(start, end) == end - start


def bitmap_next(bitmap: BitMap64, at: int) -> int | None:
    """The least member >= `at`; None where there is none."""
    try:
        return bitmap.next_set_bit(at)
    except ValueError:
        return None


def bitmap_overlap(bitmap: BitMap64, ranges: Sequence[Range]) -> Ranges:
    """What of these ranges is in the bitmap, without a step for each offset."""
    if len(ranges) > _MANY_RANGES:
        return bitmap_ranges(bitmap & bitmap_of(ranges))
    found = list[Range]()
    for start, end in ranges:
        at = bitmap_next(bitmap, start)
        while at is not None and at < end:
            stop = min(bitmap_end_of_run(bitmap, at), end)
            found.append((at, stop))
            at = bitmap_next(bitmap, stop)
    return merged(found)


def bitmap_ranges(bitmap: BitMap64) -> Ranges:
    """The whole bitmap as ranges."""
    if not bitmap:
        return ()
    if len(bitmap) > _MANY_MEMBERS:
        return bitmap_overlap(bitmap, ((bitmap.min(), bitmap.max() + 1),))
    members = np.frombuffer(bitmap.to_array(), np.uint64)
    ends = np.flatnonzero(np.diff(members) != 1)
    firsts, lasts = members[np.append(0, ends + 1)], members[np.append(ends, -1)]
    return tuple(zip(firsts.tolist(), (lasts + 1).tolist(), strict=True))


def bitmap_bytes(bitmap: BitMap64) -> bytes:
    """The portable serialization (RoaringFormatSpec, 64-bit extension), equal for equal sets.

    Roaring itself keeps whatever container history led to, so the set is built anew, ascending, run by run.
    """
    canonical = bitmap_of(bitmap_ranges(bitmap))
    canonical.run_optimize()
    return canonical.serialize()


def bitmap_of(ranges: Iterable[Range]) -> BitMap64:
    """These ranges as a bitmap."""
    bitmap = BitMap64()
    for start, end in ranges:
        bitmap.add_range(start, end)
    return bitmap


def bitmap_read(data: bytes) -> BitMap64:
    """Back from `bitmap_bytes`.

    Raises:
        InvariantError: these are not its bytes.
    """
    try:
        return BitMap64.deserialize(data)
    except (ValueError, IndexError) as error:
        raise InvariantError(f"not a roaring bitmap: {error}") from error


@dataclass(slots=True)
class Coverage:
    """The covered offsets of one (product, log). Canonical: equal sets (of equal start) have equal bytes.

    Attributes:
        start: the `from`; nothing below it is owed, though catch-up may cover it.
        watermark: every offset in [start, watermark) is covered and `watermark` itself is not.
        aside: the covered offsets outside of [start, watermark).
    """

    start: int
    watermark: int
    aside: BitMap64

    @staticmethod
    def starting_at(offset: int) -> Coverage:
        """Nothing covered; owed from `offset` on."""
        return Coverage(offset, offset, BitMap64())

    def add(self, ranges: Iterable[Range]) -> None:
        """Cover these too; what is covered already stays so. Costs a few steps a range, not a step an offset."""
        for start, end in ranges:
            if start < 0:
                raise InvariantError(f"offset {start} is negative")
            below = min(end, self.start)
            if start < below:
                self.aside.add_range(start, below)
            above = max(start, self.watermark)
            if above >= end:
                continue
            if above > self.watermark:
                self.aside.add_range(above, end)
                continue
            self.aside.remove_range(self.watermark, end)
            self.watermark = end
            reached = bitmap_end_of_run(self.aside, end)
            if reached > end:
                self.aside.remove_range(end, reached)
                self.watermark = reached

    def covers(self, offset: int) -> bool:
        """Whether this message is done."""
        return self.start <= offset < self.watermark or offset in self.aside

    def overlap(self, ranges: Sequence[Range]) -> Ranges:
        """What of these (sorted, disjoint) ranges is covered."""
        done = intersection(ranges, ((self.start, self.watermark),)) if self.watermark > self.start else ()
        return merged((*done, *bitmap_overlap(self.aside, ranges)))

    def missing(self, ranges: Sequence[Range]) -> Ranges:
        """What of these (sorted, disjoint) ranges is not covered."""
        return difference(ranges, self.overlap(ranges))

    def next_uncovered(self, at_least: int) -> int:
        """The least offset >= `at_least` that is not covered."""
        at = at_least
        while True:
            after = self.watermark if self.start <= at < self.watermark else bitmap_end_of_run(self.aside, at)
            if after == at:
                return at
            at = after

    def span(self, log: SourcePartition) -> Span:
        """Everything that is covered."""
        return Span(log, merged(((self.start, self.watermark), *bitmap_ranges(self.aside))))

    def count(self) -> int:
        """How many messages are covered."""
        return self.watermark - self.start + len(self.aside)

    def copy(self) -> Coverage:
        """One that can go its own way."""
        return Coverage(self.start, self.watermark, self.aside.copy())

    def serialize(self) -> bytes:
        """`start` and `watermark` as little-endian int64, then `aside` as `bitmap_bytes`."""
        return _HEADER.pack(self.start, self.watermark) + bitmap_bytes(self.aside)

    @staticmethod
    def deserialize(data: bytes) -> Coverage:
        """Back from `serialize`.

        Raises:
            InvariantError: these are not its bytes.
        """
        try:
            start, watermark = _HEADER.unpack_from(data)
        except struct.error as error:
            raise InvariantError(f"not a coverage: {error}") from error
        return Coverage(start, watermark, bitmap_read(data[_HEADER.size :]))
