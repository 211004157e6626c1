"""A message's bytes -> items. Pure: no clock, no network.

The dialect is told by, in this order:

1. no value: a tombstone;
2. `ce_` headers, or the content type `application/cloudevents+json`: CloudEvents;
3. the JSON value: `Event: "s3:TestEvent"` or `Records` (or a bare array of records): S3; `specversion`: CloudEvents
   in structured mode whose header got lost; anything else: ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NoReturn, cast

from cloudevents.core.base import BaseCloudEvent

from operators.errors import MediatokError, ReferenceMalformedError
from operators.records import Failure, MediaReference, Origin, VoidReason
from pipeline.records import Message
from pipeline.refs import cloudevent, plain, s3
from pipeline.refs.parsed import Item, ParsedMessage

_TOMBSTONE: Final = ParsedMessage((VoidReason.TOMBSTONE,))
_TEST_EVENT: Final = ParsedMessage((VoidReason.TEST_EVENT,))


def parse(message: Message) -> ParsedMessage:
    """Never raises for what a message holds: what can't be understood is a `Failure` that names the field."""
    if message.value is None:
        return _TOMBSTONE
    try:
        if message.headers:
            headers = {name.lower(): value for name, value in message.headers}
            if cloudevent.is_binary(headers) or cloudevent.is_structured(headers):
                return _event(cloudevent.read(headers, message.value), message.origin)
        return _document(_json(message.value), message)
    except ReferenceMalformedError as error:
        return ParsedMessage((_failure(error),))


def _refuse_constant(name: str) -> NoReturn:
    raise ReferenceMalformedError(f"message: {name} is no JSON")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def _json(value: bytes) -> object:
    try:
        document = _decode(value.decode())
        if rb"\u" in value:
            # A lone surrogate is valid JSON but no text that UTF-8 or Arrow could hold.
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ReferenceMalformedError(f"message: not JSON: {error}") from error
    return document


def _document(document: object, message: Message) -> ParsedMessage:
    if type(document) is dict:
        fields = cast("dict[str, Any]", document)
        if "uri" not in fields and "specversion" in fields:
            return _event(cloudevent.read({}, message.value or b""), message.origin)
    return _items(document, message.origin)


def _items(document: object, origin: Origin) -> ParsedMessage:
    """Ours, or an S3 notification."""
    if type(document) is list:
        return _each(cast("list[object]", document), origin, "", s3.record)
    if type(document) is dict:
        fields = cast("dict[str, Any]", document)
        if "uri" not in fields:
            if s3.is_test_event(fields):
                return _TEST_EVENT
            if "Records" in fields:
                return _each(fields["Records"], origin, "Records", s3.record)
            if "items" in fields:
                return _several(fields, origin)
    return ParsedMessage((plain.reference(document, origin),))


def _several(fields: dict[str, Any], origin: Origin) -> ParsedMessage:
    unknown = next((name for name in fields if name != "items"), None)
    if unknown is not None:
        raise ReferenceMalformedError(f"{unknown}: unknown field beside items")
    return _each(fields["items"], origin, "items", lambda item, where, path: plain.reference(item, where, path + "."))


def _each(
    entries: object, origin: Origin, name: str, read: Callable[[object, Origin, str], MediaReference | VoidReason]
) -> ParsedMessage:
    if type(entries) is not list:
        raise ReferenceMalformedError(f"{name}: must be an array, not {plain.json_type(entries)}")
    listed = cast("list[object]", entries)
    if not listed:
        raise ReferenceMalformedError(f"{name or 'message'}: must have at least one entry")
    items: list[Item] = []
    for index, entry in enumerate(listed):
        try:
            items.append(read(entry, replace(origin, item=origin.item + index), f"{name}[{index}]"))
        except ReferenceMalformedError as error:
            items.append(_failure(error))
    return ParsedMessage(tuple(items))


def _event(event: BaseCloudEvent, origin: Origin) -> ParsedMessage:
    data = event.get_data()
    kind = event.get_datacontenttype() or "application/json"
    if isinstance(data, dict | list) and "json" in kind:
        return _items(data, origin)
    return ParsedMessage((cloudevent.content(event, origin),))


def _failure(error: MediatokError) -> Failure:
    """Without a stack: the message's bytes are in the letter, and the field is named."""
    return Failure(code=error.code, stage=error.stage, message=str(error))
