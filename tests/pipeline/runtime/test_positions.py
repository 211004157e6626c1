from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from operators.errors import StoreUnavailableError
from pipeline.graph import LanePlan
from pipeline.records import SourcePartition
from pipeline.runtime import desk as desk_module
from pipeline.runtime.desk import LakeDesk
from pipeline.runtime.positions import LanePositions
from pipeline.source.base import LogEnds
from tests.pipeline.runtime.test_desk import LOG, opened, planned

TIME = "2026-11-24T00:00:00+00:00"
TIME_MS = 1795478400000


def ends(partition: int, latest: int = 90) -> LogEnds:
    return LogEnds(SourcePartition(LOG.source_id, partition), "texts", 3, latest)


def clock(time_ms: int, logs: Sequence[SourcePartition]) -> Mapping[SourcePartition, int]:
    """Partition 1 does not answer."""
    assert time_ms == TIME_MS
    return {log: 50 for log in logs if log.partition != 1}


@pytest.mark.parametrize(("start", "position"), [("earliest", 3), ("latest", 90), (TIME, 50)])
def test_a_lane_starts_where_its_config_says(tmp_path: Path, start: str, position: int) -> None:
    plan = planned(start=start)
    desk = opened(tmp_path, plan)
    assert LanePositions(desk, plan).resolve([ends(0)], clock) == {LOG: position}
    desk.close()


def test_a_log_without_a_clock_is_read_whole(tmp_path: Path) -> None:
    plan = planned(start=TIME)
    desk = opened(tmp_path, plan)
    assert LanePositions(desk, plan).resolve([ends(0)], None) == {LOG: 3}
    desk.close()


@pytest.fixture
def plan() -> LanePlan:
    return planned(start="latest")


@pytest.fixture
def desk(tmp_path: Path, plan: LanePlan) -> LakeDesk:
    return opened(tmp_path, plan)


def test_hundreds_of_logs_are_begun_in_one_version(desk: LakeDesk, plan: LanePlan) -> None:
    positions, before = LanePositions(desk, plan), desk.base_version
    found = positions.resolve([ends(partition, 100 + partition) for partition in range(300)], clock)
    assert found == {ends(partition).log: 100 + partition for partition in range(300)}
    assert desk.base_version == before + 1
    assert positions.resolve([ends(partition, 900) for partition in range(300)], clock) == found
    assert desk.base_version == before + 1


def test_latest_is_latest_for_all_that_begin_together_and_a_later_log_is_owed_whole(
    desk: LakeDesk, plan: LanePlan
) -> None:
    positions = LanePositions(desk, plan)
    assert not positions.begun(LOG.source_id)
    assert set(positions.resolve([ends(0), ends(1)], clock).values()) == {90}
    assert positions.begun(LOG.source_id)
    assert not positions.begun("another")
    assert positions.resolve([ends(1), ends(2)], clock) == {ends(1).log: 90, ends(2).log: 3}


def test_a_log_whose_clock_does_not_answer_is_left_out_and_the_others_are_not(tmp_path: Path) -> None:
    plan = planned(start=TIME)
    desk = opened(tmp_path, plan)
    asked = [ends(0), ends(1), ends(2)]
    assert LanePositions(desk, plan).resolve(asked, clock) == {ends(0).log: 50, ends(2).log: 50}
    desk.close()


def test_a_source_is_not_kept_waiting_by_a_store_that_is_away(
    desk: LakeDesk, plan: LanePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group would take its partitions away if it did not poll."""
    monkeypatch.setattr(desk_module, "TURN_S", 0.05)
    answers = threading.Event()
    desk._thread.submit(answers.wait)
    with pytest.raises(StoreUnavailableError, match="busy"):
        LanePositions(desk, plan).resolve([ends(0)], clock)
    answers.set()
    monkeypatch.setattr(desk_module, "TURN_S", 10.0)
    assert LanePositions(desk, plan).resolve([ends(0)], clock) == {LOG: 90}
