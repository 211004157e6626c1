from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.decode import TextDecoder, decode_text
from operators.errors import NotTextError
from operators.records import ContentFacts


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\ufeff")))
def test_utf8_is_kept_byte_for_byte(text: str) -> None:
    assert decode_text(text.encode()).content == text.encode()


def test_what_is_not_valid_utf8_is_kept_byte_for_byte() -> None:
    latin = "Frau Müller zahlt 3 €".encode("cp1252")
    assert decode_text(latin).content == latin


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_utf16_and_utf32_with_a_mark_become_utf8(encoding: str) -> None:
    marked = "\ufeffGrüße 𝄞".encode(encoding)
    assert decode_text(marked).content == "Grüße 𝄞".encode()


def test_a_utf8_mark_is_left_out() -> None:
    assert decode_text(codecs.BOM_UTF8 + b"abc").content == b"abc"


def test_an_empty_text_is_a_text() -> None:
    assert decode_text(b"").content == b""


def test_binary_is_no_text() -> None:
    with pytest.raises(NotTextError, match="NUL"):
        decode_text(bytes(range(32)) * 10)


def test_a_stray_nul_is_kept() -> None:
    content = b"a" * 500 + b"\0"
    assert decode_text(content).content == content


def test_a_text_is_one_segment() -> None:
    segment = TextDecoder().decode(b"abc", ContentFacts("", "0" * 64, 3), None)
    assert (segment.decoded.content, segment.cursor) == (b"abc", None)
