from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from operators.records import Origin
from pipeline.observe.status import OldestItem, OutageStatus, RunStatus, StatusReading, from_json, to_json
from pipeline.observe.status_table import render_status


@pytest.fixture
def in_trouble(status: RunStatus) -> RunStatus:
    told = "try 3 in 4 s: s3://photos/a.jpg: 503"
    oldest = OldestItem(Origin("topic", 3, 88_123, 1), "s3://photos/a.jpg", 300.0, "backing off", told)
    outage = OutageStatus("https://cdn.example", 754.0, 1204, "https://cdn.example/x: 503")
    lane = replace(status.lanes[0], oldest=oldest, outages=(outage,), held_letters=7)
    return replace(status, lanes=(lane, *status.lanes[1:]))


def test_outages_and_held_letters_survive_the_file(in_trouble: RunStatus) -> None:
    assert from_json(to_json(in_trouble)) == in_trouble


@pytest.mark.parametrize("width", [80, 160])
def test_they_are_shown_with_their_place_and_how_long_they_last_and_the_oldest_item_with_what_it_does(
    in_trouble: RunStatus, width: int
) -> None:
    console = Console(width=width)
    with console.capture() as shown:
        console.print(render_status(StatusReading(in_trouble, 0.5, stale=False)))
    text = shown.get().replace("\n", " ")
    assert "! image: https://cdn.example is down for 12:34, " in text
    assert "image, backing off: try 3 in 4 s: s3://photos/a.jpg: 503" in text
