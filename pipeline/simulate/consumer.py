"""What `pipeline.source.kafka` does, on the simulated broker: places, holes and repeats, and when it must stop.

It remembers the topic's id from when it joined; what it fetches comes from whatever topic has the name now.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from operators.errors import OffsetGapError, SourceUnavailableError, TopicRecreatedError
from pipeline.records import Range, SourcePartition
from pipeline.simulate.broker import Broker, SimulatedLog
from pipeline.simulate.publish import Published
from pipeline.source.progress import Progress


@dataclass(frozen=True, slots=True)
class Gap:
    """What a lane stopped for, as its error says it.

    Attributes:
        missing: offsets that retention took, for `mediatok skip`; None where the log was cut.
    """

    log: SourcePartition
    missing: Range | None


class GapFoundError(OffsetGapError):
    """An `OffsetGapError` that can be read by a program: people read its text."""

    def __init__(self, gap: Gap) -> None:
        super().__init__(str(gap))
        self.gap = gap


@dataclass(slots=True)
class _Place:
    log: SourcePartition
    progress: Progress
    epoch: int


class Consumer:
    """See the module.

    Args:
        broker: it reads from.
        checks_ids: compares topic ids; not to is a mistake.
    """

    def __init__(self, broker: Broker, *, checks_ids: bool) -> None:
        self._broker = broker
        self._checks_ids = checks_ids
        self.source_id = ""
        self.places: dict[int, _Place] = {}

    def log(self, partition: int) -> SourcePartition:
        """What a partition is called in the lake."""
        return SourcePartition(self.source_id, partition)

    def identify(self, now_s: float) -> None:
        """Find out which topic it is; then join the group.

        Raises:
            SourceUnavailableError: there is none at the moment.
        """
        if self._broker.missing(now_s):
            raise SourceUnavailableError("no such topic")
        self.source_id = self._broker.source_id

    def recheck(self, now_s: float) -> None:
        """Is the topic still the one that was identified?

        Raises:
            SourceUnavailableError: there is none at the moment.
            TopicRecreatedError: it is another one.
        """
        if not self.source_id or not self._checks_ids:
            return
        if self._broker.missing(now_s):
            raise SourceUnavailableError("no such topic")
        if self._broker.source_id != self.source_id:
            raise TopicRecreatedError(f"{self.source_id} is {self._broker.source_id} now")

    def ends(self, partition: int, now_s: float) -> Range:
        """[earliest, latest) of a partition."""
        log = self._broker.log_of(partition)
        return log.start, log.end(now_s)

    def place(self, partition: int, position: int, now_s: float) -> None:
        """Read a partition from here on.

        Raises:
            OffsetGapError: the position is not there.
        """
        log = self._broker.log_of(partition)
        self._check_range(partition, position, log, now_s)
        self.places[partition] = _Place(self.log(partition), Progress(position, log.end(now_s)), log.epoch)

    def leave(self, partition: int) -> None:
        """It is someone else's."""
        self.places.pop(partition, None)

    def behind(self, now_s: float) -> bool:
        """Whether anything is there that was not given yet."""
        return any(
            place.log.source_id != self._broker.source_id
            or place.progress.expected < self._broker.log_of(partition).end(now_s)
            for partition, place in self.places.items()
        )

    def poll(self, partition: int, now_s: float, most: int, again: int = 0) -> Iterator[Published | Range]:
        """Messages, and holes as ranges of offsets.

        Args:
            again: so many offsets are fetched a second time.

        Raises:
            OffsetGapError: the log has not, or no longer, what comes next.
            TopicRecreatedError: that was so because the topic is another one.
        """
        place = self.places[partition]
        if self._broker.missing(now_s):
            return
        log, progress = self._broker.log_of(partition), place.progress
        self._check_epoch(place, log)
        if not log.start <= progress.expected <= log.end(now_s):
            self.recheck(now_s)
            self._check_range(partition, progress.expected, log, now_s)
        got = log.read(max(log.start, progress.expected - again), now_s, most)
        for one in got:
            hole = progress.see(one.offset)
            if hole is None:
                continue
            if hole[0] < hole[1]:
                yield hole
            # The offset is the broker's; which topic it is of, nobody looks up for each message.
            yield one if place.log == log.log else one.moved(place.log, one.offset)
        if len(got) < most:
            hole = progress.reach(log.end(now_s))
            if hole[0] < hole[1]:
                yield hole

    def _check_epoch(self, place: _Place, log: SimulatedLog) -> None:
        """A fetch names the epoch of what was read last; the broker answers where the log has diverged since."""
        if log.log != place.log:
            return
        if any(cut < place.progress.expected for cut in log.cuts[place.epoch :]):
            raise GapFoundError(Gap(place.log, None))
        place.epoch = log.epoch

    def _check_range(self, partition: int, position: int, log: SimulatedLog, now_s: float) -> None:
        if position < log.start:
            raise GapFoundError(Gap(self.log(partition), (position, log.start)))
        if position > log.end(now_s):
            raise GapFoundError(Gap(self.log(partition), None))
