"""Messages whose parts lie in several files: when has the last part been read. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyroaring import BitMap64

from pipeline.records import SourcePartition

Offsets = Mapping[SourcePartition, BitMap64]
"""Messages, by log."""


def last_of(files: Sequence[Offsets]) -> list[dict[SourcePartition, BitMap64]]:
    """Of each file, read in this order, the messages that no later one has.

    Args:
        files: the messages that each one has.
    """
    later = dict[SourcePartition, BitMap64]()
    found = list[dict[SourcePartition, BitMap64]]()
    for offsets in reversed(files):
        found.append({log: some - later.get(log, BitMap64()) for log, some in offsets.items()})
        for log, some in offsets.items():
            later[log] = later.get(log, BitMap64()) | some
    return found[::-1]


def all_of(files: Sequence[Offsets]) -> dict[SourcePartition, BitMap64]:
    """The messages that any of them has."""
    found = dict[SourcePartition, BitMap64]()
    for offsets in files:
        for log, some in offsets.items():
            found[log] = found.get(log, BitMap64()) | some
    return found
