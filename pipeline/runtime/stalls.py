"""Lets each lane's watchdog look once a second; says what it finds, and writes down what led there."""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import structlog

from pipeline.flow.glance import Around, Glance, glance
from pipeline.flow.watchdog import Stall, Watchdog
from pipeline.flow.whereabouts import whereabouts
from pipeline.observe.status import StallStatus
from pipeline.runtime.hanging import AFTER_S
from pipeline.runtime.lane_run import LaneRun

OLDEST_TOLD = 10

_log = structlog.get_logger(__name__)


class StallWatch:
    """See the module.

    Args:
        state_dir: where `stall-<lane>.json` goes, the last one of each lane.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._dogs: dict[str, Watchdog] = {}
        self._dumps: dict[str, str] = {}

    def look(self, run: LaneRun, around: Around, commits: int, now_s: float) -> StallStatus | None:
        """A second has passed. Returns the present stall."""
        dog = self._dogs.setdefault(run.name, Watchdog())
        finished = run.driver.times.ended + run.admitted + run.done_messages + commits
        news = dog.look(finished, now_s, lambda: glance(run.lane, run.driver.times, around, now_s))
        if news and dog.stall is not None:
            self._dumps[run.name] = self._dump(run, dog.stall, around, now_s)
            _log.error(
                "lane is stuck",
                lane=run.name,
                cause=dog.stall.cause.value,
                why=dog.stall.cause.explanation,
                detail=dog.stall.detail,
                dump=self._dumps[run.name],
            )
        elif news:
            _log.info("lane goes on", lane=run.name)
        if dog.stall is None:
            return None
        return StallStatus(dog.stall.cause, now_s - dog.stall.since_s, dog.stall.detail, self._dumps[run.name])

    def _dump(self, run: LaneRun, stall: Stall, around: Around, now_s: float) -> str:
        """Returns where; "" where it can't be written: that is no reason to end."""
        path = self._state_dir / f"stall-{run.name}.json"
        try:
            path.write_text(json.dumps(picture(run, stall, around, now_s), indent=1, default=str), encoding="utf-8")
        except OSError as error:
            _log.warning("stall can't be written down", path=str(path), error=str(error))
            return ""
        return str(path)


def picture(run: LaneRun, stall: Stall, around: Around, now_s: float) -> dict[str, Any]:
    """All that could tell why a lane is stuck: as plain values for JSON, times in seconds."""
    lane, core = run.lane, run.lane.core
    seen: Glance = glance(lane, run.driver.times, around, now_s)
    oldest = (whereabouts(lane, entry, now_s) for entry in islice(core.ledger, OLDEST_TOLD))
    ready = lane.prepare.ready
    return {
        "written_at_s": time.time(),
        "lane": run.name,
        "stall": {"cause": stall.cause, "for_s": now_s - stall.since_s, "detail": stall.detail},
        "glance": {**asdict(seen), "packers": sorted(seen.packers)},
        "deadlines_s": {stage: run.driver.times.deadline_s(stage) for stage in seen.p99_s},
        "actions": {call: type(action).__name__ for call, (action, _) in core.calls.items()},
        "credits": {"windows": asdict(core.windows), "tokens": asdict(core.tokens)},
        "spooled_bytes": lane.pack.spooled_bytes,
        "leases": {"ready": len(ready), "delayed": ready.delayed, "parked": dict(ready.parked_by_place)},
        "held_letters": core.failures.held,
        "draining": lane.draining,
        "workers": {pool.name: {w.name: w.state for w in pool.workers.values()} for pool in run.driver.pools},
        "pids": run.driver.pids,
        "oldest": [asdict(found) | {"doing": found.doing.label} for found in oldest],
        "stacks": stacks(),
        "worker_stacks": worker_stacks(run, seen),
    }


def worker_stacks(run: LaneRun, seen: Glance) -> Mapping[str, tuple[str, ...]]:
    """Of workers whose calls take long, the oldest first, wherever they run."""
    late = sorted((call for call in seen.calls if call.age_s >= AFTER_S), key=lambda call: -call.age_s)
    pools = {name: pool for pool in run.driver.pools for name in pool.workers}
    found = {call.who: pools[call.who].sighting(call.who) for call in late[:OLDEST_TOLD] if call.who in pools}
    return {who: sighting.stack for who, sighting in found.items() if sighting is not None}


def stacks() -> Mapping[str, list[str]]:
    """Of every Python thread of this process, by name."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        f"{names.get(ident, '?')} ({ident})": traceback.format_stack(frame)
        for ident, frame in sys._current_frames().items()  # pyright: ignore[reportPrivateUsage]  documented so
    }
