"""Rebalances: which partitions are ours, and from where each is read.

In all three protocols the start is given together with the assignment, inside the callback: a `seek` there fails,
and after it a message from elsewhere may have come already. A partition whose start can't be told at the moment (its
leader or the lake does not answer) is left out and tried again; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from operators.errors import OffsetGapError, SourceUnavailableError, StopError, TopicRecreatedError, TransientError
from pipeline.records import SourcePartition
from pipeline.source.base import LogEnds, Positions
from pipeline.source.events import Assigned, Event, Lost, Revoked
from pipeline.source.kafka_offsets import Key, Offsets
from pipeline.source.progress import Progress

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Place:
    """A partition that is ours."""

    log: SourcePartition
    progress: Progress
    paused: bool = False


class Assignment:
    """What the group has given us. Its methods are callbacks of the consumer, run by the thread that polls.

    Attributes:
        places: what is being read.
        waiting: ours too, but not read yet.
        events: filled as things happen; the source hands them on.
        failure: why the source must stop.
        paused: whether partitions that come are paused at once.
    """

    def __init__(
        self,
        positions: Positions,
        offsets: Offsets,
        *,
        incremental: bool,
        topic_ids: bool,
        request_timeout_s: float,
    ) -> None:
        self.places: dict[Key, Place] = {}
        self.waiting: set[Key] = set()
        self.events: list[Event] = []
        self.failure: StopError | None = None
        self.paused = False
        self.source_ids: Mapping[str, str] = {}
        self.recheck: Callable[[], None] = lambda: None
        self._positions = positions
        self._offsets = offsets
        self._incremental = incremental
        self._topic_ids = topic_ids
        self._request_timeout_s = request_timeout_s

    def on_assign(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """The group gives us partitions."""
        keys = [(partition.topic, partition.partition) for partition in partitions]
        self.waiting.update(keys)
        self._place(consumer, keys)

    def on_revoke(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """The group takes partitions back."""
        self.events.append(Revoked(self._leave(consumer, partitions)))

    def on_lost(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """We were too late: others have them already."""
        self.events.append(Lost(self._leave(consumer, partitions)))

    def gone(self) -> None:
        """The consumer has ended, and with it the membership."""
        self.waiting.clear()
        if self.places:
            self.events.append(Lost(tuple(place.log for place in self.places.values())))
            self.places.clear()

    def retry(self, consumer: Consumer) -> None:
        """Try again to place what waits."""
        if self.waiting:
            self._place(consumer, sorted(self.waiting))

    def pause(self, consumer: Consumer) -> None:
        """All that is ours, and all that comes."""
        self.paused = True
        still = {key: place for key, place in self.places.items() if not place.paused}
        consumer.pause([TopicPartition(*key) for key in still])
        for place in still.values():
            place.paused = True

    def resume(self, consumer: Consumer) -> None:
        """Undo `pause`."""
        self.paused = False
        held = {key: place for key, place in self.places.items() if place.paused}
        consumer.resume([TopicPartition(*key) for key in held])
        for place in held.values():
            place.paused = False

    def _place(self, consumer: Consumer, keys: Sequence[Key]) -> None:
        found: dict[Key, Place] = {}
        starts: list[TopicPartition] = []
        try:
            self.recheck()
            found = self._locate(keys)
            epochs = self._committed_epochs(consumer, list(found))
            for key, place in found.items():
                expected = place.progress.expected
                starts.append(_start(key, expected, epochs.get((*key, expected))))
        except TransientError as error:
            _log.warning("no start for partitions yet", partitions=len(keys), error=str(error))
        except StopError as error:
            self.failure = error
            found, starts = {}, []
        self.waiting.difference_update(found)
        if self._incremental:
            consumer.incremental_assign(starts)
        else:
            held = [_start(key, place.progress.expected, None) for key, place in self.places.items()]
            consumer.assign(held + starts)
        self.places.update(found)
        if found:
            self.events.append(Assigned(tuple(place.log for place in found.values())))
        self._pause_anew(consumer, found)

    def _pause_anew(self, consumer: Consumer, come: Iterable[Key]) -> None:
        if not self.paused:
            # Taken away while it was paused, a partition would come back paused.
            consumer.resume([TopicPartition(*key) for key in come])
            return
        # An eager assignment as a whole forgets what was paused before.
        consumer.pause([TopicPartition(*key) for key in self.places])
        for place in self.places.values():
            place.paused = True

    def _locate(self, keys: Sequence[Key]) -> dict[Key, Place]:
        """Those of these partitions whose start can be told, with it."""
        ends = self._offsets.ends([*keys, *self._siblings(keys)])
        logs = {key: LogEnds(self._log_of(key), key[0], *each) for key, each in ends.items()}
        positions = self._positions.resolve(list(logs.values()), self._at_time)
        found: dict[Key, Place] = {}
        for key in keys:
            if key in logs and (position := positions.get(logs[key].log)) is not None:
                self.check_range(key, position, *ends[key])
                found[key] = Place(logs[key].log, Progress(position, ends[key][1]))
        return found

    def _siblings(self, keys: Sequence[Key]) -> Sequence[Key]:
        """The other partitions of the topics that the lake meets for the first time: they get their `from` now too,
        or "latest" would be the log's start for those that another replica asks for a moment later.
        """
        topics = sorted({topic for topic, _ in keys})
        new = [topic for topic in topics if not self._positions.begun(self.source_ids[topic])]
        return sorted({key for topic in new for key in self._offsets.partitions(topic)}.difference(keys))

    def _at_time(self, time_ms: int, logs: Sequence[SourcePartition]) -> Mapping[SourcePartition, int]:
        topics = {source_id: topic for topic, source_id in self.source_ids.items()}
        keys = {(topics[log.source_id], log.partition): log for log in logs}
        return {keys[key]: offset for key, offset in self._offsets.at_time(time_ms, keys).items()}

    def _log_of(self, key: Key) -> SourcePartition:
        return SourcePartition(self.source_ids[key[0]], key[1])

    def out_of_range(self, key: Key) -> StopError:
        """The broker no longer has the position of this partition: what exactly is missing."""
        position = self.places[key].progress.expected
        try:
            # A shorter topic under the same name looks like a log that was cut.
            self.recheck()
            for ends in self._offsets.ends([key]).values():
                self.check_range(key, position, *ends)
        except StopError as error:
            return error
        except SourceUnavailableError as error:
            _log.warning("nobody can tell why an offset is refused", topic=key[0], partition=key[1], error=str(error))
        return OffsetGapError(
            f"topic {key[0]!r} partition {key[1]}: the broker refuses offset {position}, which is the next to read; "
            f"`mediatok skip LAKE {self.source_ids[key[0]]}/{key[1]} FIRST END` accepts a loss"
        )

    def check_range(self, key: Key, position: int, earliest: int, latest: int) -> None:
        """Whether a position lies in [earliest, latest].

        Raises:
            OffsetGapError: it lies below, or the log was cut above.
            TopicRecreatedError: it lies above, and without topic ids the log may be another one.
        """
        where = f"topic {key[0]!r} partition {key[1]}"
        log = f"{self.source_ids[key[0]]}/{key[1]}"
        if position < earliest:
            raise OffsetGapError(
                f"offsets {position}..{earliest - 1} of {where} are gone before they were read (retention, or deleted "
                f"records); `mediatok skip LAKE {log} {position} {earliest}` accepts the loss"
            )
        if position > latest and self._topic_ids:
            raise OffsetGapError(
                f"{where} was truncated: it ends at {latest}, but was read up to {position}; "
                "other messages would come under offsets that the lake has; make the topic anew to go on"
            )
        if position > latest:
            raise TopicRecreatedError(
                f"{where} ends at {latest}, but was read up to {position}: it was made anew or truncated. If it was "
                "made anew, raise `source_epoch` to read it as a new source"
            )

    def _committed_epochs(self, consumer: Consumer, keys: Sequence[Key]) -> Mapping[tuple[str, int, int], int]:
        """(topic, partition, offset) -> leader epoch, as committed with our own advice: where the lake is just there,
        the broker can tell whether the log was cut in between. Only a help, so no answer is none.
        """
        wanted = [TopicPartition(*key) for key in keys]
        try:
            answers = consumer.committed(wanted, timeout=self._request_timeout_s) if wanted else []
        except KafkaException as error:
            _log.debug("no committed leader epochs", error=error.args[0].str())
            return {}
        epochs: Any = {(answer.topic, answer.partition, answer.offset): answer.leader_epoch for answer in answers}
        return {at: epoch for at, epoch in epochs.items() if epoch is not None}

    def _leave(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> tuple[SourcePartition, ...]:
        keys = [(partition.topic, partition.partition) for partition in partitions]
        self.waiting.difference_update(keys)
        left = {key: place for key in keys if (place := self.places.pop(key, None)) is not None}
        if self._incremental:
            consumer.incremental_unassign([TopicPartition(*key) for key in left])
        else:
            consumer.unassign()
        return tuple(place.log for place in left.values())


def _start(key: Key, offset: int, leader_epoch: int | None) -> TopicPartition:
    if leader_epoch is None:
        return TopicPartition(*key, offset)
    return TopicPartition(*key, offset, leader_epoch=leader_epoch)
