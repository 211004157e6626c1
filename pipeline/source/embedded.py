"""A broker inside this process: librdkafka's mock cluster. It speaks the real protocol to any process on this machine.

It starts in milliseconds, forgets everything at its end, has no topic ids, and keeps only the latest 5 MiB or 100,000
batches of a partition, whether they were read or not. So what is published to it must wait for what was committed:
see `Retention`. A classic group takes 3 s to form there, one of `group.protocol=consumer` 50 ms.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException, Producer

from operators.errors import InvariantError, SourceUnavailableError
from pipeline.source.kafka_config import KafkaConfig

KEPT_BYTES: Final = 4 << 20
"""Of a partition; the broker keeps 5 MiB, headers of batches included."""
KEPT_MESSAGES: Final = 90_000
"""Of a partition; the broker keeps 100,000 batches, and each message may be one."""
_ANSWER_S: Final = 10.0


class EmbeddedBroker:
    """The broker lives as long as the context.

    Attributes:
        bootstrap: its address.
        source_epoch: fresh for each broker: its offsets begin at 0 again, and must not look like those before.
    """

    def __init__(self) -> None:
        self.bootstrap = ""
        self.source_epoch = uuid.uuid4().hex
        self._cluster: Producer | None = None

    def __enter__(self) -> Self:
        self._cluster = Producer(
            {"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 3},
            logger=logging.getLogger("librdkafka.embedded"),
        )
        brokers = self._cluster.list_topics(timeout=_ANSWER_S).brokers
        self.bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in brokers.values())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self._cluster = None  # the last reference: its destructor ends the broker

    def create(self, topics: Iterable[str]) -> None:
        """Create topics, of four partitions each.

        Raises:
            SourceUnavailableError: a topic did not come to be.
        """
        if self._cluster is None:
            raise InvariantError("the embedded broker is not running")
        for topic in topics:
            try:
                found = self._cluster.list_topics(topic, timeout=_ANSWER_S).topics[topic]
            except KafkaException as error:
                raise SourceUnavailableError(f"embedded broker: {error.args[0].str()}") from error
            if not found.partitions:
                raise SourceUnavailableError(f"embedded broker: topic {topic!r} was not created")

    def config(self, topics: Iterable[str], group: str) -> KafkaConfig:
        """For a source that reads from here."""
        return KafkaConfig(
            topics=tuple(topics),
            properties={
                "bootstrap.servers": self.bootstrap,
                "group.id": group,
                "group.protocol": "consumer",
                "fetch.wait.max.ms": 50,
            },
            topic_ids=False,
            source_epoch=self.source_epoch,
        )


@dataclass(slots=True)
class _Kept:
    """What must not be forgotten yet of one partition: (offset, bytes), oldest first."""

    messages: deque[tuple[int, int]] = field(default_factory=deque[tuple[int, int]])
    size_bytes: int = 0


class Retention:
    """How much may be published before the broker forgets what is not committed.

    The publisher tells what arrived and asks for room, the run tells what is in the lake; each from its own thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, int], _Kept] = {}

    def published(self, topic: str, partition: int, offset: int, size_bytes: int) -> None:
        """A message is in the broker. Those of one partition come in order.

        Args:
            size_bytes: as `publish` counts it.
        """
        with self._lock:
            kept = self._kept.setdefault((topic, partition), _Kept())
            kept.messages.append((offset, size_bytes))
            kept.size_bytes += size_bytes

    def committed(self, topic: str, partition: int, position: int) -> None:
        """The lake has everything below `position`."""
        with self._lock:
            kept = self._kept.get((topic, partition))
            while kept is not None and kept.messages and kept.messages[0][0] < position:
                kept.size_bytes -= kept.messages.popleft()[1]

    def room(self) -> int:
        """Bytes that may be published whatever partition they go to; 0 or less: wait."""
        with self._lock:
            if any(len(kept.messages) >= KEPT_MESSAGES for kept in self._kept.values()):
                return 0
            return KEPT_BYTES - max((kept.size_bytes for kept in self._kept.values()), default=0)
