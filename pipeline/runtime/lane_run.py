"""One lane as it runs: its source, its state machine, its driver."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from enum import StrEnum

import structlog

from operators.errors import (
    FailureShareError,
    InvariantError,
    ProductSupersededError,
    ReferenceMalformedError,
    SourceUnavailableError,
    StopError,
    TopicRecreatedError,
)
from operators.records import Failure, Origin
from pipeline.flow.failures import Excess
from pipeline.flow.lane import Lane
from pipeline.flow.outages import Outage
from pipeline.graph import LanePlan
from pipeline.lake.proposal import PartResult, Reason
from pipeline.records import Sealed, SourcePartition, Task
from pipeline.runtime.desk import CommitResult, LakeDesk
from pipeline.runtime.driver import LaneDriver
from pipeline.runtime.intake import Intake
from pipeline.source.base import Source
from pipeline.source.events import Assigned, EndReached, Event, Exhausted, Hole, Lost, Messages, Revoked, Tasks

POLL_MESSAGES = 500
LATENCIES = 200
"""Messages of a commit whose time since publication is taken, at least where there are as many."""
ASKING_SHARE = 0.1
"""Of the time, at most, goes into asking a broker that does not answer: meanwhile nothing else moves."""
MOST_UNASKED_S = 30.0
"""After that it is asked all the same: commits wait no longer for a broker that is back."""

_log = structlog.get_logger(__name__)


class Ended(StrEnum):
    """How an item ended without rows."""

    LETTER = "letter"
    EMPTY = "empty"
    VOID = "void"


class LaneRun:
    """See the module. A lane that stops with an error drains; the others go on.

    Args:
        clock: seconds, from any beginning.
    """

    def __init__(
        self,
        plan: LanePlan,
        lane: Lane,
        driver: LaneDriver,
        source: Source,
        intake: Intake,
        desk: LakeDesk,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = plan.name
        self.plan = plan
        self.lane = lane
        self.driver = driver
        self.source = source
        self.error: StopError | None = None
        self.admitted = 0
        self.done_messages = 0
        self.items: Counter[str] = Counter()
        self.committed_rows: Counter[str] = Counter()
        self.committed_tokens: Counter[str] = Counter()
        self.committed_bytes: Counter[str] = Counter()
        self.outcomes: Counter[tuple[Ended, str, str]] = Counter()
        self._keys = plan.keys
        self._intake = intake
        self._desk = desk
        self._clock = clock
        self._asks_at_s = -math.inf
        self._paused = False
        self._assigned: set[SourcePartition] = set()
        self._at_end: set[SourcePartition] = set()
        self._exhausted = False
        self._down: dict[str, Outage] = {}
        self.paused_times = 0
        self._latencies_s: deque[float] = deque(maxlen=10 * LATENCIES)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to read and nothing on its way to a packer."""
        at_end = self._exhausted or (bool(self._assigned) and self._assigned <= self._at_end)
        return self.error is not None or (at_end and not self.lane.works)

    @property
    def paused(self) -> bool:
        """Whether its partitions are paused."""
        return self._paused

    @property
    def lag(self) -> int:
        """Messages that the source has and this lane has not read."""
        return sum(self.source.lag().values())

    def poll(self, now_s: float) -> None:
        """Take what the source has, unless the lane is full; keeps the group membership alive either way."""
        if self.error is not None:
            return
        holds_back = self.lane.holds_back()
        if holds_back != self._paused:
            self._paused = holds_back
            self.paused_times += holds_back
            (self.source.pause if holds_back else self.source.resume)()
            if not self.lane.draining:
                _log.info("source paused" if holds_back else "source resumed", lane=self.name)
        try:
            for event in self.source.poll(POLL_MESSAGES, 0.0):
                self._take(event, now_s)
        except SourceUnavailableError as error:
            _log.warning("source unavailable", lane=self.name, error=str(error))
        except StopError as error:
            self._stop(error)

    def step(self, now_s: float) -> int:
        """Send what can be sent; stop where too many items end as letters."""
        sent = self.driver.step(now_s)
        self._report_outages(now_s)
        if self.error is None and self.lane.excess is not None:
            self._stop(self._too_many(self.lane.excess))
            self.drain(abandon=True)
        return sent

    def drain(self, *, abandon: bool) -> None:
        """Take nothing more; with `abandon`, drop what no worker has begun."""
        self.lane.draining = True
        if abandon:
            dropped = self.lane.abandon_queued()
            _log.info("draining", lane=self.name, dropped_unbegun=dropped)

    def take_sealed(self) -> tuple[Sealed, ...]:
        """What may be committed: nothing while it isn't certain that the topic is still the one that was read.

        A lane that has stopped asks too: a gap in one partition may be the first sign of another topic, and that one's
        messages may have come from other partitions.
        """
        if isinstance(self.error, TopicRecreatedError):
            return self._discard()
        asked_s = self._clock()
        if self.error is None and asked_s < self._asks_at_s:
            return ()
        try:
            self.source.recheck()
        except SourceUnavailableError as error:
            if self.error is None:
                answered_s = self._clock()
                self._asks_at_s = answered_s + min((answered_s - asked_s) / ASKING_SHARE, MOST_UNASKED_S)
                _log.warning("commit waits for the broker", lane=self.name, error=str(error))
                return ()
            # It has to end, and nobody may ever be able to tell: what isn't committed is read again.
            self.lane.revoke(self._assigned)
            return self._discard()
        except StopError as error:
            self._stop(error)
            return self._discard()
        return self.lane.take_sealed()

    def _discard(self) -> tuple[()]:
        """What was read from a topic that is gone must not be committed, whenever it comes out of the packers."""
        if discarded := self.lane.take_sealed():
            _log.error("read from a topic that is gone, or may be: discarded", lane=self.name, parts=len(discarded))
        return ()

    def committed(self, result: CommitResult) -> None:
        """The lake has settled a proposal: what it has is done, what it has not is done again.

        A product that a higher revision has closed takes nothing any more: the lane stops, and what is under way of it
        is given up, while its other products get theirs.
        """
        for part in result.parts:
            if part.sealed.product not in self.lane.views:
                continue
            if part.reason is Reason.PRODUCT_CLOSED:
                self.lane.settled(part.sealed.product, part.sealed.covers)
                if self.error is None:
                    self._stop(_superseded(part.sealed.product))
                continue
            self._note_latencies(part)
            self.done_messages += self.lane.settled(part.sealed.product, part.settled)
            self.lane.redo(part.sealed.product, part.unsettled)
            self._count(part)
        for shard in result.shards:
            if shard.product in self.lane.views:
                self.committed_rows[shard.product] += shard.rows
                self.committed_tokens[shard.product] += shard.tokens
                self.committed_bytes[shard.product] += shard.size_bytes
        for void in result.voids:
            if void.product in self.lane.views:
                self.outcomes[Ended.VOID, void.product, void.reason.value] += void.items
        mine = {log: offset for log, offset in result.positions.items() if log in self._assigned}
        if mine and self.error is None:
            self.source.advise(mine)

    def take_latencies(self) -> list[float]:
        """Seconds from publication to commit of messages done since the last call: evenly spread samples of them."""
        taken = list(self._latencies_s)
        self._latencies_s.clear()
        return taken

    def _note_latencies(self, part: PartResult) -> None:
        """Of messages that owe nothing more than this part; those of a source without timestamps have none."""
        now_ms = time.time() * 1000
        step = max(1, sum(span.count for span in part.settled) // LATENCIES)
        for span in part.settled:
            for start, end in span.ranges:
                for offset in range(start, end, step):
                    entry = self.lane.core.ledger.entry(Origin(*span.log, offset, 0))
                    if entry is None or not entry.message.timestamp_ms:
                        continue
                    if len(entry.uncommitted) == 1 and part.sealed.product in entry.uncommitted:
                        self._latencies_s.append(max(0.0, now_ms - entry.message.timestamp_ms) / 1000)

    def _count(self, part: PartResult) -> None:
        """Its letters and empties that this process brought."""
        brought = {span.log: span.ranges for span in part.admitted}

        def admitted(origin: Origin) -> bool:
            ranges = brought.get(SourcePartition(origin.source_id, origin.partition), ())
            return any(start <= origin.offset < end for start, end in ranges)

        for letter in part.sealed.letters:
            self.outcomes[Ended.LETTER, letter.product, letter.failure.code] += admitted(letter.origin)
        for empty in part.sealed.empties:
            self.outcomes[Ended.EMPTY, empty.product, empty.reason.value] += admitted(empty.origin)

    @property
    def letters(self) -> int:
        """Dead letters that this process has committed, in all products."""
        return sum(count for (ended, _, _), count in self.outcomes.items() if ended is Ended.LETTER)

    def close(self) -> None:
        """Leave the group and stop the actors."""
        self.source.close()
        self.driver.stop()

    def _take(self, event: Event, now_s: float) -> None:
        match event:
            case Messages(messages=messages):
                for message in messages:
                    products = self._desk.owed(message.log, message.origin.offset, self._keys)
                    items = self._intake.items(message)
                    for key in products:
                        self.items[key] += len(items)
                    self.lane.admit(message, items, products, now_s)
                self._at_end -= {message.log for message in messages}
                self.admitted += len(messages)
            case Tasks(tasks=tasks):
                for task in tasks:
                    self._begin(task, now_s)
                self.admitted += len(tasks)
            case Hole(log=log, start=start, end=end, products=products):
                keys = self._keys if products is None else products
                for key in keys:
                    self.items[key] += end - start
                self.lane.hole(log, start, end, keys)
            case Assigned(logs=logs):
                self._assigned |= set(logs)
                self._at_end -= set(logs)
            case Revoked(logs=logs) | Lost(logs=logs):
                self._assigned -= set(logs)
                self.lane.revoke(logs)
            case EndReached(log=log):
                self._at_end.add(log)
            case Exhausted():
                self._exhausted = True
            case _:
                raise InvariantError(f"unknown event {event}")

    def _begin(self, task: Task, now_s: float) -> None:
        items = self._intake.items(task.message)
        for key in task.products:
            self.items[key] += len(items) if task.wanted is None else len(task.wanted[key])
        # A later version of the parser may find fewer items in a message than a former one did.
        most = max((number for wanted in (task.wanted or {}).values() for number in wanted), default=-1)
        missing = [_no_such_item(number) for number in range(len(items), most + 1)]
        self.lane.admit(task.message, (*items, *missing), task.products, now_s, task.wanted)

    def _report_outages(self, now_s: float) -> None:
        """Say once that a place is down, and once that it is not any more."""
        down = self.lane.outages
        if not down and not self._down:
            return
        for place, outage in down.items():
            if place not in self._down:
                _log.warning("place is down, its items wait", lane=self.name, place=place, error=outage.error)
        for place, outage in self._down.items():
            if place not in down:
                lasted_s = round(now_s - outage.since_s, 1)
                _log.info("place is up again, or given up", lane=self.name, place=place, lasted_s=lasted_s)
        self._down = dict(down)

    def _too_many(self, excess: Excess) -> FailureShareError:
        settings = self.lane.core.settings.failures
        codes = ", ".join(f"{code.count} {code.code} (e.g. {code.uri})" for code in excess.codes)
        return FailureShareError(
            f"{excess.letters} of the last {excess.ended} items of {excess.product} ({excess.share:.0%}) ended as "
            f"letters, above lanes.{self.name}.failures.most_share ({settings.most_share:g}): {codes}. None that is "
            "still held was committed: the next run does these items again. Mend the cause and run again; if so many "
            f"must fail, raise lanes.{self.name}.failures.most_share"
        )

    def _stop(self, error: StopError) -> None:
        _log.error("lane stopped", lane=self.name, code=error.code, error=str(error))
        self.error = error
        self.lane.draining = True
        if isinstance(error, TopicRecreatedError):
            self.lane.revoke(self._assigned)


def _no_such_item(number: int) -> Failure:
    return ReferenceMalformedError(f"message: has no item {number} any more").failure()


def _superseded(product: str) -> ProductSupersededError:
    return ProductSupersededError(
        f"{product}: a process with a higher revision has closed it; raise `revision` here too, or let that process run"
    )
