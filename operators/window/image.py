"""Views of images: "rgb8:<height>x<width>:<fit>".

- `cover`: scaled, keeping its proportions, until it covers the frame; what hangs over on two sides is cut off evenly;
- `stretch`: scaled to the frame, whatever becomes of its proportions.

Resized with Pillow's bicubic filter, whose support grows with the reduction, so that nothing aliases. Before it, a box
filter reduces to no less than twice the size (`reducing_gap`), which changes next to nothing (48 dB and more). torch's
antialiased resize is 1 to 3 ms faster a photograph, but costs each worker 280 MB and 3 s for its import.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from operators.records import Modality, WindowBatch, WindowMeta
from operators.window.base import Array


class Fit(StrEnum):
    """How an image gets into a frame of other proportions."""

    COVER = "cover"
    STRETCH = "stretch"


class ImageLike(Protocol):
    """An upright image, in one or several scales."""

    @property
    def width(self) -> int:
        """Of the original, in pixels."""
        ...

    @property
    def height(self) -> int:
        """Of the original, in pixels."""
        ...

    @property
    def partial(self) -> bool:
        """Whether some of it is missing."""
        ...

    def pixels(self, min_height: int, min_width: int) -> npt.NDArray[np.uint8]:
        """`[h, w, 3]`, if it can be at least so large."""
        ...


@dataclass(frozen=True, slots=True)
class ImageView:
    """One window `[height, width, 3]` uint8, sRGB, an image."""

    height: int
    width: int
    fit: Fit = Fit.COVER

    @property
    def key(self) -> str:
        """Its name."""
        return f"rgb8:{self.height}x{self.width}:{self.fit.value}"

    @property
    def modality(self) -> Modality:
        """Images."""
        return Modality.IMAGE

    def windows(self, decoded: ImageLike) -> list[tuple[WindowMeta, Array]]:
        """The one window."""
        meta = WindowMeta(0, 1, width=decoded.width, height=decoded.height, partial=decoded.partial)
        return [(meta, self.resized(decoded.pixels(self.height, self.width)))]

    def resized(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """`[h, w, 3]` -> `[height, width, 3]`."""
        if pixels.shape[:2] == (self.height, self.width):
            return pixels
        image = Image.fromarray(pixels)
        box = self._covered(image.height, image.width) if self.fit is Fit.COVER else None
        frame = (self.width, self.height)
        return np.asarray(image.resize(frame, Image.Resampling.BICUBIC, box=box, reducing_gap=2.0))

    def stack(self, arrays: Sequence[Array]) -> WindowBatch:
        """B windows -> `[B, height, width, 3]`."""
        data = np.stack(arrays) if arrays else np.zeros((0, self.height, self.width, 3), np.uint8)
        return WindowBatch(self.key, data, np.ones(len(arrays), np.int64))

    def _covered(self, height: int, width: int) -> tuple[float, float, float, float]:
        """The part of the image that will fill the frame: left, top, right, bottom."""
        scale = max(self.height / height, self.width / width)
        # Rounding must not carry the box over the image's edge.
        cut_width, cut_height = min(width, self.width / scale), min(height, self.height / scale)
        left, top = (width - cut_width) / 2, (height - cut_height) / 2
        return left, top, min(width, left + cut_width), min(height, top + cut_height)
