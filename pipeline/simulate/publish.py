"""What simulated producers publish: messages of several items, and control records between them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from operators.errors import NotFoundError, ReferenceMalformedError
from operators.records import EmptyReason, MediaReference, Origin, VoidReason
from pipeline.flow.calls import Item
from pipeline.flow.prepare_stage import PREPARE
from pipeline.records import Message, SourcePartition
from pipeline.simulate.media import FOREVER, PRODUCTS, Media

TOPIC = "topic"
FILM_SEGMENTS = 8
"""A long film: more tokens than may be on their way at once."""
SUBJECTS = ("ada", "bob")
"""Persons who may ask for a takedown."""


PLACES = ("s3://north", "s3://south")
"""Where media lie: each may be down as a whole."""


@dataclass(frozen=True, slots=True)
class Published:
    """A message and what it holds.

    Attributes:
        at_s: when it was published.
        markers: control records (of transactions) that follow it at once: offsets without a message.
    """

    at_s: float
    message: Message
    items: tuple[Item, ...]
    markers: int = 0

    @property
    def offset(self) -> int:
        """In its log."""
        return self.message.origin.offset

    @property
    def end(self) -> int:
        """The log's end when this is the last that it has."""
        return self.offset + 1 + self.markers

    def moved(self, log: SourcePartition, offset: int) -> Published:
        """The same content somewhere else."""
        origin = Origin(log.source_id, log.partition, offset, 0)
        items = tuple(
            replace(item, origin=replace(origin, item=number)) if isinstance(item, MediaReference) else item
            for number, item in enumerate(self.items)
        )
        return replace(self, message=replace(self.message, origin=origin), items=items)


class Producers:
    """Draws messages, and notes what each uri leads to.

    Attributes:
        media: by uri, as it is now.
        before: by uri, as it was before it was mended.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._uris = 0
        self.media: dict[str, Media] = {}
        self.before: dict[str, Media] = {}

    def log(self, log: SourcePartition, first_s: float, last_s: float, count: int) -> list[Published]:
        """So many messages, ascending by time and offset, with gaps between them."""
        times = sorted(self._rng.uniform(first_s, last_s) for _ in range(count))
        messages: list[Published] = []
        offset = self._rng.choice((0, 0, 0, 2))
        for at_s in times:
            gap = self._rng.choice((0, 0, 0, 0, 1, 2))
            messages.append(self.message(log, offset, max(at_s, first_s), self._rng.choice((0, gap))))
            offset += 1 + gap
        return messages

    def message(self, log: SourcePartition, offset: int, at_s: float, markers: int = 0) -> Published:
        """One message."""
        origin = Origin(log.source_id, log.partition, offset, 0)
        count = self._rng.choice((1, 1, 1, 1, 2, 3))
        items = tuple(self._item(replace(origin, item=number)) for number in range(count))
        return Published(at_s, Message(origin, TOPIC, None, _value(items)), items, markers)

    def mend(self, uri: str) -> None:
        """Somebody sees to it that this can be tokenized."""
        self.before[uri] = self.media[uri]
        self.media[uri] = self.media[uri].mended()

    def _item(self, origin: Origin) -> Item:
        chance = self._rng.random()
        if chance < 0.08:
            return self._rng.choice((VoidReason.TEST_EVENT, VoidReason.REMOVAL))
        if chance < 0.13:
            return ReferenceMalformedError("uri: missing").failure()
        self._uris += 1
        uri = f"{self._rng.choice(PLACES)}/{self._uris}"
        self.media[uri] = self._media()
        subject = self._rng.choice((*SUBJECTS, *[None] * 8))
        return MediaReference(uri, origin, attributes={"subject_key": subject} if subject else {})

    def _media(self) -> Media:
        rng = self._rng
        stages: Sequence[str] = (PREPARE, *(product.key for product in PRODUCTS))
        match rng.choices(range(8), (60, 18, 4, 4, 6, 4, 4, 1))[0]:
            case 0:
                return Media(segments=((rng.randint(1, 3), rng.randint(1, 2)),))
            case 1:
                count = rng.randint(2, 4)
                segments = tuple((rng.randint(0, 2), rng.randint(0, 2)) for _ in range(count))
                forks = tuple(at for at in range(1, count) if rng.random() < 0.3)
                return Media(segments, forks, breaks=rng.choice((*range(count), *[None] * 12)))
            case 7:
                return Media(((2, 1),) * FILM_SEGMENTS)
            case 2:
                return Media(ended=NotFoundError("404").failure())
            case 3:
                return Media(ended=rng.choice((EmptyReason.NO_TOKENS, VoidReason.NOT_MINE)))
            case 4:
                return Media(flaky=rng.choice((1, 2, FOREVER)))
            case 5:
                return Media(kills=frozenset({rng.choice(stages)}))
            case _:
                return Media(raises=frozenset({rng.choice(stages)}))


def _value(items: Sequence[Item]) -> bytes:
    """As a producer writes it: what a takedown finds in a letter."""
    documents = [
        {"uri": item.uri, "attributes": dict(item.attributes)} if isinstance(item, MediaReference) else {}
        for item in items
    ]
    return json.dumps({"items": documents}).encode()
