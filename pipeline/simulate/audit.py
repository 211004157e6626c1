"""Counts what was lost and repeated, from the broker's messages and the lake's files alone.

It reads the log's JSON and the shards' rows, and shares no code with what reads or writes the lake's state.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from operators.records import EmptyReason, Failure, MediaReference, Origin, VoidReason
from pipeline.flow.calls import Item
from pipeline.flow.prepare_stage import PREPARE
from pipeline.records import SourcePartition
from pipeline.simulate.broker import Published, SimulatedLog
from pipeline.simulate.media import PRODUCTS, Media, Token
from pipeline.simulate.store import SimulatedStore

_VIEWS = {product.key: product.spec.view for product in PRODUCTS}
ItemKey = tuple[str, Origin]
MessageKey = tuple[str, str, int, int]
"""(product, source, partition, offset)."""


@dataclass(slots=True)
class _Found:
    """What the lake has of one item in one product."""

    rows: Counter[int] = field(default_factory=Counter[int])
    counts: set[int] = field(default_factory=set[int])
    letters: list[str] = field(default_factory=list[str])
    empties: int = 0


@dataclass(slots=True)
class Audit:
    """What is wrong, item by item.

    Attributes:
        lost: items without an outcome, or with some of their rows only.
        repeated: items with more than one outcome, or with a row twice.
        wrong: items with another outcome than theirs, and counts that do not add up.
        messages: that were owed.
    """

    lost: list[str] = field(default_factory=list[str])
    repeated: list[str] = field(default_factory=list[str])
    wrong: list[str] = field(default_factory=list[str])
    messages: int = 0


class _Lake:
    """The lake's files, read as they lie there."""

    def __init__(self, store: SimulatedStore, audit: Audit) -> None:
        self.found: dict[ItemKey, _Found] = {}
        self.covered = Counter[MessageKey]()
        self.voids = Counter[tuple[str, str]]()
        self.versions = 0
        for body in self._versions(store):
            self.versions += 1
            self._read(json.loads(body), store, audit)

    def item(self, product: str, origin: Origin) -> _Found:
        return self.found.setdefault((product, origin), _Found())

    @staticmethod
    def _versions(store: SimulatedStore) -> Iterator[bytes]:
        for _, body in sorted(store.log.items()):
            yield body

    def _read(self, version: Mapping[str, Any], store: SimulatedStore, audit: Audit) -> None:
        for span in [*version.get("covers", ()), *version.get("skips", ())]:
            for start, end in span["ranges"]:
                for offset in range(start, end):
                    self.covered[span["product"], span["source"], span["partition"], offset] += 1
        for void in version.get("voids", ()):
            self.voids[void["product"], void["reason"]] += void["items"]
        for shard in version.get("shards", ()):
            if shard["path"] not in store.shards:
                audit.lost.append(f"{shard['path']} is named by the log and not there")
            for row in store.shards.get(shard["path"], ()):
                found = self.item(shard["product"], row.origin)
                found.rows[row.window_index] += 1
                found.counts.add(row.window_count)
                if row.token != Token(shard["product"], row.token.window) or row.token.window.start != row.window_index:
                    audit.wrong.append(f"{row} has another row's tokens")
        for file in version.get("outcomes", ()):
            letters, empties = store.outcomes[file["path"]]
            for letter in letters:
                self.item(file["product"], letter.origin).letters.append(letter.failure.code)
            for empty in empties:
                self.item(file["product"], empty.origin).empties += 1


def audit_lake(
    store: SimulatedStore,
    logs: Mapping[SourcePartition, SimulatedLog],
    media: Mapping[str, Media],
    promised: Mapping[tuple[str, SourcePartition], int],
) -> Audit:
    """Compare what was published with what the lake has.

    Args:
        store: with the lake's files.
        logs: all that was published.
        media: what each uri leads to, by uri.
        promised: by (product key, log), the offset from which every message is owed.
    """
    audit = Audit()
    lake = _Lake(store, audit)
    voids = Counter[tuple[str, str]]()
    for (product, log), begin in promised.items():
        for one in logs[log].messages:
            covered = lake.covered[product, log.source_id, log.partition, one.offset]
            if one.offset >= begin:
                audit.messages += 1
                name = f"{product} {log.partition}@{one.offset}"
                if covered == 0:
                    audit.lost.append(f"{name} is not covered")
            if covered > 1:
                audit.repeated.append(f"{product} {log.partition}@{one.offset} is covered {covered} times")
            _audit_message(lake, audit, media, product, one, owed=one.offset >= begin or covered > 0, voids=voids)
    counted = Counter({key: items for key, items in lake.voids.items() if key[1] != VoidReason.HOLE and items})
    if counted != voids and not (audit.lost or audit.repeated):
        audit.wrong.append(f"voids: the log says {dict(counted)}, the messages {dict(voids)}")
    return audit


def _audit_message(
    lake: _Lake,
    audit: Audit,
    media: Mapping[str, Media],
    product: str,
    one: Published,
    *,
    owed: bool,
    voids: Counter[tuple[str, str]],
) -> None:
    for number, item in enumerate(one.items):
        origin = Origin(one.message.origin.source_id, one.message.origin.partition, one.offset, number)
        found = lake.found.get((product, origin), _Found())
        name = f"{product} {origin.partition}@{origin.offset}.{number}"
        outcomes = bool(found.rows) + len(found.letters) + found.empties
        what = media[item.uri] if isinstance(item, MediaReference) else item
        void = what if isinstance(what, VoidReason) else getattr(what, "ended", None)
        if isinstance(void, VoidReason) and not found.letters:
            voids[product, void] += owed
            if outcomes:
                audit.repeated.append(f"{name} is void and has {found}")
            continue
        if outcomes > 1 or any(times > 1 for times in found.rows.values()):
            audit.repeated.append(f"{name} has {found}")
        elif owed and outcomes == 0:
            audit.lost.append(f"{name} has no outcome")
        elif outcomes:
            _audit_outcome(audit, name, product, what, found)


def _audit_outcome(audit: Audit, name: str, product: str, what: Media | Item, found: _Found) -> None:
    """The one outcome that an item has, against what it ought to be."""
    if found.letters:
        # Three deaths by chance make an innocent item guilty: that is the rule, not a mistake.
        right = found.letters[0] == "worker.killed" or isinstance(what, Failure)
        if isinstance(what, Media):
            hurt = what.kills | what.raises
            right |= what.fails or bool(hurt & {PREPARE, product})
        if not right:
            audit.wrong.append(f"{name} is a letter: {found.letters[0]}")
        return
    if not isinstance(what, Media) or what.fails or (what.kills | what.raises) & {PREPARE}:
        audit.wrong.append(f"{name} should be a letter and is {found}")
        return
    expected = what.windows(_VIEWS[product])
    if found.empties:
        if expected and what.ended is not EmptyReason.NO_TOKENS:
            audit.wrong.append(f"{name} is empty and should have {expected} rows")
        return
    if set(found.rows) != set(range(expected)):
        audit.lost.append(f"{name} has rows {sorted(found.rows)} of {expected}")
    if found.counts != {expected}:
        audit.wrong.append(f"{name} says that it has {found.counts} windows, and should have {expected}")
