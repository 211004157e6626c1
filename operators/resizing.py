"""Pictures into frames of a given size.

Resized with Pillow's bicubic filter, whose support grows with the reduction, so that nothing aliases. Before it, a box
filter reduces to no less than twice the size (`reducing_gap`), which changes next to nothing (48 dB and more). torch's
antialiased resize is 1 to 3 ms faster a photograph, but costs each worker 280 MB and 3 s for its import.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""Left, top, right and bottom edges, in pixels."""


class Fit(StrEnum):
    """How a picture gets into a frame of other proportions."""

    COVER = "cover"
    STRETCH = "stretch"


def resized(pixels: Pixels, height: int, width: int, fit: Fit = Fit.COVER, part: Box | None = None) -> Pixels:
    """`[h, w, 3]` -> `[height, width, 3]`; of these pixels only `part` is the picture.

    `cover`: scaled, keeping its proportions, until it covers the frame; what hangs over on two sides is cut off evenly.
    `stretch`: scaled to the frame, whatever becomes of its proportions.
    """
    whole = (0.0, 0.0, float(pixels.shape[1]), float(pixels.shape[0]))
    left, top, right, bottom = part or whole
    if pixels.shape[:2] == (height, width) and (left, top, right, bottom) == whole:
        return pixels
    image = Image.fromarray(pixels)
    box = (left, top, right, bottom)
    if fit is Fit.COVER:
        across, down, until_across, until_down = _covered(bottom - top, right - left, height, width)
        # Adding must not carry the box over the picture's edge either.
        box = (left + across, top + down, min(right, left + until_across), min(bottom, top + until_down))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=box, reducing_gap=2.0))


def _covered(height: float, width: float, to_height: int, to_width: int) -> tuple[float, float, float, float]:
    """The part of a picture that will fill the frame: left, top, right, bottom."""
    scale = max(to_height / height, to_width / width)
    # Rounding must not carry the box over the picture's edge.
    cut_width, cut_height = min(width, to_width / scale), min(height, to_height / scale)
    left, top = (width - cut_width) / 2, (height - cut_height) / 2
    return left, top, min(width, left + cut_width), min(height, top + cut_height)
