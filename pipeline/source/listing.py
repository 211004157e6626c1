"""Frozen listings: what a backfill is to read is written down in the lake before any of it is read.

    _meta/sources/<id>/listing.json              what was asked for
    _meta/sources/<id>/rows-000000.jsonl.gz ...  the rows, sorted, numbered from 0 through all parts
    _meta/sources/<id>/done.json                 how many rows each part has; without it the listing is unfinished

`<id>` is `listing-<hash of the URIs>-<n>`. Files are only created, never changed, so two processes that freeze the
same URIs at once agree: who comes second takes the other's part and goes on behind its last row.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Protocol

import structlog

from operators.errors import InvariantError, StoreUnavailableError
from pipeline.source.inventory import Storage, canonical, list_rows
from pipeline.source.listing_rows import Row

PART_ROWS: Final = 10_000
_TRIES: Final = 5
_log = structlog.get_logger(__name__)


class ListingStore(Protocol):
    """As much of the lake's store as listings need."""

    def create(self, path: str, data: bytes) -> str:
        """Make this file only if nothing is there. Answers "created", or anything else, which is settled by reading."""
        ...

    def read(self, path: str) -> bytes:
        """The whole file."""
        ...

    def list(self, prefix: str) -> list[str]:
        """The paths below a folder (ends with "/")."""
        ...


@dataclass(frozen=True, slots=True)
class Frozen:
    """A finished listing.

    Attributes:
        source_id: of its messages; their partition is 0 and their offset the row's number.
        part_rows: how many rows each part has.
    """

    source_id: str
    part_rows: tuple[int, ...]

    @property
    def rows(self) -> int:
        """In all."""
        return sum(self.part_rows)

    def find(self, row: int) -> tuple[int, int]:
        """A row's part, and its place in it."""
        starts = [0, *accumulate(self.part_rows)]
        part = bisect_right(starts, row) - 1
        return part, row - starts[part]


def freeze(
    uris: Sequence[str],
    store: ListingStore,
    storage: Storage,
    *,
    part_rows: int = PART_ROWS,
    inventory: Callable[[Sequence[str], Storage], Iterator[Row]] = list_rows,
) -> tuple[Frozen, ...]:
    """List, and write it down; all listings of these URIs, oldest first, are what a backfill has to see through.

    An unfinished listing is resumed behind its last row. Where all are finished, what is new or changed since becomes
    another one; if nothing is, nothing is written.

    Raises:
        ConfigError, StoreUnavailableError: as `list_rows`, or from the store.
    """
    if part_rows < 1:
        raise InvariantError(f"part_rows must be at least 1, is {part_rows}")
    asked = sorted(set(map(canonical, uris)))
    key = hashlib.sha256("\n".join(asked).encode()).hexdigest()[:12]
    finished: list[Frozen] = []
    known: set[bytes] = set()
    while True:
        source_id = f"listing-{key}-{len(finished) + 1}"
        files = set(store.list(_folder(source_id)))
        if _folder(source_id) + "done.json" not in files:
            break
        finished.append(_read_done(store, source_id))
        known.update(row.identity for row in read_rows(store, finished[-1]))
    rows = _sorted_rows(inventory(asked, storage), known)
    if rows or _folder(source_id) + "listing.json" in files:
        finished.append(_write(store, source_id, asked, rows, part_rows))
    return tuple(listing for listing in finished if listing.rows)


def read_part(store: ListingStore, source_id: str, part: int) -> tuple[Row, ...]:
    """The rows of one part."""
    lines = gzip.decompress(store.read(_part_path(source_id, part))).splitlines()
    return tuple(map(Row.parse, lines))


def read_rows(store: ListingStore, listing: Frozen) -> Iterator[Row]:
    """All rows of a finished listing, in order."""
    for part in range(len(listing.part_rows)):
        yield from read_part(store, listing.source_id, part)


def _sorted_rows(rows: Iterator[Row], known: set[bytes]) -> list[Row]:
    unique: dict[bytes, Row] = {}
    for row in rows:
        identity = row.identity
        # Of two that differ in their attributes only, always the same one, whatever order the store lists in.
        if identity not in known and (identity not in unique or row.value < unique[identity].value):
            unique[identity] = row
    return sorted(unique.values(), key=lambda row: row.order)


def _write(store: ListingStore, source_id: str, asked: Sequence[str], rows: list[Row], part_rows: int) -> Frozen:
    _create(store, source_id, "listing.json", json.dumps({"format": 1, "uris": asked}, indent=1).encode())
    counts: list[int] = []
    parts = set(store.list(_folder(source_id)))
    begun = 0
    while begun < len(rows) or _part_path(source_id, len(counts)) in parts:
        path = _part_path(source_id, len(counts))
        if path not in parts:
            lines = b"\n".join(row.line() for row in rows[begun : begun + part_rows])
            _create(store, source_id, path.rpartition("/")[2], gzip.compress(lines, mtime=0))
        # Mine, one from before a crash, or another process's: the rows behind its last one come next.
        written = read_part(store, source_id, len(counts))
        counts.append(len(written))
        begun = bisect_right(rows, written[-1].order, key=lambda row: row.order)
    _create(store, source_id, "done.json", json.dumps({"format": 1, "part_rows": counts}).encode())
    done = _read_done(store, source_id)
    _log.info("listing frozen", source_id=source_id, rows=done.rows, parts=len(done.part_rows))
    return done


def _read_done(store: ListingStore, source_id: str) -> Frozen:
    path = _folder(source_id) + "done.json"
    try:
        return Frozen(source_id, tuple(map(int, json.loads(store.read(path))["part_rows"])))
    except (ValueError, KeyError, TypeError) as error:
        raise InvariantError(f"{path}: not the end of a frozen listing: {error}") from error


def _create(store: ListingStore, source_id: str, name: str, data: bytes) -> None:
    """On return the file is there, whoever made it."""
    path = _folder(source_id) + name
    for _ in range(_TRIES):
        if store.create(path, data) == "created" or path in store.list(_folder(source_id)):
            return
    raise StoreUnavailableError(f"{path}: could not be written")


def _folder(source_id: str) -> str:
    return f"_meta/sources/{source_id}/"


def _part_path(source_id: str, part: int) -> str:
    return f"{_folder(source_id)}rows-{part:06d}.jsonl.gz"
