"""Messages -> Kafka: idempotent, counted by their delivery reports, under back-pressure where the broker forgets."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from operators.errors import ConfigError, SourceUnavailableError
from pipeline.source.kafka_config import PropertyValue, Resolved, refused, resolve
from pipeline.source.kafka_errors import Trouble, trouble_of
from pipeline.source.media_files import Outgoing, Unclaimed

MESSAGE_OVERHEAD_BYTES: Final = 128
"""What a broker keeps of a message beside key and value: the header of a batch of one, rounded up."""
_ANSWER_S: Final = 10.0
_WAIT_S: Final = 0.05
_DEFAULTS: Final[Mapping[str, str | int]] = {"linger.ms": 5, "delivery.timeout.ms": 60_000, "compression.type": "lz4"}
_OURS: Final[Mapping[str, str | bool]] = {"enable.idempotence": True, "acks": "all"}

OnDelivered = Callable[[str, int, int, int], None]
"""Topic, partition, offset, size in bytes."""


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What became of them.

    Attributes:
        delivered: messages that the broker has, by topic.
        size_bytes: of those, keys and values.
        unclaimed: files that have no modality we know.
    """

    delivered: Mapping[str, int]
    size_bytes: int
    unclaimed: tuple[Unclaimed, ...]

    @property
    def messages(self) -> int:
        """In all."""
        return sum(self.delivered.values())


@dataclass(slots=True)
class _Tally:
    delivered: Counter[str] = field(default_factory=Counter[str])
    size_bytes: int = 0
    in_flight_bytes: int = 0
    sent: int = 0
    error: KafkaError | None = None


def publish(
    messages: Iterable[Outgoing | Unclaimed],
    bootstrap: str,
    topic_of: Callable[[Outgoing], str],
    properties: Mapping[str, PropertyValue] | None = None,
    *,
    room: Callable[[], int] | None = None,
    on_delivered: OnDelivered | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> PublishReport:
    """Publish all of them; returns when the broker has confirmed the last.

    Args:
        messages: taken one by one as there is room.
        bootstrap: the broker's address.
        topic_of: a message's topic.
        properties: librdkafka's, as for a source; a consumer's own are left out.
        room: how many bytes may be published at present, those under way included; None: any number.
        on_delivered: the broker has a message: its topic, partition, offset and bytes. Called by this thread.
        on_progress: how many are sent and delivered so far.

    Raises:
        ConfigError: refused properties or credentials, no such topic, a message that is too large.
        SourceUnavailableError: the broker does not answer, or took only some of them.
    """
    publisher = _Publisher(_properties(bootstrap, properties or {}), on_delivered, on_progress)
    unclaimed: list[Unclaimed] = []
    for message in messages:
        if isinstance(message, Unclaimed):
            unclaimed.append(message)
        else:
            publisher.send(message, topic_of(message), room)
    tally = publisher.finish()
    return PublishReport(dict(tally.delivered), tally.size_bytes, tuple(unclaimed))


class _Publisher:
    def __init__(
        self,
        resolved: Resolved,
        on_delivered: OnDelivered | None,
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        self._resolved = resolved
        self._on_delivered = on_delivered
        self._on_progress = on_progress
        self._tally = _Tally()
        self._limit_bytes = int(resolved.values.get("message.max.bytes", 1_000_000))
        properties: dict[str, Any] = {"error_cb": self._on_error, "logger": logging.getLogger("librdkafka")}
        try:
            self._producer = Producer(properties | dict(resolved.values))
        except (KafkaException, ValueError, TypeError) as error:
            raise refused(error, resolved) from error
        try:
            self._producer.list_topics(timeout=_ANSWER_S)
        except KafkaException as error:
            self._producer.poll(0)  # the reason, if it is a refusal, comes by callback
            raise self._failed(self._tally.error or error.args[0]) from error

    def send(self, message: Outgoing, topic: str, room: Callable[[], int] | None) -> None:
        key = message.uri.encode("utf-8", "surrogatepass")
        size_bytes = len(key) + len(message.value) + MESSAGE_OVERHEAD_BYTES
        if size_bytes > self._limit_bytes:
            raise ConfigError(
                f"{message.uri}: its message has {size_bytes} bytes, message.max.bytes is {self._limit_bytes}"
            )
        self._serve(0)
        while room is not None and room() < self._tally.in_flight_bytes + size_bytes:
            self._serve(_WAIT_S)
        while not self._produced(topic, key, message.value, partial(self._arrived, size_bytes)):
            self._serve(_WAIT_S)  # librdkafka's own queue is full
        self._tally.in_flight_bytes += size_bytes
        self._tally.sent += 1

    def finish(self) -> _Tally:
        while self._tally.delivered.total() < self._tally.sent:
            self._serve(_WAIT_S)
        self._serve(0)
        return self._tally

    def _serve(self, wait_s: float) -> None:
        self._producer.poll(wait_s)
        if self._on_progress is not None:
            self._on_progress(self._tally.sent, self._tally.delivered.total())
        if self._tally.error is not None:
            raise self._failed(self._tally.error)

    def _produced(self, topic: str, key: bytes, value: bytes, arrived: Callable[..., None]) -> bool:
        try:
            self._producer.produce(topic, value=value, key=key, on_delivery=arrived)
        except BufferError:
            return False
        except KafkaException as error:
            raise ConfigError(f"topic {topic!r}: {error.args[0].str()}") from error
        return True

    def _arrived(self, size_bytes: int, error: KafkaError | None, message: KafkaMessage) -> None:
        self._tally.in_flight_bytes -= size_bytes
        if error is not None:
            self._tally.error = self._tally.error or error
            return
        topic = message.topic() or ""
        self._tally.delivered[topic] += 1
        self._tally.size_bytes += size_bytes - MESSAGE_OVERHEAD_BYTES
        if self._on_delivered is not None:
            self._on_delivered(topic, message.partition() or 0, message.offset() or 0, size_bytes)

    def _on_error(self, error: KafkaError) -> None:
        if trouble_of(error) in {Trouble.REFUSED, Trouble.REFUSED_UNLESS_SEEN}:
            self._tally.error = self._tally.error or error

    def _failed(self, error: KafkaError) -> ConfigError | SourceUnavailableError:
        where = f"kafka ({self._resolved.values['bootstrap.servers']})"
        done = f"{self._tally.delivered.total()} of {self._tally.sent} messages delivered"
        text = f"{where}: {done}: {self._resolved.scrub(error.str())}"
        return SourceUnavailableError(text) if trouble_of(error) is Trouble.PASSING else ConfigError(text)


def _properties(bootstrap: str, properties: Mapping[str, PropertyValue]) -> Resolved:
    given = resolve(properties)
    values = {**given.client(), "bootstrap.servers": bootstrap}
    defaults = {name: value for name, value in _DEFAULTS.items() if name not in values}
    if "message.timeout.ms" in values:
        defaults.pop("delivery.timeout.ms", None)  # one property under two names
    return Resolved({**defaults, **values, **_OURS}, given.secrets)
