"""Files that are whole but unusual."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av.packet import Packet
from av.stream import Disposition
from PIL import Image

from tests.making.film import write_film
from tests.making.muxing import create, mux, remux
from tests.making.picture import numbered
from tests.making.sound import Sound, add_sound, encoded, silence, speechlike, tone, write_sound


def without_sound(path: Path, seconds: float = 1.0) -> Path:
    """A film that has no audio stream; returns `path`."""
    return write_film(path, seconds)


def one_frame(path: Path) -> Path:
    """A film of a single frame; returns `path`."""
    return write_film(path, 0.04)


def no_samples(path: Path, codec: str = "pcm_s16le") -> Path:
    """A sound file of 0 samples: its header, whole. Returns `path`."""
    return write_sound(path, silence(0), 16_000, codec)


def many_channels(path: Path, channels: int = 64, seconds: float = 0.5) -> Path:
    """A WAV file with a tone of its own in each channel; returns `path`."""
    return write_sound(path, tone(seconds, 8_000, channels, pitch_hz=50.0), 8_000)


def not_finite(path: Path, seconds: float = 1.0) -> Path:
    """A WAV file of floats: a tone, of whose samples some are NaN or ±infinity. Returns `path`."""
    samples = tone(seconds)
    for first, value in enumerate((np.nan, np.inf, -np.inf)):
        samples[10 + first :: 1_000] = value
    return write_sound(path, samples, 16_000, "pcm_f32le")


def with_cover(path: Path, samples: Sound, rate_hz: int, codec: str) -> Path:
    """Sound with a picture on its sleeve, which FFmpeg shows as a video stream `attached_pic`. Returns `path`.

    Args:
        path: ending in .flac (a PICTURE block), .mp3 (ID3v2 APIC) or .m4a (covr).
        codec: "flac", "libmp3lame", "aac", ...
    """
    jpeg = io.BytesIO()
    Image.fromarray(numbered(7, 64, 64)).save(jpeg, "JPEG")
    with create(path, "mp4" if path.suffix == ".m4a" else None) as out:
        stream = add_sound(out, codec, rate_hz, samples.shape[1])
        cover = out.add_mux_stream("mjpeg", width=64, height=64)
        cover.disposition = Disposition.attached_pic
        picture = Packet(jpeg.getvalue())
        picture.stream, picture.time_base, picture.is_keyframe = cover, Fraction(1, 1000), True
        picture.pts = picture.dts = 0
        out.start_encoding()
        out.mux(picture)
        mux(out, encoded(stream, [samples]))
    return path


def many_streams(path: Path, streams: int = 200, seconds: float = 0.1) -> Path:
    """A container (.mkv, .mp4, .mka) with so many audio streams; stream n sounds at 100 + 10n Hz. Returns `path`."""
    with create(path) as out:
        codec = "aac" if "mp4" in out.format.name else "pcm_s16le"
        added = [add_sound(out, codec, 16_000, 1) for _ in range(streams)]
        packets = [
            encoded(stream, [tone(seconds, 16_000, pitch_hz=100.0 + 10 * number)])
            for number, stream in enumerate(added)
        ]
        mux(out, *packets)
    return path


def starting_late(path: Path, late_s: Fraction = Fraction(3, 2), seconds: float = 3.0) -> Path:
    """A film whose sound begins so much later than its picture (with a negative number: earlier). Returns `path`."""
    return write_film(
        path,
        seconds,
        sound=speechlike(seconds, 48_000),
        audio_codec=_codec(path),
        sound_start_s=max(late_s, Fraction(0)),
        video_start_s=max(-late_s, Fraction(0)),
    )


def negative_times(path: Path, before_s: Fraction = Fraction(1, 2), seconds: float = 3.0) -> Path:
    """A film whose timestamps begin below 0 (.mp4, .mov: with an edit list that starts at 0; .ts). Returns `path`."""
    return write_film(
        path,
        seconds,
        sound=speechlike(seconds, 48_000),
        video_start_s=-before_s,
        sound_start_s=-before_s,
        container_options={"mpegts_copyts": "1"} if path.suffix == ".ts" else None,
    )


def uneven_frames(path: Path, count: int = 40, seed: int = 0) -> list[Fraction]:
    """A film of variable frame rate: frames 10 to 200 ms apart. Returns the time of each in seconds."""
    steps = np.random.default_rng(seed).integers(1, 21, count)
    times_s = [Fraction(int(at) - int(steps[0]), 100) for at in np.cumsum(steps)]
    write_film(path, 0, times_s=times_s)
    return times_s


def with_gap(source: Path, path: Path, gap_s: tuple[float, float] = (1.0, 2.0)) -> Path:
    """A file's packets, of all streams, but for those between two times: its timestamps jump. Returns `path`."""
    return remux(source, path, lambda packet: not gap_s[0] <= _shown_s(packet) < gap_s[1])


def chained_ogg(path: Path, parts: list[Sound], rate_hz: int = 16_000) -> Path:
    """Several Opus streams one after another in one Ogg file, as radio stations record them. Returns `path`."""
    contents: list[bytes] = []
    for number, samples in enumerate(parts):
        write_sound(path, samples, rate_hz, "libopus", "ogg", container_options={"serial_offset": str(1_000 + number)})
        contents.append(path.read_bytes())
    path.write_bytes(b"".join(contents))
    return path


def _codec(path: Path) -> str:
    return "libopus" if path.suffix in {".mkv", ".webm", ".mka", ".ogg"} else "aac"


def _shown_s(packet: Packet[Any]) -> Fraction:
    assert packet.pts is not None
    return packet.pts * packet.time_base
