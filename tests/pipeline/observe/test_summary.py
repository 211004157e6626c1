from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from pipeline.observe.summary import ProductSummary, opening_lines, render_summary

IMAGES = ProductSummary(
    product="image-patches-projected",
    live_path="_meta/live/image-patches-projected-1a2b3c4d.json",
    items=24,
    row_items=21,
    empty=0,
    letters=2,
    void=1,
    rows=21,
    tokens=90_112,
    seconds=8.0,
    raw_bytes=4_000_000,
    stored_bytes=200_000,
    pixels=1_600_000,
)
TEXTS = ProductSummary("text-bpe", "_meta/live/text-bpe-1a2b3c4d.json", 9, 7, 1, 0, 0, 7, 1204, 0.0, 0, 0)


def rendered(width: int, lake: str = "lake") -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(render_summary([IMAGES, TEXTS], lake))
    return out.getvalue()


def test_the_figures_follow_from_the_counts() -> None:
    assert IMAGES.tokens_hz == 11_264.0
    assert IMAGES.compression == 20.0
    assert IMAGES.bits_per_pixel == 1.0
    assert (TEXTS.tokens_hz, TEXTS.compression, TEXTS.bits_per_pixel) == (0.0, None, None)


def test_the_balance_names_what_was_lost_or_repeated() -> None:
    assert (IMAGES.missing, TEXTS.missing) == (0, 1)
    lines = rendered(140).splitlines()
    balance = [line for line in lines if "+" in line]
    assert balance[1].endswith("holds ")
    assert balance[2].endswith("1 lost")
    assert "≠" in balance[2]


@pytest.mark.parametrize("width", [80, 140])
def test_nothing_wraps_or_is_cut(width: int) -> None:
    text = rendered(width)
    assert all(len(line) <= width for line in text.splitlines())
    results = text.split("\n\n")[0]
    assert len(results.splitlines()) == 4
    for part in ("90,112", "11,264", "20.0×", "1.0", "–"):
        assert part in results
    assert text.count("…") == (2 if width == 80 else 0), "only the long name is shortened"


def test_the_lines_open_the_lake(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    files = []
    for number in range(2):
        files.append(f"data/product=p/part-{number}.arrow")
        path = lake / files[-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, pa.schema([("n", pa.int64())])) as writer:
            writer.write_batch(pa.record_batch({"n": [number, number]}))
    (lake / "data/product=p/part-9.arrow").write_bytes(b"not committed")
    live = lake / "_meta/live/p.json"
    live.parent.mkdir(parents=True)
    live.write_text(json.dumps({"version": 3, "files": files}))
    for root in (str(lake), lake.as_uri()):
        names: dict[str, Any] = {}
        exec("\n".join(opening_lines(root, "_meta/live/p.json")), names)
        assert names["table"].column("n").to_pylist() == [0, 0, 1, 1]


def test_the_lines_stand_in_the_summary_uncut() -> None:
    text = rendered(80)
    for line in opening_lines("lake", IMAGES.live_path):
        assert line in text
    assert "FileSystem.from_uri('s3://bucket/lake')" in rendered(80, "s3://bucket/lake")
