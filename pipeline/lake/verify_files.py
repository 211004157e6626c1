"""One data or letters file against what the log says of it. Says what is in it as sets, never row by row.

Usable from several threads at once.
"""

from __future__ import annotations

import hashlib
import mmap
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.errors import InvariantError, ShardCorruptError
from operators.pack.rewrite import matching_rows
from operators.pack.shard import read_index
from operators.records import Origin
from pipeline.lake.delta import OutcomeFile
from pipeline.lake.findings import Finding, FindingKind
from pipeline.lake.history import read_if_there
from pipeline.lake.item_set import ItemSet
from pipeline.lake.outcomes import read_outcomes
from pipeline.lake.paths import index_path
from pipeline.lake.state import LakeState
from pipeline.lake.store import LakeStore, NoSuchFileError
from pipeline.lake.takedown import taken_down_outcomes
from pipeline.records import Predicate, Shard, SourcePartition

_COLUMNS = ("source_id", "partition", "offset", "item", "window_index", "window_count")


@dataclass(slots=True)
class Windows:
    """Some windows of one item.

    Attributes:
        count: how many it says it has.
        seen: the indexes that were found, `[n]`, repeats and all.
    """

    count: int
    seen: npt.NDArray[np.int32]


@dataclass(slots=True)
class ShardRows:
    """What is in a shard.

    Attributes:
        whole: the items that have all their windows in it.
        parts: those that have some, and the rest elsewhere.
    """

    findings: list[Finding] = field(default_factory=list[Finding])
    whole: ItemSet = field(default_factory=ItemSet)
    parts: dict[Origin, Windows] = field(default_factory=dict[Origin, Windows])

    def add(self, kind: FindingKind, where: str, what: str) -> None:
        """Something is wrong."""
        self.findings.append(Finding(kind, where, what))


@dataclass(slots=True)
class Outcomes:
    """What is in a letters file: items with letters, those of them that are open, and empties."""

    findings: list[Finding] = field(default_factory=list[Finding])
    letters: ItemSet = field(default_factory=ItemSet)
    open: ItemSet = field(default_factory=ItemSet)
    empties: ItemSet = field(default_factory=ItemSet)


def verified_shard(store: LakeStore, shard: Shard, predicates: Collection[Predicate]) -> ShardRows:
    """Read a shard through, by way of local disk.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    found = ShardRows()
    with tempfile.TemporaryDirectory(prefix="mediatok-verify-") as folder:
        path = Path(folder) / "shard.arrow"
        try:
            store.download(shard.path, path)
        except NoSuchFileError:
            found.add(FindingKind.SHARD_MISSING, shard.path, "the log names it, the store has it not")
            return found
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size_bytes = path.stat().st_size
        if (size_bytes, digest) != (shard.size_bytes, shard.sha256):
            found.add(FindingKind.SHARD_DIFFERS, shard.path, f"{size_bytes} bytes, not those that were committed")
            return found
        _check_index(store, shard, path, found)
        try:
            _read_rows(shard, path, predicates, found)
        except pa.ArrowInvalid as error:
            found.add(FindingKind.SHARD_DIFFERS, shard.path, str(error))
    return found


def _check_index(store: LakeStore, shard: Shard, local: Path, found: ShardRows) -> None:
    path = index_path(shard.path)
    body = read_if_there(store, path)
    if body is None:
        found.add(FindingKind.INDEX_MISSING, path, f"the sidecar of {shard.path} is not there")
        return
    try:
        index = read_index(body)
    except ShardCorruptError as error:
        found.add(FindingKind.INDEX_DIFFERS, path, str(error))
        return
    says = (index.rows, index.tokens, index.size_bytes, index.sha256)
    if says != (shard.rows, shard.tokens, shard.size_bytes, shard.sha256):
        found.add(FindingKind.INDEX_DIFFERS, path, "does not say what the log says of its shard")
    with local.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for place, batch in enumerate(index.batches):
            if google_crc32c.value(data[batch.offset : batch.offset + batch.length]) != batch.crc32c:
                found.add(FindingKind.INDEX_DIFFERS, path, f"record batch {place} has another crc32c")


def _read_rows(shard: Shard, local: Path, predicates: Collection[Predicate], found: ShardRows) -> None:
    values = [(predicate.field.value, predicate.value) for predicate in predicates]
    tokens = taken_down = 0
    batches = list[pa.RecordBatch]()
    with pa.memory_map(str(local)) as mapped:
        reader = pa.ipc.open_file(mapped)
        for place in range(reader.num_record_batches):
            batch = reader.get_batch(place)
            tokens += int(batch.column("n_tokens").to_numpy().sum())
            taken_down += int(matching_rows(batch, values).sum()) if values else 0
            batches.append(batch.select(list(_COLUMNS)))
        table = pa.Table.from_batches(batches)
        if (table.num_rows, tokens) != (shard.rows, shard.tokens):
            what = f"{table.num_rows} rows, {tokens} tokens; the log says {shard.rows} and {shard.tokens}"
            found.add(FindingKind.SHARD_DIFFERS, shard.path, what)
        if taken_down:
            what = f"{taken_down} rows are taken down and still there: `mediatok lake takedown` again replaces it"
            found.add(FindingKind.NOT_TAKEN_DOWN, shard.path, what)
        if table.num_rows:
            _by_item(table, shard, found)


def _by_item(table: pa.Table, shard: Shard, found: ShardRows) -> None:
    """Rows `[n]` -> items: sorted by log, message, item and window, an item is a run of rows."""
    sources = pc.call_function("dictionary_encode", [table.column("source_id").combine_chunks()])
    names: list[str] = sources.dictionary.to_pylist()
    source = sources.indices.to_numpy()
    partition, offset, item, index, count = (table.column(name).to_numpy() for name in _COLUMNS[1:])
    order = np.lexsort((index, item, offset, partition, source))
    keys = [each[order] for each in (source, partition, offset, item)]
    source, partition, offset, item = keys
    index, count = index[order], count[order]
    begins = np.concatenate(([True], np.logical_or.reduce([each[1:] != each[:-1] for each in keys])))
    fresh = begins | np.concatenate(([True], index[1:] != index[:-1]))
    firsts = np.flatnonzero(begins)
    windows = np.add.reduceat(fresh.astype(np.int64), firsts)

    def origin(row: int) -> Origin:
        return Origin(names[int(source[row])], int(partition[row]), int(offset[row]), int(item[row]))

    if not fresh.all():
        again = np.flatnonzero(~fresh)
        what = f"{len(again)} windows are there twice, e.g. window {index[again[0]]} of {origin(int(again[0]))}"
        found.add(FindingKind.ROW_TWICE, shard.path, what)
    whole = firsts[windows == count[firsts]]
    places = np.stack([source[whole], partition[whole], item[whole]])
    distinct, inverse = np.unique(places, axis=1, return_inverse=True)
    inverse = inverse.reshape(-1)
    for place in range(distinct.shape[1]):
        which, part, number = (int(each) for each in distinct[:, place])
        found.whole.add(SourcePartition(names[which], part), number, offset[whole[inverse == place]])
    ends = np.append(firsts[1:], len(offset))
    for at in np.flatnonzero(windows != count[firsts]):
        begin, end = int(firsts[at]), int(ends[at])
        found.parts[origin(begin)] = Windows(int(count[begin]), index[begin:end][fresh[begin:end]])


def verified_outcomes(
    store: LakeStore, state: LakeState, file: OutcomeFile, predicates: Collection[Predicate]
) -> Outcomes:
    """Read a letters file through.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    found, path = Outcomes(), file.path
    body = read_if_there(store, path)
    if body is None:
        found.findings.append(Finding(FindingKind.LETTERS_MISSING, path, "the log names it, the store has it not"))
        return found
    try:
        letters, empties = read_outcomes(body)
    except InvariantError as error:
        found.findings.append(Finding(FindingKind.LETTERS_DIFFER, path, str(error)))
        return found
    if (len(letters), len(empties)) != (file.letters, file.empties):
        what = f"{len(letters)} letters and {len(empties)} empties; the log says {file.letters} and {file.empties}"
        found.findings.append(Finding(FindingKind.LETTERS_DIFFER, path, what))
    if gone := taken_down_outcomes(letters, empties, predicates) if predicates else frozenset():
        what = f"{len(gone)} items are taken down and still there: `mediatok lake takedown` again replaces it"
        found.findings.append(Finding(FindingKind.NOT_TAKEN_DOWN, path, what))
    found.letters = ItemSet(letter.origin for letter in letters)
    found.empties = ItemSet(empty.origin for empty in empties)
    found.open = ItemSet(
        letter.origin for letter in letters if state.has_open_letter(file.product, path, letter.origin)
    )
    return found
