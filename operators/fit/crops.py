"""From a few photographs to many training crops: turned, mirrored, scaled, recoloured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

Photo = npt.NDArray[np.uint8]
"""`[H, W, 3]` uint8, sRGB."""


def centre_crop(photo: Photo, size: int) -> Photo:
    """Scaled so that it covers the square, cut in the middle: `[size, size, 3]`."""
    height, width = photo.shape[:2]
    scale = size / min(height, width)
    scaled = Image.fromarray(photo).resize(
        (max(size, round(width * scale)), max(size, round(height * scale))), Image.Resampling.BICUBIC
    )
    left, top = (scaled.width - size) // 2, (scaled.height - size) // 2
    return np.asarray(scaled.crop((left, top, left + size, top + size)))


def random_crops(photos: Sequence[Photo], count: int, size: int, seed: int) -> npt.NDArray[np.uint8]:
    """`[count, size, size, 3]`, the photographs in turn.

    Each crop is scaled so that the photograph's short side lies between `size` and twice `size` (a view that covers
    the window gives the lower end), mirrored and turned by quarters, and usually recoloured: hues are mixed towards
    another, contrast and brightness changed.
    """
    rng = np.random.default_rng(seed)
    return np.stack([_crop(photos[index % len(photos)], size, rng) for index in range(count)])


def _crop(photo: Photo, size: int, rng: np.random.Generator) -> Photo:
    height, width = photo.shape[:2]
    scale = size * rng.uniform(1.0, 2.0) / min(height, width)
    box = size / scale
    left, top = rng.uniform(0, width - box), rng.uniform(0, height - box)
    image = Image.fromarray(photo).resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + box, top + box)
    )
    pixels = np.rot90(np.asarray(image), int(rng.integers(4)))
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return _recolour(pixels, rng)


def _recolour(pixels: Photo, rng: np.random.Generator) -> Photo:
    """Luma is kept but for contrast and brightness; colour differences are turned, scaled and tinted by luma."""
    if rng.random() < 0.3:
        return np.ascontiguousarray(pixels)
    values = pixels.astype(np.float32) - 128
    luma = values @ np.array([0.299, 0.587, 0.114], np.float32)
    blue, red = values[..., 2] - luma, values[..., 0] - luma
    angle, strength = rng.uniform(-np.pi, np.pi), rng.uniform(0.5, 1.5)
    tint = rng.normal(0, 0.15, 2)
    turned_blue = strength * (np.cos(angle) * blue - np.sin(angle) * red) + tint[0] * luma + rng.normal(0, 8)
    turned_red = strength * (np.sin(angle) * blue + np.cos(angle) * red) + tint[1] * luma + rng.normal(0, 8)
    luma = luma * rng.uniform(0.7, 1.2) + rng.normal(0, 15)
    green = luma - (0.114 * turned_blue + 0.299 * turned_red) / 0.587
    mixed = np.stack([luma + turned_red, green, luma + turned_blue], axis=-1)
    return (mixed + 128).round().clip(0, 255).astype(np.uint8)
