"""Bucket notifications in the S3 format, as AWS, MinIO, RustFS and versitygw really send them.

They agree on `Records[].s3.bucket.name` and `.object.key`, and differ in this:

| | AWS | MinIO | RustFS | versitygw |
|---|---|---|---|---|
| event name | `ObjectCreated:Put` | `s3:ObjectCreated:Put` | `s3:ObjectCreated:Put` | `s3:ObjectCreated:Put` |
| key | form-encoded | form-encoded | form-encoded | **as it is** |
| etag | `eTag` | `eTag` | `etag` | `eTag` |
| version | `versionId` | `versionId` | `version_id`, may be "" | `versionId`, may be null |
| content type | none | `contentType` | `content_type` | none |
| envelope | `Records` | `EventName`, `Key`, `Records` | the same | `Records`; a bare array until 2024 |
| test event | `Service: "Amazon S3"` | none | none | `Service: "S3"`, at each start |

Sources: AWS, "Event message structure"; minio/internal/event/event.go; rustfs/crates/notify/src/event.rs;
versitygw/s3event/event.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import unquote_plus

from operators.errors import ReferenceMalformedError
from operators.records import MediaReference, Origin, VoidReason
from pipeline.refs.plain import json_type

# Announced as ObjectCreated by MinIO and RustFS, though the content is what it was.
_UNCHANGED = frozenset({"PutTagging", "DeleteTagging", "PutRetention", "PutLegalHold"})
_REMOVALS = frozenset({"ObjectRemoved", "LifecycleExpiration", "LifecycleDelMarkerExpiration"})
_USER_METADATA = "x-amz-meta-"


def is_test_event(document: Mapping[str, Any]) -> bool:
    """What AWS sends when notifications are set up, and versitygw whenever it starts."""
    return document.get("Event") == "s3:TestEvent"


def record(document: object, origin: Origin, path: str) -> MediaReference | VoidReason:
    """One record of a notification.

    Removals and test events are void; so is what does not announce content (tags, access, replication, markers of
    empty folders): `not_mine`. The version is the etag, or the version id where there is no etag.

    Raises:
        ReferenceMalformedError: names the field.
    """
    entry = _object(document, path)
    kind, _, detail = _string(entry, "eventName", path).removeprefix("s3:").partition(":")
    if kind in _REMOVALS:
        return VoidReason.REMOVAL
    if kind == "TestEvent":
        return VoidReason.TEST_EVENT
    if kind != "ObjectCreated" or detail in _UNCHANGED:
        return VoidReason.NOT_MINE
    s3 = _object(entry.get("s3"), f"{path}.s3")
    bucket = _string(_object(s3.get("bucket"), f"{path}.s3.bucket"), "name", f"{path}.s3.bucket")
    path = f"{path}.s3.object"
    described = _object(s3.get("object"), path)
    key = _string(described, "key", path)
    if not _is_versitygw(entry):
        key = _decoded(key, f"{path}.key")
    size = _size(described.get("size"), f"{path}.size")
    if key.endswith("/") and not size:
        return VoidReason.NOT_MINE
    etag = _optional(described, path, "eTag", "etag")
    return MediaReference(
        uri=f"s3://{bucket}/{key}",
        origin=origin,
        version=etag.strip('"') if etag else _optional(described, path, "versionId", "version_id"),
        content_type=_optional(described, path, "contentType", "content_type"),
        size_bytes=size,
        attributes=_attributes(described),
    )


def _is_versitygw(entry: Mapping[str, Any]) -> bool:
    """It alone does not encode keys, and it alone writes `PrincipalId` with a capital."""
    identity = entry.get("userIdentity")
    return type(identity) is dict and "PrincipalId" in identity


def _decoded(key: str, path: str) -> str:
    if "%" not in key and "+" not in key:
        return key
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError as error:
        raise ReferenceMalformedError(f"{path}: is not UTF-8 once decoded: {error}") from error


def _attributes(described: Mapping[str, Any]) -> dict[str, Any]:
    """User metadata (MinIO, RustFS): `X-Amz-Meta-Licence: CC0` becomes `{"licence": "CC0"}`."""
    metadata = described.get("userMetadata") or described.get("user_metadata")
    if type(metadata) is not dict:
        return {}
    pairs = ((str(name).lower(), value) for name, value in cast("dict[str, Any]", metadata).items())
    return {name.removeprefix(_USER_METADATA): value for name, value in pairs if name.startswith(_USER_METADATA)}


def _object(value: object, path: str) -> Mapping[str, Any]:
    if value is None:
        raise ReferenceMalformedError(f"{path}: required field missing")
    if type(value) is not dict:
        raise ReferenceMalformedError(f"{path}: must be an object, not {json_type(value)}")
    return cast("dict[str, Any]", value)


def _string(entry: Mapping[str, Any], name: str, path: str) -> str:
    value = entry.get(name)
    if value is None:
        raise ReferenceMalformedError(f"{path}.{name}: required field missing")
    if type(value) is not str:
        raise ReferenceMalformedError(f"{path}.{name}: must be a string, not {json_type(value)}")
    if not value:
        raise ReferenceMalformedError(f"{path}.{name}: must not be empty")
    return value


def _optional(entry: Mapping[str, Any], path: str, *names: str) -> str | None:
    for name in names:
        value = entry.get(name)
        if value is not None and type(value) is not str:
            raise ReferenceMalformedError(f"{path}.{name}: must be a string, not {json_type(value)}")
        if value:
            return value
    return None


def _size(value: object, path: str) -> int | None:
    if value is None:
        return None
    if type(value) is not int:
        raise ReferenceMalformedError(f"{path}: must be an integer, not {json_type(value)}")
    if value < 0:
        raise ReferenceMalformedError(f"{path}: must not be negative, is {value}")
    return value
