"""Hours of film and sound in seconds: cheap frames, or one block encoded once and written many times."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream

from tests.making.film import add_video, encoded_pictures
from tests.making.muxing import common_clock, create, mux
from tests.making.picture import flash, numbered
from tests.making.sound import Sound, add_sound, encoded, silence, tone

_BLOCK_S = 60
_PART_S = 10


def click_and_flash(
    path: Path,
    seconds: float,
    every_s: float = 10.0,
    *,
    frames_hz: Fraction = Fraction(25),
    size: tuple[int, int] = (64, 64),
    rate_hz: int = 16_000,
    audio_codec: str = "aac",
    gop_s: float = 10.0,
    b_frames: int = 0,
    container: str | None = None,
) -> list[Fraction]:
    """A dark, silent film in which one frame is white and one click sounds, at just the same time, every so often.

    Two hours take about 10 s to make.

    Args:
        every_s: from flash to flash, each rounded to a whole frame; the first is there after that time.

    Returns:
        The times of the flashes and clicks in seconds, ascending: where the white frames begin.
    """
    frames = round(seconds * frames_hz)
    lit = [round(number * every_s * frames_hz) for number in range(1, math.ceil(seconds / every_s))]
    times_s = [number / frames_hz for number in lit if number < frames]
    with create(path, container) as out:
        video = add_video(out, "libx264", frames_hz, size, gop_s, b_frames)
        audio = add_sound(out, audio_codec, rate_hz, 1)
        sound = encoded(audio, _clicks(times_s, round(seconds * rate_hz), rate_hz))
        mux(out, _flashes(video, set(lit), frames, 1 / frames_hz, size), sound)
    return times_s


def _flashes(
    stream: VideoStream, lit: set[int], frames: int, clock: Fraction, size: tuple[int, int]
) -> Iterator[Packet[Any]]:
    height, width = size
    shown = [
        av.VideoFrame.from_ndarray(flash(height, width, lit=white), "rgb24").reformat(format="yuv420p")
        for white in (False, True)
    ]
    for number in range(frames):
        frame = shown[number in lit]
        frame.pts, frame.time_base = number, clock
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _clicks(times_s: Sequence[Fraction], count: int, rate_hz: int) -> Iterator[Sound]:
    """Parts `[N, 1]` of `count` samples, zeros but for the clicks: one sample each."""
    clicks = np.asarray([round(time_s * rate_hz) for time_s in times_s], np.int64)
    for start in range(0, count, _PART_S * rate_hz):
        part = np.zeros((min(_PART_S * rate_hz, count - start), 1), np.float32)
        here = clicks[(clicks >= start) & (clicks < start + len(part))] - start
        part[here] = 0.9
        yield part


def long_film(
    path: Path,
    hours: float,
    *,
    size: tuple[int, int] = (256, 256),
    frames_hz: Fraction = Fraction(25),
    gop_s: float = 2.0,
    rate_hz: int | None = 48_000,
    container: str | None = None,
) -> Path:
    """A film of `numbered` frames and a tone; about a minute is encoded, then written again and again.

    Args:
        size: (height, width); 65 MB an hour at 256x256.
        rate_hz: of the tone, in AAC; None: no sound.

    Returns:
        `path`. Frames are numbered within a block, from 0.
    """
    height, width = size
    video_s = whole_blocks(max(round(gop_s * frames_hz), 1) / frames_hz)
    end_s = Fraction(hours) * 3600
    with create(path, container) as out:
        video = add_video(out, "libx264", frames_hz, size, float(gop_s), 0, {"crf": "35"})
        pictures = ((number, numbered(number, height, width)) for number in range(int(video_s * frames_hz)))
        audio = add_sound(out, "aac", rate_hz, 1) if rate_hz else None
        out.start_encoding()
        streams = [repeated(list(encoded_pictures(video, pictures, 1 / frames_hz)), video_s, end_s)]
        if audio:
            streams.append(repeated_tone(audio, end_s))
        mux(out, *streams)
    return path


def long_sound(path: Path, hours: float, *, rate_hz: int = 8_000, container: str | None = None) -> Path:
    """Hours of a tone in AAC: about a minute is encoded, then written again and again. Returns `path`."""
    with create(path, container) as out:
        audio = add_sound(out, "aac", rate_hz, 1)
        out.start_encoding()
        mux(out, repeated_tone(audio, Fraction(hours) * 3600))
    return path


def long_silence(
    path: Path, hours: float, *, rate_hz: int = 8_000, codec: str = "flac", container: str | None = None
) -> Path:
    """Hours of zeros, encoded; in FLAC about 2 MB an hour. Returns `path`."""
    with create(path, container) as out:
        part = silence(_PART_S, rate_hz)
        audio = add_sound(out, codec, rate_hz, 1)
        mux(out, encoded(audio, itertools.repeat(part, round(hours * 3600 / _PART_S))))
    return path


def sparse_wav(path: Path, hours: float, *, rate_hz: int = 8_000, channels: int = 1) -> Path:
    """Hours of zeros in 16-bit WAV, of which the disk holds only the header. Returns `path`.

    Raises:
        struct.error: more than the 4 GiB that WAV can count.
    """
    size = round(hours * 3600 * rate_hz) * channels * 2
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * channels * 2, channels * 2, 16)
    header = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size)
    with path.open("wb") as file:
        file.write(b"RIFF" + struct.pack("<I", len(header) + size) + header)
        file.truncate(8 + len(header) + size)
    return path


def repeated_tone(stream: AudioStream, end_s: Fraction) -> Iterator[Packet[Any]]:
    """Packets of AAC from within a tone, lest the joints click, again and again up to an end."""
    rate_hz = stream.codec_context.sample_rate
    block_s = whole_blocks(Fraction(1024, rate_hz))
    packets = encoded(stream, [tone(float(block_s) + 1, rate_hz)])
    block = [packet for packet in packets if packet.pts is not None and packet.pts >= 0][
        : int(block_s * rate_hz / 1024)
    ]
    return repeated(block, block_s, end_s)


def repeated(packets: Sequence[Packet[Any]], block_s: Fraction, end_s: Fraction) -> Iterator[Packet[Any]]:
    """A block's packets again and again, each time later by its length, up to an end."""
    for number in itertools.count():
        for packet in packets:
            clock = common_clock(packet.time_base, block_s)
            finer, later = int(packet.time_base / clock), int(number * block_s / clock)
            again = Packet(bytes(packet))
            assert packet.pts is not None and packet.dts is not None
            again.time_base, again.stream, again.is_keyframe = clock, packet.stream, packet.is_keyframe
            again.pts, again.dts = packet.pts * finer + later, packet.dts * finer + later
            again.duration = (packet.duration or 0) * finer
            if again.dts * clock >= end_s:
                return
            yield again


def whole_blocks(step_s: Fraction) -> Fraction:
    """The shortest whole number of steps that lasts a minute."""
    return step_s * math.ceil(_BLOCK_S / step_s)
