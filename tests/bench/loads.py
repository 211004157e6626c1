"""What is worked on: media of a kind, and the tokenizer that takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operators.records import Modality
from tests.bench.pictures import QUALITY, SIDE, make_pictures
from tests.bench.recordings import make_films, make_sounds


@dataclass(frozen=True, slots=True)
class Load:
    """Media of one kind.

    Attributes:
        tokenizer: by its name, with `options`.
        make: (folder, amount) -> files.
        unit: what is counted: images, or seconds of sound or film.
        what: for people.
    """

    modality: Modality
    tokenizer: str
    make: Callable[[Path, int], list[Path]]
    unit: str
    what: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


LOADS = {
    "images": Load(Modality.IMAGE, "image-rq", make_pictures, "images", f"JPEGs of {SIDE}×{SIDE} (quality {QUALITY})"),
    "audio": Load(Modality.AUDIO, "audio-mdct", make_sounds, "audio s", "s of sound in clips of 10 s, FLAC and MP3"),
    "video": Load(
        Modality.VIDEO, "video-interleaved", make_films, "film s", "s of film, a minute each, 640×360, H.264 and AAC"
    ),
}
