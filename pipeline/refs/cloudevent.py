"""CloudEvents over Kafka, binary mode (`ce_` headers) and structured mode (`application/cloudevents+json`).

An event's data is one of the other dialects (ours, an S3 notification), or else the content itself, inline, under its
`datacontenttype`. An event without data points to content by its `subject` and `source`.
Source: CloudEvents 1.0.2, "Kafka Protocol Binding".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, from_structured
from cloudevents.core.exceptions import BaseCloudEventException
from cloudevents.core.formats.json import JSONFormat

from operators.errors import ReferenceMalformedError
from operators.records import MediaReference, Origin

_FORMAT = JSONFormat()
_STRUCTURED = "application/cloudevents+json"


def is_binary(headers: Mapping[str, bytes]) -> bool:
    """Whether the headers carry an event."""
    return any(name.startswith("ce_") for name in headers)


def is_structured(headers: Mapping[str, bytes]) -> bool:
    """Whether the headers say that the value is an event."""
    return headers.get("content-type", b"")[: len(_STRUCTURED)].lower() == _STRUCTURED.encode()


def read(headers: Mapping[str, bytes], value: bytes) -> BaseCloudEvent:
    """The event of a message.

    Args:
        headers: names in lower case.

    Raises:
        ReferenceMalformedError: it is no valid event; says what is missing or wrong.
    """
    message = KafkaMessage(headers=dict(headers), key=None, value=value)
    try:
        if is_binary(headers):
            return from_binary(message, _FORMAT)
        return from_structured(message, _FORMAT)
    except BaseCloudEventException as error:
        raise ReferenceMalformedError(f"cloudevent: {_reason(error)}") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        # From JSON, dates and UTF-8 inside the package, which does not wrap them.
        raise ReferenceMalformedError(f"cloudevent: cannot be read: {error}") from error


def content(event: BaseCloudEvent, origin: Origin) -> MediaReference:
    """The item of an event whose data is in no other dialect.

    Raises:
        ReferenceMalformedError: it has no data, and neither subject nor source is an address.
    """
    data = event.get_data()
    if data is None:
        return MediaReference(uri=_address(event), origin=origin)
    if isinstance(data, str):
        data = data.encode()
    if not isinstance(data, bytes):
        raise ReferenceMalformedError("cloudevent.data: must be a reference, a notification, text or bytes")
    if event.get_datacontenttype() is None:
        raise ReferenceMalformedError("cloudevent.datacontenttype: required field missing beside data")
    return MediaReference(
        uri=_name(event), origin=origin, inline=data, content_type=event.get_datacontenttype(), size_bytes=len(data)
    )


def _address(event: BaseCloudEvent) -> str:
    """`subject` where it is a URI; else `source`/`subject`, where the source is one."""
    subject, source = event.get_subject() or "", event.get_source()
    if "://" in subject:
        return subject
    if "://" in source and subject:
        return f"{source.rstrip('/')}/{subject.lstrip('/')}"
    raise ReferenceMalformedError("cloudevent.subject: must name the content where there is no data")


def _name(event: BaseCloudEvent) -> str:
    """What inline content is called."""
    subject = event.get_subject() or event.get_id()
    return subject if "://" in subject else f"{event.get_source().rstrip('/')}/{subject.lstrip('/')}"


def _reason(error: BaseCloudEventException) -> str:
    errors: Mapping[str, list[Any]] = getattr(error, "errors", {})
    return "; ".join(f"{name}: {found[0]}" for name, found in errors.items() if found) or str(error)
