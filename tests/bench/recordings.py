"""Sound and films of a realistic kind, made on the spot."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.app.demo_media import photographs
from tests.making.film import write_film
from tests.making.picture import Picture
from tests.making.sound import speechlike, write_sound

CLIP_S = 10
FILM_S = 60
FILM_SIZE = (360, 640)
FRAMES_HZ = Fraction(25)


def make_sounds(folder: Path, seconds: int) -> list[Path]:
    """Clips of 10 s, 44.1 kHz stereo, in FLAC and MP3 by turns, of twenty different sounds."""
    sounds = [speechlike(CLIP_S, 44_100, 2, seed=seed) for seed in range(min(20, seconds // CLIP_S))]
    paths: list[Path] = []
    for number in range(seconds // CLIP_S):
        name, codec = (f"{number:05d}.flac", "flac") if number % 2 else (f"{number:05d}.mp3", "libmp3lame")
        path = folder / name
        if number < len(sounds):
            write_sound(path, sounds[number], 44_100, codec)
        else:
            path.write_bytes((folder / f"{number % len(sounds):05d}{path.suffix}").read_bytes())
        paths.append(path)
    return paths


def make_films(folder: Path, seconds: int) -> list[Path]:
    """Films of a minute, 640×360 at 25 Hz, H.264 with B-frames and AAC: a camera wanders over a photograph."""
    paths: list[Path] = []
    for number in range(seconds // FILM_S):
        sound = speechlike(FILM_S, 48_000, 2, seed=number)
        path = folder / f"{number:04d}.mp4"
        write_film(path, FILM_S, FRAMES_HZ, FILM_SIZE, gop_s=4.0, b_frames=2, picture=Wandering(number), sound=sound)
        paths.append(path)
    return paths


class Wandering:
    """Frames that are cut out of one photograph, each a bit further along."""

    def __init__(self, number: int, size: tuple[int, int] = FILM_SIZE) -> None:
        shown = photographs()
        self._size = height, width = size
        photo = Image.open(shown[number % len(shown)].path).convert("RGB")
        self._pixels = np.asarray(photo.resize((2 * width, 2 * height)))

    def __call__(self, frame: int) -> Picture:
        height, width = self._size
        top, left = (abs((frame * step) % (2 * size) - size) for step, size in ((1, height), (2, width)))
        return np.ascontiguousarray(self._pixels[top : top + height, left : left + width])
