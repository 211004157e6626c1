"""Images for the report: originals beside what each product's tokens give back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from operators.errors import MediatokError
from operators.records import Modality, TokenSequence
from operators.tokenize.base import TokenKind
from operators.window import ImageView, parse_view
from pipeline.app.report.originals import Originals
from pipeline.app.report.rows import NotShownError, ProductRows, bits_of, by_view, evenly
from pipeline.observe.report.measures import psnr_db
from pipeline.observe.report.samples import Codes, Gallery, ImageCard, ImageVersion, Pixels

IMAGES = 8
"""Of a gallery."""
_GRID_AXES = 2


def galleries(rows: Sequence[ProductRows], originals: Originals) -> tuple[Gallery, ...]:
    """One for each view that products of images take."""
    return tuple(_gallery(group, originals) for group in by_view(rows, Modality.IMAGE))


def _gallery(group: Sequence[ProductRows], originals: Originals) -> Gallery:
    view = parse_view(group[0].spec.view)
    assert isinstance(view, ImageView)
    items = [rows.items() for rows in group]
    cards: list[ImageCard] = []
    for document in evenly(list(items[0]), IMAGES):
        of_item = [found[document][0] if document in found else None for found in items]
        cards.append(_card(group, of_item, originals, view.height * view.width))
    return Gallery(tuple(rows.product.name for rows in group), view.height, view.width, tuple(cards))


def _card(group: Sequence[ProductRows], of_item: Sequence[int | None], originals: Originals, pixels: int) -> ImageCard:
    first, row = group[0], of_item[0]
    assert row is not None
    original, why = None, ""
    try:
        original = originals.image(first, row)
    except NotShownError as error:
        why = str(error)
    versions = tuple(
        None if at is None else _version(rows, at, original, pixels) for rows, at in zip(group, of_item, strict=True)
    )
    return ImageCard(
        uri=first.value(row, "uri"),
        caption=first.value(row, "text") or "",
        width=first.value(row, "width"),
        height=first.value(row, "height"),
        original=original,
        why_no_original=why,
        versions=versions,
    )


def _version(rows: ProductRows, row: int, original: Pixels | None, pixels: int) -> ImageVersion:
    tokens = rows.tokens(row)
    n_tokens, bits = rows.value(row, "n_tokens"), bits_of(rows.spec, tokens.values.size) / pixels
    codes = codes_picture(rows, tokens)
    try:
        back = rows.inverse.decode(tokens)
    except (NotShownError, MediatokError) as error:
        return ImageVersion(n_tokens, bits, codes=codes, why_not=str(error))
    psnr = None if original is None else psnr_db(original, back)
    return ImageVersion(n_tokens, bits, back, psnr, codes)


def codes_picture(rows: ProductRows, tokens: TokenSequence) -> Codes | None:
    """The first code of each position of a grid; None where there is no grid of codes."""
    values = tokens.values
    if rows.spec.kind is not TokenKind.CODES or values.ndim < _GRID_AXES or not rows.spec.codebook_sizes:
        return None
    grid = values if values.ndim == _GRID_AXES else values[..., 0]
    return grid.astype(np.float32) / rows.spec.codebook_sizes[0]
