"""`mediatok backfill` of recordings and films in a real bucket: fetched to disk, tokenized, committed beside them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import s3fs
import yaml

from tests.integration.conftest import S3Service
from tests.making.broken import cut_film
from tests.making.film import write_film
from tests.making.sound import speechlike, write_sound

pytestmark = pytest.mark.services

MEDIATOK = str(Path(sys.executable).parent / "mediatok")


def mediatok(*arguments: str) -> str:
    done = subprocess.run([MEDIATOK, *arguments], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def table(store: s3fs.S3FileSystem, lake: str, product: str) -> pa.Table:
    (live,) = store.glob(f"{lake}/_meta/live/{product}-*.json")
    files = json.loads(store.cat(live))["files"]
    return pa.concat_tables(
        [pa.ipc.open_file(pa.BufferReader(store.cat(f"{lake}/{file}"))).read_all() for file in files]
    )


@pytest.mark.soak
@pytest.mark.slow
def test_sound_and_film_in_a_bucket_become_rows_beside_them(s3_service: S3Service, tmp_path: Path) -> None:
    bucket, options = s3_service.new_bucket(), s3_service.storage_options
    store = s3fs.S3FileSystem(**options, skip_instance_cache=True)
    media = tmp_path / "media"
    media.mkdir()
    write_sound(media / "a.flac", speechlike(45.0, 16_000), 16_000, "flac")
    write_sound(media / "b.mp3", speechlike(5.0, 44_100, 2), 44_100, "libmp3lame")
    write_film(media / "c.mp4", 12.0, sound=speechlike(12.0, 48_000), subtitles=[(1.0, 2.0, "Good day")])
    cut_film(media / "d.mp4", moov_first=True)
    store.put(str(media), f"{bucket}/in", recursive=True)
    config = tmp_path / "run.yaml"
    lanes = {
        "audio": {"products": {"sound": {"tokenizer": "audio-mdct"}}, "workers": {"max": 1, "cpus": 0.5}},
        "video": {"products": {"film": {"tokenizer": "video-interleaved"}}, "workers": {"max": 1, "cpus": 0.5}},
    }
    raw = {
        "lake": f"s3://{bucket}/lake",
        "storage": {"s3": options},
        "state": str(tmp_path / "state"),
        "ray": {"cpus": 2, "object_store_bytes": 256 << 20},
        "lanes": lanes,
    }
    config.write_text(yaml.safe_dump(raw))

    mediatok("backfill", f"s3://{bucket}/in/", "--lake", raw["lake"], "-c", str(config))

    sound = table(store, f"{bucket}/lake", "sound").sort_by([("uri", "ascending"), ("start", "ascending")])
    lengths = [(row["uri"][-6:], (row["end"] - row["start"]) / 24_000) for row in sound.to_pylist()]
    assert lengths[:2] == [("a.flac", 30.0), ("a.flac", 15.0)]
    assert [name for name, _ in lengths[2:]] == ["/b.mp3"]
    film = table(store, f"{bucket}/lake", "film")
    assert set(film.column("uri").to_pylist()) == {f"s3://{bucket}/in/c.mp4"}
    said = [span["text"] for row in film.column("spans").to_pylist() for span in row if span["text"]]
    assert said == ["Good day"]
    letters = mediatok("dlq", "ls", raw["lake"], "-c", str(config), "--json").splitlines()
    assert [json.loads(letter)["code"] for letter in letters] == ["decode.truncated"]
    mediatok("lake", "verify", raw["lake"], "-c", str(config))
    again = mediatok("backfill", f"s3://{bucket}/in/", "--lake", raw["lake"], "-c", str(config))
    assert "nothing new" in again
    mediatok("report", raw["lake"], "-c", str(config), "--out", str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_text()
    assert "Good day" in page
    assert page.count("data:audio/") >= 2
