"""What the lake's files say, read as they lie there: no code that reads or writes the lake's state is shared.

The log's JSON is folded in the order that `pipeline/lake/README.md` states.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from operators.records import Origin
from pipeline.simulate.media import Token
from pipeline.simulate.store import SimulatedStore

Json = Mapping[str, Any]
MessageKey = tuple[str, str, int, int]
"""(product name or key, source, partition, offset)."""
ItemKey = tuple[str, Origin]
"""(product name or key, item)."""


@dataclass(slots=True)
class Found:
    """What the lake has of one item in one product (key).

    Attributes:
        rows: by window.
        counts: of windows, as the rows have it.
        uris: as rows, letters and empties have it.
        letters: codes of those that are open.
    """

    rows: Counter[int] = field(default_factory=Counter[int])
    counts: set[int] = field(default_factory=set[int])
    uris: set[str] = field(default_factory=set[str])
    letters: list[str] = field(default_factory=list[str])
    empties: int = 0

    @property
    def outcomes(self) -> int:
        """How many outcomes these are."""
        return bool(self.rows) + len(self.letters) + self.empties


@dataclass(slots=True)
class OpenLetter:
    """A letter, and where it stands."""

    version: int
    path: str
    product: str
    code: str
    uri: str


class LakeFacts:
    """See the module.

    Attributes:
        covered: by message in a product's *name*, how often it is covered, skips included.
        primary: by such a message, the keys that covered it.
        skipped: what of it was skipped.
        remade: by message in a product's key, how often it was made anew for a predecessor's.
        replayed: items in a product's key of which a commit closed a letter.
        voids: by (product name, reason).
        opened: by product name, the keys in the order of their openings.
        begun: logs in a product's name that have a `from`.
        items: by item in a product's key, what live files have.
        wrong: what no log may say.
    """

    def __init__(self, store: SimulatedStore, names: Mapping[str, str]) -> None:
        self._store = store
        self._names = dict(names)
        self.covered = Counter[MessageKey]()
        self.primary: dict[MessageKey, set[str]] = {}
        self.skipped = set[MessageKey]()
        self.remade = Counter[MessageKey]()
        self.replayed = set[ItemKey]()
        self.voids = Counter[tuple[str, str]]()
        self.opened: dict[str, list[str]] = {}
        self.begun = set[tuple[str, str, int]]()
        self.predicates: dict[tuple[str, str], int] = {}
        self.items: dict[ItemKey, Found] = {}
        self.wrong: list[str] = []
        self.missing: list[str] = []
        self.versions = 0
        self._shards: dict[str, str] = {}
        self._outcomes: dict[str, str] = {}
        self._letters: dict[ItemKey, list[OpenLetter]] = {}
        self._live_at: dict[int, dict[str, tuple[str, ...]]] = {}
        listed = {version for version, _ in store.live.values()}
        for _, body in sorted((store.log | store.archive).items()):
            self.versions += 1
            self._fold(json.loads(body))
            if self.versions in listed:
                self._live_at[self.versions] = self._live()
        self._check_lists()
        self._gather()

    # --- the fold

    def _fold(self, version: Json) -> None:
        for opening in version.get("openings", ()):
            product = opening["product"]
            key = f"{product['name']}-{product['fingerprint'][:8]}"
            self.opened.setdefault(product["name"], []).append(key)
        for start in version.get("starts", ()):
            self.begun.add((self._names[start["product"]], start["source"], start["partition"]))
        for predicate in version.get("predicates", ()):
            self.predicates.setdefault((predicate["field"], predicate["value"]), version["version"])
        for rewrite in version.get("rewrites", ()):
            self._rewrite(rewrite, version["version"])
        for closing in version.get("closings", ()):
            self._close(closing)
        for file in version.get("outcomes", ()):
            self._outcomes[file["path"]] = file["product"]
            self._open_letters(file, version["version"], None)
        for span in version.get("covers", ()):
            self._cover(span)
        for span in version.get("skips", ()):
            self.skipped.update(self._cover(span))
        for span in version.get("remade", ()):
            self.remade.update((span["product"], *message) for message in messages_of(span))
        for void in version.get("voids", ()):
            self.voids[self._names[void["product"]], void["reason"]] += void["items"]
        for shard in version.get("shards", ()):
            self._shards[shard["path"]] = shard["product"]

    def _cover(self, span: Json) -> list[MessageKey]:
        name = self._names[span["product"]]
        keys = [(name, *message) for message in messages_of(span)]
        self.covered.update(keys)
        for key in keys:
            self.primary.setdefault(key, set()).add(span["product"])
        return keys

    def _close(self, closing: Json) -> None:
        name, messages = self._names[closing["product"]], set(messages_of(closing))
        for owner, origin in list(self._letters):
            if owner == name and (origin.source_id, origin.partition, origin.offset) in messages:
                self.replayed.add((closing["product"], origin))
                del self._letters[owner, origin]

    def _open_letters(self, file: Json, version: int, only: set[Origin] | None) -> None:
        """The letters of a file are open, each until its message is closed."""
        name = self._names[file["product"]]
        letters = [
            letter
            # What was replaced later may be gone by now, but its letters were open until then.
            for letter in (self._store.deleted | self._store.outcomes).get(file["path"], ((), ()))[0]
            if (only is None or letter.origin in only)
            and any(_within(letter.origin, message) for span in file["open"] for message in messages_of(span))
        ]
        for letter in letters:
            opened = OpenLetter(version, file["path"], letter.product, letter.failure.code, letter.uri)
            self._letters.setdefault((name, letter.origin), []).append(opened)

    def _rewrite(self, rewrite: Json, version: int) -> None:
        name, opened = self._names[rewrite["product"]], set[Origin]()
        for path in rewrite["removes"]:
            if path not in self._shards and path not in self._outcomes:
                self.wrong.append(f"version {version} replaces {path}, which is not live")
            self._shards.pop(path, None)
            self._outcomes.pop(path, None)
            for owner, origin in list(self._letters):
                if owner == name and any(each.path == path for each in self._letters[owner, origin]):
                    opened.add(origin)
                    del self._letters[owner, origin]
        for shard in rewrite["shards"]:
            self._shards[shard["path"]] = shard["product"]
        for file in rewrite["outcomes"]:
            self._outcomes[file["path"]] = file["product"]
            self._open_letters(file, version, opened)
        self.voids[name, "taken_down"] += rewrite["taken_down"]

    # --- what it comes to

    def _live(self) -> dict[str, tuple[str, ...]]:
        """By product key, its live shards."""
        found: dict[str, list[str]] = {}
        for path, product in self._shards.items():
            found.setdefault(product, []).append(path)
        return {product: tuple(sorted(paths)) for product, paths in found.items()}

    def _check_lists(self) -> None:
        """A live list names the files of its version, and all of them are there."""
        for product, (version, files) in self._store.live.items():
            expected = self._live_at.get(version, {}).get(product, ())
            if tuple(sorted(files)) != expected:
                self.wrong.append(f"the live list of {product} at version {version} is not that version's")
            for path in set(files) - self._store.shards.keys():
                self.missing.append(f"{path} is named by the live list of {product} and not there")

    def _gather(self) -> None:
        for path, product in self._shards.items():
            if path not in self._store.shards:
                self.missing.append(f"{path} is named by the log and not there")
            for row in self._store.shards.get(path, ()):
                found = self.items.setdefault((product, row.origin), Found())
                found.rows[row.window_index] += 1
                found.counts.add(row.window_count)
                found.uris.add(row.token.window.uri)
                if row.token != Token(product, row.token.window) or row.token.window.start != row.window_index:
                    self.wrong.append(f"{row} has another row's tokens")
        for path, product in self._outcomes.items():
            if path not in self._store.outcomes:
                self.missing.append(f"{path} is named by the log and not there")
            for empty in self._store.outcomes.get(path, ((), ()))[1]:
                found = self.items.setdefault((product, empty.origin), Found())
                found.empties += 1
                found.uris.add(empty.uri)
        for (_, origin), letters in self._letters.items():
            for letter in letters:
                found = self.items.setdefault((letter.product, origin), Found())
                found.letters.append(letter.code)
                found.uris.add(letter.uri)


def messages_of(span: Json) -> Iterator[tuple[str, int, int]]:
    """(source, partition, offset) of each message of a span."""
    for start, end in span["ranges"]:
        for offset in range(start, end):
            yield span["source"], span["partition"], offset


def _within(origin: Origin, message: tuple[str, int, int]) -> bool:
    return (origin.source_id, origin.partition, origin.offset) == message
