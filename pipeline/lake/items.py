"""Which items have rows in a shard: its origins, and what else is the same for all windows of an item."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyroaring import BitMap64

from operators.errors import ShardCorruptError
from pipeline.lake.gather import Offsets
from pipeline.lake.store import LakeStore
from pipeline.records import Shard, SourcePartition

ORIGIN = ("source_id", "partition", "offset", "item")

Place = tuple[SourcePartition, int]
"""A message: log and offset."""


def read_items(store: LakeStore, shard: Shard, columns: Sequence[str]) -> pa.Table:
    """Some columns of a shard, those of them that it has; a row an item: its first window's.

    Raises:
        ShardCorruptError: it is no IPC file.
    """
    with tempfile.TemporaryDirectory(prefix="mediatok-items-") as folder:
        local = Path(folder) / "shard.arrow"
        store.download(shard.path, local)
        try:
            with pa.memory_map(str(local)) as source:
                schema = pa.ipc.open_file(source).schema
                fields = [place for place, name in enumerate(schema.names) if name in {*columns, "window_index"}]
                batches = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=fields))
                firsts = [_firsts(batches.get_batch(place)) for place in range(batches.num_record_batches)]
        except pa.ArrowInvalid as error:
            raise ShardCorruptError(f"{store.uri}/{shard.path}: {error}") from error
    return pa.Table.from_batches(firsts)


def items_with_rows(store: LakeStore, shards: Iterable[Shard], messages: Offsets) -> dict[Place, set[int]]:
    """Of these messages, the items that have rows in these shards."""
    found = dict[Place, set[int]]()
    for shard in shards:
        table = read_items(store, shard, ORIGIN)
        rows = table.filter(pa.array(is_of(table, messages))).to_pylist()
        for row in cast("list[dict[str, Any]]", rows):
            place = (SourcePartition(row["source_id"], row["partition"]), row["offset"])
            found.setdefault(place, set()).add(row["item"])
    return found


def messages_of(table: pa.Table) -> dict[SourcePartition, BitMap64]:
    """The messages of these rows."""
    offsets = table.column("offset").to_numpy()
    return {log: BitMap64(np.unique(offsets[rows]).tolist()) for log, rows in _rows_by_log(table).items()}


def is_of(table: pa.Table, messages: Offsets) -> npt.NDArray[np.bool_]:
    """Which of these rows are of these messages, `[rows]`."""
    mask = np.zeros(len(table), np.bool_)
    offsets = table.column("offset").to_numpy()
    for log, rows in _rows_by_log(table).items():
        wanted = messages.get(log, BitMap64())
        mask[rows] = [offset in wanted for offset in offsets[rows].tolist()]
    return mask


def _firsts(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Copied, so that the file may go."""
    first = np.flatnonzero(batch.column("window_index").to_numpy() == 0)
    return batch.drop_columns(["window_index"]).take(pa.array(first))


def _rows_by_log(table: pa.Table) -> Mapping[SourcePartition, npt.NDArray[np.int64]]:
    if not len(table):
        return {}
    sources = table.column("source_id").combine_chunks().dictionary_encode()
    partitions = table.column("partition").to_numpy()
    codes = sources.indices.to_numpy()
    found = dict[SourcePartition, npt.NDArray[np.int64]]()
    for code, partition in np.unique(np.stack([codes, partitions], axis=1), axis=0).tolist():
        log = SourcePartition(sources.dictionary[code].as_py(), partition)
        found[log] = np.flatnonzero((codes == code) & (partitions == partition))
    return found
