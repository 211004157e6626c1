"""Which messages have open letters: by (product name, log) and the outcomes file that holds the letters."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pyroaring import BitMap64

from pipeline.flow.coverage import bitmap_of, bitmap_overlap
from pipeline.flow.ranges import Ranges, merged
from pipeline.records import Range, SourcePartition, Span

OpenLetters = dict[tuple[str, SourcePartition], dict[str, BitMap64]]
"""Offsets by (product name, log) and path; without empty entries."""


def open_ranges(letters: OpenLetters, name: str, span: Span, besides: Collection[str] = ()) -> Ranges:
    """Which of these messages have open letters in the products of this name, in other files than `besides`."""
    files = letters.get((name, span.log), {})
    opened = [offsets for path, offsets in files.items() if path not in besides]
    return merged(each for offsets in opened for each in bitmap_overlap(offsets, span.ranges))


def open_count(letters: OpenLetters, name: str, path: str) -> int:
    """How many messages have open letters in this file."""
    return sum(len(files[path]) for (owner, _), files in letters.items() if owner == name and path in files)


def open_in(letters: OpenLetters, name: str, path: str, span: Span) -> None:
    """The letters of these messages are open, in this file."""
    if offsets := bitmap_of(span.ranges):
        letters.setdefault((name, span.log), {})[path] = offsets


def close_in_all(letters: OpenLetters, name: str, log: SourcePartition, ranges: Sequence[Range]) -> None:
    """The letters of these messages are closed, whatever file they are in."""
    files, gone = letters.get((name, log), {}), bitmap_of(ranges)
    for path in [path for path, offsets in files.items() if not offsets.isdisjoint(gone)]:
        files[path] = files[path] - gone
        if not files[path]:
            del files[path]
    if not files:
        letters.pop((name, log), None)


def forget_file(letters: OpenLetters, name: str, path: str) -> dict[SourcePartition, BitMap64]:
    """The file is gone; returns the messages whose letters were open in it."""
    found = {log: files.pop(path) for (owner, log), files in letters.items() if owner == name and path in files}
    for log in found:
        if not letters[name, log]:
            del letters[name, log]
    return found
