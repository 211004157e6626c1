"""A message as the lake's rows tell of it, where the original is not in the lake. Pure.

It is one of our own format, with an entry for each item at its original place; items of which the lake has no row are
null there. A header says what it is: a replay of its letters prefers the original where another letter has it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from operators.records import MediaReference, Origin
from pipeline.records import Message

REMADE = "mediatok-remade"
"""The header's name."""


def remade_message(origin: Origin, topic: str, references: Mapping[int, MediaReference]) -> Message:
    """The message that holds these items.

    Args:
        origin: of its item 0.
        topic: that it is to be read under.
        references: by item.
    """
    entries = [_entry(references.get(number)) for number in range(max(references) + 1)]
    document: Any = entries[0] if len(entries) == 1 else {"items": entries}
    value = json.dumps(document, ensure_ascii=False, sort_keys=True).encode()
    return Message(origin, topic, None, value, headers=((REMADE, b"1"),))


def is_remade(headers: tuple[tuple[str, bytes], ...]) -> bool:
    """Whether a message was put together from rows."""
    return any(name == REMADE for name, _ in headers)


def _entry(reference: MediaReference | None) -> dict[str, Any] | None:
    if reference is None:
        return None
    fields = {
        "uri": reference.uri,
        "modality": reference.modality,
        "version": reference.version,
        "content_type": reference.content_type,
        "size_bytes": reference.size_bytes,
        "byte_range": reference.byte_range,
        "time_range_s": reference.time_range_s,
        "text": None if reference.inline is None else reference.inline.decode(),
        "attributes": dict(reference.attributes),
    }
    return {name: value for name, value in fields.items() if value}
