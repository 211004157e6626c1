"""From rows scattered over a spool to a stream of finished batches in shard order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.pack.rows import finished_rows
from operators.pack.spool import Spool

_STREAM_BYTES = 4 << 20
"""About so many bytes of rows are in memory at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class PlacedRows:
    """R rows in the order in which they are to lie, and where they are now. All arrays `[R]`.

    Attributes:
        slots, rows: where each lies in the spool.
        sizes: of each in bytes, roughly.
        window_index, window_count: its place in its item.
    """

    slots: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    window_index: npt.NDArray[np.int32]
    window_count: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return int(self.slots.shape[0])

    def __getitem__(self, part: slice) -> PlacedRows:
        return PlacedRows(
            self.slots[part], self.rows[part], self.sizes[part], self.window_index[part], self.window_count[part]
        )

    @staticmethod
    def of_items(items: Sequence[Sequence[tuple[int, int, int]]]) -> PlacedRows:
        """Rows of whole items in order, each as (slot, row, size_bytes)."""
        flat = np.fromiter(chain.from_iterable(chain.from_iterable(items)), np.int64).reshape(-1, 3)
        counts = np.fromiter((len(item) for item in items), np.int32, len(items))
        firsts = np.repeat(np.cumsum(counts) - counts, counts)
        index = (np.arange(len(flat)) - firsts).astype(np.int32)
        return PlacedRows(flat[:, 0], flat[:, 1], flat[:, 2], index, np.repeat(counts, counts))

    def split(self, target_bytes: int) -> tuple[PlacedRows, ...]:
        """Parts of about equal size, each of at least `target_bytes` and less than twice that.

        One part alone may be smaller: that is all there is. None where there are no rows.
        """
        if not len(self):
            return ()
        ends = np.cumsum(self.sizes)
        parts = max(1, int(ends[-1]) // target_bytes)
        return self._cut_at(np.searchsorted(ends, ends[-1] / parts * np.arange(1, parts)) + 1)

    def stream(self, spool: Spool, schema: pa.Schema, dt: str) -> Iterator[pa.RecordBatch]:
        """At least one row as finished batches of a few MiB, read from the spool as they are wanted."""
        ends = np.cumsum(self.sizes)
        marks = np.arange(_STREAM_BYTES, int(ends[-1]), _STREAM_BYTES)
        for part in self._cut_at(np.searchsorted(ends, marks) + 1):
            batch = _gather(spool, part.slots, part.rows)
            yield finished_rows(schema, batch, part.window_index, part.window_count, dt)

    def release(self, spool: Spool) -> None:
        """Let go of all these rows."""
        slots, counts = np.unique(self.slots, return_counts=True)
        for slot, count in zip(slots.tolist(), counts.tolist(), strict=True):
            spool.release(slot, count)

    def _cut_at(self, cuts: npt.NDArray[np.int64]) -> tuple[PlacedRows, ...]:
        bounds = np.unique(np.concatenate([[0], cuts, [len(self)]])).tolist()
        return tuple(self[begin:end] for begin, end in pairwise(bounds))


def _gather(spool: Spool, slots: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """Rows of many slots in the order asked for: each slot is read once."""
    order = np.argsort(slots, kind="stable")
    firsts = np.flatnonzero(np.diff(slots[order], prepend=-1))
    bounds = [*firsts.tolist(), len(slots)]
    parts = [_pick(spool.read(int(slots[order[begin]])), rows[order[begin:end]]) for begin, end in pairwise(bounds)]
    batch = pa.concat_batches(parts)
    if np.all(order[:-1] < order[1:]):
        return batch
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return batch.take(pa.array(place))


def _pick(batch: pa.RecordBatch, rows: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """Rows of a batch; where they lie side by side without a copy."""
    if np.all(np.diff(rows) == 1):
        return batch.slice(int(rows[0]), len(rows))
    return batch.take(pa.array(rows))
