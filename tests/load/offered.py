"""Publishes at a constant offered rate: an open loop, whose schedule waits for nobody."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Message, Producer

Place = tuple[str, int, int]
"""Topic, partition, offset."""
FLUSH_S = 60.0


@dataclass(frozen=True)
class Due:
    """One message of the schedule.

    Attributes:
        at_s: after the beginning.
    """

    number: int
    at_s: float
    topic: str


def schedule(rate_hz: float, seconds: float, mix: Mapping[str, float], seed: int) -> list[Due]:
    """Evenly spaced messages, their topics drawn by the weights of the mix."""
    rng = random.Random(seed)
    count = int(rate_hz * seconds)
    topics = rng.choices(list(mix), list(mix.values()), k=count)
    return [Due(number, number / rate_hz, topic) for number, topic in enumerate(topics)]


class Offer:
    """A thread that publishes a schedule.

    A message's time is the one at which it was due, and Kafka is told so too. So what the publisher, the broker or a
    busy machine holds up counts as latency, and a system that is slow does not lower the rate at which it is asked
    ("coordinated omission").

    Args:
        values: by topic, what is published, in turn.

    Attributes:
        due_at_s: of what the broker took, when it was due, in seconds since 1970.
        refused: that it did not take, or for which the client had no room.
        late_s: the longest that a message was handed to the client after it was due.
    """

    def __init__(self, bootstrap: str, messages: Sequence[Due], values: Mapping[str, Sequence[bytes]]) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True})
        self._messages, self._values = messages, values
        self._lock = threading.Lock()
        self._due_at_s: dict[Place, float] = {}
        self.refused, self.late_s, self.began_s, self.ended_s = 0, 0.0, 0.0, 0.0
        self._thread = threading.Thread(target=self._publish, name="offer", daemon=True)

    def start(self) -> None:
        """Begin the schedule now."""
        self.began_s = time.time()
        self._thread.start()

    @property
    def under_way(self) -> bool:
        """Whether there is more to publish."""
        return self._thread.is_alive()

    @property
    def due_at_s(self) -> dict[Place, float]:
        """See the class; a copy."""
        with self._lock:
            return dict(self._due_at_s)

    def _publish(self) -> None:
        for each in self._messages:
            due_s = self.began_s + each.at_s
            while (left_s := due_s - time.time()) > 0:
                self._producer.poll(0)
                time.sleep(min(left_s, 0.05))
            self.late_s = max(self.late_s, -left_s)
            self._send(each, due_s)
        self.ended_s = time.time()
        if left := self._producer.flush(FLUSH_S):
            with self._lock:
                self.refused += left

    def _send(self, each: Due, due_s: float) -> None:
        def answered(error: object, message: Message) -> None:
            with self._lock:
                if error is None:
                    self._due_at_s[str(message.topic()), message.partition() or 0, message.offset() or 0] = due_s
                else:
                    self.refused += 1

        values = self._values[each.topic]
        value, key = values[each.number % len(values)], str(each.number).encode()
        try:
            self._producer.produce(each.topic, value, key, timestamp=int(due_s * 1000), on_delivery=answered)
        except BufferError:  # waiting for room would close the loop
            with self._lock:
                self.refused += 1


def reference(uri: str, modality: str, **fields: str) -> bytes:
    """A message with one item."""
    return json.dumps({"uri": uri, "modality": modality, **fields}).encode()
