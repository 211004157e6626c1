from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.errors import InvariantError
from operators.pack.rows import TokenizedSegment, waiting_rows
from operators.pack.schema import product_schema, spec_of
from operators.pack.shard import row_sizes
from operators.records import MediaReference, Modality, Origin, TokenBatch, WindowMeta
from operators.spans import SpanTable, TokenSpan
from operators.tokenize.base import TokenKind, TokenPart, TokenSpec

PARTS = (
    TokenPart("image-rq", Modality.IMAGE, ("y", "x", "residual"), (1024,) * 4, (32, 32, 4)),
    TokenPart("text-bpe", Modality.TEXT, ("t",), (8192,), (0,)),
)
SPEC = TokenSpec(TokenKind.CODES, Modality.VIDEO, "clip", ("t",), (), "uint16", (), PARTS)
SCHEMA = product_schema("film", "film-1a2b3c4d", SPEC, {"class": "x"})
TEXTS = st.one_of(st.none(), st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace").decode()))
SPANS = st.builds(
    TokenSpan,
    tokenizer=st.integers(0, 1),
    start=st.integers(0, 2**31 - 1),
    length=st.integers(0, 2**31 - 1),
    t0=st.integers(-(2**40), 2**60),
    t1=st.integers(-(2**40), 2**60),
    confidence=st.one_of(st.none(), st.sampled_from([0.0, 0.25, 1.0])),
    text=TEXTS,
    speaker=TEXTS,
    language=st.sampled_from([None, "eng"]),
)


def tokens(spans: list[list[TokenSpan]]) -> TokenBatch:
    plain = TokenBatch.ragged([np.arange(3, dtype=np.uint16)] * len(spans), "uint16")
    return TokenBatch(plain.values, plain.offsets, plain.shapes, plain.n_tokens, SpanTable.of(spans))


def rows(batch: TokenBatch, *order: int) -> pa.RecordBatch:
    segments = [
        TokenizedSegment(MediaReference(str(row), Origin("s", 0, row, 0)), None, (WindowMeta(0, 1),), row)
        for row in order
    ]
    return waiting_rows(SCHEMA, batch, segments)


@given(st.lists(st.lists(SPANS, max_size=5), min_size=1, max_size=4), st.randoms())
def test_spans_come_out_of_their_rows_as_they_went_in(spans: list[list[TokenSpan]], random) -> None:
    order = list(range(len(spans)))
    random.shuffle(order)
    out = rows(tokens(spans), *order).column("spans").to_pylist()
    assert [[TokenSpan(**span) for span in row] for row in out] == [spans[row] for row in order]


def test_a_slice_of_rows_is_as_large_as_its_part() -> None:
    spans = [[TokenSpan(0, 0, 3, 0, 9, text="x" * length)] * count for length, count in ((0, 1), (500, 2), (7, 0))]
    batch = rows(tokens(spans), 0, 1, 2)
    sizes = row_sizes(batch)
    assert np.array_equal(row_sizes(batch.slice(1, 2)), sizes[1:])
    assert sizes[1] - sizes[0] > 1000
    assert sizes[2] < sizes[0]


def test_parts_stand_in_the_schema_and_come_back() -> None:
    assert spec_of(SCHEMA) == SPEC
    single = TokenSpec(TokenKind.CODES, Modality.IMAGE, "v", ("t",), (9,), "uint16")
    plain = product_schema("p", "p-1", single, {})
    assert spec_of(plain).parts == ()
    assert "spans" not in plain.names


def test_a_joined_products_tokens_must_have_spans() -> None:
    without = TokenBatch.ragged([np.arange(3, dtype=np.uint16)], "uint16")
    with pytest.raises(InvariantError, match="without spans"):
        rows(without, 0)
