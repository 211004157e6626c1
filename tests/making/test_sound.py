from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.making.sound import Sound, chirp, silence, speechlike, tone, write_sound


def heard(path: Path) -> tuple[Sound, int, str]:
    """Samples `[N, C]`, their rate and the codec."""
    with av.open(path) as opened:
        stream = opened.streams.audio[0]
        resampler = av.AudioResampler(format="flt")
        frames = [part for frame in opened.decode(stream) for part in resampler.resample(frame)]
        channels = stream.codec_context.channels
        parts = [np.zeros(0, np.float32), *(frame.to_ndarray().reshape(-1) for frame in frames)]
        return np.concatenate(parts).reshape(-1, channels), stream.codec_context.sample_rate, stream.codec_context.name


@pytest.mark.parametrize(
    ("name", "codec", "tolerance"),
    [
        ("a.wav", "pcm_u8", 1 / 128),
        ("a.wav", "pcm_s16le", 1 / 32768),
        ("a.wav", "pcm_s24le", 1e-6),
        ("a.wav", "pcm_s32le", 1e-6),
        ("a.wav", "pcm_f32le", 0),
        ("a.flac", "flac", 1 / 32768),
        ("a.flac", "flac24", 1e-6),
        ("a.m4a", "alac", 1 / 32768),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_lossless_files_hold_what_was_written(
    tmp_path: Path, name: str, codec: str, tolerance: float, channels: int
) -> None:
    written = tone(0.5, 16_000, channels)
    samples, rate_hz, _ = heard(write_sound(tmp_path / name, written, 16_000, codec))
    assert rate_hz == 16_000
    assert samples.shape == written.shape
    assert np.abs(samples - written).max() <= tolerance


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("a.mp3", "libmp3lame", None),
        ("a.m4a", "aac", None),
        ("a.aac", "aac", "adts"),
        ("a.ogg", "libopus", None),
        ("a.webm", "libopus", None),
        ("a.mka", "libopus", None),
        ("a.ogg", "vorbis", None),
    ],
)
def test_lossy_files_sound_like_what_was_written(tmp_path: Path, name: str, codec: str, container: str | None) -> None:
    written = speechlike(2, 48_000, 2)
    samples, rate_hz, _ = heard(write_sound(tmp_path / name, written, 48_000, codec, container))
    assert rate_hz == 48_000
    assert 0 <= len(samples) - len(written) <= 2 * 1152
    spectra = [np.abs(np.fft.rfft(each[:96_000, 0])) for each in (samples, written)]
    assert np.corrcoef(*(np.log1p(each[200:4_000]) for each in spectra))[0, 1] > 0.8


def test_equal_calls_give_equal_bytes(tmp_path: Path) -> None:
    for name, codec in [("a.ogg", "libopus"), ("a.mka", "libopus"), ("a.m4a", "aac"), ("a.mp3", "libmp3lame")]:
        contents = {
            write_sound(tmp_path / f"{number}{name}", speechlike(1, 48_000), 48_000, codec).read_bytes()
            for number in range(2)
        }
        assert len(contents) == 1


def test_options_reach_the_encoder(tmp_path: Path) -> None:
    sizes = [
        write_sound(tmp_path / "a.mp3", chirp(2, 48_000), 48_000, "libmp3lame", b=rate).stat().st_size
        for rate in ("32000", "128000")
    ]
    assert 3.5 < sizes[1] / sizes[0] < 4.5


def test_a_start_can_be_given(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.mka", tone(1), 16_000, "flac", start_s=Fraction(5, 2))
    with av.open(path) as opened:
        first = next(opened.decode(audio=0))
    assert first.time == pytest.approx(2.5)


def test_the_channels_of_a_tone_differ_and_those_of_the_others_do_not() -> None:
    peaks = np.abs(np.fft.rfft(tone(1, 8_000, 3), axis=0)).argmax(axis=0)
    assert list(peaks) == [440, 880, 1320]
    for samples in (chirp(1, 8_000, 2), speechlike(1, 8_000, 2)):
        assert samples.dtype == np.float32
        assert np.array_equal(samples[:, 0], samples[:, 1])
        assert 0.1 < np.abs(samples).max() <= 1


def test_speechlike_sound_has_syllables_and_another_seed_says_something_else() -> None:
    samples = speechlike(4, 16_000)[:, 0]
    loudness = np.abs(samples).reshape(-1, 400).mean(axis=1)
    assert loudness.min() < 0.05 * loudness.max()
    assert np.array_equal(samples, speechlike(4, 16_000)[:, 0])
    assert not np.array_equal(samples, speechlike(4, 16_000, seed=1)[:, 0])


def test_no_seconds_are_no_samples() -> None:
    for make in (silence, tone, chirp, speechlike):
        assert make(0).shape == (0, 1)
