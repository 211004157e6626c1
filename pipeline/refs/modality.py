"""Which modality an item has, decided once, before any lane sees it.

In this order: the message, the topic (by config), the content type, the content type that the uri's suffix suggests
(no proof: a text named .jpg goes to the image lane and ends there as `decode.not_an_image`), and else the first bytes.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from operators.records import MediaReference, Modality

PROBE_BYTES: Final = 4096
"""As much of the content as `probe` wants to see."""


class Unrecognised(StrEnum):
    """Why the first bytes say nothing."""

    NO_CONTENT = "no_content"
    BINARY = "binary"


def resolve(reference: MediaReference, topic: str, by_topic: Mapping[str, Modality]) -> MediaReference:
    """The reference with its modality, as far as it can be told without its bytes.

    Args:
        reference: as parsed.
        topic: that its message came from.
        by_topic: topics that carry one modality only.
    """
    if reference.modality is not None:
        return reference
    modality = by_topic.get(topic) or of_content_type(reference.content_type) or of_suffix(reference.uri)
    return reference if modality is None else replace(reference, modality=modality)


def of_content_type(content_type: str | None) -> Modality | None:
    """`image/jpeg; q=1` -> image; None for what says nothing, such as `application/octet-stream`."""
    if content_type is None:
        return None
    kind = content_type.partition(";")[0].strip().lower()
    return _BY_TYPE.get(kind) or _BY_FAMILY.get(kind.partition("/")[0])


def of_suffix(uri: str) -> Modality | None:
    """What the name suggests. A query or fragment is not looked at."""
    path = urlsplit(uri).path if uri.startswith(("http://", "https://")) else uri
    name = path.rpartition("/")[2].lower()
    _, dot, suffix = name.rpartition(".")
    if not dot:
        return None
    return _BY_SUFFIX.get(suffix) or of_content_type(_TYPES.guess_type(f"x.{suffix}")[0])


def probe(first: bytes) -> Modality | Unrecognised:
    """By magic numbers; else text, where the bytes could be some.

    Args:
        first: up to `PROBE_BYTES` of the content. More is not looked at.
    """
    if not first:
        return Unrecognised.NO_CONTENT
    first = first[:PROBE_BYTES]
    for offset, magic, modality in _MAGIC:
        if first.startswith(magic, offset):
            return modality
    return _container(first) or _text(first)


_BY_FAMILY: Final[Mapping[str, Modality]] = {modality.value: modality for modality in Modality}
_BY_TYPE: Final[Mapping[str, Modality]] = {
    "application/json": Modality.TEXT,
    "application/xml": Modality.TEXT,
    "application/ogg": Modality.AUDIO,
    "application/mp4": Modality.VIDEO,
}
# A fixed table (`MimeTypes()` reads no files of the system), so that every machine decides alike.
_TYPES: Final = mimetypes.MimeTypes()
_BY_SUFFIX: Final[Mapping[str, Modality]] = {
    "avif": Modality.IMAGE,
    "heic": Modality.IMAGE,
    "webp": Modality.IMAGE,
    "flac": Modality.AUDIO,
    "m4a": Modality.AUDIO,
    "ogg": Modality.AUDIO,
    "opus": Modality.AUDIO,
    "mkv": Modality.VIDEO,
    "webm": Modality.VIDEO,
    "jsonl": Modality.TEXT,
    "md": Modality.TEXT,
    "ts": Modality.VIDEO,
}

_MAGIC: Final[tuple[tuple[int, bytes, Modality], ...]] = (
    (0, b"\xff\xd8\xff", Modality.IMAGE),  # JPEG
    (0, b"\x89PNG\r\n\x1a\n", Modality.IMAGE),
    (0, b"GIF87a", Modality.IMAGE),
    (0, b"GIF89a", Modality.IMAGE),
    (0, b"II*\x00", Modality.IMAGE),  # TIFF, little-endian
    (0, b"MM\x00*", Modality.IMAGE),  # TIFF, big-endian
    (0, b"fLaC", Modality.AUDIO),
    (0, b"ID3", Modality.AUDIO),  # MP3 with tags
    (0, b"\x1aE\xdf\xa3", Modality.VIDEO),  # Matroska, WebM
    (0, b"\x00\x00\x01\xba", Modality.VIDEO),  # MPEG program stream
)
_RIFF: Final[Mapping[bytes, Modality]] = {
    b"WEBP": Modality.IMAGE,
    b"WAVE": Modality.AUDIO,
    b"AVI ": Modality.VIDEO,
}
# Of ISO base media files (ISO 14496-12); every other brand is a film.
_BRANDS: Final[Mapping[bytes, Modality]] = {
    **dict.fromkeys((b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"), Modality.IMAGE),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), Modality.AUDIO),
}
_TS_PACKET_BYTES: Final = 188


def _container(first: bytes) -> Modality | None:
    if first[:4] in {b"RIFF", b"RF64"}:
        return _RIFF.get(first[8:12])
    if first[4:8] == b"ftyp":
        return _BRANDS.get(first[8:12], Modality.VIDEO)
    if first.startswith(b"OggS"):
        return Modality.VIDEO if b"theora" in first[:256] else Modality.AUDIO
    if first.startswith(b"BM") and first[6:10] == b"\0\0\0\0":
        return Modality.IMAGE  # BMP, whose reserved field is zero: "BM" alone begins many a text
    if first[0] == 0xFF and len(first) > 2 and first[1] & 0xE6 == 0xE2 and first[2] & 0xF0 != 0xF0:
        return Modality.AUDIO  # an MPEG audio frame of layer III: its sync word, and a valid bitrate
    return None


def _text(first: bytes) -> Modality | Unrecognised:
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Modality.TEXT  # UTF-16 with its mark
    if b"\0" in first:
        packets = first[::_TS_PACKET_BYTES]
        stream = len(packets) > 1 and packets == b"\x47" * len(packets)
        return Modality.VIDEO if stream else Unrecognised.BINARY  # MPEG transport stream
    # Text that is not all valid UTF-8 is still text (Latin-1, a character cut at the end): few bytes fail.
    odd = first.decode("utf-8", errors="replace").count("\ufffd")
    control = sum(first.count(byte) for byte in _CONTROLS)
    return Modality.TEXT if odd <= 0.3 * len(first) and control <= 0.02 * len(first) else Unrecognised.BINARY


_CONTROLS: Final = tuple(bytes([code]) for code in range(32) if chr(code) not in "\t\n\v\f\r\x1b")
