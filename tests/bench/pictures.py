"""JPEGs of a realistic size, cut from the photographs that scikit-image and scikit-learn ship."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

from pipeline.app.demo_media import photographs

SIDE = 512
QUALITY = 90


def make_pictures(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Crops of 512×512 (smaller photographs are scaled up), each another one; equal seeds give equal files."""
    rng = random.Random(seed)
    photos = [Image.open(each.path).convert("RGB") for each in photographs()]
    paths: list[Path] = []
    for number in range(count):
        photo = photos[number % len(photos)]
        side = min(*photo.size, rng.randint(SIDE // 2, 2 * SIDE))
        left, top = rng.randint(0, photo.width - side), rng.randint(0, photo.height - side)
        crop = photo.resize((SIDE, SIDE), box=(left, top, left + side, top + side))
        path = folder / f"{number:06d}.jpg"
        crop.save(path, quality=QUALITY)
        paths.append(path)
    return paths
