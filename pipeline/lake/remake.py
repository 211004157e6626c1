"""What a product's predecessors have rows of, as work: each message once, as its rows tell of it.

Two passes over the predecessors' shards. The first reads only origins: which messages there are to make anew, and which
shard has the last of each. The second reads shard by shard, and gives a message when its last shard has been read.

A row does not say everything that its message said. A message is left as it is, and counted, where one of its items
came inline (its content is not in the lake) or meant a range of its object (which range is not in the lake).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyroaring import BitMap64

from operators.pack.schema import doc_id, doc_json
from operators.records import MediaReference, Modality, Origin
from pipeline.flow.coverage import bitmap_of, bitmap_ranges
from pipeline.flow.ranges import difference
from pipeline.lake.gather import all_of, last_of
from pipeline.lake.items import ORIGIN, Place, is_of, messages_of, read_items
from pipeline.lake.outcomes import read_outcomes
from pipeline.lake.remade import remade_message
from pipeline.lake.state import LakeState
from pipeline.lake.store import LakeStore
from pipeline.records import Shard, SourcePartition, Span, Task

_TOLD = ("uri", "version", "sha256", "doc_id", "modality", "attributes")
_OWN = {"text": "caption", "licence": "licence", "subject_key": "subject_key"}
"""Columns that attributes have of their own, where a product has them."""
_AT_ONCE = 1024
_WITHOUT_VERSIONS = ("http", "https")
"""Schemes under which content that was fetched may have no version."""


class Untold(StrEnum):
    """Why the lake's rows are not enough to make a message anew."""

    INLINE = "inline"
    """Its content came with the message, or lies where nothing may be fetched any more."""
    RANGE = "range"
    """It means a part of its object."""


class Remake:
    """The tasks of a re-tokenization. Memory: one shard's rows without tokens, bitmaps, messages in several shards.

    Args:
        store: of the lake.
        state: of the lake; what is committed later is not seen (the commit sees it).
        product: key of the one that is to have what its predecessors cover; open, or about to be opened.
        name: of that product.
        source: key of the one predecessor whose messages are wanted; None: all.
        schemes: what may be fetched.

    Attributes:
        predecessors: keys, the newest first.
        untold: how many messages were left as they are so far.

    Raises:
        StoreUnavailableError, ShardCorruptError: the origins of a shard can't be read.
    """

    def __init__(
        self,
        store: LakeStore,
        state: LakeState,
        product: str,
        name: str,
        source: str | None,
        schemes: Collection[str],
    ) -> None:
        self._store, self._state = store, state
        self._product, self._name = product, name
        self._schemes = frozenset(schemes)
        self.untold = Counter[Untold]()
        former = [each for key, each in state.products.items() if each.product.name == name and key != product]
        former.sort(key=lambda each: each.opened_at, reverse=True)
        self.predecessors = tuple(each.product.key for each in former)
        shards = [shard for key in self.predecessors if source in {None, key} for shard in state.shards[key].values()]
        owed = [(shard, places) for shard in shards if any((places := self._owed(shard)).values())]
        self._shards = [shard for shard, _ in owed]
        self._places = [places for _, places in owed]
        self._last = last_of(self._places)
        self.messages = all_of(self._places)
        self._done = self._with_letters()
        self._left = {log: len(offsets) for log, offsets in self.messages.items()}
        self._begun = dict[Place, dict[int, MediaReference | Untold]]()
        self._at = -1
        self._rows: pa.Table | None = None
        self._starts: npt.NDArray[np.int64] = np.zeros(1, np.int64)

    @property
    def left(self) -> Mapping[SourcePartition, int]:
        """Messages that have not been given yet, by log."""
        return self._left

    def next(self) -> Sequence[Task] | None:
        """Some tasks; None where there are no more.

        Raises:
            StoreUnavailableError: nothing was given; call again.
            ShardCorruptError: a live file is not what was written.
        """
        if self._rows is None or len(self._starts) == 1:
            if self._at + 1 == len(self._shards):
                return None
            self._open(self._at + 1)
        assert self._rows is not None
        some = self._starts[: _AT_ONCE + 1]
        rows = cast("list[dict[str, Any]]", self._rows.slice(int(some[0]), int(some[-1] - some[0])).to_pylist())
        self._starts = self._starts[len(some) - 1 :]
        places = dict.fromkeys(self._note(row) for row in rows)
        ready = [(log, offset) for log, offset in places if offset in self._last[self._at][log]]
        return [task for place in ready if (task := self._task(place)) is not None]

    def _open(self, number: int) -> None:
        """Read the rows of the next shard that are wanted, sorted by message."""
        table = read_items(self._store, self._shards[number], (*ORIGIN, *_TOLD, *_OWN))
        table = table.filter(pa.array(is_of(table, self._places[number])))
        rows = table.sort_by([(name, "ascending") for name in ORIGIN])
        offsets = rows.column("offset").to_numpy()
        keys = [rows.column(name) for name in ("source_id", "partition")]
        changes = offsets[1:] != offsets[:-1]
        for column in keys:
            codes = column.combine_chunks().dictionary_encode().indices.to_numpy() if len(rows) else offsets
            changes |= codes[1:] != codes[:-1]
        inner = np.flatnonzero(changes) + 1
        self._starts = np.concatenate([[0], inner, [len(rows)]]) if len(rows) else np.zeros(1, np.int64)
        self._rows, self._at = rows, number

    def _note(self, row: Mapping[str, Any]) -> Place:
        place = (SourcePartition(row["source_id"], row["partition"]), row["offset"])
        # Newer products come first: what an older one has of the same item is out of date.
        self._begun.setdefault(place, {}).setdefault(row["item"], self._reference(row))
        return place

    def _task(self, place: Place) -> Task | None:
        log, offset = place
        self._left[log] -= 1
        items = {item: told for item, told in self._begun.pop(place).items() if item not in self._done.get(place, ())}
        untold = next((told for told in items.values() if isinstance(told, Untold)), None)
        if untold is not None:
            self.untold[untold] += 1
            return None
        references = {item: told for item, told in items.items() if isinstance(told, MediaReference)}
        if not references:
            return None
        origin = Origin(log.source_id, log.partition, offset, 0)
        message = remade_message(origin, log.source_id, references)
        return Task(message, (self._product,), {self._product: dict.fromkeys(references, 0)})

    def _reference(self, row: Mapping[str, Any]) -> MediaReference | Untold:
        scheme = row["uri"].partition("://")[0] if "://" in row["uri"] else ""
        if scheme not in self._schemes or (not row["version"] and scheme not in _WITHOUT_VERSIONS):
            return Untold.INLINE
        if doc_id(doc_json(row["uri"], row["version"] or row["sha256"], "")) != row["doc_id"]:
            return Untold.RANGE
        attributes = cast("dict[str, Any]", json.loads(row["attributes"]))
        attributes |= {name: row[column] for column, name in _OWN.items() if row.get(column) is not None}
        return MediaReference(
            uri=row["uri"],
            origin=Origin(*(row[name] for name in ORIGIN)),
            modality=Modality(row["modality"]),
            version=row["version"] or None,
            attributes=attributes,
        )

    def _owed(self, shard: Shard) -> dict[SourcePartition, BitMap64]:
        """The messages of a predecessor's shard that are to be made anew from it."""
        key = shard.product
        newer = (self._product, *self.predecessors[: self.predecessors.index(key)])
        owed = dict[SourcePartition, BitMap64]()
        for log, offsets in messages_of(read_items(self._store, shard, ORIGIN)).items():
            ranges = bitmap_ranges(offsets)
            for each in newer:
                ranges = difference(ranges, self._state.own_overlap(each, Span(log, ranges)))
            owed[log] = bitmap_of(ranges)
        return owed

    def _with_letters(self) -> dict[Place, set[int]]:
        """Items of these messages with open letters: a replay makes those, even where an old product has rows."""
        opened = {log: files for (name, log), files in self._state.letters.items() if name == self._name}
        wanted = {
            path
            for log, files in opened.items()
            for path, offsets in files.items()
            if not offsets.isdisjoint(self.messages.get(log, BitMap64()))
        }
        found = dict[Place, set[int]]()
        for path in wanted:
            for letter in read_outcomes(self._store.read(path))[0]:
                log = SourcePartition(letter.origin.source_id, letter.origin.partition)
                if letter.origin.offset in opened.get(log, {}).get(path, ()):
                    found.setdefault((log, letter.origin.offset), set()).add(letter.origin.item)
        return found
