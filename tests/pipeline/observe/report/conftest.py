from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from operators.records import Modality
from pipeline.flow.waits import WaitReason
from pipeline.observe.report.model import (
    LaneFigures,
    LetterEntry,
    Letters,
    ProductFigures,
    Rate,
    Report,
    RunFigures,
    Totals,
)
from pipeline.observe.report.samples import (
    Film,
    FilmFrame,
    FilmLane,
    FilmSpan,
    Gallery,
    ImageCard,
    ImageVersion,
    Listening,
    Reading,
    SoundCard,
    SoundVersion,
    TextCard,
    TextPiece,
    TextVersion,
)
from pipeline.observe.status import State

AT = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
HOSTILE = """<script>alert("x")</script><img src=x onerror='y'>"""


@pytest.fixture
def report() -> Report:
    """One of everything, and what a stranger wrote wherever that can stand."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (32, 48, 3), np.uint8)
    sound = rng.uniform(-0.5, 0.5, 1600).astype(np.float32)
    return Report(
        lake=f"s3://lake/{HOSTILE}",
        version=7,
        made_at=AT,
        totals=Totals(12, 14, 48_000, 5_000_000, 2),
        products=_products(),
        galleries=(_gallery(pixels),),
        listenings=(_listening(sound),),
        film=_film(pixels, sound),
        readings=(_reading(),),
        run=RunFigures(
            State.STOPPED,
            False,
            AT,
            10.0,
            (LaneFigures("image", State.STOPPED, 8, 900.5, 2, {WaitReason.STARTING: 6.0, WaitReason.COMMITTING: 1.0}),),
        ),
        letters=Letters(
            {"fetch.not_found": 1, "decode.truncated": 1},
            (
                LetterEntry(
                    "fetch.not_found", f"https://x/{HOSTILE}", f"{HOSTILE}\u202e", ("image-rq",), "a/0/1/0", AT
                ),
                LetterEntry("decode.truncated", "s3://b/2", "long " * 100, ("image-rq",), "a/0/2/0", AT),
            ),
        ),
    )


def _products() -> tuple[ProductFigures, ...]:
    def product(name: str, modality: Modality, rate: Rate | None, ratio: float | None, *, live: bool) -> ProductFigures:
        hz = 900.5 if live else None
        return ProductFigures(name, f"{name}-1a2b3c4d", modality, "codes", live, 8, 40_000, hz, 4_000_000, rate, ratio)

    return (
        product("image-rq", Modality.IMAGE, Rate(0.625, "pixel"), 21.8, live=True),
        product("audio", Modality.AUDIO, Rate(1234.0, "second"), None, live=True),
        product(HOSTILE, Modality.TEXT, None, None, live=False),
    )


def _gallery(pixels: np.ndarray) -> Gallery:
    codes = np.arange(16, dtype=np.float32).reshape(4, 4) / 16
    versions = (ImageVersion(64, 0.625, pixels, 31.26, codes), ImageVersion(4, 24.0, why_not="it has no inverse"))
    card = ImageCard(f"s3://b/{HOSTILE}", HOSTILE, 480, 320, pixels, "", versions)
    alone = ImageCard("s3://b/2.jpg", "", 480, 320, None, "fetch.not_found: gone", (versions[0], None))
    return Gallery(("image-rq", HOSTILE), 32, 48, (card, alone))


def _listening(sound: np.ndarray) -> Listening:
    version = SoundVersion(80, 3200.0, sound, np.zeros((2, 40), np.float32), 12.34, 4.56)
    return Listening(("audio",), (SoundCard("s3://b/a.wav", HOSTILE, 5.0, 0.2, 8000, sound, "", (version,)),))


def _film(pixels: np.ndarray, sound: np.ndarray) -> Film:
    frames = tuple(FilmFrame(at, at + 0.5, pixels, pixels, 28.7) for at in (0.0, 0.5, 1.0, 1.5))
    cue = FilmSpan(0.5, 1.5, 3, 64, 0, HOSTILE, HOSTILE, "eng", 0.9)
    lanes = (
        FilmLane("image-rq", Modality.IMAGE, (FilmSpan(0.5, 1.0, 64, 0, 0, since_s=0.25),), 640.0),
        FilmLane("text-bpe", Modality.TEXT, (cue,), 13.0),
    )
    return Film("video", f"file:///{HOSTILE}", "", 9.0, 2.0, 1, frames, 40, lanes, 8000, sound, sound, "")


def _reading() -> Reading:
    pieces = (TextPiece(17, "<b>"), TextPiece(18, " line\n"), TextPiece(19, "e2 82", whole=False))
    return Reading(("text-bpe",), (TextCard(f"s3://b/{HOSTILE}", (TextVersion(pieces, 5, 12, exact=True),)),))
