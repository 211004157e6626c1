from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.scale.decide import decide
from pipeline.scale.records import Decision, PoolLimits, PoolMemory, PoolSignals, ScaleReason

CALM = PoolSignals(
    queued_items=0,
    queued_units=0,
    in_flight_units=0,
    upstream_items=0,
    workers_ready=0,
    workers_starting=0,
    workers_draining=0,
    arrived_items=0,
    finished_items=0,
    busy_s=0.0,
    window_s=1.0,
)
TEN_A_SECOND = PoolMemory(finished_items=1000, items=200.0, busy_s=20.0)

counts = st.integers(0, 500)
signals = st.builds(
    PoolSignals,
    queued_items=counts,
    queued_units=counts,
    in_flight_units=st.integers(0, 50),
    upstream_items=counts,
    workers_ready=st.integers(0, 40),
    workers_starting=st.integers(0, 5),
    workers_draining=st.integers(0, 5),
    arrived_items=counts,
    finished_items=counts,
    busy_s=st.floats(0, 40),
    window_s=st.floats(0.1, 10),
)
limits = st.builds(
    lambda low, more, feasible: PoolLimits(low, max(1, low + more), feasible),
    st.integers(0, 5),
    st.integers(0, 40),
    st.none() | st.integers(0, 50),
)
moments = st.none() | st.floats(0, 1000)
memories = st.builds(
    PoolMemory,
    finished_items=st.integers(0, 100),
    items=st.floats(0, 1000),
    busy_s=st.floats(0, 100),
    arrival_hz=st.floats(0, 1000),
    idle_since_s=moments,
    low_since_s=moments,
    low_peak=st.integers(0, 40),
    cold_since_s=moments,
)


@dataclass
class Pool:
    """A fluid queue with `decide` in the loop: one step is one second."""

    limits: PoolLimits
    service_hz: float = 10.0
    start_s: int = 3
    ready: int = 0
    queue: float = 0.0
    now_s: int = 0
    starting: list[int] = field(default_factory=list)
    memory: PoolMemory = field(default_factory=PoolMemory)
    sizes: list[int] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    carry: float = 0.0
    rest: float = 0.0

    def step(self, arrivals_hz: float) -> None:
        self.now_s += 1
        self.ready += sum(1 for at in self.starting if at <= self.now_s)
        self.starting = [at for at in self.starting if at > self.now_s]
        arrived, self.carry = divmod(self.carry + arrivals_hz, 1)
        self.queue += arrived
        done, self.rest = divmod(min(self.queue, self.ready * self.service_hz) + self.rest, 1)
        done = min(done, self.queue)
        self.queue -= done
        busy = min(self.ready, round(done / self.service_hz + 0.499)) if not self.queue else self.ready
        seen = PoolSignals(
            queued_items=int(self.queue),
            queued_units=int(self.queue),
            in_flight_units=busy,
            upstream_items=0,
            workers_ready=self.ready,
            workers_starting=len(self.starting),
            workers_draining=0,
            arrived_items=int(arrived),
            finished_items=int(done),
            busy_s=done / self.service_hz,
            window_s=1.0,
        )
        decision = decide(seen, self.limits, self.memory, float(self.now_s))
        self.memory = decision.memory
        have = self.ready + len(self.starting)
        if decision.target_workers > have:
            self.starting += [self.now_s + self.start_s] * (decision.target_workers - have)
        elif decision.target_workers < have:
            self.ready = max(0, self.ready - (have - decision.target_workers))
        self.sizes.append(decision.target_workers)
        self.decisions.append(decision)

    def run(self, seconds: int, arrivals_hz: float) -> list[int]:
        """The sizes of these seconds."""
        for _ in range(seconds):
            self.step(arrivals_hz)
        return self.sizes[-seconds:]


def reversals(sizes: list[int]) -> int:
    """How often the direction of change turned."""
    moves = [b > a for a, b in pairwise(sizes) if a != b]
    return sum(a != b for a, b in pairwise(moves))


@given(signals, limits, memories, st.floats(1000, 2000))
def test_no_decision_leaves_the_limits(seen: PoolSignals, bounds: PoolLimits, memory: PoolMemory, now_s: float) -> None:
    target = decide(seen, bounds, memory, now_s).target_workers
    room = bounds.max_workers if bounds.feasible_workers is None else min(bounds.max_workers, bounds.feasible_workers)
    assert min(bounds.min_workers, room) <= target <= room


@given(signals, limits, memories, st.floats(1000, 2000))
def test_equal_arguments_give_equal_decisions(
    seen: PoolSignals, bounds: PoolLimits, memory: PoolMemory, now_s: float
) -> None:
    assert decide(seen, bounds, memory, now_s) == decide(seen, bounds, memory, now_s)


@given(signals, limits, memories, st.floats(1000, 2000))
def test_the_reason_says_which_way_a_pool_moved(
    seen: PoolSignals, bounds: PoolLimits, memory: PoolMemory, now_s: float
) -> None:
    decision = decide(seen, bounds, memory, now_s)
    moved = decision.target_workers - seen.workers
    if decision.reason.startswith("up_"):
        assert moved > 0
    elif decision.reason.startswith("down_"):
        assert moved < 0
    elif decision.reason.startswith("hold_"):
        assert moved == 0
    assert decision.reason.explanation


@given(signals, limits, memories, st.floats(1000, 2000))
def test_no_worker_leaves_while_a_backlog_drains(
    seen: PoolSignals, bounds: PoolLimits, memory: PoolMemory, now_s: float
) -> None:
    memory = replace(memory, finished_items=100, items=100.0, busy_s=10.0)
    seen = replace(seen, finished_items=10, busy_s=1.0, queued_items=seen.workers * 20 + 21)
    room = bounds.max_workers if bounds.feasible_workers is None else min(bounds.max_workers, bounds.feasible_workers)
    assume(seen.workers <= room)
    assert decide(seen, bounds, memory, now_s).target_workers >= seen.workers


@given(st.floats(0.05, 300), st.integers(1, 60), st.sampled_from([0, 1, 3]))
@settings(max_examples=60, deadline=None)
def test_constant_load_is_met_in_a_few_moves_and_never_rocks_the_pool(hz: float, at_first: int, least: int) -> None:
    pool = Pool(PoolLimits(least, 64), ready=max(at_first, least))
    sizes = pool.run(400, hz)
    changes = sum(a != b for a, b in pairwise(sizes))
    assert reversals(sizes) <= 1
    assert changes <= 8
    assert len(set(sizes[-200:])) == 1, "still moving after 200 s of constant load"
    assert sizes[-1] * pool.service_hz >= hz or pool.decisions[-1].reason == ScaleReason.CLAMPED_MAX
    assert pool.queue <= max(1.0, hz)


@given(st.integers(1, 60), st.floats(0.1, 400))
@settings(max_examples=60, deadline=None)
def test_once_sized_for_a_load_it_stays_so(workers: int, load: float) -> None:
    bounds = PoolLimits(1, 10_000, growth=1e9, memory_s=20.0, down_after_s=0.0)
    memory = replace(TEN_A_SECOND, arrival_hz=load * 10)
    seen = replace(CALM, arrived_items=1, window_s=1e-9, workers_ready=workers, in_flight_units=workers)
    seen = replace(seen, upstream_items=1, queued_units=10_000)
    first = decide(replace(seen, window_s=1.0), bounds, memory, 1.0)
    settled = replace(seen, workers_ready=first.target_workers, in_flight_units=first.target_workers, window_s=1.0)
    again = decide(settled, bounds, replace(memory, low_since_s=None), 2.0)
    assert again.target_workers == first.target_workers


def test_a_burst_grows_the_pool_and_then_it_returns() -> None:
    pool = Pool(PoolLimits(1, 32), ready=1)
    pool.run(60, 4.0)
    assert pool.sizes[-1] == 1
    pool.queue += 2000
    burst = pool.run(60, 4.0)
    assert max(burst) >= 6
    assert pool.queue == 0
    after = pool.run(200, 4.0)
    assert after[-1] == 1
    assert reversals(burst + after) == 1


def test_it_goes_to_zero_only_when_idle_and_comes_back_with_the_first_item() -> None:
    pool = Pool(PoolLimits(0, 8, idle_s=20.0), ready=2)
    pool.run(60, 15.0)
    sizes = pool.run(19, 0.0)
    assert min(sizes) >= 1
    assert pool.run(60, 0.0)[-1] == 0
    assert pool.decisions[-1].reason == ScaleReason.HOLD_IDLE
    assert ScaleReason.DOWN_IDLE in {decision.reason for decision in pool.decisions}
    pool.step(1.0)
    assert pool.sizes[-1] == 1
    assert pool.decisions[-1].reason == ScaleReason.UP_FROM_ZERO


def test_a_pool_that_slept_still_knows_its_speed() -> None:
    seen = replace(CALM, queued_items=600, queued_units=600, arrived_items=600)
    assert decide(seen, PoolLimits(0, 32), TEN_A_SECOND, 9e9).target_workers > 4
    assert decide(seen, PoolLimits(0, 32), PoolMemory(), 9e9).target_workers == 1


Why = ScaleReason
WIDE = PoolLimits(0, 64)
QUIET = replace(CALM, workers_ready=9, arrived_items=1)


def test_the_wait_before_shrinking_begins_when_the_backlog_is_gone() -> None:
    backlogged = decide(replace(QUIET, upstream_items=500), PoolLimits(0, 64), TEN_A_SECOND, 5.0)
    assert backlogged.memory.low_since_s is None
    assert decide(QUIET, PoolLimits(0, 64), backlogged.memory, 9.0).memory.low_since_s == 9.0


def test_a_load_that_one_worker_fewer_could_carry_is_still_in_the_dead_zone() -> None:
    seen = replace(CALM, workers_ready=4, in_flight_units=2, arrived_items=20)
    decision = decide(seen, PoolLimits(0, 64), replace(TEN_A_SECOND, arrival_hz=20.0), 1.0)
    assert (decision.load, decision.reason) == (pytest.approx(2.0), ScaleReason.HOLD_DEAD_ZONE)


def test_a_pool_that_became_slower_is_seen_to_be_so() -> None:
    pool = Pool(PoolLimits(1, 64), ready=1)
    assert pool.run(120, 6.0)[-1] == 1
    pool.service_hz = 1.0
    assert pool.run(200, 6.0)[-1] >= 7
    assert pool.queue <= 6
    assert pool.decisions[-1].load == pytest.approx(6.0, rel=0.1)


def test_workers_lost_meanwhile_start_the_wait_for_shrinking_anew() -> None:
    memory = replace(TEN_A_SECOND, low_since_s=0.0, low_peak=9)
    decision = decide(QUIET, PoolLimits(0, 64), memory, 100.0)
    assert (decision.target_workers, decision.reason) == (9, ScaleReason.HOLD_HYSTERESIS)
    assert decide(QUIET, PoolLimits(0, 64), decision.memory, 130.0).target_workers == 1


BUSY = replace(CALM, queued_items=1000, queued_units=1000, workers_ready=2, in_flight_units=2, arrived_items=20)


@pytest.mark.parametrize(
    ("seen", "bounds", "memory", "target", "reason"),
    [
        (CALM, PoolLimits(0, 4), PoolMemory(), 0, Why.HOLD_IDLE),
        (CALM, PoolLimits(2, 4), PoolMemory(), 2, Why.UP_MINIMUM),
        (CALM, PoolLimits(2, 4, 1), PoolMemory(), 1, Why.CLAMPED_CAPACITY),
        (replace(CALM, upstream_items=1), PoolLimits(0, 4), PoolMemory(), 1, Why.UP_FROM_ZERO),
        (BUSY, WIDE, TEN_A_SECOND, 8, Why.UP_BACKLOG),
        (BUSY, PoolLimits(0, 5), TEN_A_SECOND, 5, Why.CLAMPED_MAX),
        (BUSY, PoolLimits(0, 5, 3), TEN_A_SECOND, 3, Why.CLAMPED_CAPACITY),
        (BUSY, PoolLimits(0, 5, 1), TEN_A_SECOND, 1, Why.CLAMPED_CAPACITY),
        (replace(BUSY, workers_starting=1), WIDE, TEN_A_SECOND, 3, Why.HOLD_STARTING),
        (replace(BUSY, in_flight_units=1), WIDE, TEN_A_SECOND, 2, Why.HOLD_NOT_BOTTLENECK),
        (replace(BUSY, queued_units=3), WIDE, TEN_A_SECOND, 5, Why.UP_BACKLOG),
        (
            replace(BUSY, queued_units=3, queued_items=3),
            WIDE,
            replace(TEN_A_SECOND, arrival_hz=10.0),
            2,
            Why.HOLD_DEAD_ZONE,
        ),
        (replace(BUSY, queued_units=0), WIDE, replace(TEN_A_SECOND, arrival_hz=90.0), 2, Why.HOLD_FEW_UNITS),
        (BUSY, WIDE, PoolMemory(), 2, Why.HOLD_COLD),
        (BUSY, WIDE, PoolMemory(cold_since_s=0.0), 3, Why.UP_COLD),
        (replace(BUSY, workers_ready=30, in_flight_units=30), WIDE, TEN_A_SECOND, 30, Why.HOLD_DRAINING_BACKLOG),
        (replace(CALM, workers_ready=9, upstream_items=500), WIDE, TEN_A_SECOND, 9, Why.HOLD_DRAINING_BACKLOG),
        (replace(CALM, workers_ready=9, arrived_items=1), WIDE, TEN_A_SECOND, 9, Why.HOLD_HYSTERESIS),
        (
            replace(CALM, workers_ready=9, arrived_items=1),
            WIDE,
            replace(TEN_A_SECOND, low_since_s=0.0),
            1,
            Why.DOWN_OVERSIZED,
        ),
        (
            replace(CALM, workers_ready=9, arrived_items=1),
            WIDE,
            replace(TEN_A_SECOND, low_since_s=0.0, low_peak=4),
            4,
            Why.DOWN_OVERSIZED,
        ),
        (replace(CALM, workers_ready=9), PoolLimits(3, 64), PoolMemory(idle_since_s=0.0), 3, Why.DOWN_IDLE),
        (replace(CALM, workers_ready=1, in_flight_units=1), WIDE, PoolMemory(idle_since_s=0.0), 1, Why.HOLD_COLD),
    ],
)
def test_each_situation_has_its_reason(
    seen: PoolSignals, bounds: PoolLimits, memory: PoolMemory, target: int, reason: ScaleReason
) -> None:
    decision = decide(seen, bounds, memory, 100.0)
    assert (decision.target_workers, decision.reason) == (target, reason)


@pytest.mark.parametrize("wrong", [{"min_workers": 3, "max_workers": 2}, {"min_workers": 0, "max_workers": 0}])
def test_limits_that_contradict_each_other_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="min_workers"):
        PoolLimits(**wrong)
    with pytest.raises(ValueError, match="target"):
        PoolLimits(0, 1, target=0.4)
