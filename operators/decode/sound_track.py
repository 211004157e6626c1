"""One audio stream as blocks of samples that lie end to end on a clock.

Timestamps decide where a block lies, but only where they disagree with the samples by more than `_TOLERANCE_S`: many
containers round them to milliseconds. A gap is filled with silence, what overlaps is left out, and so sound and
pictures can never drift apart by more than that, however long a film is. A jump back by seconds is a stream that was
begun anew (chained Ogg): it goes on where the last one ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from operators.decode.base import OnDamage
from operators.decode.demux import AvLimits, Demuxer, raw_time_s
from operators.decode.frames_of import frames_of
from operators.decode.mixing import Samples, floats
from operators.errors import DecodeFailedError, EmptyMediaError, MediaLimitError

_TOLERANCE_S = Fraction(3, 100)
"""Below what is noticed between sound and picture (ITU-R BT.1359: 45 ms), above what containers round."""
_ANEW_S = 10
_BLOCK_S = 0.5
_SILENCE_S = 1
"""Silence comes in pieces of so many seconds: a gap may be as long as the limit on duration allows."""
_PREROLL_S = 2
"""Decoded and thrown away after a seek: what codecs and the resampler must have heard before."""


class SoundTrack:
    """The audio stream of a file. For one thread.

    Args:
        path: of the file.
        limits: on what it claims to be.
        on_damage: whether packets that can't be decoded end it or are left out.

    Attributes:
        rate_hz: its own sampling rate.
        layout: its channels' names.
        first_s: of its first sample, by its own timestamps.
        damage_s: times on the clock at which something could not be decoded.
        duration_s: as the headers say; 0.0 where they don't.
        container: its format, by FFmpeg's first name for it.

    Raises:
        MediaError: no container, no audio stream, no samples, too many channels or streams, too long.
    """

    def __init__(self, path: Path, limits: AvLimits, on_damage: OnDamage) -> None:
        self._limits, self._on_damage = limits, on_damage
        self._demuxer = Demuxer(path, limits)
        try:
            self._stream = self._demuxer.sound()
            self._stream.codec_context.thread_count = 1
            self.duration_s = self._demuxer.duration_s
            self.container = self._demuxer.format
            self.damage_s: list[Fraction] = []
            self.rate_hz = 1  # until a frame says otherwise
            self._at = self._shift = 0
            self._origin = Fraction(0)
            self._time_base = Fraction(0)
            self._line = (0, 0, 1)
            self._frames = self._decoded()
            self._pending: Any = self._first()
            self.rate_hz = int(self._pending.sample_rate)
            self.layout = tuple(str(channel.name) for channel in self._pending.layout.channels)
            self.first_s = raw_time_s(self._pending.pts, self._pending.time_base) or Fraction(0)
        except BaseException:
            self._demuxer.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._demuxer.close()

    def place(self, origin_s: Fraction, from_s: int) -> int:
        """Set the clock, and go to a time on it.

        Args:
            origin_s: what the stream's own timestamps say at t = 0.
            from_s: that the caller will want samples from.

        Returns:
            Where `blocks` will begin, in whole seconds on the clock: `from_s`, or a bit before.
        """
        self._origin, self._time_base = origin_s, Fraction(0)
        begin_s = max(0, from_s - 1)
        if begin_s and self._demuxer.seek(self._stream, origin_s + begin_s - _PREROLL_S):
            self._frames = self._decoded()
            self._pending = None
        self._at = begin_s * self.rate_hz
        return begin_s

    def blocks(self) -> Iterator[Samples]:
        """`[C, n]` float32 each, end to end from where `place` said, until the stream ends.

        Raises:
            DecodeFailedError: a packet can't be decoded, or samples are no numbers.
            MediaLimitError: longer than the limit.
        """
        # Frames are short (1,024 samples of AAC): all that follows is done for many at a time.
        parts: list[Samples] = []
        count = 0
        for samples in self._continuous():
            parts.append(samples)
            count += samples.shape[1]
            if count >= _BLOCK_S * self.rate_hz:
                yield self._finite(np.concatenate(parts, axis=1))
                parts, count = [], 0
        if parts:
            yield self._finite(np.concatenate(parts, axis=1))

    def _continuous(self) -> Iterator[Samples]:
        """`[C, n]` of each frame, with silence where there is none."""
        begun = False
        for frame in self._rest():
            samples, gap = self._placed(frame, begun=begun)
            for silence in _silences(gap, self.rate_hz, samples.shape[0]):
                yield self._counted(silence)
            if samples.shape[1]:
                begun = True
                yield self._counted(samples)

    def _first(self) -> Any:  # noqa: ANN401  an av.AudioFrame
        first = next(self._frames, None)
        if first is None:
            raise EmptyMediaError("an audio stream without a sample")
        channels = len(first.layout.channels)
        if channels > self._limits.max_channels:
            raise MediaLimitError(f"{channels} channels, where {self._limits.max_channels} are allowed")
        return first

    def _rest(self) -> Iterator[Any]:
        if self._pending is not None:
            first, self._pending = self._pending, None
            yield first
        yield from self._frames

    def _counted(self, samples: Samples) -> Samples:
        self._at += samples.shape[1]
        if self._at > self._limits.max_duration_s * self.rate_hz:
            raise MediaLimitError(f"longer than the {self._limits.max_duration_s:.0f} s that are allowed")
        return samples

    def _placed(self, frame: Any, *, begun: bool) -> tuple[Samples, int]:  # noqa: ANN401
        """What of a frame's samples is new, and how many are missing before them."""
        if int(frame.sample_rate) != self.rate_hz or len(frame.layout.channels) != len(self.layout):
            raise DecodeFailedError(
                f"it changes from {self.rate_hz} Hz, {len(self.layout)} channels to {frame.sample_rate} Hz, "
                f"{len(frame.layout.channels)} channels in mid-stream"
            )
        samples = floats(frame)
        if frame.pts is None:
            return samples, 0
        ahead = self._sample_at(frame.pts, frame.time_base) + self._shift - self._at
        if begun and abs(ahead) <= _TOLERANCE_S * self.rate_hz:
            return samples, 0
        if begun and ahead < -_ANEW_S * self.rate_hz:
            self._shift -= ahead
            return samples, 0
        return samples[:, max(0, -ahead) :], max(0, ahead)

    def _sample_at(self, pts: int, time_base: Fraction) -> int:
        """The sample on the clock that a timestamp means, rounded. In integers: rationals take ten times as long."""
        if time_base != self._time_base:
            self._time_base = time_base
            scale, before = time_base * self.rate_hz, self._origin * self.rate_hz
            self._line = (
                scale.numerator * before.denominator,
                before.numerator * scale.denominator,
                scale.denominator * before.denominator,
            )
        step, before, whole = self._line
        return (2 * (pts * step - before) + whole) // (2 * whole)

    def _finite(self, samples: Samples) -> Samples:
        good = np.isfinite(samples)
        if good.all():
            return samples
        bad = int(samples.size - good.sum())
        if self._on_damage is OnDamage.REFUSE:
            raise DecodeFailedError(f"{bad} samples near {float(self._at_s()):.3f} s are no numbers (NaN or infinite)")
        self.damage_s.append(self._at_s())
        return np.where(good, samples, np.float32(0))

    def _decoded(self) -> Iterator[Any]:
        frames = frames_of(self._demuxer, self._stream, self._on_damage, self._at_s, self.damage_s)
        return (frame for frame in frames if frame.samples)

    def _at_s(self) -> Fraction:
        return Fraction(self._at, self.rate_hz)


def _silences(count: int, rate_hz: int, channels: int) -> Iterator[Samples]:
    block = _SILENCE_S * rate_hz
    for start in range(0, count, block):
        yield np.zeros((channels, min(block, count - start)), np.float32)
