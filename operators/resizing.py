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


class Fit(StrEnum):
    """How a picture gets into a frame of other proportions."""

    COVER = "cover"
    STRETCH = "stretch"


def resized(pixels: Pixels, height: int, width: int, fit: Fit = Fit.COVER) -> Pixels:
    """`[h, w, 3]` -> `[height, width, 3]`.

    `cover`: scaled, keeping its proportions, until it covers the frame; what hangs over on two sides is cut off evenly.
    `stretch`: scaled to the frame, whatever becomes of its proportions.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels)
    box = _covered(image.height, image.width, height, width) if fit is Fit.COVER else None
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=box, reducing_gap=2.0))


def _covered(height: int, width: int, to_height: int, to_width: int) -> tuple[float, float, float, float]:
    """The part of a picture that will fill the frame: left, top, right, bottom."""
    scale = max(to_height / height, to_width / width)
    # Rounding must not carry the box over the picture's edge.
    cut_width, cut_height = min(width, to_width / scale), min(height, to_height / scale)
    left, top = (width - cut_width) / 2, (height - cut_height) / 2
    return left, top, min(width, left + cut_width), min(height, top + cut_height)
