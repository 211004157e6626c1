"""Sets of items by the million: a roaring bitmap of offsets for each log and place in the message."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap64

from operators.records import Origin
from pipeline.records import SourcePartition


class ItemSet:
    """Some items. Costs a few bits an item where offsets are dense."""

    def __init__(self, origins: Iterable[Origin] = ()) -> None:
        self._offsets = dict[tuple[SourcePartition, int], BitMap64]()
        found = dict[tuple[SourcePartition, int], list[int]]()
        for origin in origins:
            log = SourcePartition(origin.source_id, origin.partition)
            found.setdefault((log, origin.item), []).append(origin.offset)
        for place, offsets in found.items():
            self._offsets[place] = BitMap64(offsets)

    def add(self, log: SourcePartition, item: int, offsets: npt.NDArray[np.int64]) -> None:
        """The items at one place of these messages `[n]`."""
        # From an array of its own kind, pyroaring is ten times as fast as from numpy's.
        bitmap = BitMap64(array("Q", offsets.astype(np.uint64).tobytes()))
        here = self._offsets.get((log, item))
        self._offsets[log, item] = bitmap if here is None else here | bitmap

    def update(self, other: ItemSet) -> None:
        """Add all of another set."""
        for place, offsets in other._offsets.items():
            here = self._offsets.get(place)
            self._offsets[place] = offsets.copy() if here is None else here | offsets

    def __contains__(self, origin: Origin) -> bool:
        log = SourcePartition(origin.source_id, origin.partition)
        return origin.offset in self._offsets.get((log, origin.item), ())

    def __and__(self, other: ItemSet) -> ItemSet:
        both = ItemSet()
        for place, offsets in self._offsets.items():
            if place in other._offsets and (common := offsets & other._offsets[place]):
                both._offsets[place] = common
        return both

    def __len__(self) -> int:
        return sum(map(len, self._offsets.values()))

    def __iter__(self) -> Iterator[Origin]:
        for (log, item), offsets in self._offsets.items():
            for offset in offsets:
                yield Origin(log.source_id, log.partition, offset, item)

    def messages(self) -> dict[SourcePartition, BitMap64]:
        """The offsets of the messages that these items belong to, by log."""
        found = dict[SourcePartition, BitMap64]()
        for (log, _), offsets in self._offsets.items():
            found[log] = found[log] | offsets if log in found else offsets
        return found
