from __future__ import annotations

import bisect
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.decode import FilmSettings, VideoDecoder
from operators.decode.demux import AvLimits
from operators.errors import DecodeFailedError, MediaLimitError, NoStreamError, NotMediaError, TruncatedError
from operators.forms import CLOCK_HZ, ClipForm
from tests.making import broken, lures, odd
from tests.making.film import add_video, encoded_pictures, write_film
from tests.making.long import click_and_flash
from tests.making.muxing import create, mux
from tests.making.picture import number_of, numbered
from tests.making.sound import silence, speechlike
from tests.operators.decode.av_files import CLIPS, FACTS, alike, watched


def numbers(path: Path, form: ClipForm = CLIPS, **options: bool) -> list[int]:
    """The numbers of the frames that were sampled, in order."""
    return [number_of(frame) for clip in watched(path, form, **options) for frame in clip.frames]


@pytest.mark.parametrize(
    ("name", "codec", "b_frames"),
    [
        ("a.mp4", "libx264", 0),
        ("a.mp4", "libx264", 2),
        ("a.mkv", "libx264", 2),
        ("a.ts", "libx264", 2),
        ("a.webm", "libvpx", 0),
        ("a.avi", "mpeg4", 0),
    ],
)
def test_the_frame_at_a_time_is_the_one_a_player_shows(name: str, codec: str, b_frames: int, tmp_path: Path) -> None:
    path = write_film(tmp_path / name, 5.0, Fraction(30_000, 1001), video_codec=codec, b_frames=b_frames)
    times = [number * Fraction(1001, 30_000) for number in range(round(5 * 30_000 / 1001))]
    # Matroska and WebM round timestamps to milliseconds, MPEG-TS to 1/90000 s.
    grain = {"a.mkv": Fraction(1, 1000), "a.webm": Fraction(1, 1000)}.get(name, Fraction(1, 90_000))
    rounded = [round(time / grain) * grain if name != "a.avi" else time for time in times]
    expected = [bisect.bisect_right(rounded, Fraction(k, 5)) - 1 for k in range(25)]
    assert numbers(path)[:25] == expected


def test_frames_that_come_unevenly_are_sampled_by_their_own_times(tmp_path: Path) -> None:
    times_s = odd.uneven_frames(tmp_path / "a.mp4")
    form = replace(CLIPS, frames_hz=Fraction(25))
    clips = watched(tmp_path / "a.mp4", form)
    found = [number_of(frame) for clip in clips for frame in clip.frames]
    shown = np.concatenate([clip.shown for clip in clips])
    for index, number in enumerate(found[: int(times_s[-1] * 25)]):
        assert number == bisect.bisect_right(times_s, Fraction(index, 25)) - 1
        assert shown[index, 0] == int(times_s[number] * CLOCK_HZ)
        assert shown[index, 1] == int(Fraction(index + 1, 25) * CLOCK_HZ)


@settings(max_examples=25)
@given(st.fractions(min_value=Fraction(1, 3), max_value=40, max_denominator=7), st.integers(1, 4))
def test_sampling_times_are_multiples_of_the_period_whatever_the_clips(
    tmp_path_factory: pytest.TempPathFactory, frames_hz: Fraction, clip_s: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "sampled.mp4"
    if not path.exists():
        write_film(path, 6.0)
    form = ClipForm(clip_s, frames_hz, 64, 64, None, text=False)
    clips = watched(path, form)
    sampled = np.concatenate([clip.sampled for clip in clips]).tolist()
    count = -(-6 * frames_hz.numerator // frames_hz.denominator)
    assert sampled == [int(k / frames_hz * CLOCK_HZ) for k in range(count)]
    assert all(clip.start <= at < clip.start + clip_s * CLOCK_HZ for clip in clips for at in clip.sampled)
    numbers = [number_of(frame) for clip in clips for frame in clip.frames]
    assert numbers == [int(k / frames_hz * 25) for k in range(len(sampled))]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_film_that_was_held_sideways_stands_upright(degrees: int, tmp_path: Path) -> None:
    def marked(_: int) -> np.ndarray:
        picture = np.zeros((64, 96, 3), np.uint8)
        picture[:32, :32] = 255
        return picture

    path = write_film(tmp_path / "a.mp4", 1.0, size=(64, 96), picture=marked, rotation_deg=degrees)
    size = (64, 96) if degrees == 180 else (96, 64)
    (clip,) = watched(path, ClipForm(2, Fraction(1), *size, None, text=False))
    expected = np.rot90(marked(0), -degrees // 90)
    assert np.abs(clip.frames[0].astype(int) - expected).mean() < 12


def test_clips_lie_end_to_end_with_sound_and_subtitles_where_they_belong(tmp_path: Path) -> None:
    sound = speechlike(5.0, 48_000)
    cues = [(0.5, 1.5, "one"), (1.9, 2.6, "two\nlines"), (4.0, 4.5, "<i>three</i>")]
    path = write_film(tmp_path / "a.mp4", 5.0, sound=sound, subtitles=cues, language="deu")
    clips = watched(path)
    assert [(clip.start / CLOCK_HZ, round(clip.end / CLOCK_HZ, 1)) for clip in clips] == [(0, 2), (2, 4), (4, 5.0)]
    assert [len(clip.frames) for clip in clips][:2] == [10, 10]
    assert [[(cue.text, cue.language) for cue in clip.cues] for clip in clips] == [
        [("one", "deu"), ("two\nlines", "deu")],
        [],
        [("three", "deu")],
    ]
    assert clips[0].cues[1].t0 == pytest.approx(1.9 * CLOCK_HZ, rel=1e-6)
    assert [len(clip.sound) - 320 for clip in clips[:2]] == [48_000, 48_000]
    assert np.array_equal(clips[1].sound[:320], clips[0].sound[-320:])


def test_sound_that_starts_late_is_silent_until_then_and_one_that_starts_early_has_no_pictures(tmp_path: Path) -> None:
    late = watched(odd.starting_late(tmp_path / "late.mkv"))
    heard = np.concatenate([clip.sound[320:, 0] for clip in late])
    assert not heard[: int(1.45 * 24_000)].any()
    assert np.abs(heard[int(1.55 * 24_000) :]).max() > 0.05
    early = watched(odd.starting_late(tmp_path / "early.mkv", Fraction(-3, 2)))
    assert early[0].sampled[0] >= int(1.5 * CLOCK_HZ)
    assert len(early[0].frames) == 2


@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])
def test_timestamps_below_zero_move_the_clock_and_are_told(name: str, tmp_path: Path) -> None:
    path = odd.negative_times(tmp_path / name)
    decoded = VideoDecoder((CLIPS,)).decode(path, FACTS, None).decoded
    if name == "a.ts":
        assert decoded.raw_start_s == pytest.approx(-0.5, abs=0.05)
    clips = watched(path)
    assert clips[0].start == 0
    assert clips[0].sampled[0] <= CLOCK_HZ // 5  # in MPEG-TS the encoder's priming makes the sound begin before


def test_one_frame_is_one_picture(tmp_path: Path) -> None:
    (clip,) = watched(odd.one_frame(tmp_path / "a.mp4"))
    assert len(clip.frames) == 1
    assert 0 < clip.end < CLOCK_HZ


def test_the_last_picture_stays_while_the_sound_goes_on(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mkv", 0.04, sound=speechlike(7.0, 48_000), audio_codec="flac")
    clips = watched(path, replace(CLIPS, frames_hz=Fraction(2)))
    sampled = np.concatenate([clip.sampled for clip in clips]) / CLOCK_HZ
    assert sampled.tolist() == [k / 2 for k in range(14)]
    assert all(shown == 0 for clip in clips for shown in clip.shown[:, 0])


def test_an_encoders_padding_of_the_sound_brings_no_further_picture(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", 3.0, sound=speechlike(3.03, 48_000))
    clips = watched(path, replace(CLIPS, frames_hz=Fraction(1)))
    assert clips[-1].end > 3 * CLOCK_HZ
    assert sum(len(clip.frames) for clip in clips) == 3


def test_a_film_without_sound_has_clips_without_any(tmp_path: Path) -> None:
    clips = watched(odd.without_sound(tmp_path / "a.mp4"))
    assert [len(clip.sound) for clip in clips] == [0]
    assert len(clips[0].frames) == 5


def test_sound_with_a_cover_is_no_film(tmp_path: Path) -> None:
    path = odd.with_cover(tmp_path / "a.m4a", silence(1.0), 16_000, "aac")
    with pytest.raises(NoStreamError, match="no video stream"):
        watched(path)


def test_ranges_and_fresh_decoders_give_the_same_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operators.decode.video.RANGE_S", 8)
    monkeypatch.setattr("operators.decode.video.SEGMENT_S", 4)
    cues = [(k + 0.3, k + 0.9, f"cue {k}") for k in range(0, 25, 3)]
    path = write_film(tmp_path / "a.mp4", 25.0, gop_s=3.0, b_frames=2, sound=speechlike(25.0, 48_000), subtitles=cues)
    segment = VideoDecoder((CLIPS,)).decode(path, FACTS, None)
    assert [(fork["from_s"], fork["to_s"]) for fork in segment.forks] == [(8, 16), (16, None)]
    clips = watched(path)
    assert alike(clips, watched(path, fresh=True))
    assert [number_of(frame) for clip in clips for frame in clip.frames] == [5 * k for k in range(125)]
    assert [cue.text for clip in clips for cue in clip.cues] == [text for *_, text in cues]
    monkeypatch.setattr("operators.decode.video.RANGE_S", 800)
    whole = watched(path)
    for one, other in zip(clips, whole, strict=True):
        assert np.array_equal(one.frames, other.frames)
        assert np.array_equal(one.shown, other.shown)
        assert np.abs(one.sound - other.sound).max() < 0.02  # AAC fills bands with noise of its own making


def test_lossless_sound_is_the_same_in_ranges_as_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_film(tmp_path / "a.mkv", 12.0, sound=speechlike(12.0, 48_000), audio_codec="flac")
    whole = watched(path)
    monkeypatch.setattr("operators.decode.video.RANGE_S", 4)
    for one, other in zip(watched(path), whole, strict=True):
        assert np.abs(one.sound - other.sound).max() < 1e-6


def test_a_click_and_a_flash_stay_together(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    times_s = click_and_flash(path, 60.0, 7.0)
    form = replace(CLIPS, frames_hz=Fraction(25), clip_s=10, sound=replace(CLIPS.sound, window=240_000))
    clips = watched(path, form)
    lit = [clip.shown[k, 0] for clip in clips for k in np.flatnonzero(clip.frames.mean(axis=(1, 2, 3)) > 150)]
    heard = np.abs(np.concatenate([clip.sound[320:, 0] for clip in clips]))
    clicks = [int(np.argmax(heard[int(t * 24_000) - 2400 : int(t * 24_000) + 2400])) - 2400 for t in times_s]
    assert lit == [int(t * CLOCK_HZ) for t in times_s]
    assert max(map(abs, clicks)) <= 24  # 1 ms


@pytest.mark.parametrize("moov_first", [True, False])
def test_a_film_that_ends_too_early_is_refused_or_kept(moov_first: bool, tmp_path: Path) -> None:
    path = broken.cut_film(tmp_path / "a.mp4", 0.5, moov_first=moov_first)
    with pytest.raises((TruncatedError, NotMediaError, DecodeFailedError)):
        watched(path)
    if moov_first:
        clips = watched(path, keep=True)
        assert 1 <= len(clips) <= 2
        assert number_of(clips[0].frames[0]) == 0


def test_frames_and_lengths_over_a_limit_are_refused(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", 3.0, size=(64, 96))
    for limits, said in ((AvLimits(max_pixels=6143), "96x64"), (AvLimits(max_duration_s=2), "3 s")):
        with pytest.raises(MediaLimitError, match=said):
            VideoDecoder((CLIPS,), FilmSettings(limits)).decode(path, FACTS, None)


def test_an_aspect_that_would_make_a_picture_too_large_is_refused(tmp_path: Path) -> None:
    path, rate = tmp_path / "a.mp4", Fraction(25)
    with create(path) as out:
        video = add_video(out, "libx264", rate, (64, 64), 1.0, 0)
        video.codec_context.sample_aspect_ratio = Fraction(2)
        mux(out, encoded_pictures(video, ((number, numbered(number, 64, 64)) for number in range(5)), 1 / rate))
    with pytest.raises(MediaLimitError, match="128x64"):
        VideoDecoder((CLIPS,), FilmSettings(AvLimits(max_pixels=64 * 64))).decode(path, FACTS, None)
    assert VideoDecoder((CLIPS,)).decode(path, FACTS, None).decoded.width == 128


@pytest.mark.parametrize("kind", ["hls", "hls_key", "ffconcat", "dash", "sdp"])
@pytest.mark.parametrize("name", ["a.m3u8", "a.mp4", "a.ffconcat", "a"])
def test_a_playlist_reads_nothing(kind: str, name: str, tmp_path: Path) -> None:
    target = write_film(tmp_path / "target.mp4", 0.2)
    path = lures.write_lure(tmp_path / name, kind, target)
    with pytest.raises(NotMediaError):
        watched(path)
