"""Blocks of one sampling rate and layout -> PCM in a `PcmForm`, handed out in whole windows.

Resampled by soxr ("HQ": 20 bits, linear phase), whose stream gives the same samples however its input is cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr

from operators.decode.mixing import Samples, mixed
from operators.forms import PcmForm


@dataclass(frozen=True, slots=True, eq=False)
class PcmSpan:
    """Consecutive windows of one form.

    Attributes:
        start: of the first window, in samples on the clock.
        samples: `[context + n, channels]` float32 in about [-1, 1]: the form's context, then n samples from `start` on.
            n is a multiple of the form's window, unless this is the end.
    """

    start: int
    samples: Samples


class PcmCutter:
    """Mixes, resamples and keeps what no whole window can be made of yet.

    Args:
        form: that is wanted.
        rate_hz, layout: of the blocks that will come.
        begin_s: where on the clock the first of them begins, in whole seconds.
        from_s: where the first window begins, in whole seconds; no earlier than `begin_s`.
    """

    def __init__(self, form: PcmForm, rate_hz: int, layout: tuple[str, ...], begin_s: int, from_s: int) -> None:
        self._form = form
        self._layout = layout
        self._ratio = (form.rate_hz, rate_hz)
        self._taken_in = 0
        self._given_out = 0
        self._resampler: soxr.ResampleStream | None = None
        if rate_hz != form.rate_hz:
            self._resampler = soxr.ResampleStream(rate_hz, form.rate_hz, form.channels, dtype="float32", quality="HQ")
        self._start = from_s * form.rate_hz
        self._end = begin_s * form.rate_hz
        # Zeros, where the first window's context reaches back before anything that will come.
        self._begin = min(self._end, self._start - form.context)
        self._kept: list[Samples] = [np.zeros((self._end - self._begin, form.channels), np.float32)]

    @property
    def start(self) -> int:
        """Of the next window, in samples on the clock."""
        return self._start

    @property
    def end(self) -> int:
        """One past the last sample that there is, in samples on the clock."""
        return self._end

    def push(self, block: Samples) -> None:
        """`[C, n]` more."""
        self._taken_in += block.shape[1]
        self._add(np.ascontiguousarray(mixed(block, self._layout, self._form.channels).T), last=False)

    def finish(self) -> None:
        """No more will come: what the resampler holds back is given."""
        self._add(np.zeros((0, self._form.channels), np.float32), last=True)

    def holds(self, windows: int) -> bool:
        """Whether `take` would give so many whole ones."""
        return self._end - self._start >= windows * self._form.window

    def take(self, windows: int) -> PcmSpan:
        """The next windows: so many, or all that there are (the last one cut short) if that is less."""
        count = min(windows * self._form.window, max(0, self._end - self._start))
        joined = np.concatenate(self._kept)
        first = self._start - self._form.context - self._begin
        span = PcmSpan(self._start, joined[first : first + self._form.context + count])
        # A copy: what was handed out must not be kept alive by what waits.
        self._kept = [joined[first + count :].copy()]
        self._begin += first + count
        self._start += count
        return span

    def _add(self, samples: Samples, *, last: bool) -> None:
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=last)
            if last:
                # The resampler may round up by more; a stream has no more samples than its time holds.
                out_hz, in_hz = self._ratio
                samples = samples[: max(0, -(-self._taken_in * out_hz // in_hz) - self._given_out)]
        self._given_out += len(samples)
        self._end += len(samples)
        self._kept.append(samples)
