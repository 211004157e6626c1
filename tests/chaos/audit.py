"""What the lake has of what was acknowledged, by code that shares nothing with the pipeline."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import s3fs

from tests.chaos.publisher import Outcome
from tests.integration.independent_count import (
    Count,
    Kept,
    Place,
    broker_messages,
    compare,
    lake_products,
    places_of,
    source_ids,
)

Acknowledged = Mapping[tuple[str, int, int], tuple[Outcome, ...]]
"""By topic, partition and offset, what must become of the items."""


@dataclass(frozen=True)
class Audit:
    """A whole lake against whole topics, while nothing is published.

    Attributes:
        count: of the broker's messages in the lake.
        forgotten: acknowledged messages that the broker does not have: then it is not the lake that failed.
        wrong: items of acknowledged messages whose outcome is another than it must be.
        examples: of these.
    """

    count: Count
    forgotten: int
    wrong: int
    examples: tuple[str, ...]

    @property
    def failures(self) -> dict[str, int]:
        """What must be 0 and is not."""
        count = self.count
        must_be_zero = {
            "lost": count.lost,
            "repeated": count.repeated,
            "unknown": count.unknown,
            "uncovered": count.uncovered,
            "wrong": self.wrong,
            "forgotten by the broker": self.forgotten,
        }
        return {name: number for name, number in must_be_zero.items() if number}


class Auditor:
    """Reads the broker and the lake.

    Args:
        products: by topic, the name of the one product that is made of it.
        lake: s3://bucket/prefix.
        options: of `s3fs.S3FileSystem`, past any proxy.
    """

    def __init__(self, bootstrap: str, products: Mapping[str, str], lake: str, options: Mapping[str, Any]) -> None:
        self._bootstrap, self._products, self._lake = bootstrap, products, lake
        self._options = dict(options)
        self._ids = source_ids(bootstrap, list(products))
        self._store: Any = s3fs.S3FileSystem(**options, skip_instance_cache=True, use_listings_cache=False)
        self._names: dict[str, str] = {}
        self._covered: set[tuple[str, Place]] = set()
        self._version = 0

    def uncovered(self, places: Collection[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
        """Which of these messages the log, read on from where it was read last, does not call done.

        Raises:
            OSError: the store does not answer.
        """
        while (delta := self._next()) is not None:
            self._version += 1
            for each in delta.get("openings", ()):
                product = each["product"]
                self._names[f"{product['name']}-{product['fingerprint'][:8]}"] = product["name"]
            for each in delta.get("covers", ()):
                self._covered.update((self._names[each["product"]], place) for place in places_of(each))
        return [each for each in places if (self._products[each[0]], self._place(each)) not in self._covered]

    def audit(self, acknowledged: Acknowledged) -> Audit:
        """Everything, from the beginning."""
        messages = broker_messages(self._bootstrap, list(self._products))
        products = lake_products(self._lake, self._options)
        forgotten = sum(self._place(each) not in messages for each in acknowledged)
        wrong = list(self._wrong(acknowledged, products))
        return Audit(compare(messages, products), forgotten, len(wrong), tuple(wrong[:5]))

    @property
    def version(self) -> int:
        """Of the log, as far as it was read."""
        return self._version

    def _wrong(self, acknowledged: Acknowledged, products: Mapping[str, Kept]) -> Iterable[str]:
        actual = {name: _outcomes(kept) for name, kept in products.items()}
        for place, outcomes in acknowledged.items():
            found = actual.get(self._products[place[0]], {})
            for item, outcome in enumerate(outcomes):
                there = found.get((self._place(place), item), Counter())
                if there != (Counter() if outcome is Outcome.VOID else Counter({outcome: 1})):
                    yield f"{place} item {item}: {dict(there) or 'nothing'} instead of {outcome}"

    def _place(self, place: tuple[str, int, int]) -> Place:
        topic, partition, offset = place
        return Place(self._ids[topic], partition, offset)

    def _next(self) -> dict[str, Any] | None:
        number = self._version + 1
        try:
            data = self._store.cat_file(f"{self._lake}/_meta/log/{number // 1000:06}/{number:09}.json")
        except FileNotFoundError:
            return None
        return json.loads(data)


def _outcomes(kept: Kept) -> dict[tuple[Place, int], Counter[Outcome]]:
    """By item; rows count once an item, however many windows it has."""
    found: dict[tuple[Place, int], Counter[Outcome]] = {}
    for place, item in {(place, item) for place, item, _ in kept.windows}:
        found.setdefault((place, item), Counter())[Outcome.ROWS] += 1
    for place, items in kept.letters.items():
        for item, number in items.items():
            found.setdefault((place, item), Counter())[Outcome.LETTER] += number
    for key, number in kept.empties.items():
        found.setdefault(key, Counter())[Outcome.EMPTY] += number
    return found
