from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline.refs
from operators.records import Failure, MediaReference, Modality, Origin, VoidReason
from pipeline.records import Message
from pipeline.refs import parse

SCHEMA = json.loads((Path(pipeline.refs.__file__).parent / "reference.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def message(value: Any, headers: tuple[tuple[str, bytes], ...] = ()) -> Message:
    if value is not None and not isinstance(value, bytes):
        value = json.dumps(value).encode()
    return Message(Origin("topic-id", 3, 41, 0), "media.image", b"key", value, headers)


def only(value: Any) -> Any:
    [item] = parse(message(value)).items
    return item


def test_a_uri_is_all_that_is_needed() -> None:
    assert only({"uri": "s3://media/a.jpg"}) == MediaReference("s3://media/a.jpg", Origin("topic-id", 3, 41, 0))


def test_every_field_arrives() -> None:
    assert only(
        {
            "uri": "https://example.com/film.mp4",
            "modality": "video",
            "version": "abc",
            "content_type": "video/mp4",
            "size_bytes": 12,
            "byte_range": [2, 9],
            "time_range_s": [0, 1.5],
            "attributes": {"licence": "CC0", "nested": {"deep": [1, None]}},
        }
    ) == MediaReference(
        uri="https://example.com/film.mp4",
        origin=Origin("topic-id", 3, 41, 0),
        modality=Modality.VIDEO,
        version="abc",
        content_type="video/mp4",
        size_bytes=12,
        byte_range=(2, 9),
        time_range_s=(0.0, 1.5),
        attributes={"licence": "CC0", "nested": {"deep": [1, None]}},
    )


def test_a_text_is_carried_inline() -> None:
    item = only({"uri": "caption:1", "text": "Ein Bär"})
    assert item.inline == "Ein Bär".encode()
    assert item.modality is Modality.TEXT


def test_an_empty_text_is_content_too() -> None:
    assert only({"uri": "caption:1", "text": ""}).inline == b""


def test_null_is_as_good_as_absent() -> None:
    assert only({"uri": "/a.jpg", "version": None, "attributes": None}) == only({"uri": "/a.jpg"})


def test_several_items_count_from_the_messages_own() -> None:
    items = parse(message({"items": [{"uri": "/a"}, {"url": "/b"}, {"uri": "/c"}]})).items
    assert [type(item) for item in items] == [MediaReference, Failure, MediaReference]
    assert isinstance(items[2], MediaReference)
    assert items[2].origin.item == 2
    assert isinstance(items[1], Failure)
    assert items[1].message == "items[1].url: unknown field; did you mean 'uri'?"


def test_a_tombstone_is_void() -> None:
    assert parse(message(None)).items == (VoidReason.TOMBSTONE,)


BAD: list[tuple[Any, str]] = [
    (b"", "message: not JSON"),
    (b"not json", "message: not JSON"),
    (b"\xff\xfe", "message: not JSON"),
    (b"[" * 100_000, "message: not JSON"),
    (b'{"uri": "a", "size_bytes": ' + b"9" * 5000 + b"}", "message: not JSON"),
    (b'{"uri": "a", "size_bytes": NaN}', "message: NaN"),
    (b'{"uri": "\\ud800"}', "message: not JSON"),
    ("a string", "message: must be an object, not string"),
    (17, "message: must be an object, not integer"),
    ([], "message: must have at least one entry"),
    ({}, "uri: required field missing"),
    ({"modality": "image"}, "uri: required field missing"),
    ({"uri": None}, "uri: required field missing"),
    ({"uri": 5}, "uri: must be a string, not integer"),
    ({"uri": ""}, "uri: must not be empty"),
    ({"uri": "a", "modality": "picture"}, "modality: must be one of image, audio, video, text, not 'picture'"),
    ({"uri": "a", "modality": ["image"]}, "modality: must be one of"),
    ({"uri": "a", "version": 5}, "version: must be a string, not integer"),
    ({"uri": "a", "size_bytes": "5"}, "size_bytes: must be an integer, not string"),
    ({"uri": "a", "size_bytes": True}, "size_bytes: must be an integer, not boolean"),
    ({"uri": "a", "size_bytes": -1}, "size_bytes: must not be negative"),
    ({"uri": "a", "byte_range": [0]}, "byte_range: must have two numbers"),
    ({"uri": "a", "byte_range": [5, 5]}, "byte_range: must end behind its start"),
    ({"uri": "a", "byte_range": "0-5"}, "byte_range: must be an array"),
    ({"uri": "a", "byte_range": [0, 1.5]}, "byte_range[1]: must be an integer"),
    ({"uri": "a", "time_range_s": [3, 1]}, "time_range_s: must end behind its start"),
    (b'{"uri": "a", "time_range_s": [0, 1e999]}', "time_range_s[1]: must be finite"),
    ({"uri": "a", "text": 1}, "text: must be a string"),
    ({"uri": "a", "text": "b", "modality": "image"}, "text: given, but modality is image"),
    ({"uri": "a", "attributes": []}, "attributes: must be an object, not array"),
    ({"uri": "a", "contenttype": "b"}, "contenttype: unknown field; did you mean 'content_type'?"),
    ({"uri": "a", "zzz": "b"}, "zzz: unknown field; there are uri, modality"),
    ({"items": []}, "items: must have at least one entry"),
    ({"items": {}}, "items: must be an array, not object"),
    ({"items": [{}], "more": 1}, "more: unknown field beside items"),
]


@pytest.mark.parametrize(("value", "expected"), BAD, ids=[expected for _, expected in BAD])
def test_a_malformed_message_names_the_field(value: Any, expected: str) -> None:
    failure = only(value)
    assert isinstance(failure, Failure)
    assert (failure.code, failure.stage) == ("reference.malformed", "reference")
    assert failure.message.startswith(expected)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 9, allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
pairs = st.tuples(st.integers(0, 50), st.integers(51, 99)).map(list)
good = {
    "uri": st.text(min_size=1, max_size=9),
    "modality": st.sampled_from(["image", "audio", "video", "text", None]),
    "version": st.text(min_size=1, max_size=5) | st.none(),
    "content_type": st.just("image/png"),
    "size_bytes": st.integers(0, 10) | st.just(2.0),
    "byte_range": pairs | st.none(),
    "time_range_s": pairs,
    "text": st.text(max_size=5) | st.none(),
    "attributes": st.dictionaries(st.text(max_size=4), json_values, max_size=3),
}
references = st.fixed_dictionaries(
    {}, optional={name: st.one_of(strategy, strategy, strategy, json_values) for name, strategy in good.items()}
)
documents = (
    references
    | st.lists(references, max_size=2).map(lambda items: {"items": items})
    | st.fixed_dictionaries({"uri": st.just("a")}, optional={"more": json_values})
)


def ordered(document: Any) -> bool:
    """Whether ranges are in order, which a schema can't say."""
    items = document.get("items", [document]) if isinstance(document, dict) else []
    ranges = [item[name] for item in items for name in ("byte_range", "time_range_s") if item.get(name) is not None]
    return all(pair[0] < pair[1] for pair in ranges)


@settings(max_examples=500, deadline=None)
@given(documents)
def test_parser_and_schema_agree(document: Any) -> None:
    valid = VALIDATOR.is_valid(document) and ordered(document)
    parsed = all(isinstance(item, MediaReference) for item in parse(message(document)).items)
    assert parsed == valid


@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_make_the_parser_raise(value: bytes) -> None:
    assert len(parse(message(value)).items) >= 1
