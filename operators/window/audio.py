"""Views of sound: "pcm:<rate in Hz>:<mono|stereo>:<samples>+<context samples>", windows that lie end to end.

A window comes with the samples before it that its tokenizer must have heard (zeros before the start), so that the
tokens of a recording are the same in one window or in many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt

from operators.forms import PcmForm
from operators.records import Modality, WindowBatch, WindowMeta
from operators.window.base import Array
from operators.window.damage import is_partial

CHANNELS = {"mono": 1, "stereo": 2}


class SpanLike(Protocol):
    """Consecutive windows and the context of the first."""

    @property
    def start(self) -> int:
        """Of the first window, in samples."""
        ...

    @property
    def samples(self) -> npt.NDArray[np.float32]:
        """`[context + n, C]`."""
        ...


class AudioLike(Protocol):
    """A segment of a recording."""

    @property
    def duration_s(self) -> float:
        """Of the whole, as its headers say."""
        ...

    @property
    def raw_start_s(self) -> Fraction:
        """What its own timestamps say at t = 0."""
        ...

    @property
    def spans(self) -> Mapping[PcmForm, SpanLike]:
        """By form."""
        ...

    @property
    def damage_s(self) -> Sequence[Fraction]:
        """When something is missing."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        ...


@dataclass(frozen=True, slots=True)
class AudioView:
    """Windows `[context + n, C]` float32, n at most the form's window; start and end count samples."""

    form: PcmForm

    @property
    def key(self) -> str:
        """Its name."""
        form = self.form
        return f"pcm:{form.rate_hz}:{layout_of(form)}:{form.window}+{form.context}"

    @property
    def modality(self) -> Modality:
        """Sound."""
        return Modality.AUDIO

    def windows(self, decoded: AudioLike) -> list[tuple[WindowMeta, Array]]:
        """The segment's windows."""
        form, span = self.form, decoded.spans[self.form]
        count = len(span.samples) - form.context
        windows: list[tuple[WindowMeta, Array]] = []
        for at in range(0, count, form.window):
            stop = min(at + form.window, count)
            start, end = span.start + at, span.start + stop
            meta = WindowMeta(
                start,
                end,
                rate_num=form.rate_hz,
                duration_s=decoded.duration_s,
                partial=is_partial(decoded.damage_s, start, end, form.rate_hz, last=decoded.ended and stop == count),
                raw_start=round(decoded.raw_start_s * form.rate_hz),
            )
            windows.append((meta, span.samples[at : stop + form.context]))
        return windows

    def stack(self, arrays: Sequence[Array]) -> WindowBatch:
        """B windows -> `[N, C]`, end to end."""
        data = np.concatenate(arrays) if arrays else np.zeros((0, self.form.channels), np.float32)
        return WindowBatch(self.key, data, np.asarray([len(array) for array in arrays], np.int64))


def layout_of(form: PcmForm) -> str:
    """Mono or stereo."""
    return next(name for name, channels in CHANNELS.items() if channels == form.channels)
