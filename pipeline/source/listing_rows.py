"""One row of a listing: the message that it becomes, and what tells it from its like. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operators.errors import InvariantError

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A row.

    Attributes:
        message: our JSON message, as in `pipeline/refs/reference.schema.json`.
        stamp: another one means that the object was changed: its version, or for stores that have none its time of
            change and size; "" where nothing is known.
    """

    message: Json
    stamp: str

    @property
    def order(self) -> tuple[str, str, str]:
        """Rows are sorted by this, and two of the same are one."""
        ranges = [self.message.get("byte_range"), self.message.get("time_range_s")]
        return (str(self.message["uri"]), "" if ranges == [None, None] else json.dumps(ranges), self.stamp)

    @property
    def identity(self) -> bytes:
        """`order` in 16 bytes."""
        return hashlib.sha256("\0".join(self.order).encode("utf-8", "surrogatepass")).digest()[:16]

    @property
    def value(self) -> bytes:
        """The message's bytes; the same wherever and whenever they are asked for."""
        return _dumps(self.message)

    def line(self) -> bytes:
        """As it is frozen."""
        return _dumps({"stamp": self.stamp, "message": self.message})

    @staticmethod
    def parse(line: bytes) -> Row:
        """Back from `line`.

        Raises:
            InvariantError: not a line of ours.
        """
        try:
            found = json.loads(line)
            return Row(found["message"], found["stamp"])
        except (ValueError, KeyError, TypeError) as error:
            raise InvariantError(f"not a row of a frozen listing: {line[:200]!r}") from error


def _dumps(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()
