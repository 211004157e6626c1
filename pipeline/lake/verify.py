"""Does the lake keep its promises, as far as its own files can say?

Reads everything once: the whole log, every live shard with its sidecar, every letters file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

import google_crc32c
import pyarrow as pa

from operators.errors import InvariantError, ShardCorruptError
from operators.pack.shard import read_index
from operators.records import Origin
from pipeline.flow.ranges import size
from pipeline.lake.checkpoint import checkpoint_bytes
from pipeline.lake.history import checkpoints, read_if_there, read_log
from pipeline.lake.outcomes import read_outcomes
from pipeline.lake.paths import checkpoint_path, index_path
from pipeline.lake.state import LakeState, covered_messages
from pipeline.lake.store import LakeStore
from pipeline.records import Shard, SourcePartition, ranges_of


class FindingKind(StrEnum):
    """What can be wrong."""

    LOG_BROKEN = "log_broken"
    CHECKPOINT_DIFFERS = "checkpoint_differs"
    SHARD_MISSING = "shard_missing"
    SHARD_DIFFERS = "shard_differs"
    INDEX_MISSING = "index_missing"
    INDEX_DIFFERS = "index_differs"
    ROW_TWICE = "row_twice"
    ROW_UNCOVERED = "row_uncovered"
    WINDOW_MISSING = "window_missing"
    LETTERS_MISSING = "letters_missing"
    LETTERS_DIFFER = "letters_differ"
    TWO_OUTCOMES = "two_outcomes"
    NO_OUTCOME = "no_outcome"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and where."""

    kind: FindingKind
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class ProductTally:
    """The outcomes of one product's own commits. `items = items_with_rows + empties + letters + voids`.

    Attributes:
        messages: covered, as the log says.
        items: with an outcome.
        items_with_rows: distinct origins among the rows.
        letters: of its own that are still open.
    """

    product: str
    messages: int
    items: int
    items_with_rows: int
    rows: int
    tokens: int
    empties: int
    letters: int
    voids: int


@dataclass(slots=True)
class Report:
    """What a verification found; `ok` where that is nothing."""

    version: int = 0
    shards: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])
    products: list[ProductTally] = field(default_factory=list[ProductTally])

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.findings

    def add(self, kind: FindingKind, where: str, what: str) -> None:
        """One more thing."""
        self.findings.append(Finding(kind, where, what))


def verify(store: LakeStore) -> Report:
    """Check a lake against its own log.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    report, state = Report(), LakeState()
    newest = max(checkpoints(store), default=0)
    try:
        for delta in read_log(store):
            state.apply(delta)
            if delta.version == newest and read_if_there(store, checkpoint_path(newest)) != checkpoint_bytes(state):
                report.add(FindingKind.CHECKPOINT_DIFFERS, checkpoint_path(newest), "not what its log amounts to")
    except InvariantError as error:
        report.add(FindingKind.LOG_BROKEN, f"version {state.version + 1}", str(error))
        return report
    if newest > state.version:
        report.add(FindingKind.LOG_BROKEN, f"version {state.version + 1}", f"missing, yet checkpoint {newest} is there")
    report.version = state.version
    for product in state.products:
        _verify_product(store, state, product, report)
    return report


def _verify_product(store: LakeStore, state: LakeState, product: str, report: Report) -> None:
    with_rows = dict[Origin, _Windows]()
    for shard in state.shards[product].values():
        report.shards += 1
        table = _verified_shard(store, shard, report)
        if table is not None:
            _read_rows(table, shard, with_rows, report)
    for origin, windows in with_rows.items():
        if windows.count != len(windows.seen):
            what = f"{origin} has {len(windows.seen)} of {windows.count} windows"
            report.add(FindingKind.WINDOW_MISSING, product, what)
    letters, empties = _read_outcomes(store, state, product, report)
    _check_coverage(state, product, with_rows, "a row", report)
    _check_coverage(state, product, {*letters, *empties}, "a letter or empty", report)
    # An item that was replayed has a letter besides its new outcome, but no longer an open one.
    still_open = {origin for origin, paths in letters.items() if _letter_open(state, product, origin, paths)}
    rows = set(with_rows)
    for origin in (rows & empties) | (rows & still_open) | (empties & still_open):
        report.add(FindingKind.TWO_OUTCOMES, product, f"{origin} has two outcomes")
    report.products.append(_tally(state, product, rows, still_open, empties))
    _check_silent(state, product, rows | empties | letters.keys(), report)


@dataclass(slots=True)
class _Windows:
    """Which windows of one item were seen, and how many it says it has."""

    count: int
    seen: set[int] = field(default_factory=set[int])


def _verified_shard(store: LakeStore, shard: Shard, report: Report) -> pa.Table | None:
    data = read_if_there(store, shard.path)
    if data is None:
        report.add(FindingKind.SHARD_MISSING, shard.path, "the log names it, the store has it not")
        return None
    if (len(data), sha256(data).hexdigest()) != (shard.size_bytes, shard.sha256):
        report.add(FindingKind.SHARD_DIFFERS, shard.path, f"{len(data)} bytes, not those that were committed")
        return None
    _verify_index(store, shard, data, report)
    try:
        table = pa.ipc.open_file(pa.py_buffer(data)).read_all()
    except pa.ArrowInvalid as error:
        report.add(FindingKind.SHARD_DIFFERS, shard.path, str(error))
        return None
    tokens = int(table.column("n_tokens").to_numpy().sum())
    if (table.num_rows, tokens) != (shard.rows, shard.tokens):
        what = f"{table.num_rows} rows, {tokens} tokens; the log says {shard.rows} and {shard.tokens}"
        report.add(FindingKind.SHARD_DIFFERS, shard.path, what)
    return table


def _verify_index(store: LakeStore, shard: Shard, data: bytes, report: Report) -> None:
    path = index_path(shard.path)
    body = read_if_there(store, path)
    if body is None:
        report.add(FindingKind.INDEX_MISSING, path, f"the sidecar of {shard.path} is not there")
        return
    try:
        index = read_index(body)
    except ShardCorruptError as error:
        report.add(FindingKind.INDEX_DIFFERS, path, str(error))
        return
    if (index.rows, index.tokens, index.size_bytes, index.sha256) != (
        shard.rows,
        shard.tokens,
        shard.size_bytes,
        shard.sha256,
    ):
        report.add(FindingKind.INDEX_DIFFERS, path, "does not say what the log says of its shard")
    for place, batch in enumerate(index.batches):
        if google_crc32c.value(data[batch.offset : batch.offset + batch.length]) != batch.crc32c:
            report.add(FindingKind.INDEX_DIFFERS, path, f"record batch {place} has another crc32c")


def _read_rows(table: pa.Table, shard: Shard, found: dict[Origin, _Windows], report: Report) -> None:
    names = ("source_id", "partition", "offset", "item", "window_index", "window_count")
    columns = [table.column(name).to_pylist() for name in names]
    for source_id, partition, offset, item, index, count in zip(*columns, strict=True):
        origin = Origin(source_id, partition, offset, item)
        windows = found.setdefault(origin, _Windows(count))
        if index in windows.seen:
            report.add(FindingKind.ROW_TWICE, shard.path, f"window {index} of {origin} is there already")
        windows.seen.add(index)


def _read_outcomes(
    store: LakeStore, state: LakeState, product: str, report: Report
) -> tuple[dict[Origin, set[str]], set[Origin]]:
    """Every letter with the files that hold it, and every empty."""
    letters, empties = dict[Origin, set[str]](), set[Origin]()
    for path, file in state.outcomes.items():
        if file.product != product:
            continue
        body = read_if_there(store, path)
        if body is None:
            report.add(FindingKind.LETTERS_MISSING, path, "the log names it, the store has it not")
            continue
        try:
            some_letters, some_empties = read_outcomes(body)
        except InvariantError as error:
            report.add(FindingKind.LETTERS_DIFFER, path, str(error))
            continue
        if (len(some_letters), len(some_empties)) != (file.letters, file.empties):
            what = f"{len(some_letters)} letters and {len(some_empties)} empties; the log says otherwise"
            report.add(FindingKind.LETTERS_DIFFER, path, what)
        for letter in some_letters:
            letters.setdefault(letter.origin, set()).add(path)
        empties |= {empty.origin for empty in some_empties}
    return letters, empties


def _check_coverage(state: LakeState, product: str, origins: Iterable[Origin], what: str, report: Report) -> None:
    for log, offsets in _by_log(origins).items():
        ranges = ranges_of(offsets)
        uncovered = ranges
        for coverage in state.coverages(product, log):
            uncovered = coverage.missing(uncovered)
        for start, end in uncovered:
            report.add(FindingKind.ROW_UNCOVERED, product, f"{what} of {log} [{start}, {end}), which is not covered")


def _tally(
    state: LakeState, product: str, rows: set[Origin], letters: set[Origin], empties: set[Origin]
) -> ProductTally:
    counters = state.counters[product]
    voids = sum(counters.voids.values())
    return ProductTally(
        product=product,
        messages=covered_messages(state, product),
        items=len(rows) + len(empties) + len(letters) + voids,
        items_with_rows=len(rows),
        rows=counters.rows,
        tokens=counters.tokens,
        empties=len(empties),
        letters=len(letters),
        voids=voids,
    )


def _check_silent(state: LakeState, product: str, origins: Iterable[Origin], report: Report) -> None:
    """A covered message without rows, letters or empties is void; void items are counted, not listed."""
    spoken = 0
    for log, offsets in _by_log(origins).items():
        coverage = state.own_coverage.get((product, log))
        spoken += size(coverage.overlap(ranges_of(offsets))) if coverage else 0
    silent = covered_messages(state, product) - spoken
    voids = sum(state.counters[product].voids.values())
    if silent > voids:
        report.add(FindingKind.NO_OUTCOME, product, f"{silent} messages have no outcome, but only {voids} void items")


def _letter_open(state: LakeState, product: str, origin: Origin, paths: set[str]) -> bool:
    log = SourcePartition(origin.source_id, origin.partition)
    opened = state.letters.get((state.products[product].product.name, log), {})
    return any(path in opened and origin.offset in opened[path] for path in paths)


def _by_log(origins: Iterable[Origin]) -> dict[SourcePartition, list[int]]:
    found = dict[SourcePartition, list[int]]()
    for origin in origins:
        found.setdefault(SourcePartition(origin.source_id, origin.partition), []).append(origin.offset)
    return found
