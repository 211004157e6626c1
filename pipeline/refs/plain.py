"""Our own message: a JSON object with a `uri`, or `{"items": [...]}` with several, as in `reference.schema.json`.

Checked by hand, for this is the coordinator's hottest parser. The schema can't say that a range's end must lie
behind its start; everything else agrees with it, which the tests hold.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

from operators.errors import ReferenceMalformedError
from operators.records import MediaReference, Modality, Origin

Json = Mapping[str, Any]

_MODALITIES: Mapping[str, Modality] = {modality.value: modality for modality in Modality}


_JSON_TYPES: Mapping[str, str] = {
    "bool": "boolean",
    "str": "string",
    "list": "array",
    "dict": "object",
    "int": "integer",
    "float": "number",
    "NoneType": "null",
}


def _string(value: object, field: str) -> str:
    if type(value) is not str:
        raise ReferenceMalformedError(f"{field}: must be a string, not {json_type(value)}")
    if not value:
        raise ReferenceMalformedError(f"{field}: must not be empty")
    return value


def _modality(value: object, field: str) -> Modality:
    modality = _MODALITIES.get(value) if type(value) is str else None
    if modality is None:
        raise ReferenceMalformedError(f"{field}: must be one of {', '.join(_MODALITIES)}, not {value!r}")
    return modality


def _count(value: object, field: str) -> int:
    if type(value) is float and value.is_integer():
        value = int(value)  # to JSON, 12.0 is the same number as 12
    if type(value) is not int:
        raise ReferenceMalformedError(f"{field}: must be an integer, not {json_type(value)}")
    if value < 0:
        raise ReferenceMalformedError(f"{field}: must not be negative, is {value}")
    return value


def _seconds(value: object, field: str) -> float:
    if type(value) is not int and type(value) is not float:
        raise ReferenceMalformedError(f"{field}: must be a number, not {json_type(value)}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not 0 <= seconds < math.inf:
        raise ReferenceMalformedError(f"{field}: must be finite and not negative, is {seconds}")
    return seconds


def _pair(value: object, field: str) -> tuple[object, object]:
    if type(value) is not list:
        raise ReferenceMalformedError(f"{field}: must be an array of two numbers, not {json_type(value)}")
    ends = cast("list[object]", value)
    if len(ends) != 2:
        raise ReferenceMalformedError(f"{field}: must have two numbers, start and end, not {len(ends)}")
    return ends[0], ends[1]


def _byte_range(value: object, field: str) -> tuple[int, int]:
    first, last = _pair(value, field)
    start, end = _count(first, f"{field}[0]"), _count(last, f"{field}[1]")
    if start >= end:
        raise ReferenceMalformedError(f"{field}: must end behind its start, is [{start}, {end}]")
    return start, end


def _time_range(value: object, field: str) -> tuple[float, float]:
    first, last = _pair(value, field)
    start, end = _seconds(first, f"{field}[0]"), _seconds(last, f"{field}[1]")
    if start >= end:
        raise ReferenceMalformedError(f"{field}: must end behind its start, is [{start}, {end}]")
    return start, end


def _text(value: object, field: str) -> bytes:
    if type(value) is not str:
        raise ReferenceMalformedError(f"{field}: must be a string, not {json_type(value)}")
    return value.encode()  # may be empty: a text without tokens, not a mistake


def _attributes(value: object, field: str) -> Mapping[str, Any]:
    if type(value) is not dict:
        raise ReferenceMalformedError(f"{field}: must be an object, not {json_type(value)}")
    return cast("dict[str, Any]", value)


# The message's field -> (the record's field, its check).
_FIELDS: Mapping[str, tuple[str, Callable[[object, str], Any]]] = {
    "uri": ("uri", _string),
    "modality": ("modality", _modality),
    "version": ("version", _string),
    "content_type": ("content_type", _string),
    "size_bytes": ("size_bytes", _count),
    "byte_range": ("byte_range", _byte_range),
    "time_range_s": ("time_range_s", _time_range),
    "text": ("inline", _text),
    "attributes": ("attributes", _attributes),
}


def reference(document: object, origin: Origin, path: str = "") -> MediaReference:
    """One item of our own format.

    Args:
        document: as it came out of JSON.
        origin: of this item.
        path: of the item in its message, for errors, e.g. "items[3].".

    Raises:
        ReferenceMalformedError: names the field.
    """
    if type(document) is not dict:
        raise ReferenceMalformedError(f"{path.rstrip('.') or 'message'}: must be an object, not {json_type(document)}")
    found: dict[str, Any] = {}
    for name, value in cast("dict[str, object]", document).items():
        known = _FIELDS.get(name)
        if known is None:
            raise ReferenceMalformedError(f"{path}{name}: unknown field{nearest(name, _FIELDS)}")
        if value is not None:  # null is as good as absent
            target, check = known
            found[target] = check(value, path + name)
    if "uri" not in found:
        raise ReferenceMalformedError(f"{path}uri: required field missing")
    if "inline" in found:
        if found.setdefault("modality", Modality.TEXT) is not Modality.TEXT:
            raise ReferenceMalformedError(f"{path}text: given, but modality is {found['modality'].value}")
        found.setdefault("content_type", "text/plain; charset=utf-8")
    return MediaReference(origin=origin, **found)


def json_type(value: object) -> str:
    """What JSON calls it."""
    return _JSON_TYPES.get(type(value).__name__, type(value).__name__)


def nearest(name: str, valid: Mapping[str, object]) -> str:
    """A half-sentence that helps a misspelling along."""
    close = difflib.get_close_matches(name, valid, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(valid)}"
