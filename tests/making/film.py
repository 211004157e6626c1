"""Films: picture, sound and subtitles in one container, late or early, turned, of any frame rate."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import Container, OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from tests.making.muxing import BITEXACT, create, moved, mux
from tests.making.picture import Picture, numbered
from tests.making.sound import Sound, add_sound, encoded

Subtitle = tuple[float, float, str]
"""[t0_s, t1_s) and the text."""

_VFR_CLOCK = Fraction(1, 90_000)
_SPEED = {
    "libx264": {"preset": "ultrafast"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libvpx": {"deadline": "realtime", "cpu-used": "16"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"preset": "12"},
}
_TEXT_CODECS = {"mp4": "mov_text", "mov": "mov_text", "ipod": "mov_text", "webm": "webvtt"}
_NEGATIVE = {"avoid_negative_ts": "disabled"}


def write_film(
    path: Path,
    seconds: float,
    frames_hz: Fraction = Fraction(25),
    size: tuple[int, int] = (64, 64),
    *,
    container: str | None = None,
    video_codec: str = "libx264",
    gop_s: float = 1.0,
    b_frames: int = 0,
    picture: Callable[[int], Picture] | None = None,
    times_s: Sequence[Fraction] | None = None,
    rotation_deg: int = 0,
    sound: Sound | None = None,
    sound_rate_hz: int = 48_000,
    audio_codec: str = "aac",
    subtitles: Sequence[Subtitle] | None = None,
    language: str = "eng",
    video_start_s: Fraction = Fraction(0),
    sound_start_s: Fraction = Fraction(0),
    container_options: Mapping[str, str] | None = None,
    **options: str,
) -> Path:
    """Write a film; returns `path`.

    Args:
        path: its ending names the container, unless `container` does (FFmpeg's name of the muxer).
        seconds: of the picture; rounded to whole frames. Ignored with `times_s`.
        frames_hz: frames a second; with `times_s` only what the file claims.
        size: (height, width) in pixels, even.
        video_codec: FFmpeg's name of the encoder: "libx264", "libx265", "mpeg4", "libvpx-vp9", "mjpeg", "ffv1", ...
        gop_s: from keyframe to keyframe.
        b_frames: as many as may stand between two others.
        picture: of a frame's number; None: `numbered`.
        times_s: of each frame, ascending, where they don't come evenly.
        rotation_deg: clockwise turn that sets the stored picture upright when shown: 90, 180, 270.
        sound: `[N, C]`; None: the film is silent, without a stream for it.
        audio_codec, sound_rate_hz: as in `write_sound`.
        subtitles: each [t0_s, t1_s) and text, ascending; as mov_text, SubRip or WebVTT, as the container has it.
        language: of the subtitles.
        video_start_s, sound_start_s: of the first frame and sample. Below 0, timestamps are negative: in MP4 what lies
            before 0 is cut off by an edit list; MPEG-TS (with `{"mpegts_copyts": "1"}`) keeps them; Matroska, which
            has none, wraps them round, which makes a broken file.
        container_options: of the muxer.
        options: of the video encoder, e.g. `crf="18"`.
    """
    height, width = size
    drawn = picture or (lambda number: numbered(number, height, width))
    negative = _NEGATIVE if min(video_start_s, sound_start_s) < 0 else {}
    with create(path, container, {**negative, **(container_options or {})}) as out:
        video = add_video(out, video_codec, frames_hz, size, gop_s, b_frames, options)
        if rotation_deg:
            video.set_display_rotation(-rotation_deg)
        if times_s is None:
            count = round(seconds * frames_hz)
            packets = encoded_pictures(video, ((number, drawn(number)) for number in range(count)), 1 / frames_hz)
        else:
            ticks = [round(time_s / _VFR_CLOCK) for time_s in times_s]
            video.codec_context.time_base = _VFR_CLOCK
            pictures = ((tick, drawn(number)) for number, tick in enumerate(ticks))
            packets = encoded_pictures(video, pictures, _VFR_CLOCK)
        streams = [moved(packets, video_start_s)]
        if sound is not None:
            heard = add_sound(out, audio_codec, sound_rate_hz, sound.shape[1])
            streams.append(moved(encoded(heard, [sound]), sound_start_s))
        if subtitles is not None:
            written = add_subtitles(out, language)
            streams.append(subtitle_packets(written, subtitles))
        mux(out, *streams)
    return path


def add_video(
    out: OutputContainer,
    codec: str,
    frames_hz: Fraction,
    size: tuple[int, int],
    gop_s: float,
    b_frames: int,
    options: Mapping[str, str] | None = None,
) -> VideoStream:
    """A stream in a container that is being written; one keyframe a GOP, no others."""
    gop = str(max(round(gop_s * frames_hz), 1))
    steady = {"keyint_min": gop, "sc_threshold": "0"} if codec == "libx264" else {}
    given = {**BITEXACT, **_SPEED.get(codec, {}), "g": gop, "bf": str(b_frames), **steady, **(options or {})}
    stream = out.add_stream(codec, rate=frames_hz, options=given)
    assert isinstance(stream, VideoStream)
    stream.height, stream.width = size
    if codec == "mjpeg":
        stream.pix_fmt = "yuvj420p"
    return stream


def encoded_pictures(
    stream: VideoStream, pictures: Iterable[tuple[int, Picture]], clock: Fraction
) -> Iterator[Packet[Any]]:
    """The packets of a stream's pictures, each with its time in ticks of `clock` seconds."""
    for tick, pixels in pictures:
        frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
        frame.pts, frame.time_base = tick, clock
        yield from stream.encode(frame)
    yield from stream.encode(None)


def add_subtitles(out: OutputContainer, language: str = "eng") -> Stream:
    """A stream of texts in a container that is being written."""
    stream = out.add_mux_stream(_text_codec(out))
    stream.time_base = Fraction(1, 1000)
    stream.metadata["language"] = language
    return stream


def subtitle_packets(stream: Stream, subtitles: Sequence[Subtitle]) -> Iterator[Packet[Any]]:
    """The packets of a stream's texts."""
    boxed = _text_codec(stream.container) == "mov_text"
    for t0_s, t1_s, text in subtitles:
        content = text.encode()
        packet = Packet(struct.pack(">H", len(content)) + content if boxed else content)
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = round(t0_s * 1000)
        packet.duration = round(t1_s * 1000) - packet.pts
        packet.is_keyframe = True
        packet.stream = stream
        yield packet


def _text_codec(container: Container) -> str:
    return _TEXT_CODECS.get(container.format.name, "subrip")
