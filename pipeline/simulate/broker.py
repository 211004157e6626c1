"""The simulated broker: logs with holes, messages of several items, and a group whose partitions move."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from operators.errors import NotFoundError, ReferenceMalformedError
from operators.records import EmptyReason, MediaReference, Origin, VoidReason
from pipeline.flow.calls import Item
from pipeline.flow.prepare_stage import PREPARE
from pipeline.records import Message, SourcePartition
from pipeline.simulate.media import FOREVER, PRODUCTS, Media

SOURCE = "topic-id"
PUBLISHED_S = 9.0
"""Messages appear during this long."""


@dataclass(frozen=True, slots=True)
class Published:
    """A message and what it holds."""

    at_s: float
    message: Message
    items: tuple[Item, ...]

    @property
    def offset(self) -> int:
        """In its log."""
        return self.message.origin.offset


@dataclass(slots=True)
class SimulatedLog:
    """One partition: all messages that it will ever have, ascending; some appear later. Offsets between are holes."""

    log: SourcePartition
    messages: tuple[Published, ...]
    appears_s: float = 0.0

    def end(self, now_s: float) -> int:
        """One past the last offset that is there now."""
        return next((one.offset + 1 for one in reversed(self.messages) if one.at_s <= now_s), 0)

    def read(self, position: int, now_s: float, most: int) -> list[Published]:
        """Messages from `position` on that are there now."""
        return [one for one in self.messages if one.offset >= position and one.at_s <= now_s][:most]


@dataclass(slots=True)
class Broker:
    """Logs, the group's assignment, and the offsets that it was told.

    Attributes:
        owner: by log, the coordinator that the group gave it to.
        advised: offsets committed to Kafka.
    """

    logs: dict[SourcePartition, SimulatedLog]
    owner: dict[SourcePartition, int] = field(default_factory=dict[SourcePartition, int])
    advised: dict[SourcePartition, int] = field(default_factory=dict[SourcePartition, int])

    def owned_by(self, coordinator: int) -> list[SourcePartition]:
        """Its partitions."""
        return [log for log, owner in self.owner.items() if owner == coordinator]


def draw_logs(rng: random.Random, media: dict[str, Media]) -> dict[SourcePartition, SimulatedLog]:
    """One to three partitions; a later one may appear in mid-run. Fills `media` by uri."""
    logs: dict[SourcePartition, SimulatedLog] = {}
    for partition in range(rng.randint(1, 3)):
        log = SourcePartition(SOURCE, partition)
        appears_s = rng.uniform(0.0, PUBLISHED_S / 2) if partition and rng.random() < 0.3 else 0.0
        count = rng.randint(3, 10)
        times = sorted(rng.uniform(appears_s - 1.0, PUBLISHED_S) for _ in range(count))
        messages: list[Published] = []
        offset = 0
        for at_s in times:
            offset += rng.choice((1, 1, 1, 1, 3)) if messages else rng.choice((0, 0, 0, 2))
            origin = Origin(SOURCE, partition, offset, 0)
            items = tuple(_draw_item(rng, replace(origin, item=item), media) for item in range(_draw_count(rng)))
            messages.append(Published(max(at_s, appears_s), Message(origin, "topic", None, b"v"), items))
        logs[log] = SimulatedLog(log, tuple(messages), appears_s)
    return logs


def _draw_count(rng: random.Random) -> int:
    return rng.choice((1, 1, 1, 1, 2, 3))


def _draw_item(rng: random.Random, origin: Origin, media: dict[str, Media]) -> Item:
    chance = rng.random()
    if chance < 0.08:
        return rng.choice((VoidReason.TEST_EVENT, VoidReason.REMOVAL))
    if chance < 0.13:
        return ReferenceMalformedError("uri: missing").failure()
    uri = f"m/{origin.partition}/{origin.offset}/{origin.item}"
    media[uri] = _draw_media(rng)
    return MediaReference(uri, origin)


def _draw_media(rng: random.Random) -> Media:
    stages: Sequence[str] = (PREPARE, *(product.key for product in PRODUCTS))
    match rng.choices(range(7), (60, 18, 4, 4, 6, 4, 4))[0]:
        case 0:
            return Media(segments=((rng.randint(1, 3), rng.randint(1, 2)),))
        case 1:
            count = rng.randint(2, 4)
            segments = tuple((rng.randint(0, 2), rng.randint(0, 2)) for _ in range(count))
            forks = tuple(at for at in range(1, count) if rng.random() < 0.3)
            return Media(segments, forks, breaks=rng.choice((*range(count), *[None] * 12)))
        case 2:
            return Media(ended=NotFoundError("404").failure())
        case 3:
            return Media(ended=rng.choice((EmptyReason.NO_TOKENS, VoidReason.TAKEN_DOWN)))
        case 4:
            return Media(flaky=rng.choice((1, 2, FOREVER)))
        case 5:
            return Media(kills=frozenset({rng.choice(stages)}))
        case _:
            return Media(raises=frozenset({rng.choice(stages)}))
