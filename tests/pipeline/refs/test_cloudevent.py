from __future__ import annotations

import json
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from operators.records import Failure, Modality, Origin, VoidReason
from pipeline.records import Message
from pipeline.refs import parse

OURS = {"uri": "s3://media/a.jpg", "modality": "image"}
NOTICE = {
    "Records": [
        {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "media"}, "object": {"key": "a+b.jpg"}}},
        {"eventName": "ObjectRemoved:Delete", "s3": {"bucket": {"name": "media"}, "object": {"key": "c.jpg"}}},
    ]
}
BINARY = {"ce_specversion": b"1.0", "ce_id": b"1", "ce_source": b"s"}
MODES = {"binary": to_binary_event, "structured": to_structured_event}


def event(data: Any, **attributes: Any) -> CloudEvent:
    return CloudEvent({"type": "org.example.made", "source": "https://example.com/photos", **attributes}, data)


def items(sent: KafkaMessage, key: bytes | None = b"\xff") -> tuple[Any, ...]:
    headers = tuple(sent.headers.items())
    return parse(Message(Origin("t", 0, 7, 0), "events", key, sent.value, headers)).items


@pytest.mark.parametrize("mode", MODES)
def test_its_data_may_be_one_of_ours(mode: str) -> None:
    [item] = items(MODES[mode](event(OURS, datacontenttype="application/json")))
    assert (item.uri, item.modality) == ("s3://media/a.jpg", Modality.IMAGE)


@pytest.mark.parametrize("mode", MODES)
def test_its_data_may_be_a_notification(mode: str) -> None:
    first, second = items(MODES[mode](event(NOTICE, datacontenttype="application/json")))
    assert first.uri == "s3://media/a b.jpg"
    assert second is VoidReason.REMOVAL


@pytest.mark.parametrize("mode", MODES)
def test_its_data_may_be_the_content(mode: str) -> None:
    [item] = items(MODES[mode](event(b"\xff\xd8\xff\xe0JFIF", datacontenttype="image/jpeg", subject="1.jpg")))
    assert item.inline == b"\xff\xd8\xff\xe0JFIF"
    assert (item.uri, item.content_type) == ("https://example.com/photos/1.jpg", "image/jpeg")


@pytest.mark.parametrize("mode", MODES)
def test_its_data_may_be_a_text(mode: str) -> None:
    [item] = items(MODES[mode](event("Grüße", datacontenttype="text/plain", subject="1")))
    assert item.inline == "Grüße".encode()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("subject", "uri"), [("a/b.jpg", "https://example.com/photos/a/b.jpg"), ("s3://media/b.jpg", "s3://media/b.jpg")]
)
def test_without_data_its_subject_names_the_content(mode: str, subject: str, uri: str) -> None:
    [item] = items(MODES[mode](event(None, subject=subject)))
    assert (item.uri, item.inline) == (uri, None)


def test_a_structured_event_is_known_without_its_header() -> None:
    sent = to_structured_event(event(OURS))
    [item] = items(KafkaMessage({}, None, sent.value))
    assert item.uri == "s3://media/a.jpg"


@pytest.mark.parametrize(
    ("headers", "value", "message"),
    [
        ({"ce_specversion": b"1.0", "ce_id": b"1", "ce_source": b"s"}, OURS, "cloudevent: type"),
        (
            {"ce_specversion": b"1.0", "ce_id": b"1", "ce_source": b"s", "ce_type": b"t"},
            {"url": 1},
            "url: unknown field",
        ),
        (
            {"ce_specversion": b"1.0", "ce_id": b"1", "ce_source": b"s", "ce_type": b"\xff"},
            OURS,
            "cloudevent: cannot be",
        ),
        ({"content-type": b"application/cloudevents+json"}, b"not json", "cloudevent: cannot be read"),
        ({"content-type": b"application/cloudevents+json; charset=utf-8"}, {"specversion": "1.0"}, "cloudevent: "),
        ({"content-type": b"application/cloudevents+json"}, [1], "cloudevent: cannot be read"),
        ({}, {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}, "cloudevent.subject: must name"),
    ],
)
def test_a_malformed_event_says_what_is_wrong(headers: dict[str, bytes], value: Any, message: str) -> None:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    [failure] = items(KafkaMessage(headers, None, raw))
    assert isinstance(failure, Failure)
    assert failure.code == "reference.malformed"
    assert failure.message.startswith(message)
