"""One video stream as pictures at sampling times, by presentation time.

What is shown at t is the last frame with a timestamp at or before t: so players do it, whatever the frame rate does in
between. Times are exact rationals of the stream's time base, never an index over a rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av.video.reformatter import Colorspace

from operators.decode.base import OnDamage
from operators.decode.demux import AvLimits, Demuxer, raw_time_s
from operators.decode.frames_of import frames_of
from operators.errors import EmptyMediaError, MediaLimitError
from operators.resizing import Pixels

_BACK_S = (0, 10, 120)
"""A seek that lands too late is tried again from so much earlier, and then from the start."""
_HD_HEIGHT = 720
_UNSPECIFIED = 2


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A frame and when it comes on screen.

    Attributes:
        t_s: on the clock.
        frame: as decoded; see `FrameTrack.picture`.
    """

    t_s: Fraction
    frame: Any


class FrameTrack:
    """The video stream of a file. For one thread.

    Args:
        path: of the file.
        limits: on what it claims to be.
        on_damage: whether packets that can't be decoded end it or are left out.
        threads: that the decoder may use.

    Attributes:
        first_s: of its first frame, by its own timestamps.
        width, height: of its pictures, upright and with square pixels.
        damage_s: times on the clock near which something could not be decoded.
        end_s: on the clock, when the last frame so far goes off screen.

    Raises:
        MediaError: no container, no video stream, no frame, too many pixels or streams, too long.
    """

    def __init__(self, path: Path, limits: AvLimits, on_damage: OnDamage, threads: int = 1) -> None:
        self._limits, self._on_damage = limits, on_damage
        self._demuxer = Demuxer(path, limits)
        try:
            self._stream = self._demuxer.film()
            self._stream.codec_context.thread_count = threads
            self.duration_s = self._demuxer.duration_s
            self._check_size(self._stream.codec_context.width, self._stream.codec_context.height)
            self.damage_s: list[Fraction] = []
            self.end_s = Fraction(0)
            self._origin = self._last_raw_s = Fraction(0)
            self._frames = self._decoded()
            self._pending: Any = self._first()
            self.first_s = raw_time_s(self._pending.pts, self._pending.time_base) or Fraction(0)
            self._last_raw_s = self.first_s
            self.height, self.width = self._upright_size(self._pending)
            self._check_size(self.width, self.height)
        except BaseException:
            self._demuxer.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._demuxer.close()

    def place(self, origin_s: Fraction, from_s: int) -> None:
        """Set the clock, and go to where the frame that is shown at `from_s` can be decoded.

        Args:
            origin_s: what the stream's own timestamps say at t = 0.
            from_s: on the clock.
        """
        self._origin = origin_s
        if not from_s:
            return
        for back_s in _BACK_S:
            if not self._demuxer.seek(self._stream, origin_s + from_s - back_s):
                break
            self._frames = self._decoded()
            self._pending = next(self._frames, None)
            if self._pending is not None:
                raw_s = raw_time_s(self._pending.pts, self._pending.time_base)
                if raw_s is not None and raw_s <= origin_s + from_s:
                    self._last_raw_s = raw_s
                    return
        if self._demuxer.seek(self._stream, min(self.first_s, Fraction(0))):
            self._frames, self._pending = self._decoded(), None

    def frames(self) -> Iterator[Shown]:
        """Frames in order of time, from where `place` said (or a bit before) until the stream ends.

        Raises:
            DecodeFailedError: a packet can't be decoded.
            TruncatedError: the file can't be read on.
            MediaLimitError: longer than the limit, or larger in mid-stream.
        """
        while True:
            frame = self._pending if self._pending is not None else next(self._frames, None)
            self._pending = None
            if frame is None:
                return
            raw_s = raw_time_s(frame.pts, frame.time_base)
            if raw_s is None:
                raw_s = self._last_raw_s + self._length_s(frame)
            self._last_raw_s = raw_s
            # As it will be with square pixels: a header may claim any aspect.
            self._check_size(*_square(frame, self._stream))
            t_s = raw_s - self._origin
            if t_s > self._limits.max_duration_s:
                raise MediaLimitError(f"longer than the {self._limits.max_duration_s:.0f} s that are allowed")
            self.end_s = max(self.end_s, t_s + self._length_s(frame))
            yield Shown(t_s, frame)

    def _first(self) -> Any:  # noqa: ANN401  an av.VideoFrame
        first = next(self._frames, None)
        if first is None:
            raise EmptyMediaError("a video stream without a frame")
        return first

    def picture(self, frame: Any) -> Pixels:  # noqa: ANN401
        """`[h, w, 3]` uint8, sRGB, upright, with square pixels."""
        height, width = _square(frame, self._stream)
        # Most encoders say nothing; then players take the matrix of HD for HD, and of standard definition below.
        matrix = None
        if int(frame.colorspace) == _UNSPECIFIED:
            matrix = Colorspace.ITU709 if frame.height >= _HD_HEIGHT else Colorspace.ITU601
        rgb = frame.reformat(width=width, height=height, format="rgb24", src_colorspace=matrix).to_ndarray()
        return np.ascontiguousarray(np.rot90(rgb, _quarter_turns(frame)))

    def _upright_size(self, frame: Any) -> tuple[int, int]:  # noqa: ANN401
        height, width = _square(frame, self._stream)
        return (width, height) if _quarter_turns(frame) % 2 else (height, width)

    def _length_s(self, frame: Any) -> Fraction:  # noqa: ANN401
        """How long a frame stays, if nothing follows it."""
        if frame.duration:
            return frame.duration * Fraction(frame.time_base)
        rate = self._stream.average_rate or self._stream.guessed_rate
        return 1 / Fraction(rate) if rate else Fraction(1, 25)

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._limits.max_pixels:
            raise MediaLimitError(
                f"frames of {width}x{height} pixels, where {self._limits.max_pixels} are allowed; not decoded"
            )

    def _decoded(self) -> Iterator[Any]:
        return frames_of(self._demuxer, self._stream, self._on_damage, self._at_s, self.damage_s)

    def _at_s(self) -> Fraction:
        return max(Fraction(0), self._last_raw_s - self._origin)


def _square(frame: Any, stream: Any) -> tuple[int, int]:  # noqa: ANN401
    """(height, width) of a frame with its pixels made square, before it is turned."""
    aspect = stream.sample_aspect_ratio
    if not aspect or aspect == 1:
        return frame.height, frame.width
    return frame.height, max(1, round(frame.width * Fraction(aspect)))


def _quarter_turns(frame: Any) -> int:  # noqa: ANN401
    """How often to turn it by 90° against the clock to have it upright."""
    return round(frame.rotation / 90) % 4
