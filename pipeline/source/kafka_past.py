"""Messages from Kafka that were there before a product began: given stretches of partitions, read once, outside any
group.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from operators.errors import ConfigError, SourceUnavailableError, StopError, TransientError
from pipeline.flow.ranges import Ranges, intersection
from pipeline.records import SourcePartition, Task
from pipeline.source.base import LogEnds, OffsetsAt
from pipeline.source.events import Assigned, EndReached, Event, Exhausted, Hole, Tasks
from pipeline.source.kafka import message_of
from pipeline.source.kafka_config import KafkaConfig, consumer_properties, refused
from pipeline.source.kafka_errors import Trouble, trouble_of
from pipeline.source.kafka_offsets import Key, Offsets
from pipeline.source.kafka_topics import TopicIds, TopicsMissingError
from pipeline.source.progress import Progress

_RETRY_S: Final = 1.0
_log = structlog.get_logger(__name__)

Owed = Mapping[str, Ranges]
"""By product (key), the offsets of a log that are to be read for it."""
AskOwed = Callable[[Sequence[LogEnds], OffsetsAt], Mapping[SourcePartition, Owed]]
"""What is owed of these logs; those that owe nothing may be left out. Raises SourceUnavailableError, where a clock does
not answer, or StoreUnavailableError."""


@dataclass(slots=True)
class _Stretch:
    """A partition that is read.

    Attributes:
        end: one past the last offset that is wanted.
        gone: offsets that retention took while it was read.
    """

    log: SourcePartition
    owed: Owed
    progress: Progress
    end: int
    gone: int = 0

    @property
    def done(self) -> bool:
        return self.progress.expected >= self.end

    def products(self, start: int, end: int) -> tuple[str, ...]:
        """Those that are owed something of [start, end)."""
        return tuple(key for key, ranges in self.owed.items() if intersection(ranges, ((start, end),)))


class KafkaPast:
    """A `Source` over what `owed` says, that ends.

    Args:
        config: which topics; a group's id is not used.
        owed: asked once, when the topics are known.

    Raises:
        ConfigError: a property that librdkafka does not take, or that contradicts ours.
    """

    def __init__(self, config: KafkaConfig, owed: AskOwed, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._owed = owed
        self._clock = clock
        self._resolved = consumer_properties(config)
        properties = dict[str, Any](self._resolved.values)
        properties |= {"error_cb": self._on_error, "logger": logging.getLogger("librdkafka")}
        try:
            self._topics = TopicIds(config, self._resolved, self._on_error)
            self._consumer = Consumer(properties)
        except (KafkaException, ValueError, TypeError) as error:
            raise refused(error, self._resolved) from error
        committed_only = self._resolved.values.get("isolation.level") != "read_uncommitted"
        self._offsets = Offsets(self._topics.admin, committed_only=committed_only, timeout_s=config.request_timeout_s)
        self._source_ids: Mapping[str, str] = {}
        self._stretches: dict[Key, _Stretch] = {}
        self._failure: StopError | None = None
        self._begun = self._exhausted = self._paused = self._closed = False
        self._since_s = self._retry_at_s = clock()

    def poll(self, max_messages: int, timeout_s: float) -> list[Event]:
        """See `Source.poll`."""
        if self._failure is not None:
            raise self._failure
        if self._exhausted or self._closed or self._clock() < self._retry_at_s:
            time.sleep(timeout_s)
            return []
        events: list[Event] = []
        if not self._begun:
            try:
                events += self._begin()
            except TransientError as error:
                self._wait(error)
                return []
            except StopError as error:
                self._failure = error
                raise
        events += self._read(max_messages, timeout_s)
        if all(stretch.done for stretch in self._stretches.values()):
            self._exhausted = True
            events.append(Exhausted())
        if self._failure is not None and not events:
            raise self._failure
        return events

    def pause(self) -> None:
        """See `Source.pause`."""
        self._paused = True
        self._consumer.pause([TopicPartition(*key) for key in self._reading()])

    def resume(self) -> None:
        """See `Source.resume`."""
        self._paused = False
        self._consumer.resume([TopicPartition(*key) for key in self._reading()])

    def recheck(self) -> None:
        """See `Source.recheck`."""
        if self._begun and not self._closed:
            self._topics.recheck(self._source_ids)

    def advise(self, positions: Mapping[SourcePartition, int]) -> None:
        """A lag monitor looks at the live run."""

    def lag(self) -> Mapping[SourcePartition, int]:
        """See `Source.lag`."""
        return {each.log: max(0, each.end - each.progress.expected) for each in self._stretches.values()}

    def close(self) -> None:
        """See `Source.close`."""
        if not self._closed:
            self._closed = True
            self._consumer.close()

    @property
    def gone(self) -> Mapping[SourcePartition, int]:
        """Offsets that retention took while they were waiting to be read."""
        return {each.log: each.gone for each in self._stretches.values() if each.gone}

    def _wait(self, error: TransientError) -> None:
        now_s = self._clock()
        if isinstance(error, TopicsMissingError) and now_s - self._since_s >= self._config.topic_wait_s:
            self._failure = ConfigError(f"topics: {error}")
            raise self._failure from error
        _log.warning("waits for kafka or the lake", error=str(error))
        self._retry_at_s = now_s + _RETRY_S

    def _begin(self) -> list[Event]:
        self._source_ids = self._topics.identify()
        keys = [key for topic in self._config.topics for key in self._offsets.partitions(topic)]
        found = self._offsets.ends(keys)
        if missing := [key for key in keys if key not in found]:
            raise SourceUnavailableError(f"no leader answers for {missing[0][0]!r} partition {missing[0][1]}")
        ends = {key: LogEnds(self._log(key), key[0], *found[key]) for key in keys}
        owed = self._owed(list(ends.values()), self._at_time)
        for key, each in ends.items():
            ranges = [range_ for some in owed.get(each.log, {}).values() for range_ in some]
            # What was owed beyond its end is another log's, or was cut off: nobody can read it.
            end = min(max((end for _, end in ranges), default=0), each.latest)
            start = min((start for start, _ in ranges), default=end)
            if start < end:
                self._stretches[key] = _Stretch(each.log, owed[each.log], Progress(start, end), end)
        self._assign()
        self._begun = True
        return [Assigned(tuple(each.log for each in self._stretches.values()))] if self._stretches else []

    def _log(self, key: Key) -> SourcePartition:
        return SourcePartition(self._source_ids[key[0]], key[1])

    def _at_time(self, time_ms: int, logs: Sequence[SourcePartition]) -> Mapping[SourcePartition, int]:
        topics = {source_id: topic for topic, source_id in self._source_ids.items()}
        keys = {log: (topics[log.source_id], log.partition) for log in logs}
        found = self._offsets.at_time(time_ms, keys.values())
        return {log: found[key] for log, key in keys.items() if key in found}

    def _reading(self) -> list[Key]:
        return [key for key, stretch in self._stretches.items() if not stretch.done]

    def _read(self, max_messages: int, timeout_s: float) -> list[Event]:
        try:
            batch: Sequence[KafkaMessage] = self._consumer.consume(max_messages, timeout_s)
        except KafkaException as error:
            self._on_error(error.args[0])
            return []
        events: list[Event] = []
        for raw in batch:
            key = (raw.topic() or "", raw.partition() or 0)
            stretch, error = self._stretches.get(key), raw.error()
            if stretch is None or stretch.done:
                continue
            if error is None:
                events += self._message(raw, stretch)
            elif trouble_of(error) is Trouble.END:
                events += self._hole(stretch, stretch.progress.reach(min(raw.offset() or 0, stretch.end)))
            elif trouble_of(error) is Trouble.OUT_OF_RANGE:
                self._overtaken(key, stretch)
            else:
                self._on_error(error)
            if stretch.done:
                self._consumer.pause([TopicPartition(*key)])
                events.append(EndReached(stretch.log, stretch.end))
        return events

    def _message(self, raw: KafkaMessage, stretch: _Stretch) -> list[Event]:
        offset = raw.offset() or 0
        if offset >= stretch.end:
            return self._hole(stretch, stretch.progress.reach(stretch.end))
        hole = stretch.progress.see(offset)
        if hole is None:
            return []
        events = self._hole(stretch, hole)
        products = stretch.products(offset, offset + 1)
        if products:
            events.append(Tasks((Task(message_of(raw, stretch.log, offset), products),)))
        return events

    def _hole(self, stretch: _Stretch, hole: tuple[int, int]) -> list[Event]:
        """What of it is owed, for each product."""
        return [
            Hole(stretch.log, start, end, (key,))
            for key, ranges in stretch.owed.items()
            for start, end in intersection(ranges, (hole,) if hole[0] < hole[1] else ())
        ]

    def _overtaken(self, key: Key, stretch: _Stretch) -> None:
        """Retention was faster: go on where the log begins now."""
        ends = self._offsets.ends([key]).get(key)
        if ends is None:
            self._retry_at_s = self._clock() + _RETRY_S
        else:
            first, last = stretch.progress.expected, min(max(ends[0], stretch.progress.expected), stretch.end)
            stretch.gone += last - first
            stretch.progress.expected = last
            _log.warning("gone before they were read", topic=key[0], partition=key[1], first=first, last=last - 1)
        self._assign()

    def _assign(self) -> None:
        """As a whole: it forgets what was paused."""
        keys = self._reading()
        self._consumer.assign([TopicPartition(*key, self._stretches[key].progress.expected) for key in keys])
        if self._paused:
            self.pause()

    def _on_error(self, error: KafkaError) -> None:
        trouble = trouble_of(error)
        text = self._resolved.scrub(error.str())
        if trouble in {Trouble.REFUSED, Trouble.REFUSED_UNLESS_SEEN, Trouble.UNKNOWN_TOPIC}:
            where = self._resolved.values["bootstrap.servers"]
            self._failure = self._failure or ConfigError(f"kafka ({where}): {error.name()}: {text}")
        else:
            _log.warning("kafka", error=error.name(), message=text)
