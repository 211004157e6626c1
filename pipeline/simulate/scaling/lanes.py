"""Random lanes, exact: budgets too small for what they hold, slow and dying workers. Does one get stuck?"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import partial

from pipeline.flow.core import LaneSettings
from pipeline.flow.prepare_stage import PREPARE
from pipeline.simulate.clock import Timeline
from pipeline.simulate.scaling.replica import TOKENIZE, Job, Replica

STAGES = (PREPARE, TOKENIZE)
REFERENCES = 20
LASTS_S = 10_000.0
REHIRE_S = 3.0


@dataclass(frozen=True, slots=True)
class LaneVerdict:
    """Of one lane: references that never left, and bytes that were never given back."""

    seed: int
    left_over: int
    held_bytes: int
    waits: str


def judge_lane(seed: int) -> LaneVerdict:
    """Run one until nothing happens any more."""
    rng, timeline = random.Random(seed), Timeline()  # noqa: S311  reproducible, no secret
    replica = Replica(timeline, _settings(rng), segment_bytes=rng.choice((1, 5, 40)))
    for stage in STAGES:
        for _ in range(rng.randint(1, 3)):
            timeline.after(rng.uniform(0.0, 5.0), partial(_hire, replica, stage))
    at_s = 0.0
    for _ in range(REFERENCES):
        at_s += rng.choice((0.0, rng.expovariate(1.0)))
        timeline.after(at_s, partial(replica.offer, _job(rng)))
    # Too few deaths for anybody to be blamed for three.
    for _ in range(rng.randint(0, 2)):
        timeline.after(rng.uniform(1.0, at_s + 5.0), partial(_die, replica, timeline, rng.choice(STAGES)))
    timeline.run(LASTS_S)
    core = replica.lane.core
    left_over = sum(visit.left_s is None for visit in replica.visits)
    return LaneVerdict(seed, left_over, core.windows.used_bytes + core.tokens.used_bytes, str(dict(core.waits)))


def _settings(rng: random.Random) -> LaneSettings:
    """Limits as small as they can be, and smaller than that."""
    return LaneSettings(
        prepare_batch=rng.choice((1, 3, 8)),
        tokenize_windows=rng.choice((1, 4, 16)),
        batch_wait_s=rng.choice((0.0, 0.05, 1.0)),
        lease_bytes=rng.choice((1, 10)),
        window_bytes=rng.choice((1, 10, 100)),
        token_bytes=rng.choice((1, 10, 100)),
        worker_slots=rng.choice((1, 2)),
    )


def _job(rng: random.Random) -> Job:
    """Mostly of one segment; some are long."""
    segments = rng.choice((1, 1, 1, rng.randint(2, 12)))
    return Job(
        tuple(math.exp(rng.gauss(-1.0, 1.5)) for _ in range(segments)),
        tuple(math.exp(rng.gauss(-1.0, 1.0)) for _ in range(segments)),
    )


def _die(replica: Replica, timeline: Timeline, stage: str) -> None:
    """One of the stage's workers dies; another comes."""
    serving = replica.workers(stage)
    if serving:
        replica.kill(serving[0])
        timeline.after(REHIRE_S, partial(_hire, replica, stage))


def _hire(replica: Replica, stage: str) -> None:
    replica.hire(stage)
