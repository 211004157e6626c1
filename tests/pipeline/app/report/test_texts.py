from __future__ import annotations

import numpy as np

from operators.tokenize.text_bpe import TextBpeOptions, TextBpeTokenizer
from pipeline.app.report.texts import PIECES, TEXTS, readings
from tests.pipeline.app.report.lakes import Letterwise, product_rows, row, sha256


def windows(tokenizer, uri: str, *parts: bytes, **more):
    start, made = 0, []
    for index, part in enumerate(parts):
        codes = tokenizer.encode(np.frombuffer(part, np.uint8)).values
        columns = {"window_index": index, "window_count": len(parts), "start": start, "end": start + len(part)}
        made.append(row(uri, codes, **{**columns, "sha256": sha256(b"".join(parts)), **more}))
        start += len(part)
    return made


def test_the_pieces_of_a_text_are_the_text() -> None:
    bpe = TextBpeTokenizer(TextBpeOptions())
    content = "A photograph of a café, and <|endoftext|>.\n".encode()
    rows = product_rows("bpe", bpe, windows(bpe, "a", content))
    (reading,) = readings([rows])
    (version,) = reading.cards[0].versions
    assert reading.products == ("bpe",)
    assert "".join(piece.text for piece in version.pieces if piece.whole).replace("caf", "") != ""
    spelled = b"".join(piece.text.encode() if piece.whole else bytes.fromhex(piece.text) for piece in version.pieces)
    assert spelled == content
    assert version.n_tokens == len(version.pieces) < len(content)
    assert version.n_bytes == len(content)
    assert version.exact is True


def test_a_part_of_a_character_is_its_bytes() -> None:
    rows = product_rows("bytes", Letterwise(), windows(Letterwise(), "a", "é!".encode()))
    pieces = readings([rows])[0].cards[0].versions[0].pieces
    assert [(piece.code, piece.text, piece.whole) for piece in pieces] == [
        (0xC3, "c3", False),
        (0xA9, "a9", False),
        (0x21, "!", True),
    ]


def test_windows_are_one_text() -> None:
    rows = product_rows("bytes", Letterwise(), windows(Letterwise(), "a", b"one ", b"two"))
    version = readings([rows])[0].cards[0].versions[0]
    assert "".join(piece.text for piece in version.pieces) == "one two"
    assert (version.n_bytes, version.exact) == (7, True)


def test_a_text_that_comes_back_otherwise_or_in_part_is_not_called_exact() -> None:
    changed = product_rows("bytes", Letterwise(), windows(Letterwise(), "a", b"one", sha256="another"))
    assert readings([changed])[0].cards[0].versions[0].exact is False
    part = product_rows("bytes", Letterwise(), windows(Letterwise(), "a", b"one ", b"two")[:1])
    assert readings([part])[0].cards[0].versions[0].exact is None
    unknown = product_rows("bytes", Letterwise(), windows(Letterwise(), "a", b"one", sha256=""))
    assert readings([unknown])[0].cards[0].versions[0].exact is None


def test_without_a_tokenizer_the_codes_are_left() -> None:
    made = windows(Letterwise(), "a", b"no")
    rows = product_rows("bytes", Letterwise(), made, inverse=False, why_not="other weights")
    version = readings([rows])[0].cards[0].versions[0]
    assert [piece.code for piece in version.pieces] == [0x6E, 0x6F]
    assert not any(piece.whole for piece in version.pieces)
    assert version.why_not == "other weights"


def test_a_long_text_is_shown_in_part_and_of_many_a_few() -> None:
    made = [each for n in range(50) for each in windows(Letterwise(), f"{n}", b"x" * (PIECES + 7))]
    (reading,) = readings([product_rows("bytes", Letterwise(), made)])
    assert len(reading.cards) == TEXTS
    version = reading.cards[0].versions[0]
    assert (len(version.pieces), version.n_tokens) == (PIECES, PIECES + 7)


def test_products_of_one_view_are_shown_by_text() -> None:
    one = product_rows("one", Letterwise(), windows(Letterwise(), "a", b"a") + windows(Letterwise(), "b", b"b"))
    two = product_rows("two", Letterwise(), windows(Letterwise(), "b", b"b"))
    (reading,) = readings([one, two])
    assert [[version is not None for version in card.versions] for card in reading.cards] == [
        [True, False],
        [True, True],
    ]
