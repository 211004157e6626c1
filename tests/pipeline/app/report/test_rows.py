from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from operators.records import Modality
from operators.spans import TokenSpan
from operators.tokenize.image_patches import ImagePatchesOptions, ImagePatchesTokenizer
from pipeline.app.report import rows as module
from pipeline.app.report.rows import (
    NotShownError,
    bits_of,
    by_view,
    evenly,
    n_values,
    read_rows,
    span_lengths,
)
from pipeline.lake.proposal import Proposal
from pipeline.records import Sealed, Span, ranges_of
from tests.pipeline.app.report.lakes import LOG, Films, Letterwise, Pictures, bring_shard, make_lake, product_rows, row


def text(uri: str, content: bytes, **columns: object) -> dict[str, object]:
    return row(uri, np.frombuffer(content, np.uint8).astype(np.uint16), end=len(content), **columns)


def test_the_windows_of_an_item_are_in_order_and_those_of_a_second_announcement_left_out() -> None:
    rows = product_rows(
        "text",
        Letterwise(),
        [
            text("a", b"cd", window_index=1, window_count=2),
            text("b", b"x"),
            text("a", b"ab", window_index=0, window_count=2),
            text("b", b"x", offset=1),
        ],
    )
    assert list(rows.items().values()) == [(2, 0), (1,)]


def test_windows_behind_a_gap_are_not_taken_and_an_item_without_its_first_is_not_shown() -> None:
    parts = [text("a", b"x", window_index=n) for n in (0, 1, 3)]
    rows = product_rows("text", Letterwise(), [*parts, text("b", b"x", window_index=5)])
    assert list(rows.items().values()) == [(0, 1)]


def test_tokens_come_in_their_shape_and_may_be_written_to() -> None:
    codes = np.arange(8, dtype=np.uint16).reshape(2, 2, 2)
    rows = product_rows("image", Pictures(), [row("a", codes), row("b", codes + 1)])
    tokens = rows.tokens(1).values
    assert np.array_equal(tokens, codes + 1)
    assert tokens.dtype == np.uint16
    assert tokens.flags.writeable


def test_embeddings_come_in_their_shape_too() -> None:
    tokenizer = ImagePatchesTokenizer(ImagePatchesOptions(size=8, patch=4))
    pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    rows = product_rows("patches", tokenizer, [row("a", tokenizer.encode(pixels).values)])
    assert np.array_equal(tokenizer.decode(rows.tokens(0)), pixels)
    assert n_values(rows) == 192
    assert bits_of(rows.spec, 192) == 192 * 32


def test_a_column_that_a_product_lacks_is_none() -> None:
    rows = product_rows("text", Letterwise(), [text("a", b"x")])
    assert rows.value(0, "width") is None
    assert rows.value(0, "uri") == "a"


def test_codes_are_counted_over_chunks_and_slices() -> None:
    rows = product_rows("text", Letterwise(), [text("a", b"abc"), text("b", b"de"), text("c", b"f")])
    joined = pa.concat_tables([rows.table.slice(1, 2), rows.table.slice(0, 1)])
    assert n_values(replace(rows, table=joined)) == 6
    assert n_values(replace(rows, table=rows.table.slice(1, 1))) == 2


def test_spans_are_counted_by_part_over_chunks_and_slices() -> None:
    spans = [(TokenSpan(0, 0, 8, 0, 1), TokenSpan(2, 8, 3, 0, 1)), (TokenSpan(1, 0, 4, 0, 1),)]
    rows = product_rows("film", Films(), [row("a", np.zeros(11, np.uint16), each) for each in spans])
    assert span_lengths(rows).tolist() == [8, 4, 3]
    assert span_lengths(replace(rows, table=rows.table.slice(1, 1))).tolist() == [0, 4, 0]


def test_bits_are_the_logarithms_of_the_codebooks() -> None:
    assert bits_of(Pictures.spec, 8) == 32
    assert bits_of(replace(Pictures.spec, codebook_sizes=(16, 4)), 8) == 24
    assert bits_of(replace(Pictures.spec, codebook_sizes=()), 8) == 0


def test_samples_are_picked_evenly() -> None:
    assert evenly(range(3), 8) == [0, 1, 2]
    assert evenly(range(100), 4) == [0, 25, 50, 75]


def test_products_of_one_view_stand_side_by_side() -> None:
    one, two = (product_rows(name, Pictures(), [row("a", np.zeros((2, 2, 2), np.uint16))]) for name in ("one", "two"))
    other = replace(one, spec=replace(one.spec, view="rgb8:16x16:cover"))
    words = product_rows("text", Letterwise(), [text("a", b"x")])
    assert by_view([one, other, words, two], Modality.IMAGE) == [[one, two], [other]]


def test_without_a_tokenizer_there_is_a_reason() -> None:
    rows = product_rows("text", Letterwise(), [text("a", b"x")], inverse=False, why_not="because")
    with pytest.raises(NotShownError, match="because"):
        _ = rows.inverse


def test_of_many_shards_the_newest_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = make_lake(tmp_path / "lake", {"text": (Letterwise(), [text("old", b"x")])})
    shard = bring_shard(lake, "text", Letterwise(), [text("new", b"yz", offset=10)])
    lake.commit(Proposal((Sealed(shard.product, (shard,), (Span(LOG, ranges_of([10])),)),)))
    (both,) = read_rows(lake)
    assert [both.value(n, "uri") for n in (0, 1)] == ["old", "new"]
    assert both.whole
    monkeypatch.setattr(module, "READ_BYTES", 10)
    (newest,) = read_rows(lake)
    assert newest.table.column("uri").to_pylist() == ["new"]
    assert not newest.whole
    assert newest.stored_bytes == shard.size_bytes


def test_a_product_without_rows_is_left_out(tmp_path: Path) -> None:
    assert read_rows(make_lake(tmp_path / "lake", {"text": (Letterwise(), [])})) == []
