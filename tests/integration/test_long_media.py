"""Hours of film and sound on real actors: several workers share them, a death costs little, no file stays open.

Segments that are decoded are counted where they are decoded (`tests.recovery.digests`), from their begin on: what a
killed worker had half done counts as a whole.
"""

from __future__ import annotations

import os
import shutil
import signal
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import ray

from pipeline.runtime.pool import WorkerState
from tests.making.long import long_film, long_sound
from tests.recovery.digests import HERE, read_notes
from tests.recovery.whole import Row, Whole, media_files_open_in, own_bytes, whole

pytestmark = [pytest.mark.ray, pytest.mark.marathon, pytest.mark.timeout(900)]

MIB = 1 << 20
AFTER_S = 5.0
"""Since its partition was taken away, nothing of it may be left."""
SHORT_FILMS = 100
CLIPS = 30


@dataclass
class Told:
    """An undisturbed run, and one of the same file in which a worker was killed when 90 % were done."""

    undisturbed: list[Row]
    segments: int
    killed_at: int
    again: int
    rows: list[Row]


@dataclass
class Peak:
    """The most memory of its own that any worker had."""

    own_bytes: int = 0

    def __call__(self, run: Whole) -> None:
        self.own_bytes = max([self.own_bytes, *(own_bytes(run.pid(number)) for number in (1, 2, 3))])


@dataclass
class Killer:
    """Kills the first worker once so many segments are done."""

    at: int
    killed_at: int = 0
    peak: Peak = field(default_factory=Peak)

    def __call__(self, run: Whole) -> None:
        self.peak(run)
        if not self.killed_at and run.prepared >= self.at:
            self.killed_at = run.prepared
            os.kill(run.pid(1), signal.SIGKILL)


def lane(kind: str, notes: Path | None = None, **limits: Any) -> dict[str, Any]:
    """Two workers that decode and tokenize."""
    tokenizer = {"audio": "Sounds", "video": "Films"}[kind]
    product = {"tokenizer": f"{HERE}:{tokenizer}", "options": {"notes": str(notes) if notes else ""}}
    workers = {"min": 2, "max": 2, "cpus": 0.5}
    return {kind: {"products": {"digest": product}, "workers": workers, "limits": {"seal_age_s": 1.0, **limits}}}


def run(folder: Path, media: Path, kind: str, each_round: Callable[[Whole], None]) -> tuple[Whole, int, int]:
    """Returns the run, how many segments there are, and how many were decoded again."""
    folder.mkdir()
    ended = whole(folder, media, lane(kind, folder / "notes"), each_round)
    notes = read_notes(folder / "notes")
    return ended, len(notes.decoded), notes.again


def told(folder: Path, media: Path, kind: str) -> Told:
    first, segments, again = run(folder / "undisturbed", media, kind, lambda _: None)
    assert again == 0, "with nobody killed, nothing is decoded twice"
    killer = Killer(at=segments * 9 // 10)
    second, _, again = run(folder / "killed", media, kind, killer)
    assert second.lane.driver.pools[0].deaths == 1
    return Told(first.rows("digest"), segments, killer.killed_at, again, second.rows("digest"))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Told:
    """Two hours."""
    folder = tmp_path_factory.mktemp("film")
    (folder / "media").mkdir()
    long_film(folder / "media" / "film.mp4", 2.0, size=(64, 64), frames_hz=Fraction(5), rate_hz=16_000)
    return told(folder, folder / "media", "video")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Told:
    """Ten hours."""
    folder = tmp_path_factory.mktemp("recording")
    (folder / "media").mkdir()
    long_sound(folder / "media" / "recording.m4a", 10.0)
    return told(folder, folder / "media", "audio")


def test_a_two_hour_film_whose_worker_is_killed_at_nine_tenths_is_decoded_again_to_a_twentieth_at_most(
    film: Told,
) -> None:
    assert film.segments == 240
    assert film.killed_at < film.segments
    assert 0 < film.again <= film.segments / 20


def test_a_ten_hour_recording_whose_worker_is_killed_at_nine_tenths_is_decoded_again_to_a_twentieth_at_most(
    recording: Told,
) -> None:
    assert recording.segments in {1200, 1201}
    assert recording.killed_at < recording.segments
    assert 0 < recording.again <= recording.segments / 20


@pytest.mark.parametrize(("kind", "windows"), [("film", 720), ("recording", 3600)])
def test_its_rows_are_those_of_an_undisturbed_run(kind: str, windows: int, request: pytest.FixtureRequest) -> None:
    both: Told = request.getfixturevalue(kind)
    assert len(both.undisturbed) in {windows, windows + 1}
    assert len({codes for *_, codes in both.undisturbed}) > 3, "places can be told apart"
    assert both.rows == both.undisturbed


@pytest.mark.parametrize("kind", ["audio", "video"])
def test_hours_take_no_more_of_a_workers_memory_than_ten_minutes(kind: str, tmp_path: Path, ray_session: None) -> None:
    # MP4's table of samples is in memory for each range that is open: 16 MB of ten hours of sound.
    peaks = dict[float, int]()
    for hours in (1 / 6, 2.0):
        media = tmp_path / f"media-{hours:.1f}"
        media.mkdir()
        if kind == "audio":
            long_sound(media / "a.m4a", 5 * hours)
        else:
            long_film(media / "a.mp4", hours, size=(64, 64), frames_hz=Fraction(5), rate_hz=16_000)
        peak = Peak()
        run(tmp_path / f"run-{hours:.1f}", media, kind, peak)
        peaks[hours] = peak.own_bytes
    assert peaks[1 / 6] > 0
    assert peaks[2.0] < peaks[1 / 6] + 96 * MIB, {hours: size // MIB for hours, size in peaks.items()}


@dataclass
class Takeover:
    """Takes the partition away once the workers are in the midst of films; then waits until nothing is left of it.

    Attributes:
        left: what is there still, by what it is; 0 where all is well.
        open_before: files that workers had open when the partition went.
        after_s: from then until nothing was left.
    """

    media: Path
    left: dict[str, int] = field(default_factory=dict)
    open_before: int = 0
    prepared: int = 0
    after_s: float = 0.0
    _gone_s: float = 0.0

    def __call__(self, run: Whole) -> None:
        pool = run.lane.driver.pools[0]
        if not self._gone_s:
            if pool.count(WorkerState.READY) == 2 and run.prepared >= 12:
                self._gone_s = time.monotonic()
                self.open_before, self.prepared = self._open(run), run.prepared
                run.source.take_away()
            return
        self.left = self._left(run)
        self.after_s = time.monotonic() - self._gone_s
        if self.after_s > 0.2 and (not any(self.left.values()) or self.after_s > AFTER_S):
            run.built.coordinator.ask_to_end()

    def _left(self, run: Whole) -> dict[str, int]:
        machine = run.lane.lane
        return {
            "bytes of windows": machine.core.windows.used_bytes,
            "bytes of tokens": machine.core.tokens.used_bytes,
            "calls": len(machine.core.calls),
            "leases": len(machine.prepare.ready) + machine.prepare.ready.delayed + machine.prepare.ready.parked,
            "messages": len(machine.core.ledger),
            "bytes in Ray's store": store_bytes() if self.after_s > 1 else 1,
            "open files": self._open(run),
        }

    def _open(self, run: Whole) -> int:
        return sum(len(media_files_open_in(run.pid(number), self.media)) for number in (1, 2) if run.pid(number))


def store_bytes() -> int:
    """What Ray's object store holds; it says so about once a second."""
    have = ray.cluster_resources()["object_store_memory"]
    return int(have - ray.available_resources().get("object_store_memory", 0.0))


@pytest.fixture
def short_films(tmp_path: Path) -> Path:
    """Of 80 s, each of other bytes."""
    media = tmp_path / "media"
    media.mkdir()
    first = long_film(tmp_path / "film.mp4", 80 / 3600, size=(128, 128), frames_hz=Fraction(10), rate_hz=16_000)
    for number in range(SHORT_FILMS):
        shutil.copy(first, media / f"{number:03}.mp4")
        with (media / f"{number:03}.mp4").open("ab") as file:
            file.write(struct.pack(">I4sQ", 16, b"free", number))  # a box that means nothing
    return media


def test_of_a_hundred_films_that_are_taken_away_nothing_is_left(
    short_films: Path, tmp_path: Path, ray_session: None
) -> None:
    takeover = Takeover(short_films)
    ended = whole(tmp_path, short_films, lane("video", prepare_batch=4), takeover, until_idle=False)
    assert ended.lane.admitted == SHORT_FILMS
    assert takeover.open_before > 0
    assert takeover.prepared < 3 * SHORT_FILMS
    assert not any(takeover.left.values()), takeover.left
    print(f"nothing was left after {takeover.after_s:.1f} s; {takeover.open_before} files had been open")


@dataclass
class Order:
    """Which files the lane owed rows of, at each look in which that had changed."""

    owed: list[frozenset[str]] = field(default_factory=list)

    def __call__(self, run: Whole) -> None:
        ledger = run.lane.lane.core.ledger
        uris = frozenset(Path(item.uri).name for entry in ledger if entry.owed for item in entry.items)
        if not self.owed or self.owed[-1] != uris:
            self.owed.append(uris)


def test_short_clips_get_their_rows_while_recordings_of_hours_are_under_way(tmp_path: Path, ray_session: None) -> None:
    media = tmp_path / "media"
    media.mkdir()
    recordings = {f"a-{number}.m4a" for number in range(3)}
    clips = {f"b-{number:02}.m4a" for number in range(CLIPS)}
    for name in recordings:
        long_sound(media / name, 2.0)
    for name in clips:
        long_sound(media / name, 10 / 3600)
    order = Order()
    ended = whole(tmp_path, media, lane("audio"), order)
    assert {name for name, *_ in ended.rows("digest")} == recordings | clips
    assert order.owed[:2] == [frozenset(), recordings | clips], "all came at once, recordings first"
    assert recordings in order.owed, "a time when every clip was done and every recording under way"
