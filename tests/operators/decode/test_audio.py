from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soxr

from operators.decode import AudioDecoder, AvLimits, OnDamage
from operators.errors import (
    DecodeFailedError,
    EmptyMediaError,
    MediaLimitError,
    NoStreamError,
    NotMediaError,
    TruncatedError,
)
from operators.forms import PcmForm
from tests.making import broken, long, odd
from tests.making.sound import speechlike, tone, write_sound
from tests.operators.decode.av_files import FACTS, PCM, heard

NATIVE = PcmForm(44_100, 2, 44_100 * 7, 100)


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 10 s, so that no long files are needed."""
    monkeypatch.setattr("operators.decode.audio.SEGMENT_S", 10)


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("a.wav", "pcm_s16le", None),
        ("a.flac", "flac", None),
        ("a.mp3", "libmp3lame", None),
        ("a.m4a", "aac", None),
        ("a.aac", "aac", "adts"),
        ("a.ogg", "libopus", None),
        ("a.mka", "libopus", None),
        ("a.webm", "libopus", None),
    ],
)
def test_every_container_and_codec_gives_the_sound_that_went_in(
    name: str, codec: str, container: str | None, tmp_path: Path
) -> None:
    rate_hz = 48_000
    path = write_sound(tmp_path / name, tone(3.0, rate_hz), rate_hz, codec, container)
    samples, (segment,) = heard(path)
    assert samples.shape[1] == 1
    assert abs(len(samples) - 3 * 24_000) <= 24_000 * 0.1  # ADTS does not say what of its padding to leave out
    spectrum = np.abs(np.fft.rfft(samples[:48_000, 0]))
    assert spectrum.argmax() == pytest.approx(440 * 2, abs=2)
    assert samples[12_000:60_000].std() == pytest.approx(0.5 / np.sqrt(2), abs=0.02)
    assert segment.ended


def test_resampling_is_soxrs_of_the_whole(tmp_path: Path) -> None:
    sound = speechlike(3.0, 44_100)
    path = write_sound(tmp_path / "a.wav", sound, 44_100, "pcm_f32le")
    samples, _ = heard(path)
    whole = soxr.resample(sound[:, 0], 44_100, 24_000)
    assert np.array_equal(samples[:, 0], whole[: len(samples)])
    assert len(samples) == 3 * 24_000


@pytest.mark.parametrize("codec", ["flac", "libmp3lame", "aac", "libopus"])
def test_segments_are_bit_for_bit_the_whole_and_so_are_those_of_a_decoder_that_has_forgotten(
    codec: str, tmp_path: Path, short_segments: None
) -> None:
    suffix = {"flac": "flac", "libmp3lame": "mp3", "aac": "m4a", "libopus": "mka"}[codec]
    path = write_sound(tmp_path / f"a.{suffix}", speechlike(23.0, 16_000), 16_000, codec)
    samples, segments = heard(path)
    assert len(segments) == 3
    one_window = PcmForm(PCM.rate_hz, 1, PCM.rate_hz * 200, PCM.context)
    whole, _ = heard(path, one_window)
    assert np.array_equal(samples, whole)
    cursor = {"segment": 2, "first": 0, "stop": None}
    fresh = AudioDecoder((PCM,)).decode(path, FACTS, cursor).decoded
    assert np.array_equal(fresh.spans[PCM].samples, segments[2].spans[PCM].samples)
    assert fresh.spans[PCM].start == 20 * PCM.rate_hz


def test_a_segments_context_is_what_came_before_it(tmp_path: Path, short_segments: None) -> None:
    path = write_sound(tmp_path / "a.flac", speechlike(23.0, 24_000), 24_000, "flac")
    samples, segments = heard(path)
    assert not segments[0].spans[PCM].samples[: PCM.context].any()
    second = segments[1].spans[PCM]
    assert np.array_equal(second.samples[: PCM.context], samples[second.start - PCM.context : second.start])


def test_several_forms_come_of_one_decode_and_none_changes_another(tmp_path: Path, short_segments: None) -> None:
    path = write_sound(tmp_path / "a.flac", speechlike(15.0, 44_100, 2), 44_100, "flac")
    both = AudioDecoder((PCM, NATIVE)).decode(path, FACTS, None).decoded
    for form in (PCM, NATIVE):
        alone = AudioDecoder((form,)).decode(path, FACTS, None).decoded
        assert np.array_equal(both.spans[form].samples, alone.spans[form].samples)
        assert (len(alone.spans[form].samples) - form.context) % form.window == 0


def test_silence_stands_where_packets_were_lost(tmp_path: Path) -> None:
    sound = speechlike(4.0, 48_000)
    whole = write_sound(tmp_path / "whole.mka", sound, 48_000, "flac")
    samples, _ = heard(odd.with_gap(whole, tmp_path / "a.mka"))
    assert len(samples) == 4 * 24_000
    assert not samples[int(1.2 * 24_000) : int(1.8 * 24_000)].any()
    expected = soxr.resample(sound[:, 0], 48_000, 24_000)
    assert np.abs(samples[int(2.5 * 24_000) : int(3.5 * 24_000), 0] - expected[60_000:84_000]).max() < 1e-3


def test_a_chain_of_streams_is_heard_to_its_end(tmp_path: Path) -> None:
    path = odd.chained_ogg(tmp_path / "a.ogg", [tone(12.0), tone(12.0, pitch_hz=880.0)])
    samples, _ = heard(path)
    assert len(samples) == pytest.approx(24 * 24_000, rel=0.01)
    late = np.abs(np.fft.rfft(samples[15 * 24_000 : 16 * 24_000, 0]))
    assert late.argmax() == pytest.approx(880, abs=2)


def test_sound_that_starts_late_starts_at_zero_on_its_own_clock(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.mka", tone(1.0, 48_000), 48_000, "flac", start_s=Fraction(3, 2))
    samples, (segment,) = heard(path)
    assert segment.raw_start_s == Fraction(3, 2)
    assert len(samples) == 24_000
    assert np.abs(samples[:2_000]).max() > 0.1


def test_a_recording_of_twelve_hours_comes_in_segments_of_half_a_minute(tmp_path: Path) -> None:
    path = long.sparse_wav(tmp_path / "a.wav", 12)
    decoder = AudioDecoder((PCM,))
    first = decoder.decode(path, FACTS, None)
    assert first.cursor == {"segment": 1, "first": 0, "stop": 20}
    assert [fork["first"] for fork in first.forks] == list(range(20, 1440, 20))
    assert first.decoded.duration_s == pytest.approx(12 * 3600, rel=0.01)
    assert len(first.decoded.spans[PCM].samples) == 30 * PCM.rate_hz + PCM.context


@pytest.mark.parametrize("codec", ["pcm_s16le", "flac", "libmp3lame", "aac", "libopus"])
def test_ranges_hear_what_the_whole_does(codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operators.decode.audio.SEGMENT_S", 5)
    suffix = {"pcm_s16le": "wav", "flac": "flac", "libmp3lame": "mp3", "aac": "m4a", "libopus": "mka"}[codec]
    path = write_sound(tmp_path / f"a.{suffix}", speechlike(43.0, 48_000), 48_000, codec)
    whole, _ = heard(path)
    monkeypatch.setattr("operators.decode.audio.RANGE_S", 10)
    forks = AudioDecoder((PCM,)).decode(path, FACTS, None).forks
    assert [(fork["first"], fork["stop"]) for fork in forks] == [(2, 4), (4, 6), (6, None)]
    samples, segments = heard(path)
    assert [segment.ended for segment in segments] == [False] * (len(segments) - 1) + [True]
    assert len(samples) == pytest.approx(len(whole), abs=24)  # Matroska's timestamps are whole milliseconds
    count = min(len(samples), len(whole))
    if codec == "libopus":
        ours, theirs = (_loudness(each[:count, 0]) for each in (samples, whole))
        assert np.corrcoef(ours, theirs)[0, 1] > 0.99
    else:
        # AAC fills bands with noise of its own making.
        assert np.abs(samples[:count] - whole[:count]).max() < (0.02 if codec == "aac" else 1e-5)


def _loudness(samples: np.ndarray) -> np.ndarray:
    """Of each 20 ms."""
    return np.abs(samples[: len(samples) // 480 * 480]).reshape(-1, 480).mean(axis=1)


def test_a_range_is_the_same_from_a_decoder_that_has_heard_nothing_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operators.decode.audio.SEGMENT_S", 5)
    monkeypatch.setattr("operators.decode.audio.RANGE_S", 15)
    path = write_sound(tmp_path / "a.mp3", speechlike(43.0, 44_100), 44_100, "libmp3lame")
    decoder = AudioDecoder((PCM,))
    (fork, *_) = decoder.decode(path, FACTS, None).forks
    begun = decoder.decode(path, FACTS, fork)
    assert begun.cursor is not None
    went_on = decoder.decode(path, FACTS, begun.cursor).decoded
    anew = AudioDecoder((PCM,)).decode(path, FACTS, begun.cursor).decoded
    assert np.array_equal(went_on.spans[PCM].samples, anew.spans[PCM].samples)
    assert went_on.spans[PCM].start == 20 * PCM.rate_hz


def test_a_recording_whose_windows_never_begin_with_a_segment_is_not_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operators.decode.audio.SEGMENT_S", 5)
    monkeypatch.setattr("operators.decode.audio.RANGE_S", 10)
    path = write_sound(tmp_path / "a.wav", tone(43.0), 16_000)
    odd_windows = PcmForm(24_000, 1, 24_000 * 5 + 1, 0)
    assert AudioDecoder((odd_windows,)).decode(path, FACTS, None).forks == ()
    assert len(AudioDecoder((PCM,)).decode(path, FACTS, None).forks) == 3


def test_what_nobody_goes_on_with_is_closed(tmp_path: Path, short_segments: None) -> None:
    path = write_sound(tmp_path / "a.flac", tone(23.0), 16_000, "flac")
    decoder = AudioDecoder((PCM,))
    fds = Path("/proc/self/fd")
    before = len(list(fds.iterdir()))
    cursor = decoder.decode(path, FACTS, None).cursor
    assert cursor is not None
    assert len(list(fds.iterdir())) == before + 1
    decoder.forget(FACTS, cursor)
    assert len(list(fds.iterdir())) == before
    decoder.forget(FACTS, cursor)


def test_longer_than_the_limit_is_refused_by_what_the_header_says(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", tone(3.0), 16_000)
    with pytest.raises(MediaLimitError, match="3 s, where 2 are allowed"):
        heard(path, limits=AvLimits(max_duration_s=2))


def test_sixty_four_channels_are_over_the_limit_and_a_higher_limit_takes_their_mean(tmp_path: Path) -> None:
    path = odd.many_channels(tmp_path / "a.wav")
    with pytest.raises(MediaLimitError, match="64 channels, where 32 are allowed"):
        heard(path)
    samples, _ = heard(path, limits=AvLimits(max_channels=64))
    assert np.abs(samples).max() > 0.01


def test_too_many_streams_are_over_the_limit(tmp_path: Path) -> None:
    path = odd.many_streams(tmp_path / "a.mka")
    with pytest.raises(MediaLimitError, match="200 streams, where 64 are allowed"):
        heard(path)


def test_samples_that_are_no_numbers_are_refused_or_kept_as_silence(tmp_path: Path) -> None:
    path = odd.not_finite(tmp_path / "a.wav")
    with pytest.raises(DecodeFailedError, match="no numbers"):
        heard(path)
    samples, (segment,) = heard(path, keep=True)
    assert np.isfinite(samples).all()
    assert segment.damage_s


def test_a_film_without_sound_has_no_stream_and_a_cover_is_no_trouble(tmp_path: Path) -> None:
    with pytest.raises(NoStreamError, match="no audio stream"):
        heard(odd.without_sound(tmp_path / "a.mp4"))
    samples, _ = heard(odd.with_cover(tmp_path / "a.flac", tone(1.0), 16_000, "flac"))
    assert len(samples) == 24_000


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_no_samples_are_empty(name: str, tmp_path: Path) -> None:
    with pytest.raises((EmptyMediaError, NotMediaError)):
        heard(odd.no_samples(tmp_path / name, "flac" if name.endswith("flac") else "pcm_s16le"))


def test_bytes_that_are_no_container_say_so(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(EmptyMediaError):
        heard(tmp_path / "empty.wav")
    with pytest.raises(NotMediaError):
        heard(broken.garbage(tmp_path / "a.mp3"))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.mka"])
def test_a_file_that_ends_too_early_is_refused_or_kept_with_its_damage_at_the_end(name: str, tmp_path: Path) -> None:
    path = broken.cut_sound(tmp_path / name, 0.6, seconds=10.0)
    with pytest.raises((TruncatedError, DecodeFailedError)):
        heard(path)
    samples, (segment,) = heard(path, keep=True)
    assert 3 * 24_000 < len(samples) < 9 * 24_000
    assert segment.damage_s
    assert max(segment.damage_s) == pytest.approx(len(samples) / 24_000, abs=0.3)


def test_a_file_that_was_given_up_is_closed(tmp_path: Path) -> None:
    path = broken.cut_sound(tmp_path / "a.flac", 0.6, seconds=10.0)
    decoder = AudioDecoder((PCM,), on_damage=OnDamage.REFUSE)
    fds = Path("/proc/self/fd")
    with pytest.raises(TruncatedError):
        decoder.decode(path, FACTS, None)
    before = len(list(fds.iterdir()))
    for _ in range(20):
        with pytest.raises(TruncatedError):
            decoder.decode(path, FACTS, None)
    assert len(list(fds.iterdir())) == before
