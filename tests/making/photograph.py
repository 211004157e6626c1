"""JPEGs of any size with the detail of a sharp photograph."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image


def jpeg_of(path: Path, side: int) -> bytes:
    """A photograph at `side`×`side`, mirrored at its edges where it is smaller: made larger it would lose detail."""
    photo = np.asarray(Image.open(path).convert("RGB"))
    missing = [(0, max(0, side - length)) for length in photo.shape[:2]]
    pixels = np.pad(photo, (*missing, (0, 0)), mode="symmetric")[:side, :side]
    held = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(held, "JPEG", quality=90)
    return held.getvalue()
