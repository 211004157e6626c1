from __future__ import annotations

import dataclasses
import io

from rich.console import Console

from pipeline.observe.progress import ProgressDisplay
from pipeline.observe.status import RunStatus


def test_elsewhere_than_on_a_terminal_it_prints_a_line_a_lane_every_so_often(status: RunStatus) -> None:
    out = io.StringIO()
    with ProgressDisplay(Console(file=out, width=40), every_s=10.0) as display:
        for second in range(25):
            display.update(status.lanes, 100.0 + second)
        assert len(out.getvalue().splitlines()) == 3 * len(status.lanes)
        display.update([dataclasses.replace(status.lanes[0], done_items=99_999)], 125.0)
    lines = out.getvalue().splitlines()
    assert "99,999 done" in lines[-1], "the last state is printed at the end"
    assert all("\x1b" not in line for line in lines)


def test_on_a_terminal_each_lane_keeps_one_bar(status: RunStatus) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    with ProgressDisplay(console) as display:
        display.update(status.lanes, 0.0)
        display.update(status.lanes, 0.1)
    last = out.getvalue().rsplit("\x1b[2K", 1)[1].splitlines()
    image, text = (line for line in last if "━" in line)
    assert image.startswith("image")
    assert "73,204/1,277,515" not in image
    assert "73,204/1,281,611" in image
    assert "1,413/s" in image
    assert "ETA 14:15" in image
    assert "3/3" in text
    assert "ETA" not in text
    assert len(image) <= 80


def test_an_unknown_lag_has_no_total_and_no_eta(status: RunStatus) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system=None)
    unknown = dataclasses.replace(status.lanes[0], lag_items=None)
    with ProgressDisplay(console) as display:
        display.update([unknown], 0.0)
    assert "73,204 " in out.getvalue()
    assert "73,204/" not in out.getvalue()


def test_nothing_is_printed_before_the_first_update() -> None:
    out = io.StringIO()
    with ProgressDisplay(Console(file=out)):
        pass
    assert out.getvalue() == ""
