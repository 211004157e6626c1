"""Publishes all the time, knows what each message must become, and keeps what the broker acknowledged."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from confluent_kafka import Message, Producer

TICK_S = 0.1
FLUSH_S = 120.0


class Outcome(StrEnum):
    """Of one item."""

    ROWS = "rows"
    LETTER = "letter"
    EMPTY = "empty"
    VOID = "void"


@dataclass(frozen=True)
class Kind:
    """Messages that end alike.

    Attributes:
        weight: how often, against the others of its topic.
        outcomes: of its items, in order.
    """

    weight: int
    outcomes: tuple[Outcome, ...]


TEXTS: Mapping[str, Kind] = MappingProxyType(
    {
        "text": Kind(60, (Outcome.ROWS,)),
        "long": Kind(4, (Outcome.ROWS,)),
        "many": Kind(4, (Outcome.ROWS, Outcome.EMPTY, Outcome.ROWS)),
        "blank": Kind(2, (Outcome.EMPTY,)),
        "malformed": Kind(1, (Outcome.LETTER,)),
        "misspelt": Kind(1, (Outcome.ROWS, Outcome.LETTER)),
        "tombstone": Kind(2, (Outcome.VOID,)),
    }
)
IMAGES: Mapping[str, Kind] = MappingProxyType(
    {
        "image": Kind(60, (Outcome.ROWS,)),
        "pair": Kind(4, (Outcome.ROWS, Outcome.ROWS)),
        "missing": Kind(1, (Outcome.LETTER,)),
        "damaged": Kind(1, (Outcome.LETTER,)),
        "test-event": Kind(2, (Outcome.VOID,)),
    }
)


@dataclass(frozen=True)
class Feed:
    """What one topic gets.

    Attributes:
        rate_hz: messages a second.
        images: URIs of good images; none for texts.
        folder: URI below which "damaged.jpg" is, and "missing.jpg" is not.
    """

    topic: str
    rate_hz: float
    kinds: Mapping[str, Kind]
    images: tuple[str, ...] = ()
    folder: str = ""


@dataclass
class _Record:
    acknowledged: dict[tuple[str, int, int], tuple[Outcome, ...]] = field(default_factory=dict)
    failed: int = 0


class Publisher:
    """A thread, from `start` to `close`.

    Args:
        bootstrap: of the broker; its deaths are waited out.
        seed: of what is published.
    """

    def __init__(self, bootstrap: str, feeds: tuple[Feed, ...], seed: int) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 20,
                "message.timeout.ms": int(FLUSH_S * 1000),
                "log_level": 0,
            }
        )
        self._feeds = feeds
        self._rng = random.Random(seed)
        self._number = 0
        self._record = _Record()
        self._lock = threading.Lock()
        self._ended, self._going = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._publish, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._going.set()
        self._thread.start()

    def acknowledged(self) -> dict[tuple[str, int, int], tuple[Outcome, ...]]:
        """By topic, partition and offset, what must become of the items."""
        with self._lock:
            return dict(self._record.acknowledged)

    @property
    def failed(self) -> int:
        """Messages that the broker did not take; they may be in the topic all the same."""
        return self._record.failed

    def pause(self) -> None:
        """Publish nothing more; wait until everything is acknowledged.

        Raises:
            TimeoutError: the broker takes nothing.
        """
        self._going.clear()
        time.sleep(2 * TICK_S)
        if left := self._producer.flush(FLUSH_S):
            raise TimeoutError(f"{left} messages were not acknowledged")

    def resume(self) -> None:
        """Go on."""
        self._going.set()

    def close(self) -> None:
        """End the thread; what is not acknowledged is given up."""
        self._ended.set()
        self._going.set()
        self._thread.join()
        self._producer.purge()

    def _publish(self) -> None:
        due = dict.fromkeys((feed.topic for feed in self._feeds), 0.0)
        while not self._ended.wait(TICK_S):
            self._producer.poll(0)
            if not self._going.is_set():
                continue
            for feed in self._feeds:
                due[feed.topic] += feed.rate_hz * TICK_S
                while due[feed.topic] >= 1:
                    due[feed.topic] -= 1
                    self._send(feed)

    def _send(self, feed: Feed) -> None:
        kind = self._rng.choices(list(feed.kinds), [each.weight for each in feed.kinds.values()])[0]
        outcomes = feed.kinds[kind].outcomes
        self._number += 1

        def answered(error: object, message: Message) -> None:
            with self._lock:
                if error is None:
                    place = str(message.topic()), message.partition() or 0, message.offset() or 0
                    self._record.acknowledged[place] = outcomes
                else:
                    self._record.failed += 1

        key = f"{kind}-{self._number}".encode()
        try:
            self._producer.produce(feed.topic, self._value(kind, feed), key, on_delivery=answered)
        except BufferError:  # a long outage: what can't be queued is not published
            self._producer.poll(TICK_S)

    def _value(self, kind: str, feed: Feed) -> bytes | None:
        number, rng = self._number, self._rng
        match kind:
            case "text":
                document: object = _text(number, rng.randint(10, 300))
            case "long":
                document = _text(number, 20_000)
            case "many":
                document = {"items": [_text(number, 40), _text(number, 0), _text(number, 50)]}
            case "blank":
                document = _text(number, 0)
            case "misspelt":
                document = {"items": [_text(number, 30), {"ury": "note:x"}]}
            case "malformed":
                return b"{not json"
            case "tombstone":
                return None
            case "image":
                document = {"uri": rng.choice(feed.images)}
            case "pair":
                document = {"items": [{"uri": uri} for uri in rng.sample(feed.images, 2)]}
            case "missing" | "damaged":
                document = {"uri": f"{feed.folder}/{kind}.jpg"}
            case _:
                document = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "media"}
        return json.dumps(document).encode()


def _text(number: int, size: int) -> dict[str, str]:
    text = (f"text {number}: " * (size // 6 + 1))[:size]
    return {"uri": f"note:{number}", "modality": "text", "text": text}
