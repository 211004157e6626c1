"""Shards: Arrow IPC files of about-1-MiB record batches, and the sidecar that makes a row one ranged read away.

The sidecar is JSON without spaces, keys sorted:

    {"batches": [[offset, length, rows, crc32c], ...],   each record batch's encapsulated message in the file
     "footer": [offset, length],                         the footer's flatbuffer
     "format": 1,
     "rows": R, "sha256": "<hex of the file>",
     "schema": [offset, length],                         the schema's encapsulated message
     "size_bytes": S, "tokens": T}

Batches are not compressed: token codes hardly shrink, and a random row would cost forty times as much. The same rows in
the same order give the same bytes, however they were batched.
"""

from __future__ import annotations

import json
import mmap
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.errors import InvariantError, ShardCorruptError
from operators.records import Origin

SIDECAR_FORMAT = 1
BATCH_BYTES = 1 << 20
_MAGIC_BYTES = 8
"""`ARROW1` and two bytes of padding; the file ends with the footer's length (4 bytes) and `ARROW1` again."""
_TRAILER_BYTES = 10

ReadRange = Callable[[int, int], bytes]
"""(offset, length) -> so many bytes of the file."""

Drop = tuple[str, int, Sequence[tuple[int, int]]]
"""(source_id, partition, half-open ranges of offsets): messages whose rows are to go."""


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """A record batch's encapsulated message in the file; `crc32c` is of these bytes."""

    offset: int
    length: int
    rows: int
    crc32c: int


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """A sidecar, read. `schema` and `footer` are (offset, length)."""

    batches: tuple[BatchEntry, ...]
    schema: tuple[int, int]
    footer: tuple[int, int]
    rows: int
    tokens: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ShardFacts:
    """What was written. `index` is the sidecar's bytes; `sha256` is the file's, in hex."""

    rows: int
    tokens: int
    size_bytes: int
    sha256: str
    index: bytes


@dataclass(frozen=True, slots=True)
class NothingLeft:
    """A filter dropped every row; no file was written."""

    dropped_rows: int


def write_shard(
    path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], batch_bytes: int = BATCH_BYTES
) -> ShardFacts:
    """Write rows as one IPC file; batches come and go one by one, so a shard never lies in memory.

    Args:
        path: of the new file; one that is there is replaced.
        schema: of every batch.
        batches: rows in the order in which they are to lie.
        batch_bytes: a record batch is closed with the row that reaches this.

    Raises:
        InvariantError: there were no rows.
        OSError: of the disk.
    """
    tokens, places = 0, list[tuple[int, int, int]]()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in rebatched(batches, batch_bytes):
            writer.write_batch(batch)
            length = int(pa.ipc.get_record_batch_size(batch))
            places.append((int(sink.tell()) - length, length, batch.num_rows))
            tokens += int(batch.column("n_tokens").to_numpy().sum())
    if not places:
        raise InvariantError(f"a shard without rows: {path.name}")
    return _described(path, places, tokens)


def rebatched(batches: Iterable[pa.RecordBatch], batch_bytes: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches that end with the row that reaches `batch_bytes`."""
    pieces, pending_bytes = list[pa.RecordBatch](), 0
    for batch in batches:
        ends = np.cumsum(row_sizes(batch))
        begin = 0
        while begin < batch.num_rows:
            before = int(ends[begin - 1]) if begin else 0
            cut = int(np.searchsorted(ends, before + batch_bytes - pending_bytes)) + 1
            piece = batch.slice(begin, cut - begin)
            pieces.append(piece)
            if cut > batch.num_rows:
                pending_bytes += int(ends[-1]) - before
                break
            yield pa.concat_batches(pieces)
            pieces, pending_bytes, begin = [], 0, cut
    if pieces:
        yield pa.concat_batches(pieces)


def row_sizes(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """About how many bytes each row takes, `[rows]`: its tokens and strings exactly, the rest by type."""
    sizes = np.zeros(batch.num_rows, np.int64)
    for column in batch.columns if batch.num_rows else ():
        kind = column.type
        if pa.types.is_string(kind):
            sizes += 4 + _lengths(column)
        elif pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
            sizes += 4 + _struct_bytes(column)
        elif pa.types.is_list(kind):
            sizes += 4 + _lengths(column) * (kind.value_type.bit_width // 8)
        elif pa.types.is_fixed_size_list(kind):
            sizes += kind.list_size * kind.value_type.bit_width // 8
        else:
            sizes += -(-kind.bit_width // 8)
    return sizes


def _struct_bytes(column: pa.Array) -> npt.NDArray[np.int64]:
    """How many bytes each entry's structs take."""
    bounds = np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, column.offset * 4)
    sizes = np.zeros(len(column), np.int64)
    for index, field in enumerate(column.type.value_type):
        if not pa.types.is_string(field.type):
            sizes += np.diff(bounds) * -(-field.type.bit_width // 8)
            continue
        texts = column.values.field(index)
        ends = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1, texts.offset * 4)
        sizes += np.diff(bounds) * 4 + np.diff(ends[bounds])
    return sizes


def _lengths(column: pa.Array) -> npt.NDArray[np.int32]:
    """How many bytes or values each entry has, straight from its offsets: twenty columns of few rows want it."""
    return np.diff(np.frombuffer(column.buffers()[1], np.int32, len(column) + 1, column.offset * 4))


def read_index(data: bytes) -> ShardIndex:
    """Read a sidecar.

    Raises:
        ShardCorruptError: these are no sidecar's bytes, or a later format's.
    """
    try:
        raw = cast("dict[str, Any]", json.loads(data))
        if raw["format"] > SIDECAR_FORMAT:
            raise ShardCorruptError(f"sidecar of format {raw['format']}; this code reads up to {SIDECAR_FORMAT}")
        return ShardIndex(
            batches=tuple(BatchEntry(*(int(number) for number in entry)) for entry in raw["batches"]),
            schema=(int(raw["schema"][0]), int(raw["schema"][1])),
            footer=(int(raw["footer"][0]), int(raw["footer"][1])),
            rows=int(raw["rows"]),
            tokens=int(raw["tokens"]),
            size_bytes=int(raw["size_bytes"]),
            sha256=str(raw["sha256"]),
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ShardCorruptError(f"not a sidecar: {error!r}") from error


def read_row(read_range: ReadRange, index: ShardIndex, schema: pa.Schema, row: int) -> pa.RecordBatch:
    """One row of a shard, as a batch of one, by one ranged read of its record batch.

    Raises:
        IndexError: the shard has no such row.
        ShardCorruptError: the bytes are not those that were written.
    """
    if not 0 <= row < index.rows:
        raise IndexError(f"row {row} of a shard of {index.rows}")
    ends = list(accumulate(entry.rows for entry in index.batches))
    place = bisect_right(ends, row)
    return read_batch(read_range, index, schema, place).slice(row - (ends[place] - index.batches[place].rows), 1)


def read_batch(read_range: ReadRange, index: ShardIndex, schema: pa.Schema, place: int) -> pa.RecordBatch:
    """A record batch of a shard by one ranged read, checked against its crc32c.

    Raises:
        ShardCorruptError: the bytes are not those that were written.
    """
    entry = index.batches[place]
    data = read_range(entry.offset, entry.length)
    if len(data) != entry.length or google_crc32c.value(data) != entry.crc32c:
        raise ShardCorruptError(f"record batch {place} at {entry.offset} does not have crc32c {entry.crc32c:08x}")
    return pa.ipc.read_record_batch(pa.py_buffer(data), schema)


@dataclass(frozen=True, slots=True)
class Filtered:
    """What became of a shard.

    Attributes:
        matching: the items that went because a column had a value, not with their messages.
    """

    facts: ShardFacts | NothingLeft
    matching: frozenset[Origin]


def filter_shard(
    source: Path,
    target: Path,
    drop: Sequence[Drop],
    values: Sequence[tuple[str, str]] = (),
    batch_bytes: int = BATCH_BYTES,
) -> Filtered:
    """Copy a shard without some of its rows.

    Args:
        source: a shard on local disk; left as it is.
        target: of the new file.
        drop: the messages that are to go.
        values: (column, value) pairs: rows that have one of them are to go. A column that the shard lacks has none.
        batch_bytes: as in `write_shard`.

    Raises:
        ShardCorruptError: `source` is no IPC file.
        OSError: of the disk.
    """
    with pa.memory_map(str(source)) as mapped:
        try:
            reader = pa.ipc.open_file(mapped)
        except pa.ArrowInvalid as error:
            raise ShardCorruptError(f"{source.name}: {error}") from error
        matching = set[Origin]()
        batches = (reader.get_batch(place) for place in range(reader.num_record_batches))
        some = (batch for batch in (_kept(each, drop, values, matching) for each in batches) if batch.num_rows)
        first = next(some, None)
        if first is None:
            rows = sum(reader.get_batch(place).num_rows for place in range(reader.num_record_batches))
            return Filtered(NothingLeft(rows), frozenset(matching))
        facts = write_shard(target, reader.schema, _with_first(first, some), batch_bytes)
        return Filtered(facts, frozenset(matching))


def _kept(
    batch: pa.RecordBatch, drop: Sequence[Drop], values: Sequence[tuple[str, str]], matching: set[Origin]
) -> pa.RecordBatch:
    """The rows that stay; adds the items that `values` are about to `matching`."""
    left = batch.filter(pa.array(~_matches(batch, drop)))
    there = np.zeros(left.num_rows, np.bool_)
    for name, value in values:
        if left.schema.get_field_index(name) >= 0:
            same = pc.call_function("equal", [left.column(name), value])
            there |= pc.call_function("fill_null", [same, False]).to_numpy(zero_copy_only=False)
    if not there.any():
        return left
    gone = left.filter(pa.array(there))
    columns = [gone.column(name).to_pylist() for name in ("source_id", "partition", "offset", "item")]
    matching.update(Origin(*origin) for origin in zip(*columns, strict=True))
    return left.filter(pa.array(~there))


def _with_first(first: pa.RecordBatch, rest: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _matches(batch: pa.RecordBatch, drop: Sequence[Drop]) -> npt.NDArray[np.bool_]:
    """Which rows belong to a message that is to go, `[rows]`."""
    partitions = batch.column("partition").to_numpy()
    offsets = batch.column("offset").to_numpy()
    found = np.zeros(batch.num_rows, np.bool_)
    for source_id, partition, ranges in drop:
        same_source = pc.call_function("equal", [batch.column("source_id"), source_id]).to_numpy(zero_copy_only=False)
        log = same_source & (partitions == partition)
        ordered = sorted(ranges)
        starts = np.asarray([start for start, _ in ordered], np.int64)
        # Furthest end so far, so that ranges that overlap are as good as merged ones.
        ends = np.maximum.accumulate(np.asarray([end for _, end in ordered], np.int64))
        place = np.searchsorted(starts, offsets, side="right") - 1
        if ordered:
            found |= log & (place >= 0) & (offsets < ends[place])
    return found


def _described(path: Path, places: Sequence[tuple[int, int, int]], tokens: int) -> ShardFacts:
    """One pass over the file just written (it is still in the page cache) for its checksums and sidecar."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        size = len(data)
        digest = sha256(data).hexdigest()
        entries = [
            BatchEntry(offset, length, rows, google_crc32c.value(data[offset : offset + length]))
            for offset, length, rows in places
        ]
        footer_length = int.from_bytes(data[size - _TRAILER_BYTES : size - 6], "little")
    rows = sum(entry.rows for entry in entries)
    sidecar = {
        "batches": [[entry.offset, entry.length, entry.rows, entry.crc32c] for entry in entries],
        "footer": [size - _TRAILER_BYTES - footer_length, footer_length],
        "format": SIDECAR_FORMAT,
        "rows": rows,
        "schema": [_MAGIC_BYTES, entries[0].offset - _MAGIC_BYTES],
        "sha256": digest,
        "size_bytes": size,
        "tokens": tokens,
    }
    index = json.dumps(sidecar, sort_keys=True, separators=(",", ":")).encode()
    return ShardFacts(rows=rows, tokens=tokens, size_bytes=size, sha256=digest, index=index)
