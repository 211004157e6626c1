"""Sets of offsets as sorted, disjoint, non-adjacent half-open ranges: what deltas, spans and reports are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.records import Range

Ranges = tuple[Range, ...]


def merged(ranges: Iterable[Range]) -> Ranges:
    """Ranges in any order, overlapping or not, empty ones too -> sorted, disjoint, non-adjacent."""
    result = list[Range]()
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((start, end))
    return tuple(result)


def intersection(left: Sequence[Range], right: Sequence[Range]) -> Ranges:
    """What is in both; each argument sorted and disjoint."""
    result = list[Range]()
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if start < end:
            result.append((start, end))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return merged(result)


def difference(left: Sequence[Range], right: Sequence[Range]) -> Ranges:
    """What is in `left` and not in `right`; each sorted and disjoint."""
    result = list[Range]()
    j = 0
    for start, end in left:
        while j < len(right) and right[j][1] <= start:
            j += 1
        at, k = start, j
        while at < end and k < len(right) and right[k][0] < end:
            if at < right[k][0]:
                result.append((at, right[k][0]))
            at = max(at, right[k][1])
            k += 1
        if at < end:
            result.append((at, end))
    return merged(result)


def size(ranges: Iterable[Range]) -> int:
    """How many offsets these are."""
    return sum(end - start for start, end in ranges)
