from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.making import broken, lures, odd
from tests.making.film import write_film
from tests.making.sound import speechlike, tone, write_sound


def decoded(path: Path) -> tuple[int, int]:
    """How many video and audio frames it has."""
    with av.open(path) as opened:
        kinds = [type(frame) for frame in opened.decode()]
    return kinds.count(av.VideoFrame), kinds.count(av.AudioFrame)


def test_films_without_sound_and_of_one_frame(tmp_path: Path) -> None:
    assert decoded(odd.without_sound(tmp_path / "a.mp4")) == (25, 0)
    assert decoded(odd.one_frame(tmp_path / "b.mp4")) == (1, 0)


@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.flac", "flac")])
def test_a_file_without_samples_opens_and_gives_none(tmp_path: Path, name: str, codec: str) -> None:
    path = odd.no_samples(tmp_path / name, codec)
    with av.open(path) as opened:
        assert len(opened.streams.audio) == 1
    assert decoded(path) == (0, 0)


def test_sixty_four_channels(tmp_path: Path) -> None:
    with av.open(odd.many_channels(tmp_path / "a.wav")) as opened:
        assert opened.streams.audio[0].codec_context.channels == 64
        first = next(opened.decode(audio=0)).to_ndarray().reshape(-1, 64)
    assert len({channel.tobytes() for channel in first.T}) == 64


def test_samples_that_are_no_numbers(tmp_path: Path) -> None:
    with av.open(odd.not_finite(tmp_path / "a.wav")) as opened:
        samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in opened.decode(audio=0)])
    assert np.isnan(samples).any()
    assert np.isposinf(samples).any()
    assert np.isneginf(samples).any()


@pytest.mark.parametrize(("name", "codec"), [("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("a.m4a", "aac")])
def test_a_cover_is_an_attached_picture(tmp_path: Path, name: str, codec: str) -> None:
    path = odd.with_cover(tmp_path / name, tone(1), 16_000, codec)
    with av.open(path) as opened:
        (picture,) = opened.streams.video
        assert picture.disposition & av.stream.Disposition.attached_pic
        assert len(opened.streams.audio) == 1
    assert decoded(path)[0] == 1


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_two_hundred_streams(tmp_path: Path, name: str) -> None:
    with av.open(odd.many_streams(tmp_path / name)) as opened:
        assert len(opened.streams.audio) == 200


@pytest.mark.parametrize(("name", "late_s"), [("a.mp4", 1.5), ("a.mkv", 1.5), ("a.ts", -1.0)])
def test_a_film_whose_sound_starts_at_another_time(tmp_path: Path, name: str, late_s: float) -> None:
    path = odd.starting_late(tmp_path / name, Fraction(late_s))
    with av.open(path) as opened:
        starts = {s.type: (s.start_time or 0) * (s.time_base or 0) for s in opened.streams}
    assert starts["audio"] - starts["video"] == pytest.approx(late_s, abs=0.03)


def test_negative_timestamps(tmp_path: Path) -> None:
    assert decoded(odd.negative_times(tmp_path / "a.mp4"))[0] == 62  # an edit list cut off half a second
    with av.open(odd.negative_times(tmp_path / "a.ts")) as opened:
        assert next(opened.decode(video=0)).time == pytest.approx(-0.5)


def test_uneven_frames(tmp_path: Path) -> None:
    times_s = odd.uneven_frames(tmp_path / "a.mp4")
    with av.open(tmp_path / "a.mp4") as opened:
        read = [frame.time for frame in opened.decode(video=0)]
    assert read == pytest.approx([float(at_s) for at_s in times_s], abs=1e-3)
    assert len(set(np.diff(times_s))) > 5


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_gap_in_the_timestamps(tmp_path: Path, name: str) -> None:
    source = write_film(tmp_path / "whole.mp4", 3, sound=speechlike(3, 48_000))
    path = odd.with_gap(source, tmp_path / name, (1.0, 2.0))
    for kind in ("video", "audio"):
        with av.open(path) as opened:
            times_s = [float(p.pts * p.time_base) for p in opened.demux(**{kind: 0}) if p.pts is not None]
        assert max(np.diff(sorted(times_s))) == pytest.approx(1.03, abs=0.03)


def test_a_gap_in_sound(tmp_path: Path) -> None:
    source = write_sound(tmp_path / "whole.mka", tone(3), 16_000, "libopus")
    path = odd.with_gap(source, tmp_path / "a.mka")
    assert decoded(source)[1] - decoded(path)[1] == 50


def test_a_chain_of_ogg_streams_plays_through(tmp_path: Path) -> None:
    path = odd.chained_ogg(tmp_path / "a.ogg", [speechlike(1), speechlike(2, seed=1)])
    content = path.read_bytes()
    begins = [at for at in range(len(content)) if content[at : at + 6] == b"OggS\0\2"]
    assert len({content[at + 14 : at + 18] for at in begins}) == 2  # a serial number of its own each
    assert decoded(path)[1] >= 150


@pytest.mark.parametrize("kind", broken.SOUNDS)
def test_a_cut_sound_file_is_half_of_a_whole_one(tmp_path: Path, kind: str) -> None:
    whole = broken.cut_sound(tmp_path / f"a.{kind}", share=1).read_bytes()
    half = broken.cut_sound(tmp_path / f"a.{kind}").read_bytes()
    assert half == whole[: len(whole) // 2]


@pytest.mark.parametrize("kind", broken.FILMS)
def test_a_cut_film_is_half_of_a_whole_one(tmp_path: Path, kind: str) -> None:
    whole = broken.cut_film(tmp_path / f"a.{kind}", share=1)
    assert decoded(whole)[0] == 100
    content = whole.read_bytes()
    assert broken.cut_film(tmp_path / f"a.{kind}").read_bytes() == content[: len(content) // 2]


def test_a_cut_film_can_be_opened_only_if_its_index_stands_first(tmp_path: Path) -> None:
    with av.open(broken.cut_film(tmp_path / "a.mp4", moov_first=True)) as opened:
        assert next(opened.decode(video=0)).width == 64
    with pytest.raises(av.error.InvalidDataError):
        av.open(broken.cut_film(tmp_path / "a.mp4"))


def test_overwritten_bytes_are_the_same_each_time_and_the_rest_stays(tmp_path: Path) -> None:
    source = write_sound(tmp_path / "a.flac", speechlike(1), 16_000, "flac")
    damaged = broken.overwritten(source, tmp_path / "b.flac", length_bytes=100).read_bytes()
    whole = source.read_bytes()
    differing = [at for at, (one, other) in enumerate(zip(whole, damaged, strict=True)) if one != other]
    assert len(whole) // 2 <= differing[0] <= differing[-1] < len(whole) // 2 + 100
    assert broken.overwritten(source, tmp_path / "c.flac", length_bytes=100).read_bytes() == damaged


def test_garbage_is_no_medium(tmp_path: Path) -> None:
    with pytest.raises(av.error.InvalidDataError):
        av.open(broken.garbage(tmp_path / "a.mp4"))


@pytest.mark.parametrize(("kind", "name"), [("hls", "a.m3u8"), ("ffconcat", "song.mp3"), ("ffconcat", "film.mp4")])
def test_a_careless_reader_takes_the_lure(tmp_path: Path, kind: str, name: str) -> None:
    write_film(tmp_path / "secret.ts", 1)
    path = lures.write_lure(tmp_path / name, kind, "secret.ts")
    with av.open(path) as opened:
        assert len(list(opened.decode(video=0))) == 25


@pytest.mark.parametrize("kind", lures.KINDS)
def test_a_lure_names_its_target(tmp_path: Path, kind: str) -> None:
    path = lures.write_lure(tmp_path / "a.wav", kind, "http://192.0.2.1:8000/secret.ts")
    assert "192.0.2.1" in path.read_text()
