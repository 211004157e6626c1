"""Views of images: "rgb8:<height>x<width>:<fit>", where the fit is one of `operators.resizing.Fit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from operators.records import Modality, WindowBatch, WindowMeta
from operators.resizing import Box, Fit, resized
from operators.window.base import Array


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

    def part(self, pixels: npt.NDArray[np.uint8]) -> Box:
        """What of such pixels the image covers."""
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
        pixels = decoded.pixels(self.height, self.width)
        return [(meta, resized(pixels, self.height, self.width, self.fit, decoded.part(pixels)))]

    def stack(self, arrays: Sequence[Array]) -> WindowBatch:
        """B windows -> `[B, height, width, 3]`."""
        data = np.stack(arrays) if arrays else np.zeros((0, self.height, self.width, 3), np.uint8)
        return WindowBatch(self.key, data, np.ones(len(arrays), np.int64))
