from __future__ import annotations

import math

from pipeline.flow.prepare_stage import PREPARE
from pipeline.simulate.clock import Timeline
from pipeline.simulate.scaling.replica import TOKENIZE, Job, Replica
from pipeline.simulate.scaling.theory import ONE_BY_ONE


def test_a_draining_worker_finishes_what_it_has_and_gets_nothing_more() -> None:
    timeline = Timeline()
    replica = Replica(timeline, ONE_BY_ONE)
    leaving = replica.hire(PREPARE)
    replica.hire(TOKENIZE)
    for _ in range(2):
        replica.offer(Job((10.0,), (0.0,)))
    timeline.run(1.0)
    replica.retire(PREPARE, 1)
    timeline.run(100.0)
    # What it was at is done, at its time; the other one waits for somebody else.
    assert [visit.left_s for visit in replica.visits] == [10.0, None]
    assert replica.workers(PREPARE) == []
    assert replica.hire(PREPARE) != leaving
    timeline.run(math.inf)
    assert replica.visits[1].left_s == 110.0
