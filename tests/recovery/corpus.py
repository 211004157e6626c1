"""Short films, recordings and pictures, many of each, and which original each is a copy of."""

from __future__ import annotations

import itertools
import os
import shutil
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from tests.making.long import long_film, long_sound

FILM_S = 300.0
"""Two ranges of six and four segments: a kill is always in mid-film, and often in mid-range."""
SOUND_S = 300.0


@dataclass(frozen=True)
class Amount:
    """How many copies."""

    films: int
    sounds: int
    pictures: int

    @property
    def files(self) -> int:
        """In all."""
        return self.films + self.sounds + self.pictures


def make_originals(folder: Path) -> None:
    """Two films, two recordings, four pictures."""
    folder.mkdir()
    for name, seconds, hz in (("film-a", FILM_S, 10), ("film-b", FILM_S * 0.8, 12)):
        long_film(folder / f"{name}.mp4", seconds / 3600, size=(64, 64), frames_hz=Fraction(hz), rate_hz=16_000)
    for name, seconds in (("sound-a", SOUND_S), ("sound-b", SOUND_S * 0.7)):
        long_sound(folder / f"{name}.m4a", seconds / 3600)
    rng = np.random.default_rng(3)
    for number in range(4):
        pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"picture-{number}.png")


def make_copies(originals: Path, folder: Path, amount: Amount) -> None:
    """`<original>__<number>.<ending>`; films and recordings of different bytes, though they show and sound the same."""
    folder.mkdir()
    for kind, count in (("film", amount.films), ("sound", amount.sounds), ("picture", amount.pictures)):
        sources = itertools.cycle(sorted(originals.glob(f"{kind}-*")))
        for number, source in zip(range(count), sources, strict=False):
            copy = folder / f"{source.stem}__{number:05}{source.suffix}"
            if kind == "picture":
                os.link(source, copy)
                continue
            shutil.copy(source, copy)
            with copy.open("ab") as file:
                file.write(struct.pack(">I4sQ", 16, b"free", number))  # a box that means nothing


def original_of(name: str) -> str:
    """A copy's original, by their names."""
    stem, _, ending = name.rpartition(".")
    return f"{stem.partition('__')[0]}.{ending}"
