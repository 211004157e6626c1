"""Files that were whole once: cut, overwritten, or never media at all."""

from __future__ import annotations

import random
from pathlib import Path

from tests.making.film import write_film
from tests.making.sound import speechlike, write_sound

SOUNDS = {
    "wav": ("pcm_s16le", None),
    "flac": ("flac", None),
    "mp3": ("libmp3lame", None),
    "m4a": ("aac", None),
    "aac": ("aac", "adts"),
    "ogg": ("libopus", None),
    "mka": ("libopus", None),
    "webm": ("libopus", None),
}
"""Kinds of sound files by their ending, with codec and container."""

FILMS = {
    "mp4": ("aac", "libx264"),
    "mov": ("aac", "libx264"),
    "mkv": ("libopus", "libx264"),
    "webm": ("libopus", "libvpx-vp9"),
    "avi": ("libmp3lame", "mpeg4"),
    "ts": ("aac", "libx264"),
}
"""Kinds of films by their ending, with the codecs of sound and picture."""


def cut(source: Path, path: Path, share: float = 0.5) -> Path:
    """The first part of a file; returns `path`."""
    content = source.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def cut_sound(path: Path, share: float = 0.5, seconds: float = 2.0) -> Path:
    """Of a sound file, of the kind that its ending says, the first part. Returns `path`."""
    codec, container = SOUNDS[path.suffix[1:]]
    write_sound(path, speechlike(seconds), 16_000, codec, container)
    return cut(path, path, share)


def cut_film(path: Path, share: float = 0.5, *, moov_first: bool = False, seconds: float = 4.0) -> Path:
    """Of a film the first part. Returns `path`.

    Args:
        moov_first: of an MP4: its index stands before the media, so that what is left can be decoded.
    """
    options = {"movflags": "faststart"} if moov_first else None
    audio, video = FILMS[path.suffix[1:]]
    sound = speechlike(seconds, 48_000)
    write_film(path, seconds, video_codec=video, sound=sound, audio_codec=audio, container_options=options)
    return cut(path, path, share)


def overwritten(source: Path, path: Path, *, at: float = 0.5, length_bytes: int = 400, seed: int = 0) -> Path:
    """A file with random bytes over some in its midst; returns `path`.

    Args:
        at: where they begin, as a share of the file.
    """
    content = bytearray(source.read_bytes())
    start = int(len(content) * at)
    length_bytes = min(length_bytes, len(content) - start)
    content[start : start + length_bytes] = random.Random(seed).randbytes(length_bytes)
    path.write_bytes(content)
    return path


def garbage(path: Path, size_bytes: int = 10_000, seed: int = 0) -> Path:
    """Random bytes under any name; returns `path`."""
    path.write_bytes(random.Random(seed).randbytes(size_bytes))
    return path
