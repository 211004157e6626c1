"""Reading a few bytes here and there of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

_MAX_TAGS = 8


@dataclass(frozen=True, slots=True)
class Headers:
    """A file of which only some bytes are read.

    Attributes:
        file: opened for reading, seekable.
        size_bytes: of the file; nothing is read beyond.
    """

    file: BinaryIO
    size_bytes: int

    def at(self, start: int, count: int) -> bytes:
        """Bytes [start, start + count), or as many of them as the file has."""
        count = min(count, self.size_bytes - start)
        if start < 0 or count <= 0:
            return b""
        self.file.seek(start)
        return self.file.read(count)


def past_id3(headers: Headers) -> int:
    """Where the content begins behind ID3v2 tags; beyond the file's end where a tag reaches so far."""
    at = 0
    for _ in range(_MAX_TAGS):
        tag = headers.at(at, 10)
        if tag[:3] != b"ID3" or len(tag) < 10 or max(tag[6:10]) > 0x7F:
            return at
        size = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]
        at += 10 + size + (10 if tag[5] & 0x10 else 0)
    return at
