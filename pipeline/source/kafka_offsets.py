"""Where logs begin and end, and which offset a time means: some requests for any number of partitions.

The admin client asks, since a consumer answers nobody but the thread that polls it while that is in a callback.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage]  documented, and exported by the package
)

from operators.errors import SourceUnavailableError

Key = tuple[str, int]
"""Topic and partition."""

_log = structlog.get_logger(__name__)


class Offsets:
    """See the module. May be called by any thread.

    Args:
        admin: of the brokers.
        committed_only: a log ends before the first transaction that is open: where the consumer reads no further.
        timeout_s: of each request.
    """

    def __init__(self, admin: AdminClient, *, committed_only: bool, timeout_s: float) -> None:
        self._admin = admin
        self._isolation = IsolationLevel.READ_COMMITTED if committed_only else IsolationLevel.READ_UNCOMMITTED
        self._timeout_s = timeout_s

    def partitions(self, topic: str) -> Sequence[Key]:
        """All that a topic has.

        Raises:
            SourceUnavailableError: no broker answers.
        """
        try:
            metadata = self._admin.list_topics(topic, timeout=self._timeout_s)
        except KafkaException as error:
            raise SourceUnavailableError(f"topic {topic!r}: {error.args[0].str()}") from error
        return [(topic, number) for number in sorted(metadata.topics[topic].partitions)]

    def ends(self, keys: Iterable[Key]) -> Mapping[Key, tuple[int, int]]:
        """Each log holds [first, last). Left out are those whose leader does not answer."""
        keys = list(keys)
        earliest, latest = self._list(keys, OffsetSpec.earliest()), self._list(keys, OffsetSpec.latest())
        return {key: (earliest[key], latest[key]) for key in keys if key in earliest and key in latest}

    def at_time(self, time_ms: int, keys: Iterable[Key]) -> Mapping[Key, int]:
        """The first offsets whose messages are not older; where all are, the log's end. Left out as in `ends`."""
        keys = list(keys)
        found = self._list(keys, OffsetSpec.for_timestamp(time_ms))
        late = [key for key, offset in found.items() if offset < 0]
        ends = self._list(late, OffsetSpec.latest())
        return {key: offset for key, offset in ({**found, **ends}).items() if offset >= 0}

    def _list(self, keys: Sequence[Key], which: OffsetSpec | None) -> Mapping[Key, int]:
        if not keys:
            return {}
        wanted: Any = {TopicPartition(*key): which for key in keys}
        futures: Any = self._admin.list_offsets(
            wanted, isolation_level=self._isolation, request_timeout=self._timeout_s
        )
        found: dict[Key, int] = {}
        for partition, future in futures.items():
            try:
                found[partition.topic, partition.partition] = future.result(self._timeout_s + 1.0).offset
            except (KafkaException, TimeoutError) as error:
                said = error.args[0].str() if isinstance(error, KafkaException) else "no answer"
                _log.warning("no offset", topic=partition.topic, partition=partition.partition, error=said)
        return found
