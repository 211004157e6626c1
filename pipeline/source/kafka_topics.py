"""Which topic a name means: its `source_id`.

`kafka:<topic id>` where the broker gives ids (a topic made anew has another one), else
`kafka-epoch:<32 hex>`, a hash of cluster id, topic and the configured epoch. A broker that does not answer is no broker
without ids: taking it for one would read the whole topic again under another name.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AclOperation,  # pyright: ignore[reportPrivateImportUsage]  documented, and exported by the package
    AdminClient,
)

from operators.errors import ConfigError, SourceUnavailableError, TopicRecreatedError
from pipeline.source.kafka_config import KafkaConfig, Resolved
from pipeline.source.kafka_errors import Trouble, trouble_of

_NO_ID: Final = "AAAAAAAAAAAAAAAAAAAAAA"
"""What brokers before 2.8 say: 16 zero bytes."""


class TopicsMissingError(SourceUnavailableError):
    """Some topics don't exist, at least not yet."""


class TopicIds:
    """Identifies the topics of one lane, at the start and again before each commit. May be called by any thread.

    Attributes:
        admin: the client that it asks with.
    """

    def __init__(self, config: KafkaConfig, resolved: Resolved, on_error: Callable[[KafkaError], None]) -> None:
        self._config = config
        self._resolved = resolved
        properties: dict[str, Any] = {"error_cb": on_error, "logger": logging.getLogger("librdkafka")}
        self.admin = AdminClient(properties | dict(resolved.client()))

    def identify(self) -> Mapping[str, str]:
        """Topic -> source_id, for all topics.

        Raises:
            TopicsMissingError: names them.
            SourceUnavailableError: the broker does not answer.
            ConfigError: it refuses.
        """
        self.admin.poll(0)  # serves the callback for errors
        try:
            return self._by_id() if self._config.topic_ids else self._by_epoch()
        except KafkaException as error:
            raise self._translated(error) from error

    def unreadable(self) -> tuple[str, ...]:
        """The topics that these credentials may not read, as far as the broker says (KIP-430).

        Raises:
            ConfigError: it refuses to say.
        """
        if not self._config.topic_ids:
            return ()  # a broker that can't describe topics can't tell this either
        futures = self.admin.describe_topics(
            TopicCollection(list(self._config.topics)),
            include_authorized_operations=True,
            request_timeout=self._config.request_timeout_s,
        )
        unreadable: list[str] = []
        for topic, future in futures.items():
            try:
                granted = future.result(self._config.request_timeout_s + 1.0).authorized_operations
            except KafkaException as error:
                raise self._translated(error) from error
            if granted and AclOperation.READ not in granted:
                unreadable.append(topic)
        return tuple(unreadable)

    def recheck(self, known: Mapping[str, str]) -> None:
        """Whether the names still mean the same topics.

        Raises:
            TopicRecreatedError: names those that don't.
            SourceUnavailableError: nobody can tell at present.
        """
        if not self._config.topic_ids:
            return  # an epoch can't tell; a position beyond the log's end does
        found = self.identify()
        changed = [
            f"{topic!r} was {known[topic]}, is {found[topic]}" for topic in known if known[topic] != found[topic]
        ]
        if changed:
            raise TopicRecreatedError(
                f"made anew under the same name: topic {'; '.join(changed)}. What was read since the last commit is "
                "dropped; run again to read the new topic as the new source that it is"
            )

    def _by_id(self) -> Mapping[str, str]:
        futures = self.admin.describe_topics(
            TopicCollection(list(self._config.topics)), request_timeout=self._config.request_timeout_s
        )
        ids: dict[str, str] = {}
        missing: list[str] = []
        for topic in self._config.topics:
            try:
                described = futures[topic].result(self._config.request_timeout_s + 1.0)
                # As Kafka's own tools print it; librdkafka's Base64 has slashes.
                ids[topic] = str(described.topic_id).replace("+", "-").replace("/", "_")
            except KafkaException as error:
                if trouble_of(error.args[0]) is not Trouble.UNKNOWN_TOPIC:
                    raise
                missing.append(topic)
            except TimeoutError as error:
                raise SourceUnavailableError(f"{self._where}: no answer about topic {topic!r}") from error
        self._all_there(missing)
        if _NO_ID in ids.values():
            return self._by_epoch()
        return {topic: f"kafka:{topic_id}" for topic, topic_id in ids.items()}

    def _by_epoch(self) -> Mapping[str, str]:
        metadata = self.admin.list_topics(timeout=self._config.request_timeout_s)
        there = {name for name, topic in metadata.topics.items() if topic.error is None and topic.partitions}
        self._all_there([topic for topic in self._config.topics if topic not in there])
        return {
            topic: epoch_source_id(metadata.cluster_id or "", topic, self._config.source_epoch)
            for topic in self._config.topics
        }

    def _all_there(self, missing: list[str]) -> None:
        if missing:
            raise TopicsMissingError(f"{self._where} has no topic {', '.join(map(repr, missing))}")

    @property
    def _where(self) -> str:
        return f"kafka ({self._resolved.values['bootstrap.servers']})"

    def _translated(self, error: KafkaException) -> ConfigError | SourceUnavailableError:
        kafka_error: KafkaError = error.args[0]
        text = f"{self._where}: {self._resolved.scrub(kafka_error.str())}"
        return ConfigError(text) if trouble_of(kafka_error) is Trouble.REFUSED else SourceUnavailableError(text)


def epoch_source_id(cluster_id: str, topic: str, epoch: str) -> str:
    """The `source_id` where topics have no ids. Deterministic."""
    digest = hashlib.sha256("\0".join((cluster_id, topic, epoch)).encode()).hexdigest()
    return f"kafka-epoch:{digest[:32]}"
