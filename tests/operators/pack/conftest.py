"""Rows to pack: small, with every column set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from operators.pack.rows import TokenizedSegment, finished_rows, waiting_rows
from operators.pack.schema import product_schema
from operators.records import ContentFacts, MediaReference, Modality, Origin, TokenBatch, WindowMeta
from operators.tokenize.base import TokenKind, TokenSpec


@pytest.fixture
def text_spec() -> TokenSpec:
    return TokenSpec(TokenKind.CODES, Modality.TEXT, "utf8:1024", ("t",), (256,), "uint16")


@pytest.fixture
def image_spec() -> TokenSpec:
    return TokenSpec(
        TokenKind.CODES, Modality.IMAGE, "rgb8:16x16:cover", ("y", "x", "residual"), (64, 64, 64), "uint16", (2, 2, 3)
    )


@pytest.fixture
def text_schema(text_spec: TokenSpec) -> pa.Schema:
    return product_schema("text-bytes", "text-bytes-0123abcd", text_spec, {"class": "Utf8", "sizes": [256]})


def segment(offset: int, row: int, partition: int = 0, windows: int = 1, **attributes: object) -> TokenizedSegment:
    reference = MediaReference(f"s3://b/{offset}", Origin("topic", partition, offset, 0), attributes=attributes)
    metas = tuple(WindowMeta(start * 10, start * 10 + 10) for start in range(windows))
    return TokenizedSegment(reference, ContentFacts(f"v{offset}", "ab" * 32, 100), metas, row)


@pytest.fixture
def make_rows(text_schema: pa.Schema) -> Callable[..., pa.RecordBatch]:
    """(lengths of texts, first offset, partition) -> finished rows, one message a row."""

    def make(lengths: list[int], first: int = 0, partition: int = 0) -> pa.RecordBatch:
        tokens = TokenBatch.ragged([np.arange(n, dtype=np.uint16) % 251 for n in lengths], np.uint16)
        segments = [segment(first + row, row, partition) for row in range(len(lengths))]
        batch = waiting_rows(text_schema, tokens, segments)
        zeros = np.zeros(len(lengths), np.int32)
        return finished_rows(text_schema, batch, zeros, zeros + np.int32(1), "2026-01-02")

    return make


@pytest.fixture
def make_segment() -> Callable[..., TokenizedSegment]:
    return segment
