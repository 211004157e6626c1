"""A film made on the spot: photographs, each shown while its caption is spoken and written below."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream
from PIL import Image

from pipeline.app.demo_speech import spoken

BITEXACT = {"flags": "+bitexact", "threads": "1"}
"""Options for encoders: the same bytes each time."""

_PAUSE_S = 1.0
"""Of silence behind each caption, while its photograph stays."""
_MARGIN = 1.25
"""How much larger a photograph is than what is seen of it at the end of its scene."""
_MILLISECOND = Fraction(1, 1000)


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """A photograph and its caption, spoken from `start` on.

    Attributes:
        start, count: its frames.
        samples: `[N]` of its speech.
    """

    photograph: Path
    caption: str
    start: int
    count: int
    samples: npt.NDArray[np.float32]


def make_film(
    path: Path,
    photographs: Sequence[Path],
    captions: Sequence[str],
    *,
    voice: str = "en-us",
    language: str = "eng",
    size: tuple[int, int] = (256, 384),
    frames_hz: int = 15,
) -> float:
    """Write an MP4: H.264, AAC and subtitles (mov_text). Returns how long it is, in seconds.

    Args:
        path: of the film.
        photographs: at least one. The picture wanders and grows, so that no two frames are alike.
        captions: one a photograph, which is shown for as long as it takes to be spoken.
        voice: see `spoken`.
        language: of the captions, as in ISO 639-2.
        size: (height, width) in pixels, even.

    Raises:
        ConfigError: there is no speech.
    """
    rate_hz, scenes = _scenes(photographs, captions, voice, frames_hz)
    with av.open(path, "w", format="mp4", container_options={"fflags": "+bitexact"}) as out:
        options = {**BITEXACT, "preset": "veryfast", "g": str(2 * frames_hz)}
        video = out.add_stream("libx264", rate=frames_hz, options=options)
        audio = out.add_stream("aac", rate=rate_hz, options=BITEXACT, layout="mono")
        text = out.add_mux_stream("mov_text", time_base=_MILLISECOND)
        assert isinstance(video, VideoStream)
        assert isinstance(audio, AudioStream)
        video.height, video.width = size
        text.metadata["language"] = language
        packets = [
            *_pictures(video, scenes, frames_hz),
            *encoded_sound(audio, _sound(scenes, rate_hz, frames_hz), rate_hz),
            *_subtitles(text, scenes, rate_hz, frames_hz),
        ]
        out.mux(sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base))
    return (scenes[-1].start + scenes[-1].count) / frames_hz


def encoded_sound(stream: AudioStream, samples: npt.NDArray[np.float32], rate_hz: int) -> Iterator[Packet[Any]]:
    """Samples `[N]` in [-1, 1] as packets of a stream of one channel."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), "flt", "mono")
    frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), 0
    yield from stream.encode(frame)
    yield from stream.encode(None)


def _scenes(
    photographs: Sequence[Path], captions: Sequence[str], voice: str, frames_hz: int
) -> tuple[int, list[_Scene]]:
    """The sampling rate of their speech in Hz, and the scenes one after another."""
    rate_hz, scenes, start = 1, list[_Scene](), 0
    for photograph, caption in zip(photographs, captions, strict=True):
        rate_hz, samples = spoken(caption, voice)
        count = round((len(samples) / rate_hz + _PAUSE_S) * frames_hz)
        scenes.append(_Scene(photograph, caption, start, count, samples))
        start += count
    return rate_hz, scenes


def _sound(scenes: Sequence[_Scene], rate_hz: int, frames_hz: int) -> npt.NDArray[np.float32]:
    """`[N]`: all speech, each at its scene's start."""
    sound = np.zeros((scenes[-1].start + scenes[-1].count) * rate_hz // frames_hz, np.float32)
    for scene in scenes:
        at = scene.start * rate_hz // frames_hz
        sound[at : at + len(scene.samples)] = scene.samples
    return sound


def _pictures(stream: VideoStream, scenes: Sequence[_Scene], frames_hz: int) -> Iterator[Packet[Any]]:
    for number, scene in enumerate(scenes):
        for at, picture in enumerate(_moving(scene, stream.height, stream.width, inwards=number % 2 == 0)):
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), "rgb24")
            frame.pts, frame.time_base = scene.start + at, Fraction(1, frames_hz)
            yield from stream.encode(frame)
    yield from stream.encode(None)


def _moving(scene: _Scene, height: int, width: int, *, inwards: bool) -> Iterator[Image.Image]:
    """The scene's frames: a window that shrinks while it wanders across the photograph, or backwards."""
    with Image.open(scene.photograph) as opened:
        photo = opened.convert("RGB")
    scale = _MARGIN * max(width / photo.width, height / photo.height)
    photo = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.LANCZOS)
    for number in range(scene.count):
        done = number / scene.count
        far = 1 - done if inwards else done
        seen = 1 + (_MARGIN - 1) * far
        left, top = (photo.width - width * seen) * done, (photo.height - height * seen) * done
        box = (left, top, left + width * seen, top + height * seen)
        yield photo.resize((width, height), Image.Resampling.BILINEAR, box=box)


def _subtitles(stream: Stream, scenes: Sequence[_Scene], rate_hz: int, frames_hz: int) -> Iterator[Packet[Any]]:
    """Each caption for as long as it is heard; a packet of mov_text is a text behind its length (3GPP TS 26.245)."""
    for scene in scenes:
        content = scene.caption.encode()
        packet = Packet(struct.pack(">H", len(content)) + content)
        packet.stream, packet.time_base, packet.is_keyframe = stream, _MILLISECOND, True
        packet.pts = packet.dts = scene.start * 1000 // frames_hz
        packet.duration = len(scene.samples) * 1000 // rate_hz
        yield packet
