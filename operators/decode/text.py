"""Texts: bytes -> bytes.

They are kept as they are, valid UTF-8 or not: a tokenizer of bytes takes any, and what a text's damage means is not
ours to guess. Two marks are acted on: UTF-16 and UTF-32 with a byte order mark become UTF-8 (else half of every
byte pair would be NUL), and a UTF-8 mark is left out.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from operators.decode.base import Cursor, Segment, only_segment
from operators.errors import NotTextError
from operators.records import ContentFacts

# UTF-32's little-endian mark begins with UTF-16's: the longer one first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MOST_NULS = 0.01
"""The share of NUL bytes from which on it is taken for something binary."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodedText:
    """A text.

    Attributes:
        content: its bytes, UTF-8 as far as they are valid. May be empty: a text without tokens.
    """

    content: bytes


def decode_text(content: bytes) -> DecodedText:
    """Bytes -> bytes, without a byte order mark.

    Raises:
        NotTextError: more than 1 % NUL bytes.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return DecodedText(content[len(mark) :].decode(encoding, errors="replace").encode())
    nuls = content.count(0)
    if nuls > _MOST_NULS * len(content):
        raise NotTextError(f"{nuls} of {len(content)} bytes are NUL")
    return DecodedText(content.removeprefix(codecs.BOM_UTF8))


@dataclass(frozen=True, slots=True)
class TextDecoder:
    """`decode_text` as a `Decoder`: one segment."""

    def decode(self, content: bytes, facts: ContentFacts, cursor: Cursor | None) -> Segment[DecodedText]:
        """The text. See `decode_text` for what it raises."""
        del facts
        only_segment(cursor)
        return Segment(decode_text(content))

    def forget(self, facts: ContentFacts, cursor: Cursor) -> None:
        """Nothing stays open here.

        Raises:
            InvariantError: there never was such a cursor.
        """
        del facts
        only_segment(cursor)
