"""Letters and empties as JSON lines, one an item; bytes are base64."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any, cast

from operators.errors import InvariantError
from operators.records import EmptyReason, Failure, Origin
from pipeline.lake.codec import canonical_json
from pipeline.records import Empty, Letter


def outcome_bytes(letters: Iterable[Letter], empties: Iterable[Empty]) -> bytes:
    """Letters, then empties, as a file."""
    lines = [_letter_json(letter) for letter in letters] + [_empty_json(empty) for empty in empties]
    return b"".join(canonical_json(line) + b"\n" for line in lines)


def read_outcomes(data: bytes) -> tuple[tuple[Letter, ...], tuple[Empty, ...]]:
    """Back from `outcome_bytes`.

    Raises:
        InvariantError: a line is neither.
    """
    letters, empties = list[Letter](), list[Empty]()
    for number, line in enumerate(data.splitlines(), 1):
        try:
            raw = cast("dict[str, Any]", json.loads(line))
            if raw["outcome"] == "letter":
                letters.append(_letter(raw))
            elif raw["outcome"] == "empty":
                empties.append(Empty(raw["product"], _origin(raw["origin"]), raw["uri"], EmptyReason(raw["reason"])))
            else:
                raise InvariantError(f"line {number}: unknown outcome {raw['outcome']!r}")
        except (ValueError, KeyError, TypeError) as error:
            raise InvariantError(f"line {number} is neither letter nor empty: {error!r}") from error
    return tuple(letters), tuple(empties)


def _letter_json(letter: Letter) -> dict[str, Any]:
    failure = letter.failure
    return {
        "outcome": "letter",
        "product": letter.product,
        "origin": _origin_json(letter.origin),
        "uri": letter.uri,
        "failure": {"code": failure.code, "stage": failure.stage, "message": failure.message, "stack": failure.stack},
        "topic": letter.topic,
        "key": _base64(letter.key),
        "value": _base64(letter.value),
        "headers": [[name, _base64(value)] for name, value in letter.headers],
        "attempts": letter.attempts,
        "at_ms": letter.at_ms,
    }


def _letter(raw: dict[str, Any]) -> Letter:
    return Letter(
        product=raw["product"],
        origin=_origin(raw["origin"]),
        uri=raw["uri"],
        failure=Failure(**raw["failure"]),
        topic=raw["topic"],
        key=_unbase64(raw["key"]),
        value=_unbase64(raw["value"]),
        headers=tuple((name, base64.b64decode(value, validate=True)) for name, value in raw["headers"]),
        attempts=raw["attempts"],
        at_ms=raw["at_ms"],
    )


def _empty_json(empty: Empty) -> dict[str, Any]:
    return {
        "outcome": "empty",
        "product": empty.product,
        "origin": _origin_json(empty.origin),
        "uri": empty.uri,
        "reason": empty.reason,
    }


def _origin_json(origin: Origin) -> list[str | int]:
    return [origin.source_id, origin.partition, origin.offset, origin.item]


def _origin(raw: list[Any]) -> Origin:
    source_id, partition, offset, item = raw
    return Origin(source_id, partition, offset, item)


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _unbase64(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)
