"""What is drawn: SVG path data and the ticks of a time axis."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from pipeline.observe.report.samples import Samples

BARS = 180
"""Of a waveform; `BARS` wide and 2 high is its coordinate system, silence at 1."""
_LEAST = 0.02
_STEPS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_MOST_TICKS = 13


def waveform_path(samples: Samples, peak: float | None = None) -> str:
    """A sound as `BARS` upright strokes in a box of `BARS` × 2: path data.

    Args:
        samples: `[N]`.
        peak: that fills the height; None: the loudest sample, so that quiet sounds can be seen.
    """
    if not len(samples):
        return ""
    edges = np.linspace(0, len(samples), BARS + 1).astype(int)
    heights = [float(np.abs(samples[a : max(a + 1, b)]).max()) for a, b in pairwise(edges)]
    top = peak or max(heights) or 1.0
    strokes: list[str] = []
    for index, height in enumerate(heights):
        half = min(0.96, max(_LEAST, 0.96 * height / top))
        strokes.append(f"M{index + 0.5:g} {1 - half:.2f}V{1 + half:.2f}")
    return "".join(strokes)


def loudest(*sounds: Samples | None) -> float | None:
    """The peak of several sounds, so that their waveforms can share a scale; None where all are silent."""
    peaks = [float(np.abs(sound).max()) for sound in sounds if sound is not None and len(sound)]
    return max(peaks, default=0.0) or None


def ticks_s(duration_s: float) -> tuple[float, ...]:
    """Round times of an axis from 0, at most 13 of them, none beyond its end."""
    step_s = next((step for step in _STEPS_S if duration_s / step < _MOST_TICKS), duration_s / (_MOST_TICKS - 1))
    return tuple(index * step_s for index in range(math.floor(duration_s / step_s) + 1)) if duration_s > 0 else (0.0,)
