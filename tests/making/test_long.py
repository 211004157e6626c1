from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.making.long import click_and_flash, long_film, long_silence, long_sound, sparse_wav


def events(path: Path) -> tuple[list[float], list[float]]:
    """When it flashes and when it clicks, in seconds."""
    flashes, loud = list[float](), list[tuple[float, float]]()
    with av.open(path) as opened:
        for frame in opened.decode():
            assert frame.time is not None
            if isinstance(frame, av.VideoFrame):
                if frame.to_ndarray(format="gray").mean() > 128:
                    flashes.append(frame.time)
            else:
                samples = np.abs(frame.to_ndarray().reshape(-1))
                at = int(samples.argmax())
                if samples[at] > 0.3:
                    loud.append((frame.time + at / frame.sample_rate, float(samples[at])))
    clicks = [at_s for at_s, _ in loud if at_s == max(near for near in loud if abs(near[0] - at_s) < 0.1)[0]]
    return flashes, clicks


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mkv", {"audio_codec": "flac"}),
        ("ntsc.mp4", {"frames_hz": Fraction(30_000, 1001), "rate_hz": 44_100}),
        ("b.mp4", {"b_frames": 2, "size": (120, 160)}),
    ],
)
def test_it_clicks_when_it_flashes(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    times_s = click_and_flash(tmp_path / name, 40, 3.3, **options)
    assert len(times_s) == 12
    flashes, clicks = events(tmp_path / name)
    assert flashes == pytest.approx([float(at_s) for at_s in times_s], abs=1e-3)
    assert clicks == pytest.approx([float(at_s) for at_s in times_s], abs=1e-3)


@pytest.mark.parametrize(
    ("name", "frames_hz", "rate_hz"),
    [("a.mp4", Fraction(25), 48_000), ("a.mkv", Fraction(30_000, 1001), 44_100), ("a.mp4", Fraction(10), None)],
)
def test_a_long_film_has_all_its_frames_in_order(
    tmp_path: Path, name: str, frames_hz: Fraction, rate_hz: int | None
) -> None:
    path = long_film(tmp_path / name, 0.1, size=(64, 64), frames_hz=frames_hz, rate_hz=rate_hz)
    with av.open(path) as opened:
        times_s = [packet.pts * packet.time_base for packet in opened.demux(video=0) if packet.pts is not None]
        assert (rate_hz is None) == (not opened.streams.audio)
    assert times_s == pytest.approx([number / frames_hz for number in range(len(times_s))], abs=1e-3)
    assert times_s[-1] == pytest.approx(360, abs=0.2)
    if rate_hz:
        with av.open(path) as opened:
            starts = np.array([float(p.pts * p.time_base) for p in opened.demux(audio=0) if p.pts is not None])
        assert np.diff(starts) == pytest.approx(1024 / rate_hz, abs=1.1e-3)
        assert starts[-1] == pytest.approx(360, abs=0.1)


@pytest.mark.parametrize("make", [long_sound, long_silence, sparse_wav])
def test_hours_of_sound_are_as_long_as_asked(tmp_path: Path, make: object) -> None:
    name = {long_sound: "a.m4a", long_silence: "a.flac", sparse_wav: "a.wav"}[make]
    path = make(tmp_path / name, 0.5)
    with av.open(path) as opened:
        assert opened.duration is not None
        assert opened.duration / 1e6 == pytest.approx(1800, abs=0.2)
        last = [packet.pts * packet.time_base for packet in opened.demux(audio=0) if packet.pts is not None][-1]
    assert last == pytest.approx(1800, abs=10)


def test_a_repeated_tone_has_no_clicks_at_its_joints(tmp_path: Path) -> None:
    path = long_sound(tmp_path / "a.m4a", 0.05)
    with av.open(path) as opened:
        samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in opened.decode(audio=0)])
    assert np.abs(samples[:1_000_000]).max() < 0.8


def test_a_sparse_wav_takes_no_room(tmp_path: Path) -> None:
    stat = sparse_wav(tmp_path / "a.wav", 12).stat()
    assert stat.st_size == 12 * 3600 * 8_000 * 2 + 44
    assert stat.st_blocks * 512 < 1 << 20
