from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from operators.errors import InvariantError
from operators.pack.rows import TokenizedSegment, finished_rows, waiting_rows, waiting_schema
from operators.pack.schema import doc_id, doc_json, product_schema, sample_id
from operators.records import ContentFacts, MediaReference, Origin, TokenBatch, WindowMeta
from operators.tokenize.base import TokenKind, TokenSpec


def test_rows_carry_tokens_origin_facts_and_attributes(image_spec: TokenSpec):
    schema = product_schema("rq", "rq-00112233", image_spec, {})
    values = np.arange(3 * 12, dtype=np.uint16).reshape(3, 2, 2, 3)
    reference = MediaReference(
        "s3://b/k.jpg",
        Origin("topic", 3, 17, 1),
        attributes={"licence": "cc0", "subject_key": 12, "caption": "a cat", "z": 1, "a": "é"},
    )
    window = WindowMeta(0, 1, width=640, height=480, partial=True)
    batch = waiting_rows(
        schema,
        TokenBatch.dense(values),
        [TokenizedSegment(reference, ContentFacts("etag", "cd" * 32, 9), (window,), 2)],
    )
    row = finished_rows(schema, batch, np.array([0], np.int32), np.array([1], np.int32), "2026-01-02").to_pylist()[0]
    doc = doc_json("s3://b/k.jpg", "etag", "")
    assert row == {
        "sample_id": sample_id(doc, "rq-00112233", 0),
        "doc_id": doc_id(doc),
        "window_index": 0,
        "window_count": 1,
        "uri": "s3://b/k.jpg",
        "version": "etag",
        "sha256": "cd" * 32,
        "source_id": "topic",
        "partition": 3,
        "offset": 17,
        "item": 1,
        "modality": "image",
        "product": "rq-00112233",
        "dt": "2026-01-02",
        "start": 0,
        "end": 1,
        "rate_num": 0,
        "rate_den": 1,
        "codes": values[2].reshape(-1).tolist(),
        "shape": [2, 2, 3],
        "n_tokens": 12,
        "width": 640,
        "height": 480,
        "text": "a cat",
        "licence": "cc0",
        "subject_key": "12",
        "partial": True,
        "attributes": '{"a": "é", "z": 1}',
    }


def test_windows_of_an_item_share_its_columns_and_keep_their_order(text_schema, make_segment):
    tokens = TokenBatch.ragged([np.full(n, n, np.uint16) for n in (1, 2, 3, 4)], np.uint16)
    batch = waiting_rows(text_schema, tokens, [make_segment(7, 3), make_segment(5, 0, windows=3)])
    assert batch.column("codes").to_pylist() == [[4] * 4, [1], [2] * 2, [3] * 3]
    assert batch.column("offset").to_pylist() == [7, 5, 5, 5]
    assert batch.column("start").to_pylist() == [0, 0, 10, 20]
    assert len(set(batch.column("sample_id").to_pylist())) == 4
    assert len(set(batch.column("doc_id").to_pylist())) == 2


def test_the_columns_filled_late_are_missing_while_waiting(text_schema: pa.Schema):
    missing = {field.name for field in text_schema} - {field.name for field in waiting_schema(text_schema)}
    assert missing == {"window_index", "window_count", "dt"}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_embeddings_are_stored_bit_for_bit(dtype: str, image_spec: TokenSpec):
    spec = replace(image_spec, kind=TokenKind.EMBEDDINGS, dtype=dtype, shape=(4, 2))
    schema = product_schema("vit", "vit-00112233", spec, {})
    vectors = np.random.default_rng(0).standard_normal((3, 4, 2)).astype(dtype)
    stored = vectors if dtype == "float32" else vectors.view(np.uint16)
    reference = MediaReference("u", Origin("t", 0, 0, 0))
    segments = [TokenizedSegment(reference, None, (WindowMeta(0, 1),), row) for row in (2, 0)]
    batch = waiting_rows(schema, TokenBatch.dense(stored, vectors=True), segments)
    back = np.asarray(batch.column("embedding").to_pylist(), dtype=stored.dtype).view(dtype).reshape(2, 4, 2)
    np.testing.assert_array_equal(back, vectors[[2, 0]])
    assert batch.column("n_tokens").to_pylist() == [4, 4]


def test_content_without_a_version_is_told_apart_by_its_hash(text_schema: pa.Schema):
    reference = MediaReference("file:///a.txt", Origin("t", 0, 0, 0))
    tokens = TokenBatch.ragged([np.zeros(1, np.uint16)] * 2, np.uint16)
    segments = [
        TokenizedSegment(reference, ContentFacts("", digest * 32, 1), (WindowMeta(0, 1),), row)
        for row, digest in enumerate(("aa", "bb"))
    ]
    batch = waiting_rows(text_schema, tokens, segments)
    assert batch.column("version").to_pylist() == ["", ""]
    assert len(set(batch.column("doc_id").to_pylist())) == 2


def test_the_version_of_the_message_stands_where_the_fetch_gave_none(text_schema: pa.Schema):
    reference = MediaReference("u", Origin("t", 0, 0, 0), version="7")
    tokens = TokenBatch.ragged([np.zeros(1, np.uint16)], np.uint16)
    batch = waiting_rows(text_schema, tokens, [TokenizedSegment(reference, None, (WindowMeta(0, 1),), 0)])
    assert (batch.column("version").to_pylist(), batch.column("sha256").to_pylist()) == (["7"], [""])


@pytest.mark.parametrize(
    ("attributes", "licence", "rest"),
    [
        ({}, None, {}),
        ({"licence": None}, None, {}),
        ({"licence": {"name": "x", "a": 1}}, '{"a": 1, "name": "x"}', {}),
        ({"licence": "\ud83d cut"}, "? cut", {}),
        ({"when": datetime.date(2026, 1, 2)}, None, {"when": "2026-01-02"}),
        ({"x": "\ud83d"}, None, {"x": "?"}),
        ({"caption": "of a text, so no column"}, None, {"caption": "of a text, so no column"}),
    ],
)
def test_odd_attributes_are_kept(attributes, licence, rest, text_schema: pa.Schema, make_segment):
    tokens = TokenBatch.ragged([np.zeros(1, np.uint16)], np.uint16)
    row = waiting_rows(text_schema, tokens, [make_segment(0, 0, **attributes)]).to_pylist()[0]
    assert row["licence"] == licence
    assert json.loads(row["attributes"]) == rest


def test_tokens_of_another_type_are_refused(text_schema: pa.Schema, make_segment: Callable[..., TokenizedSegment]):
    tokens = TokenBatch.ragged([np.zeros(3, np.uint32)], np.uint32)
    with pytest.raises(InvariantError, match="uint32"):
        waiting_rows(text_schema, tokens, [make_segment(0, 0)])


def test_vectors_of_another_size_are_refused(image_spec: TokenSpec, make_segment):
    spec = replace(image_spec, kind=TokenKind.EMBEDDINGS, dtype="float32", shape=(4, 2))
    tokens = TokenBatch.dense(np.zeros((1, 4, 4), np.float32), vectors=True)
    with pytest.raises(InvariantError, match="other sizes"):
        waiting_rows(product_schema("v", "v-0", spec, {}), tokens, [make_segment(0, 0)])


@pytest.mark.parametrize(("row", "windows"), [(1, 1), (-1, 1), (0, 2), (0, 0)])
def test_windows_outside_the_batch_are_refused(row, windows, text_schema, make_segment):
    tokens = TokenBatch.ragged([np.zeros(3, np.uint16)], np.uint16)
    with pytest.raises(InvariantError, match="outside"):
        waiting_rows(text_schema, tokens, [make_segment(0, row, windows=windows)])
