from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rich.console import Console

from pipeline.flow.waits import WaitReason
from pipeline.flow.watchdog import StallCause
from pipeline.observe.status import RunStatus, StallStatus, StatusReading, from_json, to_json
from pipeline.observe.status_table import one_line, render_status

STALL = StallStatus(StallCause.CALL_OVERDUE, 95.0, "image/workers/1 has had a call of prepare for 95 s", "s/stall.json")


@pytest.fixture
def alarming(status: RunStatus) -> RunStatus:
    lane = replace(status.lanes[0], stalled=STALL, waiting=WaitReason.NO_NODE, held_letters=7)
    return replace(status, lanes=(lane, *status.lanes[1:]), spilled_bytes=3 << 30, wanted_nodes="3 × 1 CPU and 0.5 GPU")


def shown(status: RunStatus, width: int) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(render_status(StatusReading(status, 0.5, stale=False)))
    return " ".join(captured.get().split())


def test_alarms_survive_the_file(alarming: RunStatus) -> None:
    assert from_json(to_json(alarming)) == alarming


def test_a_file_of_a_version_without_alarms_is_read(status: RunStatus) -> None:
    raw = json.loads(to_json(status))
    del raw["spilled_bytes"], raw["wanted_nodes"], raw["lanes"][0]["stalled"], raw["lanes"][1]["stalled"]
    assert from_json(json.dumps(raw)) == status


@pytest.mark.parametrize("width", [80, 160])
def test_alarms_stand_at_the_top_and_say_what_to_do(alarming: RunStatus, width: int) -> None:
    text = shown(alarming, width)
    for part in (
        "! image is stuck for 1:35: call_overdue: image/workers/1 has had a call of prepare for 95 s",
        "see s/stall.json",
        "! Ray's object store has spilled 3.0 GiB to disk",
        "asked for room for 3 × 1 CPU and 0.5 GPU",
        "image: 7 letters are held",
    ):
        assert part in text
    assert text.index("is stuck") < text.index("behind")


def test_with_room_the_cause_is_explained(alarming: RunStatus) -> None:
    assert StallCause.CALL_OVERDUE.explanation in shown(alarming, 160)
    assert WaitReason.NO_NODE.explanation in shown(alarming, 200)


def test_nothing_is_said_while_all_is_well(status: RunStatus) -> None:
    text = shown(replace(status, notes=(), spilled_bytes=0), 160)
    assert "!" not in text


def test_logs_without_a_terminal_say_it_too(alarming: RunStatus) -> None:
    assert one_line(alarming.lanes[0]).endswith("STUCK: call_overdue")


@pytest.mark.parametrize("cause", list(StallCause))
def test_every_cause_says_what_is_wrong(cause: StallCause) -> None:
    assert len(cause.explanation) > 20
