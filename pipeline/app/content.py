"""How much there was of what a product's rows were made of: pixels, seconds, bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from operators.forms import ClipForm
from operators.records import Modality
from operators.tokenize.base import TokenSpec
from operators.window import AudioView, ClipView, ImageView, parse_view

_SAMPLE_BYTES = 2


@dataclass(frozen=True, slots=True)
class Content:
    """Of the windows that were tokenized.

    Attributes:
        pixels: of pictures; 0 for media without.
        media_s: of sound or film in seconds; 0.0 for media without a clock.
        raw_bytes: three a pixel, two a sample and channel (16 bits), and those of UTF-8.
    """

    pixels: int = 0
    media_s: float = 0.0
    raw_bytes: int = 0


def content_of(spec: TokenSpec, tables: Iterable[pa.Table]) -> Content:
    """What the rows of a product were made of."""
    view, pixels, ticks, seconds = parse_view(spec.view), 0, 0, 0.0
    for table in tables:
        length = int((table.column("end").to_numpy() - table.column("start").to_numpy()).sum())
        ticks += length
        match view:
            case ImageView(height=height, width=width):
                pixels += height * width * len(table)
            case ClipView(form=form):
                pixels += form.height * form.width * _pictures(spec, table)
                seconds += length / _rate(table)
            case AudioView():
                seconds += length / _rate(table)
            case _:
                pass
    match view:
        case ClipView(form=form):
            return Content(pixels, seconds, 3 * pixels + round(seconds * _sound_bytes_s(form)))
        case AudioView(form=form):
            return Content(0, seconds, _SAMPLE_BYTES * form.channels * ticks)
        case ImageView():
            return Content(pixels, 0.0, 3 * pixels)
        case _:
            return Content(0, 0.0, ticks)


def _rate(table: pa.Table) -> float:
    """Ticks a second; all rows of a product have the same."""
    return table.column("rate_num")[0].as_py() / table.column("rate_den")[0].as_py() if len(table) else 1.0


def _pictures(spec: TokenSpec, table: pa.Table) -> int:
    kinds = [part.modality for part in spec.parts]
    if Modality.IMAGE not in kinds:
        return 0
    spans = table.column("spans").combine_chunks().flatten()
    return spans.field("tokenizer").to_pylist().count(kinds.index(Modality.IMAGE))


def _sound_bytes_s(form: ClipForm) -> int:
    return _SAMPLE_BYTES * form.sound.channels * form.sound.rate_hz if form.sound else 0
