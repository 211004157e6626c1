from __future__ import annotations

import json
from dataclasses import replace
from hashlib import blake2b

import pyarrow as pa
import pytest

from operators.errors import ConfigError, ShardCorruptError
from operators.pack.schema import (
    METADATA_KEY,
    columns,
    doc_id,
    doc_json,
    product_schema,
    sample_id,
    schema_facts,
    spec_of,
)
from operators.records import MediaReference, Modality, Origin
from operators.tokenize.base import TokenKind, TokenSpec


def test_an_image_product_has_the_columns_of_an_image(image_spec: TokenSpec):
    assert [field.name for field in product_schema("p", "p-00000000", image_spec, {})] == [
        *("sample_id", "doc_id", "window_index", "window_count", "uri", "version", "sha256"),
        *("source_id", "partition", "offset", "item", "modality", "product", "dt"),
        *("start", "end", "rate_num", "rate_den", "codes", "shape", "n_tokens", "width", "height"),
        *("text", "licence", "subject_key", "partial", "attributes"),
    ]


def test_a_text_product_has_neither_size_nor_caption(text_spec: TokenSpec):
    names = {column.name for column in columns(text_spec)}
    assert not names & {"width", "height", "duration", "text"}


def test_sound_has_a_duration_and_film_both(text_spec: TokenSpec):
    audio = {column.name for column in columns(replace(text_spec, modality=Modality.AUDIO))}
    video = {column.name for column in columns(replace(text_spec, modality=Modality.VIDEO))}
    assert "duration" in audio
    assert "width" not in audio
    assert {"duration", "width", "height", "text"} <= video


def test_every_column_is_documented(image_spec: TokenSpec):
    assert all(column.doc.endswith(".") or column.doc.endswith("or null.") for column in columns(image_spec))


def test_no_column_has_a_type_that_some_reader_lacks(image_spec: TokenSpec):
    for column in columns(image_spec):
        assert not pa.types.is_float16(column.type)
        assert not pa.types.is_dictionary(column.type)
        assert not pa.types.is_map(column.type)
        assert not pa.types.is_large_list(column.type)


@pytest.mark.parametrize(
    ("kind", "dtype", "shape", "expected"),
    [
        (TokenKind.CODES, "uint16", (), pa.list_(pa.uint16())),
        (TokenKind.CODES, "uint32", (4,), pa.list_(pa.uint32())),
        (TokenKind.EMBEDDINGS, "float32", (4, 8), pa.list_(pa.float32(), 32)),
        (TokenKind.EMBEDDINGS, "float16", (4, 8), pa.list_(pa.uint16(), 32)),
    ],
)
def test_the_token_column_follows_the_spec(kind, dtype, shape, expected, text_spec: TokenSpec):
    schema = product_schema("p", "p-0", replace(text_spec, kind=kind, dtype=dtype, shape=shape), {})
    assert schema.field("codes" if kind is TokenKind.CODES else "embedding").type == expected


@pytest.mark.parametrize(
    ("kind", "dtype", "shape"),
    [
        (TokenKind.CODES, "int64", ()),
        (TokenKind.CODES, "float32", (4,)),
        (TokenKind.EMBEDDINGS, "float64", (4, 8)),
        (TokenKind.EMBEDDINGS, "uint16", (4, 8)),
        (TokenKind.EMBEDDINGS, "float32", ()),
    ],
)
def test_a_spec_that_cannot_be_stored_is_refused(kind, dtype, shape, text_spec: TokenSpec):
    with pytest.raises(ConfigError):
        product_schema("p", "p-0", replace(text_spec, kind=kind, dtype=dtype, shape=shape), {})


def test_the_spec_and_the_identity_come_back_from_the_metadata(image_spec: TokenSpec):
    schema = product_schema("rq", "rq-00112233", image_spec, {"class": "Rq", "weights": "ff"})
    assert spec_of(schema) == image_spec
    facts = schema_facts(schema)
    assert facts["tokenizer"] == {"class": "Rq", "weights": "ff"}
    assert (facts["product"], facts["key"], facts["format"]) == ("rq", "rq-00112233", 1)


def test_the_order_of_an_identity_does_not_change_the_schema(image_spec: TokenSpec):
    one = product_schema("p", "p-0", image_spec, {"a": 1, "b": 2})
    two = product_schema("p", "p-0", image_spec, {"b": 2, "a": 1})
    assert one.equals(two, check_metadata=True)


def test_a_foreign_or_later_schema_is_refused(image_spec: TokenSpec):
    with pytest.raises(ShardCorruptError, match="not a shard of ours"):
        schema_facts(pa.schema([("a", pa.int32())]))
    later = product_schema("p", "p-0", image_spec, {}).with_metadata({METADATA_KEY: json.dumps({"format": 99})})
    with pytest.raises(ShardCorruptError, match="99"):
        schema_facts(later)


def test_ids_are_blake2b_of_json_arrays():
    doc = doc_json('s3://b/"k"', "v1", "")
    assert doc_id(doc) == blake2b(b'["s3://b/\\"k\\"", "v1", ""]', digest_size=16).hexdigest()
    whole = json.dumps(['s3://b/"k"', "v1", "", "rq-00112233", 90])
    assert sample_id(doc, "rq-00112233", 90) == blake2b(whole.encode(), digest_size=16).hexdigest()


def test_each_part_of_an_identity_changes_the_sample():
    origin = Origin("s", 0, 0, 0)
    ranged = MediaReference("u", origin, time_range_s=(0.0, 1.0)).range_key
    ids = {
        sample_id(doc_json("u", "v", ""), "p-0", 0),
        sample_id(doc_json("u2", "v", ""), "p-0", 0),
        sample_id(doc_json("u", "v2", ""), "p-0", 0),
        sample_id(doc_json("u", "v", ranged), "p-0", 0),
        sample_id(doc_json("u", "v", ""), "p-1", 0),
        sample_id(doc_json("u", "v", ""), "p-0", 1),
    }
    assert len(ids) == 6
