from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from operators.errors import ConfigError
from pipeline.observe.status import (
    STALE_AFTER_S,
    RunStatus,
    State,
    StatusReading,
    from_json,
    read_status,
    to_json,
    write_status,
)
from pipeline.observe.status_table import one_line, render_status


def rendered(reading: StatusReading, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(render_status(reading))
    return out.getvalue()


def test_a_status_survives_its_file(tmp_path: Path, status: RunStatus) -> None:
    write_status(tmp_path / "state", status)
    write_status(tmp_path / "state", status)
    reading = read_status(tmp_path / "state", status.written_at_s + 1.0)
    assert reading == StatusReading(status, 1.0, stale=False)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["status.json"]


def test_a_run_that_stopped_writing_is_stale_but_one_that_ended_is_not(tmp_path: Path, status: RunStatus) -> None:
    later_s = status.written_at_s + STALE_AFTER_S + 1
    write_status(tmp_path, status)
    assert read_status(tmp_path, later_s).stale
    write_status(tmp_path, dataclasses.replace(status, state=State.STOPPED))
    assert not read_status(tmp_path, later_s).stale
    assert read_status(tmp_path, status.written_at_s - 60).age_s == 0.0


def test_no_status_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run has written its status to .*status\.json"):
        read_status(tmp_path, 0.0)


@pytest.mark.parametrize(
    "wrong", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1}', '{"format": 1, "lanes": [{}]}']
)
def test_what_is_no_status_of_this_version_is_refused(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "status.json").write_text(wrong)
    with pytest.raises(ConfigError, match="is no status of this version"):
        read_status(tmp_path, 0.0)


def test_an_unknown_field_is_refused(status: RunStatus) -> None:
    raw = json.loads(to_json(status))
    raw["lanes"][0]["mood"] = "good"
    with pytest.raises(TypeError):
        from_json(json.dumps(raw))


def test_the_eta_is_known_only_with_lag_and_rate(status: RunStatus) -> None:
    image = status.lanes[0]
    assert image.eta_s == pytest.approx((1_204_311 + 4096) / 1413.2)
    assert dataclasses.replace(image, lag_items=None).eta_s is None
    assert dataclasses.replace(image, rate_hz=0.0).eta_s is None
    assert dataclasses.replace(image, lag_items=0, in_flight_items=0, rate_hz=0.0).eta_s == 0.0


@pytest.mark.parametrize("width", [80, 100, 140, 200])
def test_nothing_wraps_or_is_cut_from_80_columns_on(status: RunStatus, width: int) -> None:
    status = dataclasses.replace(status, notes=())
    text = rendered(StatusReading(status, 0.0, stale=False), width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "1,204,311" in text
    assert "paused" in text
    assert "14:15" in text
    assert text.count("…") == 1, "only the long URI is shortened"
    assert len([line for line in text.splitlines() if line.startswith("image")]) == 5


def test_with_room_reasons_are_explained(status: RunStatus) -> None:
    reading = StatusReading(status, 0.0, stale=False)
    assert "clamped_capacity" in rendered(reading, 80)
    assert "there are no CPUs or GPUs for them" in rendered(reading, 140)


def test_a_stale_status_and_its_notes_stand_at_the_top(status: RunStatus) -> None:
    top = rendered(StatusReading(status, 75.0, stale=True), 140).split("\n\n")[0]
    assert "no word for 1:15" in top
    assert "three of" not in top
    assert "! text/tokenize: 0 of 1 workers fit" in top


def test_a_run_without_anything_yet_can_be_shown(status: RunStatus) -> None:
    bare = dataclasses.replace(status, lanes=(), notes=())
    assert "mediatok running" in rendered(StatusReading(bare, 0.0, stale=False), 80)


def test_a_plain_line_says_it_all(status: RunStatus) -> None:
    line = one_line(status.lanes[0])
    for part in ("image", "73,204 done", "4,096 in flight", "1,204,311 behind", "1,413/s", "ETA 14:15", "12 letters"):
        assert part in line
    assert line.endswith("paused, no_bytes")
    assert "ETA" not in one_line(status.lanes[1])
