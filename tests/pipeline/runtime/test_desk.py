from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operators.errors import StoreUnavailableError
from operators.records import VoidReason
from operators.tokenize import registry
from pipeline.config import parse_config
from pipeline.graph import LanePlan, plan_lanes
from pipeline.lake.lake import Lake
from pipeline.lake.proposal import Proposal, Verdict
from pipeline.records import Sealed, SourcePartition, Span
from pipeline.runtime import desk as desk_module
from pipeline.runtime.desk import LakeDesk, LanePositions
from tests.pipeline.runtime.running import lanes

LOG = SourcePartition("topic-id", 0)
PRETEND = "tests.pipeline.runtime.pretend:Letters"


def planned(**text: Any) -> LanePlan:
    two = {"first": {"tokenizer": PRETEND}, "second": {"tokenizer": PRETEND}}
    raw = {"lake": "unused", "lanes": lanes(text={"products": two, **text})}
    return plan_lanes(parse_config(raw), registry.build)[0]


@pytest.fixture
def plan() -> LanePlan:
    return planned()


@pytest.fixture
def desk(tmp_path: Path, plan: LanePlan) -> Iterator[LakeDesk]:
    desk = opened(tmp_path, plan)
    yield desk
    desk.close()


def opened(tmp_path: Path, plan: LanePlan) -> LakeDesk:
    desk = LakeDesk(Lake.open(str(tmp_path / "lake")), [plan], keep_added=True)
    desk.open_products()
    return desk


def voids(key: str, start: int, end: int) -> Sealed:
    return Sealed(key, covers=(Span(LOG, ((start, end),)),), voids={VoidReason.TOMBSTONE: end - start})


class Policy:
    def __init__(self, answer: int) -> None:
        self.answer = answer
        self.asked = 0

    def __call__(self) -> int:
        self.asked += 1
        return self.answer


def test_a_from_is_committed_once_and_never_resolved_again(desk: LakeDesk, plan: LanePlan, tmp_path: Path) -> None:
    latest = Policy(7)
    before = desk.base_version
    assert desk.start_of(LOG, plan.keys, 0, latest) == 7
    assert desk.base_version == before + 1
    later = Policy(900)
    assert desk.start_of(LOG, plan.keys, 0, later) == 7
    after_a_crash = opened(tmp_path, plan)
    assert after_a_crash.start_of(LOG, plan.keys, 0, later) == 7
    assert (latest.asked, later.asked) == (1, 0)
    assert after_a_crash.base_version == before + 1
    after_a_crash.close()


def test_a_new_partition_of_a_known_source_is_owed_whole(desk: LakeDesk, plan: LanePlan) -> None:
    desk.start_of(LOG, plan.keys, 0, Policy(7))
    assert desk.start_of(SourcePartition("topic-id", 1), plan.keys, 2, Policy(500)) == 2


def test_what_a_product_has_is_not_owed_to_it_again(desk: LakeDesk, plan: LanePlan, tmp_path: Path) -> None:
    first, second = plan.keys
    desk.start_of(LOG, plan.keys, 0, Policy(2))
    desk.commit([voids(first, 2, 10), voids(second, 2, 4), voids(second, 6, 8)]).result()
    again = opened(tmp_path, plan)
    assert again.start_of(LOG, plan.keys, 0, Policy(0)) == 4
    owed = {offset: again.owed(LOG, offset, plan.keys) for offset in (1, 3, 4, 7, 8, 10)}
    assert owed == {1: (), 3: (), 4: (second,), 7: (), 8: (second,), 10: (first, second)}
    again.close()


def test_a_commit_says_what_the_running_products_still_owe(desk: LakeDesk, plan: LanePlan) -> None:
    first, second = plan.keys
    desk.start_of(LOG, plan.keys, 0, Policy(0))
    done = desk.commit([voids(first, 0, 10), voids(second, 0, 4)]).result()
    assert done.positions == {LOG: 4}
    assert [part.verdict for part in done.parts] == [Verdict.ADMITTED, Verdict.ADMITTED]


def test_a_commit_outlasts_a_store_that_is_away(
    desk: LakeDesk, plan: LanePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.start_of(LOG, plan.keys, 0, Policy(0))
    commit, away = Lake.commit, [StoreUnavailableError("503"), StoreUnavailableError("503")]

    def flaky(lake: Lake, proposal: Proposal) -> Any:
        if away:
            raise away.pop()
        return commit(lake, proposal)

    monkeypatch.setattr(Lake, "commit", flaky)
    monkeypatch.setattr(desk_module, "RETRY_S", 0.01)
    done = desk.commit([voids(key, 0, 3) for key in plan.keys]).result()
    assert not away
    assert done.positions == {LOG: 3}


@pytest.mark.parametrize(("start", "position"), [("earliest", 3), ("latest", 90), ("2026-11-24T00:00:00+00:00", 50)])
def test_a_lane_starts_where_its_config_says(desk: LakeDesk, start: str, position: int) -> None:
    positions = LanePositions(desk, planned(start=start))
    assert positions.resolve(LOG, "texts", 3, 90, lambda time_ms: 50 if time_ms == 1795478400000 else -1) == position
