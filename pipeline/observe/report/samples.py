"""The samples that `report.html` shows: images, sounds, a film, texts, each beside what its tokens give back.

Where something can't be shown there is None, and beside it a sentence that says why, for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from operators.records import Modality

Pixels = npt.NDArray[np.uint8]
"""`[H, W, 3]`, sRGB."""
Samples = npt.NDArray[np.float32]
"""`[N]`, mono, in about [-1, 1]."""
Codes = npt.NDArray[Any]
"""Codes as a picture: `[rows, columns]`, each divided by its codebook's size, in [0, 1)."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageVersion:
    """An image as one product's tokens give it back.

    Attributes:
        pixels: None where there is no way back; `why_not` says why.
        psnr_db: against the original over all pixels and channels; inf where they are equal, None where one is missing.
        codes: None for embeddings.
    """

    n_tokens: int
    bits_per_pixel: float
    pixels: Pixels | None = None
    psnr_db: float | None = None
    codes: Codes | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ImageCard:
    """An image.

    Attributes:
        caption: as the item's attributes say; "" where they don't.
        width, height: of the original file in pixels.
        original: the window that was tokenized; None where it can't be had.
        versions: one for each product of the gallery, in its order; None where the product has no row of it.
    """

    uri: str
    caption: str
    width: int
    height: int
    original: Pixels | None
    why_no_original: str
    versions: tuple[ImageVersion | None, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """Images of products that take the same windows.

    Attributes:
        products: their names.
    """

    products: tuple[str, ...]
    height: int
    width: int
    cards: tuple[ImageCard, ...]

    @property
    def compared(self) -> bool:
        """Whether any original is there to compare with."""
        return any(card.original is not None for card in self.cards)


@dataclass(frozen=True, slots=True, eq=False)
class SoundVersion:
    """A sound as one product's tokens give it back.

    Attributes:
        samples: None where there is no way back; `why_not` says why.
        codes: `[K, T]` as a picture; None for embeddings.
        si_sdr_db, log_spectral_db: against the original; None where one is missing or silent.
    """

    n_tokens: int
    bits_per_s: float
    samples: Samples | None = None
    codes: Codes | None = None
    si_sdr_db: float | None = None
    log_spectral_db: float | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SoundCard:
    """The beginning of a sound.

    Attributes:
        duration_s: of all of it.
        shown_s: of what is here.
        original: as the tokenizer took it, mixed to mono.
        versions: as in `ImageCard`.
    """

    uri: str
    caption: str
    duration_s: float
    shown_s: float
    rate_hz: int
    original: Samples | None
    why_no_original: str
    versions: tuple[SoundVersion | None, ...]


@dataclass(frozen=True, slots=True)
class Listening:
    """Sounds of products that take the same windows."""

    products: tuple[str, ...]
    cards: tuple[SoundCard, ...]


@dataclass(frozen=True, slots=True, eq=False)
class FilmFrame:
    """A frame at its time, before and after.

    Attributes:
        start_s, end_s: while it is on screen, on the film's clock.
    """

    start_s: float
    end_s: float
    original: Pixels | None
    reconstruction: Pixels | None
    psnr_db: float | None = None


@dataclass(frozen=True, slots=True)
class FilmSpan:
    """Some tokens and the time that they stand for.

    Attributes:
        first: place of the first of them within their clip's codes.
        clip: which clip, from 0.
        text, speaker, language: "" where unknown.
        confidence: of a recogniser, in [0, 1].
        since_s: of a picture that had been on screen for longer: since when.
    """

    start_s: float
    end_s: float
    n_tokens: int
    first: int
    clip: int
    text: str = ""
    speaker: str = ""
    language: str = ""
    confidence: float | None = None
    since_s: float | None = None


@dataclass(frozen=True, slots=True)
class FilmLane:
    """One tokenizer's spans.

    Attributes:
        name: of the tokenizer.
        bits_per_s: of its codes, over what is shown.
    """

    name: str
    modality: Modality
    spans: tuple[FilmSpan, ...]
    bits_per_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """The beginning of a film.

    Attributes:
        frames: evenly picked out of the `frame_count` that have tokens.
        sound, original_sound: at `rate_hz`, mono, from the film's start; None where there is none.
        why_no_original: "" where frames or sound of the original are here.
        why_not: why there is no reconstruction, where there is none.
    """

    product: str
    uri: str
    caption: str
    duration_s: float
    shown_s: float
    clips: int
    frames: tuple[FilmFrame, ...]
    frame_count: int
    lanes: tuple[FilmLane, ...]
    rate_hz: int
    sound: Samples | None
    original_sound: Samples | None
    why_no_original: str
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A token.

    Attributes:
        text: that it spells alone; for a piece of a character, its bytes in hex.
        whole: it spells characters.
    """

    code: int
    text: str
    whole: bool = True


@dataclass(frozen=True, slots=True)
class TextVersion:
    """A text as one product has it.

    Attributes:
        pieces: the first tokens; empty where `why_not`.
        n_tokens: how many there are in all windows.
        n_bytes: that they stand for.
        exact: the tokens give back the very bytes that were fetched (by their sha256); None where it can't be told.
    """

    pieces: tuple[TextPiece, ...]
    n_tokens: int
    n_bytes: int
    exact: bool | None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class TextCard:
    """A text; `versions` as in `ImageCard`."""

    uri: str
    versions: tuple[TextVersion | None, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """Texts of products that take the same windows."""

    products: tuple[str, ...]
    cards: tuple[TextCard, ...]
