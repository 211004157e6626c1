"""Several shards into one, without the rows that are taken down or that another row repeats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.errors import ShardCorruptError
from operators.pack.shard import BATCH_BYTES, NothingLeft, ShardFacts, write_shard

Values = Sequence[tuple[str, str]]
"""(column, value) pairs: rows that have one of them are to go."""


@dataclass(slots=True)
class Rewritten:
    """What became of some shards. An item is counted where its first window goes.

    Attributes:
        facts: of the new shard.
        taken_down: items that went because a column had a value.
        duplicates: items that went because they were said to be repeated.
    """

    facts: ShardFacts | NothingLeft = field(default_factory=lambda: NothingLeft(0))
    taken_down: int = 0
    duplicates: int = 0


def merge_shards(
    sources: Sequence[Path],
    target: Path,
    values: Values = (),
    repeated: Sequence[npt.NDArray[np.bool_] | None] = (),
    batch_bytes: int = BATCH_BYTES,
) -> Rewritten:
    """Write the rows of some shards of one product to one, in their order.

    Args:
        sources: on local disk; left as they are.
        target: of the new file.
        values: what is taken down.
        repeated: by source, which of its rows `[rows]` are to go as well; None or left out: none.
        batch_bytes: as in `write_shard`.

    Raises:
        ShardCorruptError: a source is no IPC file.
        OSError: of the disk.
    """
    result, dropped = Rewritten(), 0
    masks = [*repeated, *[None] * (len(sources) - len(repeated))]

    def kept() -> Iterator[pa.RecordBatch]:
        nonlocal dropped
        for source, mask in zip(sources, masks, strict=True):
            first = 0
            for batch in shard_batches(source):
                down = matching_rows(batch, values)
                again = np.zeros(batch.num_rows, np.bool_) if mask is None else mask[first : first + batch.num_rows]
                starts = batch.column("window_index").to_numpy() == 0
                result.taken_down += int((down & starts).sum())
                result.duplicates += int((again & ~down & starts).sum())
                gone = down | again
                dropped += int(gone.sum())
                first += batch.num_rows
                if not gone.all():
                    yield batch.filter(pa.array(~gone))

    batches = kept()
    head = next(batches, None)
    if head is None:
        result.facts = NothingLeft(dropped)
        return result

    def all_of_them() -> Iterator[pa.RecordBatch]:
        yield head
        yield from batches

    result.facts = write_shard(target, head.schema, all_of_them(), batch_bytes)
    return result


def matching_rows(batch: pa.RecordBatch, values: Values) -> npt.NDArray[np.bool_]:
    """Which rows `[rows]` have one of these values. A column that the batch lacks has none."""
    found = np.zeros(batch.num_rows, np.bool_)
    for name in dict.fromkeys(name for name, _ in values):
        if batch.schema.get_field_index(name) >= 0:
            wanted = pa.array([value for column, value in values if column == name], pa.string())
            here = pc.call_function("is_in", [batch.column(name)], pc.SetLookupOptions(wanted))
            found |= here.to_numpy(zero_copy_only=False)
    return found


def has_match(source: Path, values: Values) -> bool:
    """Whether a shard has a row with one of these values; reads little more than these columns.

    Raises:
        ShardCorruptError: it is no IPC file.
    """
    return any(bool(matching_rows(batch, values).any()) for batch in shard_batches(source))


@dataclass(frozen=True, slots=True)
class SampleRows:
    """What tells the rows of one or several shards apart, in their order.

    Attributes:
        ids: `[rows, 2]`, the halves of `sample_id`.
        sources: the `source_id`s.
        origins: `[rows, 4]`, each row's place in `sources`, partition, offset, item.
    """

    ids: npt.NDArray[np.uint64]
    sources: tuple[str, ...]
    origins: npt.NDArray[np.int64]


def sample_rows(source: Path) -> SampleRows:
    """Of one shard.

    Raises:
        ShardCorruptError: it is no IPC file, or a `sample_id` is not 32 hex digits.
    """
    texts, sources, origins = list[str](), dict[str, int](), list[npt.NDArray[np.int64]]()
    for batch in shard_batches(source):
        texts += cast("list[str]", batch.column("sample_id").to_pylist())
        names = cast("list[str]", batch.column("source_id").to_pylist())
        ranks = np.asarray([sources.setdefault(name, len(sources)) for name in names], np.int64)
        numbers = [batch.column(name).to_numpy() for name in ("partition", "offset", "item")]
        origins.append(np.column_stack([ranks, *numbers]).astype(np.int64))
    try:
        data = bytes.fromhex("".join(texts))
    except (TypeError, ValueError) as error:
        raise ShardCorruptError(f"{source.name}: a sample_id is no hex: {error}") from error
    if len(data) != 16 * len(texts):
        raise ShardCorruptError(f"{source.name}: a sample_id has not 32 hex digits")
    ids = np.frombuffer(data, ">u8").reshape(-1, 2).astype(np.uint64)
    return SampleRows(ids, tuple(sources), np.concatenate(origins) if origins else np.empty((0, 4), np.int64))


def repeated_rows(parts: Sequence[SampleRows]) -> list[npt.NDArray[np.bool_]]:
    """By part, which rows `[rows]` are of a sample of which there is a row of a lesser origin.

    By origin and not by where rows lie: whoever decides, whenever and however shards have been rewritten meanwhile,
    the row of the least origin is never one that goes.
    """
    if not parts:
        return []
    names = {name: rank for rank, name in enumerate(sorted({name for part in parts for name in part.sources}))}
    origins = [part.origins.copy() for part in parts]
    for part, mine in zip(parts, origins, strict=True):
        mine[:, 0] = np.asarray([names[name] for name in part.sources], np.int64)[mine[:, 0]] if len(mine) else 0
    ids, places = np.concatenate([part.ids for part in parts]), np.concatenate(origins)
    order = np.lexsort((*places.T[::-1], ids[:, 1], ids[:, 0]))
    ordered = ids[order]
    repeated = np.zeros(len(ids), np.bool_)
    repeated[order[1:]] = (ordered[1:] == ordered[:-1]).all(axis=1)
    return np.split(repeated, np.cumsum([len(part.ids) for part in parts])[:-1])


def shard_batches(source: Path) -> Iterator[pa.RecordBatch]:
    """A local shard's record batches, one by one out of the page cache.

    Raises:
        ShardCorruptError: it is no IPC file.
    """
    with pa.memory_map(str(source)) as mapped:
        try:
            reader = pa.ipc.open_file(mapped)
        except pa.ArrowInvalid as error:
            raise ShardCorruptError(f"{source.name}: {error}") from error
        for place in range(reader.num_record_batches):
            yield reader.get_batch(place)
