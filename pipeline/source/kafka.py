"""Messages from Kafka, each partition read from where the lake says. See the README beside this file."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from operators.errors import ConfigError, OffsetGapError, SourceUnavailableError, StopError
from operators.records import Origin
from pipeline.records import Message, SourcePartition
from pipeline.source.base import Positions
from pipeline.source.events import EndReached, Event, Hole, Messages
from pipeline.source.kafka_assign import Assignment, Place
from pipeline.source.kafka_config import KafkaConfig, consumer_properties, refused
from pipeline.source.kafka_errors import Trouble, trouble_of
from pipeline.source.kafka_offsets import Key, Offsets
from pipeline.source.kafka_topics import TopicIds, TopicsMissingError

_RETRY_S: Final = 1.0
_log = structlog.get_logger(__name__)


class KafkaSource:
    """A `Source` over some topics, as a member of a consumer group.

    Raises:
        ConfigError: a property that librdkafka does not take, or that contradicts ours.
    """

    def __init__(
        self, config: KafkaConfig, positions: Positions, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._clock = clock
        self._resolved = consumer_properties(config)
        properties = dict[str, Any](self._resolved.values)
        properties |= {"error_cb": self._on_error, "on_commit": _on_commit, "logger": logging.getLogger("librdkafka")}
        try:
            self._topics = TopicIds(config, self._resolved, self._on_error)
            self._make_consumer = functools.partial(Consumer, properties)
            self._consumer = self._make_consumer()
        except (KafkaException, ValueError, TypeError) as error:
            raise refused(error, self._resolved) from error
        self._assignment = Assignment(
            positions,
            Offsets(
                self._topics.admin,
                committed_only=self._resolved.values.get("isolation.level") != "read_uncommitted",
                timeout_s=config.request_timeout_s,
            ),
            incremental=self._resolved.incremental,
            topic_ids=config.topic_ids,
            request_timeout_s=config.request_timeout_s,
        )
        self._assignment.recheck = self.recheck
        _log.info("kafka source", topics=config.topics, properties=self._resolved.shown())
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="kafka-topics")
        self._identifying: Future[Mapping[str, str]] | None = None
        self._next_try_s = clock()
        self._trouble_since_s: float | None = clock()  # until the topics are known
        self._subscribed = False
        self._name_held_since_s: float | None = None
        self._rejoins = False
        self._seen = False
        self._closed = False

    def poll(self, max_messages: int, timeout_s: float) -> list[Event]:
        """See `Source.poll`."""
        if self._closed:
            return []
        self._raise_failure()
        if not self._subscribed and not self._subscribe(timeout_s):
            return []
        self._look_after()
        # The first message ends the wait; then whatever else is there already. One by one with what the callbacks
        # do: a message in hand while its partition is given away and back would look like one far ahead.
        got = self._consume(1, timeout_s)
        if got and max_messages > 1:
            self._consume(max_messages - got, 0.0)
        events, self._assignment.events = self._assignment.events, []
        if not events:
            self._raise_failure()
        return _joined(events)

    def pause(self) -> None:
        """See `Source.pause`."""
        if not self._closed:
            self._assignment.pause(self._consumer)

    def resume(self) -> None:
        """See `Source.resume`."""
        if not self._closed:
            self._assignment.resume(self._consumer)

    def recheck(self) -> None:
        """See `Source.recheck`. Asks the broker; some ms."""
        if not self._subscribed or self._closed:
            return
        try:
            self._topics.recheck(self._assignment.source_ids)
        except TopicsMissingError:
            # With KIP-848 nothing else tells of a deletion: its partitions are revoked, and that is all.
            if self._trouble_since_s is None:
                self._trouble_since_s = self._clock()
            raise

    def advise(self, positions: Mapping[SourcePartition, int]) -> None:
        """Commit offsets to Kafka, for lag monitors."""
        offsets = [
            _commit(key, positions[place.log], place.progress.leader_epoch(positions[place.log]))
            for key, place in self._assignment.places.items()
            if place.log in positions
        ]
        if not offsets or self._closed:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            _log.info("offsets not committed to kafka", error=error.args[0].str())

    def lag(self) -> Mapping[SourcePartition, int]:
        """See `Source.lag`. Of a paused partition as of its last fetch."""
        return {place.log: self._lag(key, place) for key, place in self._assignment.places.items()}

    def close(self) -> None:
        """Leave the group. What the group says to that is not handed on."""
        if self._closed:
            return
        self._closed = True
        self._executor.shutdown(cancel_futures=True)
        self._consumer.close()

    def _lag(self, key: Key, place: Place) -> int:
        if not self._closed:
            place.progress.latest = max(
                place.progress.latest, self._consumer.get_watermark_offsets(TopicPartition(*key), cached=True)[1]
            )
        return place.progress.lag

    def _subscribe(self, timeout_s: float) -> bool:
        """Find out what the topics are, beside the polling thread; then join the group."""
        now_s = self._clock()
        if self._identifying is None:
            if now_s < self._next_try_s:
                time.sleep(min(timeout_s, self._next_try_s - now_s))
                return False
            self._identifying = self._executor.submit(self._topics.identify)
        try:
            found = self._identifying.result(timeout_s)
        except TimeoutError:
            return False
        except SourceUnavailableError as error:
            self._identifying = None
            self._next_try_s = self._clock() + _RETRY_S
            self._still_waiting(error)
            return False
        except StopError as error:
            raise self._failed(error) from error
        self._trouble_since_s = None
        self._assignment.source_ids = found
        self._join()
        self._subscribed = True
        return True

    def _join(self) -> None:
        callbacks = self._assignment
        self._consumer.subscribe(
            list(callbacks.source_ids),
            on_assign=callbacks.on_assign,
            on_revoke=callbacks.on_revoke,
            on_lost=callbacks.on_lost,
        )

    def _rejoin(self) -> None:
        """As another consumer: this one has ended with an error."""
        self._rejoins = False
        self._consumer.close()
        self._assignment.gone()
        self._consumer = self._make_consumer()
        self._join()

    def _look_after(self) -> None:
        """Once a second: a name that was held, partitions that have no start yet, topics that were reported missing."""
        now_s = self._clock()
        if now_s < self._next_try_s:
            return
        self._next_try_s = now_s + _RETRY_S
        if self._assignment.places:
            self._name_held_since_s = None
        if self._rejoins:
            self._rejoin()
        self._assignment.retry(self._consumer)
        if self._trouble_since_s is None:
            return
        try:
            self.recheck()
        except SourceUnavailableError as error:
            self._still_waiting(error)
        except StopError as error:
            raise self._failed(error) from error
        else:
            self._trouble_since_s = None

    def _still_waiting(self, error: SourceUnavailableError) -> None:
        now_s = self._clock()
        since_s = self._trouble_since_s if self._trouble_since_s is not None else now_s
        self._trouble_since_s = since_s
        waited_s = now_s - since_s
        if waited_s < self._config.topic_wait_s:
            _log.info("waiting for kafka", waited_s=round(waited_s, 1), reason=str(error))
        elif isinstance(error, TopicsMissingError):
            raise self._failed(ConfigError(f"topics: {error}, for {waited_s:.0f} s now")) from error
        else:
            self._trouble_since_s = None  # say so once in a while, and go on trying
            raise error

    def _consume(self, max_messages: int, timeout_s: float) -> int:
        try:
            batch: Sequence[KafkaMessage] = self._consumer.consume(max_messages, timeout_s)
        except KafkaException as error:
            self._take_error(error.args[0], None)
            return 0
        good: list[Message] = []
        for raw in batch:
            key = (raw.topic() or "", raw.partition() or 0)
            error = raw.error()
            if error is not None:
                self._flush(good)
                self._take_error(error, raw)
            elif (place := self._assignment.places.get(key)) is not None:
                self._take_message(raw, place, good)
        self._flush(good)
        return len(batch)

    def _flush(self, good: list[Message]) -> None:
        if good:
            self._assignment.events.append(Messages(tuple(good)))
            good.clear()

    def _take_message(self, raw: KafkaMessage, place: Place, good: list[Message]) -> None:
        offset = raw.offset() or 0
        hole = place.progress.see(offset, raw.leader_epoch())
        if hole is None:
            return
        if hole[0] < hole[1]:
            self._flush(good)
            self._assignment.events.append(Hole(place.log, *hole))
        self._seen = True
        good.append(message_of(raw, place.log, offset))

    def _take_error(self, error: KafkaError, raw: KafkaMessage | None) -> None:
        key = None if raw is None else (raw.topic() or "", raw.partition() or 0)
        place = None if key is None else self._assignment.places.get(key)
        trouble = trouble_of(error)
        if trouble is Trouble.END:
            if place is not None and raw is not None:
                hole = place.progress.reach(raw.offset() or 0)
                if hole[0] < hole[1]:
                    self._assignment.events.append(Hole(place.log, *hole))
                self._assignment.events.append(EndReached(place.log, hole[1]))
        elif trouble is Trouble.OUT_OF_RANGE and key is not None and place is not None:
            self._failed(self._assignment.out_of_range(key))
        elif trouble is Trouble.TRUNCATED and key is not None:
            self._failed(
                OffsetGapError(
                    f"topic {key[0]!r} partition {key[1]} was truncated and went on differently: {error.str()}; "
                    "other messages would come under offsets that the lake has; make the topic anew to go on"
                )
            )
        else:
            self._on_error(error)

    def _on_error(self, error: KafkaError) -> None:
        """What belongs to no partition, of the consumer and of the admin client."""
        trouble = trouble_of(error)
        text = self._resolved.scrub(error.str())
        seen = self._seen or bool(self._assignment.places)
        if trouble is Trouble.NAME_HELD:
            self._wait_for_name(text)
        elif trouble is Trouble.FENCED:
            self._failed(
                ConfigError(
                    f"kafka: fenced: another member of the group took over group.instance.id {self._instance!r}: "
                    f"{text}; give each replica its own. What this one had not committed is the other's now"
                )
            )
        elif trouble is Trouble.REFUSED or (trouble is Trouble.REFUSED_UNLESS_SEEN and not seen):
            self._failed(ConfigError(f"kafka ({self._resolved.values['bootstrap.servers']}): {error.name()}: {text}"))
        elif trouble is Trouble.UNKNOWN_TOPIC and self._trouble_since_s is None:
            self._trouble_since_s = self._clock()
            _log.warning("kafka does not know a topic", error=text)
        else:
            _log.warning("kafka", error=error.name(), message=text)

    def _wait_for_name(self, text: str) -> None:
        """KIP-848 refuses a second member of one static name, even if the first has died, until its session is over."""
        now_s = self._clock()
        if self._name_held_since_s is None:
            self._name_held_since_s = now_s
        if now_s - self._name_held_since_s < self._config.name_wait_s:
            _log.warning("waiting for the group to release our name", instance=self._instance, message=text)
            self._rejoins = True
        else:
            self._failed(
                ConfigError(
                    f"kafka: group.instance.id {self._instance!r} is held by another member of the group for "
                    f"{now_s - self._name_held_since_s:.0f} s now, longer than the session of one that died: {text}; "
                    "give each replica its own"
                )
            )

    @property
    def _instance(self) -> str:
        return str(self._resolved.values.get("group.instance.id", ""))

    def _failed(self, error: StopError) -> StopError:
        if self._assignment.failure is None:
            self._assignment.failure = error
        return self._assignment.failure

    def _raise_failure(self) -> None:
        if self._assignment.failure is not None:
            raise self._assignment.failure


def message_of(raw: KafkaMessage, log: SourcePartition, offset: int) -> Message:
    """As it came."""
    kind, timestamp_ms = raw.timestamp()
    headers: Any = raw.headers() or ()
    key: Any = raw.key()
    value: Any = raw.value()
    return Message(
        origin=Origin(log.source_id, log.partition, offset, 0),
        topic=raw.topic() or "",
        key=key,
        value=value,
        headers=tuple((name, content or b"") for name, content in headers),
        timestamp_ms=timestamp_ms if kind else 0,
    )


def _joined(events: list[Event]) -> list[Event]:
    """Neighbouring messages as one event."""
    joined: list[Event] = []
    for event in events:
        last = joined[-1] if joined else None
        if isinstance(event, Messages) and isinstance(last, Messages):
            joined[-1] = Messages(last.messages + event.messages)
        else:
            joined.append(event)
    return joined


def _commit(key: Key, offset: int, leader_epoch: int | None) -> TopicPartition:
    if leader_epoch is None:
        return TopicPartition(*key, offset)
    return TopicPartition(*key, offset, leader_epoch=leader_epoch)


def _on_commit(error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
    if error is not None:
        _log.info("offsets not committed to kafka", error=error.str(), partitions=len(partitions))
