"""Texts for the report, token by token."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from operators.errors import MediatokError
from operators.records import Modality, TokenSequence
from operators.tokenize.base import Tokenizer
from pipeline.app.report.rows import NotShownError, ProductRows, by_view, evenly
from pipeline.observe.report.samples import Reading, TextCard, TextPiece, TextVersion

TEXTS = 4
"""Of a group."""
PIECES = 160
"""Tokens of one text that are drawn."""


def readings(rows: Sequence[ProductRows]) -> tuple[Reading, ...]:
    """One for each view that products of text take."""
    return tuple(_reading(group) for group in by_view(rows, Modality.TEXT))


def _reading(group: Sequence[ProductRows]) -> Reading:
    items = [rows.items() for rows in group]
    cards = [
        TextCard(
            uri=group[0].value(items[0][document][0], "uri"),
            versions=tuple(
                _version(rows, found[document]) if document in found else None
                for rows, found in zip(group, items, strict=True)
            ),
        )
        for document in evenly(list(items[0]), TEXTS)
    ]
    return Reading(tuple(rows.product.name for rows in group), tuple(cards))


def _version(rows: ProductRows, windows: Sequence[int]) -> TextVersion:
    codes = np.concatenate([rows.tokens(row).values for row in windows])
    n_bytes = sum(rows.value(row, "end") - rows.value(row, "start") for row in windows)
    try:
        tokenizer = rows.inverse
        pieces = tuple(piece(tokenizer, codes, index) for index in range(min(PIECES, len(codes))))
        return TextVersion(pieces, len(codes), n_bytes, _exact(rows, windows, tokenizer))
    except (NotShownError, MediatokError) as error:
        bare = tuple(TextPiece(int(code), "", whole=False) for code in codes[:PIECES])
        return TextVersion(bare, len(codes), n_bytes, None, str(error))


def piece(tokenizer: Tokenizer, codes: np.ndarray, index: int) -> TextPiece:
    """What one code spells alone; hex where that is no whole character."""
    content = tokenizer.decode(TokenSequence(codes[index : index + 1])).tobytes()
    try:
        return TextPiece(int(codes[index]), content.decode())
    except UnicodeDecodeError:
        return TextPiece(int(codes[index]), content.hex(" "), whole=False)


def _exact(rows: ProductRows, windows: Sequence[int], tokenizer: Tokenizer) -> bool | None:
    """Whether the tokens give the very bytes back; None where some were not read, or nothing is known of them."""
    sha256 = rows.value(windows[0], "sha256")
    if len(windows) != rows.value(windows[0], "window_count") or not sha256:
        return None
    hashed = hashlib.sha256()
    for row in windows:
        hashed.update(tokenizer.decode(rows.tokens(row)).tobytes())
    return hashed.hexdigest() == sha256
