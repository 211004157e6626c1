"""The simulated operator: a person who reads errors, and does what they say after a while."""

from __future__ import annotations

from collections.abc import Callable

from operators.errors import StoreUnavailableError
from operators.records import VoidReason
from pipeline.lake.delta import Skip
from pipeline.lake.proposal import Proposal
from pipeline.records import Span
from pipeline.simulate.consumer import Gap, GapFoundError
from pipeline.simulate.desk import Desk, Work
from pipeline.simulate.faults import Step
from pipeline.simulate.mistakes import rules_for
from pipeline.simulate.world import World

READS_S = (0.5, 5.0)


class Person:
    """See the module."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._busy = set[Gap]()

    @property
    def busy(self) -> bool:
        """Whether something was read and not done yet."""
        return bool(self._busy)

    def told(self, error: GapFoundError) -> None:
        """A lane has stopped and says why."""
        gap = error.gap
        if gap in self._busy:
            return
        self._busy.add(gap)
        act = self._make_anew if gap.missing is None else self._skip
        self._world.timeline.after(self._world.rng.uniform(*READS_S), lambda: act(gap))

    def _make_anew(self, gap: Gap) -> None:
        """A log was cut: the topic is made anew."""
        self._busy.discard(gap)
        if self._world.broker.source_id == gap.log.source_id:
            self._world.faults.seen["topic made anew by hand"] += 1
            self._world.broker.recreate(self._world.now_s, longer=False)

    def _skip(self, gap: Gap) -> None:
        """`mediatok skip`."""
        store = self._world.store

        def ignore(step: Step) -> None:
            del step

        desk = Desk(store, "person", rules_for(self._world.mistake), ignore, self._world.mistake)
        self._carry_out(self._skipping(desk, gap), lambda: self._busy.discard(gap))

    def _skipping(self, desk: Desk, gap: Gap) -> Work:
        assert gap.missing is not None
        yield from desk.load()
        keys = [
            key for key, each in desk.state.products.items() if each.open and desk.state.start(key, gap.log) is not None
        ]
        span = Span(gap.log, (gap.missing,))
        yield from desk.try_commit(Proposal(skips=tuple(Skip(key, span, VoidReason.EXPIRED) for key in keys)))
        self._world.faults.seen["gap skipped by hand"] += 1

    def _carry_out(self, work: Work, done: Callable[[], None]) -> None:
        """A command that fails is given again."""

        def advance() -> None:
            try:
                delay_s = next(work, None)
            except StoreUnavailableError:
                done()
                return
            if delay_s is None:
                done()
            else:
                self._world.timeline.after(delay_s, advance)

        advance()
