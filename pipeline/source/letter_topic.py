"""Letters -> a Kafka topic, each as the message that it is of, with headers that say where it came from and why it is
there. At least once: whoever copies keeps the place.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from operators.errors import ConfigError, SourceUnavailableError
from pipeline.records import Letter
from pipeline.source.kafka_config import PropertyValue, Resolved, refused, resolve
from pipeline.source.kafka_errors import Trouble, trouble_of

PREFIX: Final = "mediatok."
MESSAGE_BYTES: Final = 1024
"""Of an error's message, at most."""
_WAIT_S: Final = 0.1
_OURS: Final[Mapping[str, str | bool]] = {"enable.idempotence": True, "acks": "all"}


class LetterTopic:
    """Copies letters into one topic.

    Args:
        topic: its name; it must be there, or the broker must make it.
        properties: librdkafka's, as for a source; a consumer's own are left out.

    Raises:
        ConfigError: a property that librdkafka does not take.
    """

    def __init__(self, topic: str, properties: Mapping[str, PropertyValue]) -> None:
        self._topic = topic
        given = resolve(properties)
        self._resolved = Resolved({"linger.ms": 5, **given.client(), **_OURS}, given.secrets)
        self._error: KafkaError | None = None
        ours: dict[str, Any] = {"error_cb": self._on_error, "logger": logging.getLogger("librdkafka")}
        try:
            self._producer = Producer(ours | dict(self._resolved.values))
        except (KafkaException, ValueError, TypeError) as error:
            raise refused(error, self._resolved) from error

    def copy(self, letters: Sequence[Letter]) -> None:
        """Returns when the broker has confirmed all of them.

        Raises:
            SourceUnavailableError: it has not; some may be there, so copy all of them again.
            ConfigError: it refuses, or a letter is larger than it takes.
        """
        self._error = None
        for letter in letters:
            self._produce(letter)
        while self._producer.flush(_WAIT_S) and self._error is None:
            pass
        if self._error is not None:
            raise self._failed(self._error)

    def _produce(self, letter: Letter) -> None:
        headers: list[tuple[str, str | bytes | None]] = [*headers_of(letter)]
        while self._error is None:
            try:
                self._producer.produce(
                    self._topic, letter.value, letter.key, headers=headers, on_delivery=self._delivered
                )
            except BufferError:
                self._producer.poll(_WAIT_S)  # librdkafka's own queue is full
            except KafkaException as error:
                raise self._failed(error.args[0]) from error
            else:
                self._producer.poll(0)
                return

    def _delivered(self, error: KafkaError | None, message: KafkaMessage) -> None:
        del message
        self._error = self._error or error

    def _on_error(self, error: KafkaError) -> None:
        if trouble_of(error) in {Trouble.REFUSED, Trouble.REFUSED_UNLESS_SEEN}:
            self._error = self._error or error

    def _failed(self, error: KafkaError) -> ConfigError | SourceUnavailableError:
        where = f"kafka ({self._resolved.values['bootstrap.servers']}): topic {self._topic!r}"
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return ConfigError(f"{where}: a letter is larger than it takes: raise message.max.bytes, here and there")
        text = f"{where}: {self._resolved.scrub(error.str())}"
        return SourceUnavailableError(text) if trouble_of(error) is Trouble.PASSING else ConfigError(text)


def headers_of(letter: Letter) -> list[tuple[str, bytes]]:
    """The message's own headers, then ours; those of an earlier copy are replaced."""
    origin, failure = letter.origin, letter.failure
    ours = {
        "original.topic": letter.topic,
        "original.partition": origin.partition,
        "original.offset": origin.offset,
        "original.source_id": origin.source_id,
        "original.item": origin.item,
        "error.code": failure.code,
        "error.stage": failure.stage,
        "error.message": failure.message.encode()[:MESSAGE_BYTES].decode(errors="ignore"),
        "uri": letter.uri,
        "product": letter.product,
        "attempts": letter.attempts,
        "at_ms": letter.at_ms,
        "version": version("mediatok"),
    }
    kept = [(name, value) for name, value in letter.headers if not name.startswith(PREFIX)]
    return kept + [(PREFIX + name, str(value).encode()) for name, value in ours.items()]
