"""Photographs to fit on: those that ship with scikit-image and scikit-learn, and files of the user's own."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from operators.errors import ConfigError
from operators.fit.crops import Photo


@dataclass(frozen=True, slots=True)
class Shipped:
    """A picture inside an installed package.

    Attributes:
        name: below site-packages, e.g. "skimage/data/coffee.png".
        licence: as the package states it.
        weight: how often it is taken, against the others; ones in colour and in nature's statistics more often.
    """

    name: str
    licence: str
    weight: int = 1

    @property
    def path(self) -> Path:
        """Where it lies.

        Raises:
            ConfigError: its package is not installed.
        """
        package, _, rest = self.name.partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise ConfigError(f"{self.name}: {package} is not installed (the demo group has it)")
        return Path(spec.origin).parent / rest


TRAINING = (
    Shipped("skimage/data/astronaut.png", "public domain (NASA)", 4),
    Shipped("skimage/data/brick.png", "CC0 (cc0textures.com)"),
    Shipped("skimage/data/camera.png", "CC0 (Lav Varshney)", 2),
    Shipped("skimage/data/cell.png", "CC0 (Müller et al. 2018)"),
    Shipped("skimage/data/clock_motion.png", "public domain (Stefan van der Walt)"),
    Shipped("skimage/data/coffee.png", "CC0 (Rachel Michetti)", 4),
    Shipped("skimage/data/coins.png", "no known copyright restrictions (Brooklyn Museum)"),
    Shipped("skimage/data/grass.png", "CC0 (linolafett)", 2),
    Shipped("skimage/data/gravel.png", "CC0 (cc0textures.com)"),
    Shipped("skimage/data/hubble_deep_field.jpg", "public domain (NASA)", 2),
    Shipped("skimage/data/ihc.png", "no known copyright restrictions (CMMI)"),
    Shipped("skimage/data/retina.jpg", "CC0 (Mikael Häggström)"),
    Shipped("skimage/data/rocket.jpg", "public domain (SpaceX)", 4),
    Shipped("skimage/data/text.png", "public domain (Wikipedia)"),
)
"""Fitted on. Left out although they ship: what states no licence (moon, motorcycle, page), and drawings."""

HELD_OUT = (
    Shipped("skimage/data/chelsea.png", "CC0 (Stefan van der Walt)"),
    Shipped("sklearn/datasets/images/china.jpg", "CC BY 2.0 (danielbuechele)"),
    Shipped("sklearn/datasets/images/flower.jpg", "CC BY 2.0 (vultilion)"),
)
"""Never fitted on: the figures in the card are measured on these."""


def read_photo(path: Path) -> Photo:
    """A file as `[H, W, 3]` uint8, upright.

    Raises:
        OSError: it is no image that can be read.
    """
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def read_photos(paths: Iterable[Path]) -> tuple[dict[Path, Photo], dict[Path, str]]:
    """Those that can be read, and for the others the reason why not."""
    photos, refused = dict[Path, Photo](), dict[Path, str]()
    for path in paths:
        try:
            photos[path] = read_photo(path)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            refused[path] = str(error)
    return photos, refused
