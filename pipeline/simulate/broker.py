"""The simulated broker: a topic's logs, what becomes of them, and a group whose partitions move."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.records import SourcePartition
from pipeline.simulate.media import Media
from pipeline.simulate.publish import Producers, Published

PUBLISHED_S = 9.0
"""Messages appear during this long."""


@dataclass(slots=True)
class SimulatedLog:
    """One partition of a topic, or a listing.

    Attributes:
        messages: that are in it, and those that will be, ascending. Offsets between are control records.
        appears_s: when it comes into being.
        start: nothing below it is there any more (retention).
        cuts: by leader epoch, from 1 on, where an unclean election cut it.
        deleted: with its topic.
        gone: what was in it once and is not any more, whyever.
        expired, compacted, cut: offsets that lost what they held to retention, to compaction, to an unclean election.
    """

    log: SourcePartition
    messages: list[Published]
    appears_s: float = 0.0
    start: int = 0
    cuts: list[int] = field(default_factory=list[int])
    deleted: bool = False
    gone: list[Published] = field(default_factory=list[Published])
    expired: set[int] = field(default_factory=set[int])
    compacted: set[int] = field(default_factory=set[int])
    cut: set[int] = field(default_factory=set[int])
    _least_end: int = 0

    @property
    def epoch(self) -> int:
        """Of its leader."""
        return len(self.cuts)

    def end(self, now_s: float) -> int:
        """One past the last offset that is there now."""
        last = next((one.end for one in reversed(self.messages) if one.at_s <= now_s), 0)
        return max(last, self._least_end)

    def there(self, now_s: float) -> list[Published]:
        """What it holds now."""
        return [one for one in self.messages if one.at_s <= now_s]

    def read(self, position: int, now_s: float, most: int) -> list[Published]:
        """Messages from `position` on that are there now."""
        return [one for one in self.messages if one.offset >= position and one.at_s <= now_s][:most]

    def ever(self) -> Iterator[Published]:
        """All that could ever be read from it; two of one offset after an unclean election."""
        yield from self.messages
        yield from self.gone

    # --- what becomes of it

    def compact(self, one: Published, now_s: float) -> None:
        """A message that a newer one of its key has replaced is taken away."""
        self._least_end = self.end(now_s)
        self.messages.remove(one)
        self.gone.append(one)
        self.compacted.add(one.offset)

    def expire(self, start: int, now_s: float) -> None:
        """Retention takes everything below `start`."""
        self._least_end = self.end(now_s)
        old = [one for one in self.messages if one.offset < start]
        self.gone += old
        self.expired.update(one.offset for one in old)
        self.messages = [one for one in self.messages if one.offset >= start]
        self.start = max(self.start, start)

    def cut_at(self, offset: int, now_s: float, extra: Published | None) -> None:
        """An unclean election: what is there from `offset` on is lost, and others come under the same offsets."""
        self.cut.update(range(offset, self.end(now_s)))
        lost = [one for one in self.there(now_s) if one.offset >= offset]
        coming = [one for one in self.messages if one.at_s > now_s]
        self.messages = [one for one in self.messages if one not in lost and one not in coming]
        self.gone += lost
        self.cuts.append(offset)
        self._least_end = offset
        at = offset
        for one in ([extra] if extra is not None else []) + coming:
            self.messages.append(one.moved(self.log, at))
            at = self.messages[-1].end


@dataclass(slots=True)
class Broker:
    """One topic, listings beside it, the group's assignment, and the offsets that it was told.

    Attributes:
        source_id: of the topic that is there now.
        logs: all that there ever were.
        missing_until_s: the topic has been deleted and is made anew only then.
        owner: by partition, the coordinator that the group gave it to.
        advised: offsets committed to Kafka.
    """

    rng: random.Random
    producers: Producers
    source_id: str = "topic-1"
    logs: dict[SourcePartition, SimulatedLog] = field(default_factory=dict[SourcePartition, SimulatedLog])
    missing_until_s: float = 0.0
    owner: dict[int, int] = field(default_factory=dict[int, int])
    advised: dict[SourcePartition, int] = field(default_factory=dict[SourcePartition, int])
    _made: int = 1

    @property
    def media(self) -> dict[str, Media]:
        """By uri, what it leads to."""
        return self.producers.media

    def draw(self) -> None:
        """One to three partitions; a later one may appear in mid-run."""
        for partition in range(self.rng.randint(1, 3)):
            log = SourcePartition(self.source_id, partition)
            appears_s = self.rng.uniform(0.0, PUBLISHED_S / 2) if partition and self.rng.random() < 0.3 else 0.0
            count = self.rng.randint(2, 8)
            messages = self.producers.log(log, appears_s or -1.0, PUBLISHED_S, count)
            self.logs[log] = SimulatedLog(log, messages, appears_s)

    def log_of(self, partition: int) -> SimulatedLog:
        """The partition of the topic that is there now."""
        return self.logs[SourcePartition(self.source_id, partition)]

    def partitions(self, now_s: float) -> list[int]:
        """Of the topic that is there now."""
        own = (log for log in self.logs.values() if log.log.source_id == self.source_id)
        return [log.log.partition for log in own if log.appears_s <= now_s]

    def missing(self, now_s: float) -> bool:
        """Whether there is no topic of the name at the moment."""
        return now_s < self.missing_until_s

    def owned_by(self, coordinator: int) -> list[int]:
        """Its partitions."""
        return [partition for partition, owner in self.owner.items() if owner == coordinator]

    def recreate(self, now_s: float, *, longer: bool) -> None:
        """The topic is deleted and made anew, with what comes from now on; `longer` than anyone's position at once."""
        self._made += 1
        old_id, self.source_id = self.source_id, f"topic-{self._made}"
        self.missing_until_s = now_s + self.rng.choice((0.0, 0.0, 2.0))
        for old in [log for log in self.logs.values() if log.log.source_id == old_id]:
            coming = [one for one in old.messages if one.at_s > now_s]
            old.messages, old.deleted = old.there(now_s), True
            log = SourcePartition(self.source_id, old.log.partition)
            new = SimulatedLog(log, [], old.appears_s)
            self.logs[log] = new
            fresh = old.end(now_s) + self.rng.randint(1, 2) if longer and old.appears_s <= now_s else 0
            for offset in range(fresh):
                new.messages.append(self.producers.message(log, offset, now_s))
            at = fresh
            for one in coming:
                new.messages.append(one.moved(log, at))
                at = new.messages[-1].end
