from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from pipeline.runtime.desk import LakeDesk
from pipeline.source.base import LogEnds
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

    def __call__(self, logs: Sequence[LogEnds]) -> Mapping[SourcePartition, int]:
        self.asked += len(logs)
        return {ends.log: self.answer for ends in logs}


def start_of(desk: LakeDesk, plan: LanePlan, policy: Policy, log: SourcePartition = LOG, earliest: int = 0) -> int:
    return desk.resolve([LogEnds(log, "texts", earliest, 1000)], plan.keys, policy)[log]


def test_a_from_is_committed_once_and_never_resolved_again(desk: LakeDesk, plan: LanePlan, tmp_path: Path) -> None:
    latest = Policy(7)
    before = desk.base_version
    assert start_of(desk, plan, latest) == 7
    assert desk.base_version == before + 1
    later = Policy(900)
    assert start_of(desk, plan, later) == 7
    after_a_crash = opened(tmp_path, plan)
    assert start_of(after_a_crash, plan, later) == 7
    assert (latest.asked, later.asked) == (1, 0)
    assert after_a_crash.base_version == before + 1
    after_a_crash.close()


def test_a_new_partition_of_a_known_source_is_owed_whole(desk: LakeDesk, plan: LanePlan) -> None:
    start_of(desk, plan, Policy(7))
    assert start_of(desk, plan, Policy(500), SourcePartition("topic-id", 1), 2) == 2


def test_what_a_product_has_is_not_owed_to_it_again(desk: LakeDesk, plan: LanePlan, tmp_path: Path) -> None:
    first, second = plan.keys
    start_of(desk, plan, Policy(2))
    desk.commit([voids(first, 2, 10), voids(second, 2, 4), voids(second, 6, 8)]).result()
    again = opened(tmp_path, plan)
    assert start_of(again, plan, Policy(0)) == 4
    owed = {offset: again.owed(LOG, offset, plan.keys) for offset in (1, 3, 4, 7, 8, 10)}
    assert owed == {1: (), 3: (), 4: (second,), 7: (), 8: (second,), 10: (first, second)}
    again.close()


def test_a_commit_says_what_the_running_products_still_owe(desk: LakeDesk, plan: LanePlan) -> None:
    first, second = plan.keys
    start_of(desk, plan, Policy(0))
    done = desk.commit([voids(first, 0, 10), voids(second, 0, 4)]).result()
    assert done.positions == {LOG: 4}
    assert [part.verdict for part in done.parts] == [Verdict.ADMITTED, Verdict.ADMITTED]


def test_a_commit_outlasts_a_store_that_is_away(
    desk: LakeDesk, plan: LanePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_of(desk, plan, Policy(0))
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


def test_a_commit_says_how_many_versions_of_others_it_met(desk: LakeDesk, plan: LanePlan, tmp_path: Path) -> None:
    start_of(desk, plan, Policy(0))
    key = plan.keys[0]
    assert desk.commit([voids(key, 0, 3)]).result().conflicts == 0
    other = Lake.open(str(tmp_path / "lake"))
    for start in (10, 20):
        other.commit(Proposal((voids(key, start, start + 5),)))
    assert desk.commit([voids(key, 3, 6)]).result().conflicts == 2
    other.commit(Proposal((voids(key, 30, 35),)))
    assert desk.commit([voids(key, 6, 9)]).result().conflicts == 0, "having met somebody, it looks before it puts"
