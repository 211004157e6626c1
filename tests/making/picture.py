"""Frames `[H, W, 3]` uint8 that carry their number, so that one which was decoded says which it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]

_ROWS, _COLUMNS = 3, 8
_BITS = _ROWS * _COLUMNS
_SHARE = 2
"""The number takes the lower 1/2 of the picture."""


def numbered(number: int, height: int, width: int) -> Picture:
    """A frame: above a colour gradient that wanders with the number, below the number's 24 bits as blocks.

    It survives lossy codecs from 32x32 pixels on, and being made larger or smaller to any such size.
    """
    picture = np.empty((height, width, 3), np.uint8)
    across = (np.arange(width) * 255 // max(width - 1, 1) + 3 * number) % 511
    picture[:, :, 0] = np.abs(across - 255)
    picture[:, :, 1] = (np.arange(height) * 255 // max(height - 1, 1))[:, None]
    picture[:, :, 2] = np.abs(number % 120 - 60) * 4
    top = height - height // _SHARE
    rows = np.arange(height - top) * _ROWS // (height - top)
    columns = np.arange(width) * _COLUMNS // width
    bits = (number >> np.arange(_BITS)) & 1
    picture[top:] = (bits.reshape(_ROWS, _COLUMNS)[rows][:, columns] * 200 + 28)[:, :, None]
    return picture


def number_of(picture: Picture) -> int:
    """The number of a frame that `numbered` made, whatever codec it went through."""
    height, width = picture.shape[:2]
    top = height - height // _SHARE
    rows = top + (2 * np.arange(_ROWS) + 1) * (height - top) // (2 * _ROWS)
    columns = (2 * np.arange(_COLUMNS) + 1) * width // (2 * _COLUMNS)
    bits = picture[rows][:, columns].mean(axis=2) > 128
    return int((bits.reshape(-1).astype(np.int64) << np.arange(_BITS)).sum())


def flash(height: int, width: int, *, lit: bool) -> Picture:
    """White, or dark grey."""
    return np.full((height, width, 3), 255 if lit else 40, np.uint8)
