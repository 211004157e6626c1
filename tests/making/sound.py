"""Sound: arrays `[N, C]` float32 in [-1, 1], and files of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from tests.making.muxing import BITEXACT, create, moved, mux

Sound = npt.NDArray[np.float32]

_CHUNK = 1 << 16  # samples given to an encoder at a time
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
_FORMATS = {"pcm_s24le": "s32", "flac24": "s32"}


def silence(seconds: float, rate_hz: int = 16_000, channels: int = 1) -> Sound:
    """`[N, C]` zeros."""
    return np.zeros((round(seconds * rate_hz), channels), np.float32)


def tone(seconds: float, rate_hz: int = 16_000, channels: int = 1, *, pitch_hz: float = 440.0) -> Sound:
    """`[N, C]`: sines of amplitude 0.5; channel c sounds at (c + 1) times the pitch, so that they can be told apart."""
    at_s = np.arange(round(seconds * rate_hz))[:, None] / rate_hz
    return (0.5 * np.sin(2 * np.pi * pitch_hz * at_s * np.arange(1, channels + 1))).astype(np.float32)


def chirp(
    seconds: float, rate_hz: int = 16_000, channels: int = 1, *, from_hz: float = 100.0, to_hz: float = 4_000.0
) -> Sound:
    """`[N, C]`, all channels alike: one sine of amplitude 0.5 that rises evenly. No two places of it look alike."""
    at_s = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * (from_hz * at_s + (to_hz - from_hz) * at_s**2 / (2 * max(seconds, 1e-9)))
    return _alike(0.5 * np.sin(phase), channels)


def speechlike(seconds: float, rate_hz: int = 16_000, channels: int = 1, *, seed: int = 0) -> Sound:
    """`[N, C]`, all channels alike: a buzz through two wandering formants in syllables of 4 Hz, with a little noise.

    It has the envelope and the spectrum of speech, and repeats nowhere.
    """
    rng = np.random.default_rng(seed)
    count = round(seconds * rate_hz)
    at_s = np.arange(count) / rate_hz
    knots_s = np.arange(int(np.ceil(seconds * 4)) + 2) / 4

    def wandering(low: float, high: float) -> npt.NDArray[np.float64]:
        return np.interp(at_s, knots_s, rng.uniform(low, high, len(knots_s)))

    phase = 2 * np.pi * np.cumsum(wandering(90, 180)) / rate_hz
    voice = np.zeros(count)
    first, second = wandering(300, 900), wandering(900, 2_500)
    pitch = np.gradient(phase) * rate_hz / (2 * np.pi) if count > 1 else np.full(count, 120.0)
    for harmonic in range(1, int(min(4_000, rate_hz / 2) // 180) + 1):
        heard_hz = harmonic * pitch
        loud = sum(1 / (1 + ((heard_hz - formant) / 120) ** 2) for formant in (first, second))
        voice += np.asarray(loud) * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(np.pi * 4 * at_s) ** 2 * wandering(0, 1.5), 0, 1)
    mixed = syllables * (voice + 0.05 * rng.standard_normal(count))
    return _alike(0.7 * mixed / max(float(np.abs(mixed).max(initial=0)), 1e-9), channels)


def _alike(samples: npt.NDArray[np.float64], channels: int) -> Sound:
    return np.repeat(samples[:, None], channels, axis=1).astype(np.float32)


def write_sound(
    path: Path,
    samples: Sound,
    rate_hz: int,
    codec: str = "pcm_s16le",
    container: str | None = None,
    *,
    start_s: Fraction = Fraction(0),
    container_options: Mapping[str, str] | None = None,
    **options: str,
) -> Path:
    """Write a sound file; returns `path`.

    Args:
        path: its ending names the container, unless `container` does.
        samples: `[N, C]`; N may be 0. Values beyond [-1, 1] are clipped, except by float codecs.
        rate_hz: one that the codec knows (Opus: 8, 12, 16, 24 or 48 kHz).
        codec: FFmpeg's name of the encoder: "pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "flac",
            "libmp3lame", "aac", "alac", "libopus", "vorbis" (two channels, for lack of a better encoder), "ac3"; or
            "flac24".
        container: FFmpeg's name of the muxer, e.g. "adts", "ipod", "matroska".
        start_s: of the first sample.
        container_options: of the muxer.
        options: of the encoder, e.g. `b="32000"`; of 16 kHz sound, `frame_duration="60"` for Opus.
    """
    with create(path, container, container_options) as out:
        stream = add_sound(out, codec, rate_hz, samples.shape[1], options)
        mux(out, moved(encoded(stream, [samples]), start_s))
    return path


def add_sound(
    out: OutputContainer, codec: str, rate_hz: int, channels: int, options: Mapping[str, str] | None = None
) -> AudioStream:
    """A stream in a container that is being written."""
    name = codec.removesuffix("24") if codec == "flac24" else codec
    given = {**BITEXACT, **({"strict": "-2"} if codec == "vorbis" else {}), **(options or {})}
    stream = out.add_stream(name, rate=rate_hz, options=given)
    assert isinstance(stream, AudioStream)
    assert isinstance(stream.codec_context, AudioCodecContext)
    stream.codec_context.layout = _LAYOUTS.get(channels, f"{channels} channels")
    if codec in _FORMATS:
        stream.codec_context.format = _FORMATS[codec]
    return stream


def encoded(stream: AudioStream, parts: list[Sound] | Iterator[Sound]) -> Iterator[Packet[Any]]:
    """The packets of a stream's sound, given in parts `[N, C]` that lie end to end."""
    rate_hz, layout, at = stream.codec_context.sample_rate, stream.codec_context.layout, 0
    for part in parts:
        for start in range(0, len(part), _CHUNK):
            chunk = np.ascontiguousarray(part[start : start + _CHUNK], np.float32)
            frame = av.AudioFrame.from_ndarray(chunk.reshape(1, -1), "flt", layout.name)
            frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), at
            yield from stream.encode(frame)
            at += len(chunk)
    if at:
        yield from stream.encode(None)
