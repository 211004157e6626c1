from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.making.film import write_film
from tests.making.picture import number_of, numbered
from tests.making.sound import tone

TEXTS = [(0.5, 1.0, "Hello"), (1.2, 1.9, "Grüße\naus zwei Zeilen")]
SIZES = ((64, 64), (256, 256), (96, 128), (32, 32))


def shown(path: Path) -> list[tuple[int, float]]:
    """The number and the time of each frame."""
    with av.open(path) as opened:
        frames = opened.decode(video=0)
        return [(number_of(frame.to_ndarray(format="rgb24")), float(frame.time or 0)) for frame in frames]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", [0, 1, 255, 12_345, (1 << 24) - 1])
def test_a_picture_says_its_number(size: tuple[int, int], number: int) -> None:
    assert number_of(numbered(number, *size)) == number


def test_neighbouring_pictures_differ_above_too() -> None:
    first, second = (numbered(number, 64, 64)[:32].astype(int) for number in (10, 11))
    assert np.abs(first - second).mean() > 1


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "libx264"),
        ("a.mkv", "libx264"),
        ("a.mkv", "ffv1"),
        ("a.mp4", "libx265"),
        ("a.webm", "libvpx-vp9"),
        ("a.webm", "libvpx"),
        ("a.ts", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.avi", "mjpeg"),
    ],
)
def test_every_codec_and_container_shows_all_frames(tmp_path: Path, name: str, codec: str) -> None:
    frames = shown(write_film(tmp_path / name, 2, video_codec=codec))
    assert [number for number, _ in frames] == list(range(50))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_frames_come_at_their_times_with_b_frames_too(tmp_path: Path, name: str) -> None:
    rate = Fraction(30_000, 1001)
    frames = shown(write_film(tmp_path / name, 2, rate, b_frames=2))
    assert [number for number, _ in frames] == list(range(60))
    assert [time_s for _, time_s in frames] == pytest.approx([float(n / rate) for n in range(60)], abs=6e-4)
    with av.open(tmp_path / name) as opened:
        assert any(packet.pts != packet.dts for packet in opened.demux(video=0))


def test_keyframes_come_once_a_gop(tmp_path: Path) -> None:
    with av.open(write_film(tmp_path / "a.mp4", 4, gop_s=0.8)) as opened:
        keys = [packet.pts * packet.time_base for packet in opened.demux(video=0) if packet.is_keyframe and packet.size]
    assert keys == [Fraction(4, 5) * number for number in range(5)]


@pytest.mark.parametrize(
    ("name", "video", "audio", "text"),
    [
        ("a.mp4", "libx264", "aac", "mov_text"),
        ("a.mkv", "libx264", "libopus", "subrip"),
        ("a.webm", "libvpx-vp9", "libopus", "webvtt"),
    ],
)
def test_sound_and_subtitles_lie_beside_the_picture(
    tmp_path: Path, name: str, video: str, audio: str, text: str
) -> None:
    sound = tone(2, 48_000, 2)
    path = write_film(
        tmp_path / name, 2, video_codec=video, sound=sound, audio_codec=audio, subtitles=TEXTS, language="deu"
    )
    with av.open(path) as opened:
        subtitles = opened.streams.subtitles[0]
        assert (subtitles.language, subtitles.codec_context.codec.canonical_name) == ("deu", text)
        assert opened.streams.audio[0].codec_context.channels == 2
        read = [
            (float(packet.pts * packet.time_base), packet.decode()[0].dialogue.decode())
            for packet in opened.demux(subtitles)
            if packet.size > 2
        ]
    assert read == [(pytest.approx(t0_s, abs=1e-3), words) for t0_s, _, words in TEXTS]


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_rotation_stands_in_the_container(tmp_path: Path, turn: int) -> None:
    path = write_film(tmp_path / "a.mp4", 0.2, rotation_deg=turn)
    with av.open(path) as opened:
        frame = next(opened.decode(video=0))
    assert (-frame.rotation) % 360 == turn
    # The first column of a telephone's matrix, as 16.16: what lies to the right comes to lie below at 90°.
    across, down = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turn]
    matrix = (across << 16).to_bytes(4, "big", signed=True) + (down << 16).to_bytes(4, "big", signed=True)
    header = path.read_bytes()
    assert matrix in header[header.index(b"tkhd") :][:80]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize("late", ["sound", "video"])
def test_a_stream_can_start_late(tmp_path: Path, name: str, late: str) -> None:
    starts = {f"{late}_start_s": Fraction(3, 2)}
    path = write_film(tmp_path / name, 2, sound=tone(2, 48_000), audio_codec="aac", **starts)
    first = dict[str, float]()
    for kind in ("audio", "video"):
        with av.open(path) as opened:
            first[kind] = next(opened.decode(**{kind: 0})).time
    by_s = first["audio"] - first["video"]
    assert abs(by_s) == pytest.approx(1.5, abs=0.03)
    assert (by_s > 0) == (late == "sound")


def test_frames_may_come_unevenly(tmp_path: Path) -> None:
    times_s = [Fraction(0), Fraction(1, 10), Fraction(1, 2), Fraction(3, 2)]
    for name, b_frames in [("a.mp4", 0), ("a.mkv", 0), ("b.mp4", 2)]:
        frames = shown(write_film(tmp_path / name, 0, times_s=times_s, b_frames=b_frames))
        assert frames == [(number, pytest.approx(float(at_s), abs=1e-3)) for number, at_s in enumerate(times_s)]


def test_equal_calls_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv"):
        paths = [
            write_film(tmp_path / f"{number}{name}", 1, sound=tone(1, 48_000), subtitles=TEXTS[:1])
            for number in range(2)
        ]
        assert paths[0].read_bytes() == paths[1].read_bytes()
