from __future__ import annotations

import os
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.records import Failure, Origin
from operators.spans import TokenSpan
from pipeline.app.report import figures
from pipeline.app.report.figures import letters_of, product_figures, products_read, run_figures, totals
from pipeline.app.report.rows import read_rows
from pipeline.flow.waits import WaitReason
from pipeline.lake.lake import Lake
from pipeline.observe.report.model import Letters, Rate
from pipeline.observe.status import CreditStatus, LaneStatus, RunStatus, State, write_status
from pipeline.records import Letter
from tests.pipeline.app.report.lakes import (
    Films,
    Letterwise,
    Pictures,
    Sounds,
    make_lake,
    product_of,
    product_rows,
    row,
)

GREY = np.zeros((2, 2, 2), np.uint16)
WORDS = np.zeros(5, np.uint16)
NOW_S = 1_795_000_000.0


def letter(offset: int, code: str = "fetch.not_found", **more: Any) -> Letter:
    fields: dict[str, Any] = {"uri": f"s3://b/{offset}", "attempts": 3, "at_ms": 1_795_000_000_000, **more}
    origin = Origin("log", 0, offset, 0)
    failure = Failure(code, "fetch", fields.pop("message", "it is not there"))
    key = product_of("pictures", Pictures()).key
    return Letter(key, origin, fields["uri"], failure, "t", None, None, (), fields["attempts"], fields["at_ms"])


def lake_of(root: Path, letters: tuple[Letter, ...] = (), **options: Any) -> Lake:
    pictures = [row("a", GREY, offset=0), row("b", GREY, offset=1)]
    words = [row(f"text{n}", WORDS, offset=0, item=n, start=0, end=5) for n in range(3)]
    made = {"pictures": (Pictures(), pictures), "again": (Pictures(), pictures[:1]), "words": (Letterwise(), words)}
    return make_lake(root, made, letters, **options)


def status_of(lake: str, **more: Any) -> RunStatus:
    lane = LaneStatus(
        lane="image",
        state=State.IDLE,
        lag_items=0,
        in_flight_items=0,
        in_flight_bytes=0,
        done_items=2,
        letters=1,
        rate_hz=1.0,
        tokens_hz=1.0,
        credits=CreditStatus(0, 1, 0, 1),
        pools=(),
        waiting=None,
        waited_s={WaitReason.STARTING: 4.0},
        oldest=None,
        committed_version=2,
    )
    fields = {"pid": os.getpid(), "host": socket.gethostname(), "started_at_s": NOW_S, "written_at_s": NOW_S + 8}
    return RunStatus(state=State.STOPPED, config="c", lake=lake, lanes=(lane,), **{**fields, **more})


def test_items_count_once_for_all_products_of_a_lane(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", (letter(2),))
    found = totals(lake, products_read(read_rows(lake)), letters_of(lake))
    # Two pictures and a letter, three texts; ten messages in each of two lanes.
    assert (found.items, found.messages, found.letters) == (6, 20, 1)
    assert found.tokens == 2 * 8 + 8 + 3 * 5
    assert found.stored_bytes == sum(s.size_bytes for shards in lake.state.shards.values() for s in shards.values())


def test_items_are_unknown_where_not_every_row_was_read(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake")
    rows = [replace(each, whole=each.product.name != "words") for each in read_rows(lake)]
    assert totals(lake, products_read(rows), Letters()).items is None


def test_a_product_has_its_rate_and_ratio(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake")
    rows = products_read(read_rows(lake))
    pictures, _, words = product_figures(lake, rows, {product_of("pictures", Pictures()).key: 2.5})
    assert (pictures.kind, pictures.rows, pictures.tokens, pictures.tokens_hz) == ("codes, 2 × 16", 2, 16, 2.5)
    assert pictures.rate == Rate(8 * 4 / 64, "pixel")
    assert pictures.ratio == pytest.approx(2 * 8 * 8 * 3 / pictures.stored_bytes)
    assert (words.kind, words.tokens_hz, words.rate) == ("codes, 256", None, Rate(8.0, "byte"))
    assert words.ratio == pytest.approx(15 / words.stored_bytes)


def test_sound_and_film_are_counted_in_seconds() -> None:
    second = row("a", np.zeros((100, 2), np.uint16), start=0, end=2000, rate_num=1000)
    sounds = product_rows("sounds", Sounds(), [second])
    assert figures._rate(sounds) == Rate(200 * 3 / 2, "second")
    assert figures._ratio(sounds) == 2 * 2000 / 1000
    spans = (TokenSpan(0, 0, 8, 0, 1), TokenSpan(2, 8, 3, 0, 1))
    films = product_rows("films", Films(), [row("a", np.zeros(11, np.uint16), spans, end=2000, rate_num=1000)])
    assert figures._rate(films) == Rate((8 * 4 + 3 * 8) / 2, "second")
    assert figures._ratio(films) == (3 * 8 * 8 + 2 * 2000) / 1000, "a picture, and two seconds of 16 bits"
    assert figures._kind(films.spec, films) == "pictures + sounds + letterwise"


def test_the_run_is_the_one_whose_status_is_there(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", now_ms=lambda: round((NOW_S + 4) * 1000))
    write_status(tmp_path / "state", status_of(lake.uri))
    run, why, hz = run_figures(lake, tmp_path / "state")
    assert run is not None
    assert why == ""
    assert (run.seconds, run.stale, run.started_at.timestamp()) == (8.0, False, NOW_S)
    (lane,) = run.lanes
    assert (lane.done_items, lane.letters, dict(lane.waited_s)) == (2, 1, {WaitReason.STARTING: 4.0})
    assert lane.tokens_hz == (16 + 8) / 8
    assert hz is not None
    assert hz[product_of("words", Letterwise()).key] == 15 / 8


@pytest.mark.parametrize(
    "more", [{"pid": 1}, {"started_at_s": NOW_S + 5}], ids=["another process", "an earlier run of this one"]
)
def test_what_others_committed_is_not_the_runs(tmp_path: Path, more: dict[str, Any]) -> None:
    lake = lake_of(tmp_path / "lake", now_ms=lambda: round((NOW_S + 4) * 1000))
    write_status(tmp_path / "state", status_of(lake.uri, **more))
    _, _, hz = run_figures(lake, tmp_path / "state")
    assert hz is not None
    assert set(hz.values()) == {0.0}


def test_tokens_a_second_are_unknown_where_the_run_began_before_what_was_read(tmp_path: Path, monkeypatch) -> None:
    lake = lake_of(tmp_path / "lake", now_ms=lambda: round((NOW_S + 4) * 1000))
    write_status(tmp_path / "state", status_of(lake.uri))
    monkeypatch.setattr(figures, "LOG_READ", 1)
    run, _, hz = run_figures(lake, tmp_path / "state")
    assert hz is None
    assert run is not None
    assert run.lanes[0].tokens_hz is None


def test_why_there_is_no_run_is_said(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake")
    assert run_figures(lake, None)[1].startswith("No state folder was given")
    assert run_figures(lake, tmp_path / "nowhere")[1].startswith("No run has written its status to ")
    write_status(tmp_path / "state", status_of("s3://another/lake"))
    assert "is of another lake: s3://another/lake" in run_figures(lake, tmp_path / "state")[1]


def test_a_lake_is_the_same_however_its_folder_is_written(tmp_path: Path, monkeypatch) -> None:
    lake = lake_of(tmp_path / "lake")
    monkeypatch.chdir(tmp_path)
    for uri in ("lake", "./lake/", str(tmp_path / "lake"), (tmp_path / "lake").as_uri()):
        write_status(tmp_path / "state", status_of(uri))
        assert run_figures(lake, tmp_path / "state")[0] is not None, uri


def test_a_run_that_has_fallen_silent_is_stale(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake")
    silent = replace(status_of(lake.uri, written_at_s=time.time() - 60), state=State.RUNNING)
    write_status(tmp_path / "state", silent)
    run = run_figures(lake, tmp_path / "state")[0]
    assert run is not None
    assert run.stale


def test_letters_are_listed_by_origin_and_counted_by_code(tmp_path: Path) -> None:
    made = (letter(3), letter(2, "decode.truncated", message="it ends"), letter(4))
    found = letters_of(lake_of(tmp_path / "lake", made))
    assert (found.count, dict(found.by_code)) == (3, {"fetch.not_found": 2, "decode.truncated": 1})
    assert list(found.by_code) == ["fetch.not_found", "decode.truncated"]
    assert [entry.origin for entry in found.entries] == ["log/0/2/0", "log/0/3/0", "log/0/4/0"]
    first = found.entries[0]
    assert (first.code, first.uri, first.message, first.products) == (
        "decode.truncated",
        "s3://b/2",
        "it ends",
        ("pictures",),
    )
    assert first.at.year == 2026


def test_signatures_in_addresses_are_not_published(tmp_path: Path) -> None:
    signed = "https://cdn.example.com/a.jpg?X-Amz-Signature=deadbeef&w=1"
    (entry,) = letters_of(lake_of(tmp_path / "lake", (letter(2, uri=signed, message=f"{signed}: 403"),))).entries
    assert "deadbeef" not in entry.uri + entry.message
    assert entry.uri.startswith("https://cdn.example.com/a.jpg?")


def test_of_very_many_letters_some_are_listed_and_all_are_counted(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(figures, "LETTERS_LISTED", 2)
    found = letters_of(lake_of(tmp_path / "lake", (letter(2), letter(3), letter(4))))
    assert len(found.entries) == 2
    assert found.count == 3
