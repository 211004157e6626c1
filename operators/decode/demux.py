"""Containers of sound and film, opened so that hostile ones can reach nothing.

FFmpeg opens what a file names: by name, or with a file object that has one, a playlist reads local files and reaches
the network. Here it gets a nameless object, a list of the demuxers that it may try, and an `io_open` that refuses.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container
import av.stream
from av.error import FFmpegError

from operators.errors import EmptyMediaError, MediaLimitError, NoStreamError, NotMediaError

# None that reads a list of other files (hls, dash, concat, image2, ...), a device or the network.
_DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dts,dv,eac3,flac,flv,ivf,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,"
    "mpegvideo,mxf,nut,ogg,rm,tak,tta,voc,w64,wav,webm,wv,h264,hevc,m4v,av1,obu"
)
_TEXT_CODECS = frozenset({"mov_text", "subrip", "srt", "ass", "ssa", "webvtt", "text"})


@dataclass(frozen=True, slots=True)
class AvLimits:
    """What a container of sound or film may claim to be.

    Attributes:
        max_streams: in one container.
        max_duration_s: of one recording or film.
        max_channels: of its sound.
        max_pixels: width × height of its frames.
    """

    max_streams: int = 64
    max_duration_s: float = 86_400.0
    max_channels: int = 32
    max_pixels: int = 100_000_000


class Demuxer:
    """An open container. Close it, or use it in a `with`.

    Args:
        path: of a regular file.
        limits: checked on the headers, before anything is decoded.

    Raises:
        EmptyMediaError: no bytes.
        NotMediaError: no container that is read, or one that names other files.
        MediaLimitError: too many streams, too long.
    """

    def __init__(self, path: Path, limits: AvLimits) -> None:
        self._file = path.open("rb", buffering=0)
        self._refused: list[str] = []
        try:
            self._container = self._opened()
        except BaseException:
            self._file.close()
            raise
        try:
            self._check(limits)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Demuxer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of decoders and file."""
        self._container.close()
        self._file.close()

    @property
    def format(self) -> str:
        """Its first name at FFmpeg, e.g. "mov", "matroska", "mp3"."""
        return str(self._container.format.name).split(",")[0]

    @property
    def duration_s(self) -> float:
        """As the headers say; 0.0 where they don't."""
        return max(0.0, self._container.duration / 1_000_000) if self._container.duration else 0.0

    def sound(self) -> Any:  # noqa: ANN401  av's stubs know no codec contexts of a stream
        """The audio stream to take: the default one, else that with most channels, else the first.

        Raises:
            NoStreamError: there is none.
        """
        streams = [stream for stream in self._container.streams.audio if _decodable(stream)]
        if not streams:
            raise NoStreamError(f"no audio stream; it has {self._kinds()}")
        return max(streams, key=lambda s: (_is_default(s), s.codec_context.layout.nb_channels, -s.index))

    def film(self) -> Any:  # noqa: ANN401
        """The video stream to take: the default one, else the largest, else the first. Cover art is none.

        Raises:
            NoStreamError: there is none.
        """
        streams = [stream for stream in self._container.streams.video if _decodable(stream) and not _is_cover(stream)]
        if not streams:
            raise NoStreamError(f"no video stream; it has {self._kinds()}")
        return max(streams, key=lambda s: (_is_default(s), s.codec_context.width * s.codec_context.height, -s.index))

    def subtitles(self) -> Any | None:  # noqa: ANN401
        """The subtitle stream of text to take: the default one, else the first; None where there is none."""
        streams = [stream for stream in self._container.streams.subtitles if _codec(stream) in _TEXT_CODECS]
        return max(streams, key=lambda s: (_is_default(s), -s.index), default=None)

    def seek(self, stream: Any, raw_s: Fraction) -> bool:  # noqa: ANN401
        """To the last keyframe at or before this time of the stream's own timestamps; False where it can't be done."""
        try:
            self._container.seek(int(raw_s / stream.time_base), stream=stream, backward=True)
        except FFmpegError:
            return False
        return True

    def packets(self, *streams: Any) -> Iterator[Any]:  # noqa: ANN401
        """Packets of these streams in the order of the file, then one empty packet each that flushes its decoder.

        All others are skipped by the demuxer, where it can without reading them.

        Raises:
            av.error.FFmpegError: from the demuxer, where the file is damaged.
        """
        for stream in self._container.streams:
            kept = any(stream.index == wanted.index for wanted in streams)
            stream.discard = av.stream.Discard.default if kept else av.stream.Discard.all
        for packet in self._container.demux(*streams):
            self.check_refused()
            yield packet

    def check_refused(self) -> None:
        """Raises NotMediaError where the container has tried to open something else."""
        if self._refused:
            raise NotMediaError(f"it refers to another file or address, which is not opened: {self._refused[0]!r}")

    def _opened(self) -> av.container.InputContainer:
        if not self._file.seek(0, io.SEEK_END):
            raise EmptyMediaError("0 bytes")
        self._file.seek(0)
        try:
            return av.open(
                _Nameless(self._file),
                mode="r",
                container_options={"format_whitelist": _DEMUXERS},
                metadata_errors="replace",
                io_open=self._refuse,
            )
        except (FFmpegError, ValueError) as error:
            self.check_refused()
            raise NotMediaError(f"no container of sound or film that is read: {decode_error(error)}") from error

    def _refuse(self, url: str, flags: int, options: Mapping[str, Any]) -> object:
        del flags, options
        self._refused.append(url)
        raise PermissionError(url)

    def _check(self, limits: AvLimits) -> None:
        self.check_refused()
        streams = len(self._container.streams)
        if streams > limits.max_streams:
            raise MediaLimitError(f"{streams} streams, where {limits.max_streams} are allowed; not decoded")
        if self.duration_s > limits.max_duration_s:
            raise MediaLimitError(
                f"{self.duration_s:.0f} s, where {limits.max_duration_s:.0f} are allowed; not decoded"
            )

    def _kinds(self) -> str:
        kinds = [f"{stream.type} ({_codec(stream) or 'unknown codec'})" for stream in self._container.streams]
        return ", ".join(kinds[:8]) or "no streams at all"


class _Nameless:
    """A file without a name, and without anything else that FFmpeg could make use of."""

    def __init__(self, file: io.FileIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def raw_time_s(pts: int | None, time_base: Fraction | None) -> Fraction | None:
    """A timestamp in seconds of the stream's own clock; None where there is none."""
    return None if pts is None or time_base is None else pts * Fraction(time_base)


def decode_error(error: Exception) -> str:
    """What FFmpeg says, without the file name that it does not have."""
    text = str(getattr(error, "strerror", "") or error)
    return text.replace(": '<none>'", "").replace("'<none>'", "it")


def _codec(stream: Any) -> str | None:  # noqa: ANN401
    context = stream.codec_context
    return None if context is None else str(context.name)


def _decodable(stream: Any) -> bool:  # noqa: ANN401
    return stream.codec_context is not None and stream.time_base is not None


def _is_default(stream: Any) -> bool:  # noqa: ANN401
    return bool(stream.disposition & av.stream.Disposition.default)


def _is_cover(stream: Any) -> bool:  # noqa: ANN401
    return bool(stream.disposition & (av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails))
