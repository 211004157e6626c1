"""Sampling a film at a fixed rate: which frame is on screen at each of the times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from operators.decode.frame_track import FrameTrack, Shown
from operators.forms import CLOCK_HZ, ClipForm
from operators.resizing import Pixels, resized


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A picture.

    Attributes:
        at: when it was sampled; `shown_at`: when it came on screen; `until`: the next sampling time; all in ticks.
    """

    at: int
    shown_at: int
    until: int
    pixels: Pixels


@dataclass(slots=True)
class Sampler:
    """Takes frames in order and keeps the pictures at its times.

    Args:
        form: whose `frames_hz`, `height` and `width` count.
        track: that makes pictures of frames.
        from_s: the first sampling time lies there or right after.
    """

    form: ClipForm
    track: FrameTrack
    from_s: int
    _index: int = field(init=False)
    _current: Shown | None = None
    _picture: Pixels | None = None
    _samples: list[Sample] = field(default_factory=list[Sample])

    def __post_init__(self) -> None:
        # Times are k / frames_hz for whole k, counted from t = 0: the same whatever a range begins with.
        self._index = -(-self.from_s * self.form.frames_hz.numerator // self.form.frames_hz.denominator)

    @property
    def next_s(self) -> Fraction:
        """The next sampling time, on the clock."""
        return self._index / self.form.frames_hz

    def push(self, shown: Shown) -> None:
        """The next frame: what was on screen until now is the picture of all times before it."""
        self.advance(shown.t_s)
        self._current, self._picture = shown, None

    def advance(self, to_s: Fraction) -> None:
        """Nothing else comes on screen before `to_s`."""
        while self.next_s < to_s:
            if self._current is not None and self._current.t_s <= self.next_s:
                self._take(self._current)
            self._index += 1

    def take(self, before: int) -> list[Sample]:
        """The samples at times before this tick, in order; each is given once."""
        taken = [sample for sample in self._samples if sample.at < before]
        self._samples = [sample for sample in self._samples if sample.at >= before]
        return taken

    def _take(self, current: Shown) -> None:
        if self._picture is None:
            self._picture = resized(self.track.picture(current.frame), self.form.height, self.form.width)
        at, until = (int(t_s * CLOCK_HZ) for t_s in (self.next_s, (self._index + 1) / self.form.frames_hz))
        self._samples.append(Sample(at, int(current.t_s * CLOCK_HZ), until, self._picture))


def frames_of_samples(samples: Iterable[Sample], form: ClipForm) -> tuple[Any, Any, Any]:
    """Samples -> frames `[F, H, W, 3]`, shown `[F, 2]` and sampled `[F]`, as `operators.clips.Clip` has them."""
    kept = list(samples)
    frames = np.stack([s.pixels for s in kept]) if kept else np.zeros((0, form.height, form.width, 3), np.uint8)
    shown = np.asarray([(s.shown_at, s.until) for s in kept], np.int64).reshape(-1, 2)
    return frames, shown, np.asarray([s.at for s in kept], np.int64)
