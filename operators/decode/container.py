"""What the outside of an image file says about it: its kind, and whether its end is there."""

from __future__ import annotations

import io
import struct

from operators.decode.ending import boxes_end_early

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*")
_HEIF_BRANDS = (b"avif", b"avis")


def is_known_image(content: bytes) -> bool:
    """Whether it begins as one of the formats that are decoded."""
    if content.startswith(_SIGNATURES):
        return True
    if content[:4] == b"RIFF":
        return content[8:12] == b"WEBP"
    if content[4:8] == b"ftyp":
        return content[8:12] in _HEIF_BRANDS
    return content[:2] == b"BM" and content[6:10] == b"\0\0\0\0"


def ends_early(content: bytes, *, unsure: bool = False) -> bool:
    """Whether the file ends before what its format or its own sizes promise.

    Args:
        content: of a file that could not be decoded.
        unsure: the answer where the format does not tell (TIFF).
    """
    if content.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in content[-64:]
    if content.startswith(b"\x89PNG"):
        return b"IEND" not in content[-16:]
    if content.startswith(b"GIF8"):
        return not content.rstrip(b"\0").endswith(b";")
    if content[:4] == b"RIFF":
        return len(content) < 12 or struct.unpack_from("<I", content, 4)[0] + 8 > len(content)
    if content[:2] == b"BM":
        return len(content) < 14 or struct.unpack_from("<I", content, 2)[0] > len(content)
    if content[4:8] == b"ftyp":
        return boxes_end_early(io.BytesIO(content), len(content))
    if content[:2] in {b"II", b"MM"} and len(content) >= 8:
        order = "<" if content[:2] == b"II" else ">"
        return struct.unpack_from(order + "I", content, 4)[0] + 2 > len(content) or unsure
    return unsure
