"""Channels: decoded frames as float32, and any layout mixed to mono or stereo.

Weights as ITU-R BS.775 has them: centre and surrounds at -3 dB on both sides or on their own, no low-frequency channel;
then scaled so that full scale on all channels stays full scale. Mono is the mean of the two sides. A layout that is not
known is the mean of all channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

_HALF_POWER = math.sqrt(0.5)
_SIDES = {
    "FL": (1.0, 0.0),
    "FR": (0.0, 1.0),
    "FC": (_HALF_POWER, _HALF_POWER),
    "LFE": (0.0, 0.0),
    "LFE2": (0.0, 0.0),
    "BL": (_HALF_POWER, 0.0),
    "BR": (0.0, _HALF_POWER),
    "SL": (_HALF_POWER, 0.0),
    "SR": (0.0, _HALF_POWER),
    "BC": (0.5, 0.5),
    "FLC": (1.0, 0.0),
    "FRC": (0.0, 1.0),
    "DL": (1.0, 0.0),
    "DR": (0.0, 1.0),
}
_FULL_SCALE = {"i1": 128.0, "i2": 32768.0, "i4": 2147483648.0, "i8": 9223372036854775808.0}


def floats(frame: Any) -> Samples:  # noqa: ANN401  an av.AudioFrame
    """A decoded frame of any sample format -> `[C, n]` float32, full scale 1."""
    array = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, frame.layout.nb_channels).T
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - 128.0) / np.float32(128.0)
    if array.dtype.kind == "i":
        return (array / _FULL_SCALE[array.dtype.str[1:]]).astype(np.float32)
    return array.astype(np.float32)


def mixed(samples: Samples, layout: Sequence[str], channels: int) -> Samples:
    """`[C, n]` -> `[channels, n]`.

    Args:
        samples: of a layout's channels.
        layout: their names in FFmpeg's short form, e.g. ("FL", "FR", "FC", "LFE", "BL", "BR"); C of them.
        channels: 1 or 2.
    """
    matrix = _matrix(tuple(layout), channels)
    if matrix.shape[0] == matrix.shape[1] and np.array_equal(matrix, np.eye(channels, dtype=np.float32)):
        return samples
    # Channel by channel: a matrix product's order of summation is the library's, and may depend on how long a block is.
    out = np.zeros((channels, samples.shape[1]), np.float32)
    for weights, channel in zip(matrix.T, samples, strict=True):
        for side, weight in enumerate(weights):
            if weight:
                out[side] += weight * channel
    return out


@cache
def _matrix(layout: tuple[str, ...], channels: int) -> npt.NDArray[np.float32]:
    """`[channels, C]`."""
    if layout == ("FC",) or len(layout) == 1:
        sides = np.ones((2, 1))
    elif all(name in _SIDES for name in layout):
        sides = np.asarray([_SIDES[name] for name in layout]).T
    else:
        sides = np.ones((2, len(layout)))
    # Both sides by the same factor: which of them is louder must not change.
    sides = sides / max(float(sides.sum(axis=1).max()), 1e-9)
    chosen = sides if channels == 2 else sides.mean(axis=0, keepdims=True)
    return chosen.astype(np.float32)
