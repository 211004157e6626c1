from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from operators.records import MediaReference, Origin
from pipeline.flow.call_times import CallTimes, stage_and_actor
from pipeline.flow.core import LaneSettings
from pipeline.flow.glance import Around
from pipeline.flow.lane import Lane
from pipeline.flow.prepare_stage import PREPARE
from pipeline.flow.watchdog import StallCause
from pipeline.observe.status import StallStatus
from pipeline.records import Message
from pipeline.runtime.hanging import Sighting
from pipeline.runtime.stalls import StallWatch, stacks


class Stuck:
    """A lane whose one worker has had a call ever since."""

    def __init__(self) -> None:
        self.lane = Lane("image", {"a-00000000": "v"}, ["p"], LaneSettings(), random.Random(0), lambda: 0)
        self.times = CallTimes()
        origin = Origin("s", 3, 17, 0)
        self.lane.worker_ready("image/workers/1", (PREPARE, "a-00000000"))
        self.lane.admit(Message(origin, "t", b"", b""), [MediaReference("s3://b/k", origin)], ["a-00000000"], 0.0)
        for action in self.lane.actions(0.0):
            self.times.begin(action.call, *stage_and_actor(action), 0.0)
        driver = SimpleNamespace(times=self.times, pools=[], pids={"image/workers/1": 4711})
        self.run: Any = SimpleNamespace(name="image", lane=self.lane, driver=driver, admitted=1, done_messages=0)

    def looked(self, watch: StallWatch, until_s: int) -> StallStatus | None:
        for second in range(until_s):
            watch.look(self.run, Around(), commits=0, now_s=float(second))
        return watch.look(self.run, Around(), commits=0, now_s=float(until_s))


@pytest.fixture
def stuck() -> Stuck:
    return Stuck()


def test_a_lane_that_is_stuck_is_told_of_once_and_shown_while_it_lasts(stuck: Stuck, tmp_path: Path) -> None:
    watch = StallWatch(tmp_path)
    with capture_logs() as lines:
        stall = stuck.looked(watch, 700)
    assert stall is not None
    assert (stall.cause, stall.lasts_s) == (StallCause.CALL_OVERDUE, 700.0)
    assert [line["event"] for line in lines] == ["lane is stuck"]
    assert lines[0]["dump"] == stall.dump == str(tmp_path / "stall-image.json")


def test_what_led_there_is_written_down(stuck: Stuck, tmp_path: Path) -> None:
    stuck.looked(StallWatch(tmp_path), 700)
    dump = json.loads((tmp_path / "stall-image.json").read_text())
    assert dump["stall"]["cause"] == "call_overdue"
    (call,) = dump["glance"]["calls"]
    assert (call["who"], call["stage"], call["age_s"]) == ("image/workers/1", PREPARE, 600.0)
    assert dump["oldest"][0]["uri"] == "s3://b/k"
    assert dump["oldest"][0]["doing"] == "preparing"
    assert dump["credits"]["windows"]["used_bytes"] == LaneSettings().lease_bytes
    assert dump["pids"] == {"image/workers/1": 4711}
    assert any("test_what_led_there_is_written_down" in "".join(stack) for stack in dump["stacks"].values())


def test_where_a_worker_hangs_stands_there_too(stuck: Stuck, tmp_path: Path) -> None:
    said = {"image/workers/1": Sighting(("in demux",)), "image/workers/2": None}
    workers = {name: SimpleNamespace(name=name, state="ready") for name in said}
    stuck.run.driver.pools.append(SimpleNamespace(name="image/workers", workers=workers, sighting=said.get))
    stuck.looked(StallWatch(tmp_path), 700)
    dump = json.loads((tmp_path / "stall-image.json").read_text())
    assert dump["worker_stacks"] == {"image/workers/1": ["in demux"]}


def test_when_something_finishes_the_stall_is_over(stuck: Stuck, tmp_path: Path) -> None:
    watch = StallWatch(tmp_path)
    stuck.looked(watch, 700)
    stuck.times.end(1, 701.0)
    with capture_logs() as lines:
        assert watch.look(stuck.run, Around(), commits=0, now_s=701.0) is None
    assert [line["event"] for line in lines] == ["lane goes on"]


def test_a_folder_that_cannot_be_written_ends_nothing(stuck: Stuck, tmp_path: Path) -> None:
    with capture_logs() as lines:
        stall = stuck.looked(StallWatch(tmp_path / "absent"), 700)
    assert stall is not None
    assert stall.dump == ""
    assert [line["event"] for line in lines] == ["stall can't be written down", "lane is stuck"]


def test_the_stacks_are_those_of_every_thread() -> None:
    assert any(name.startswith("MainThread") for name in stacks())
