"""Whether a file of sound or film ends before what its own structure promises, from a few headers.

| kind | what promises | a cut is told if |
|---|---|---|
| MP4, MOV | sizes of top-level boxes; media and an index (moov) belong together | not between two fragments |
| WAV, AVI | sizes of RIFF chunks and of a WAV's data | more than 8 bytes are gone |
| Matroska, WebM | size of the segment, where it is known | always |
| MP3 | bytes in the first frame's Xing, Info or VBRI header | more than a frame is gone |
| Ogg | segment table of the last page | not between two pages |
| ADTS | length of the last frame | not between two frames |
| FLAC | sizes of metadata blocks; the number of frames, none smaller than the smallest | rarely |

A cut that leaves less than 64 bytes (behind an ID3 tag) may go unnoticed too. Sizes that recorders leave open (0, all
ones, 2 GiB) promise nothing, nor do MPEG-TS and whatever is not in the table. Trailing tags and padding harm nothing.

Sources: ISO/IEC 14496-12 (boxes), 14496-3 (ADTS); EBU Tech 3306 (RF64); RFC 9559, 8794 (Matroska), 3533 (Ogg), 9639
(FLAC); ID3v2.4; Gabriel Bouvigne's "MP3 Info Tag" (Xing, Info) and the Fraunhofer encoders' VBRI.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

from operators.decode.ending_frames import adts_ends_early, mp3_ends_early
from operators.decode.headers import Headers, past_id3

_MAX_ELEMENTS = 100_000
"""Boxes or chunks that are looked at, lest a hostile file of empty ones keeps the reader busy."""

_BOX_KINDS = {b"ftyp", b"styp", b"moov", b"mdat", b"moof", b"free", b"skip", b"wide", b"pnot"}
_RIFF_SLACK_BYTES = 8
"""Some writers count the 8 bytes of the RIFF header as part of what it contains."""
_UNKNOWN = 0xFFFF_FFFF
_OGG_TAIL_BYTES = 65_307 + 27
"""The largest page, and the header of the next."""


def file_ends_early(file: BinaryIO, size_bytes: int) -> bool:
    """Whether the file ends before what its headers promise; False where they don't tell.

    Args:
        file: opened for reading, seekable; its position is left as it was.
        size_bytes: of the file.

    Raises:
        OSError: it can't be read.
    """
    here = file.tell()
    try:
        headers = Headers(file, size_bytes)
        start = past_id3(headers)
        if start > size_bytes:
            return True
        told = _told_by(headers.at(start, 12), after_id3=start > 0)
        return told is not None and told(headers, start)
    finally:
        file.seek(here)


def flac_total_samples(file: BinaryIO) -> int | None:
    """Samples of each channel that a FLAC file promises; None where it does not say, or is no FLAC file.

    Args:
        file: opened for reading, seekable; its position is left as it was.

    Raises:
        OSError: it can't be read.
    """
    here = file.tell()
    try:
        headers = Headers(file, file.seek(0, 2))
        start = past_id3(headers)
        info = headers.at(start, 42)
        if info[:4] != b"fLaC" or len(info) < 42:
            return None
        return int.from_bytes(info[21:26], "big") & (1 << 36) - 1 or None
    finally:
        file.seek(here)


def _told_by(begin: bytes, *, after_id3: bool) -> Callable[[Headers, int], bool] | None:
    """What tells for a file that begins so; None: nothing does."""
    if begin[4:8] in _BOX_KINDS:
        return _film_ends_early
    if begin[:4] in {b"RIFF", b"RF64", b"BW64"}:
        return _riff_ends_early
    if begin[:4] == b"OggS":
        return _ogg_ends_early
    if begin[:4] == b"\x1a\x45\xdf\xa3":
        return _matroska_ends_early
    if begin[:4] == b"fLaC":
        return _flac_ends_early
    if begin[:1] == b"\xff" and len(begin) > 1 and begin[1] & 0xF6 == 0xF0:
        return adts_ends_early
    if after_id3 or (begin[:1] == b"\xff" and len(begin) > 1 and begin[1] & 0xE0 == 0xE0):
        return mp3_ends_early
    return None


def boxes_end_early(file: BinaryIO, size_bytes: int) -> bool:
    """ISO base media: whether a top-level box reaches beyond the file.

    Raises:
        OSError: it can't be read.
    """
    boxes = _boxes(Headers(file, size_bytes), 0, size_bytes, iter(range(_MAX_ELEMENTS)))
    return any(end > size_bytes for _, _, end in boxes)


def _film_ends_early(headers: Headers, start: int) -> bool:
    seen: dict[bytes, tuple[int, int]] = {}
    last = b""
    budget = iter(range(_MAX_ELEMENTS))
    for kind, content, end in _boxes(headers, start, headers.size_bytes, budget):
        if end > headers.size_bytes:
            return True
        seen.setdefault(kind, (content, end))
        last = kind
    if last == b"moof":
        return True  # a fragment's index, without its media
    if b"moov" not in seen:
        return b"mdat" in seen and not seen.keys() & {b"moof", b"meta"}
    return not seen.keys() & {b"mdat", b"moof"} and _promises_samples(headers, *seen[b"moov"], budget)


def _boxes(headers: Headers, start: int, stop: int, budget: Iterator[int]) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start of the content and end of each box within [start, stop); a cut header's box ends after `stop`."""
    at = start
    for _ in budget:
        header = headers.at(at, 16)[: max(stop - at, 0)]
        if not header.strip(b"\0"):
            return  # the end, or padding
        if len(header) < 8:
            yield b"", at, stop + 1
            return
        size, kind = struct.unpack_from(">I4s", header)
        content = at + 8
        if not (kind.isascii() and kind.decode("ascii").isprintable()):
            return  # no box: something was appended
        if size == 1:
            content = at + 16
            size = struct.unpack_from(">Q", header, 8)[0] if len(header) == 16 else stop - at + 1
        end = stop if size == 0 else at + max(size, content - at)
        yield kind, content, end
        at = end


def _promises_samples(headers: Headers, start: int, stop: int, budget: Iterator[int], depth: int = 0) -> bool:
    """Whether an index (moov) has a track with samples."""
    path = (b"trak", b"mdia", b"minf", b"stbl")
    for kind, content, end in _boxes(headers, start, stop, budget):
        if depth < len(path) and kind == path[depth] and _promises_samples(headers, content, end, budget, depth + 1):
            return True
        if depth == len(path) and kind in {b"stsz", b"stz2"}:
            return headers.at(content + 8, 4).strip(b"\0") != b""
    return False


def _riff_ends_early(headers: Headers, start: int) -> bool:
    """WAV, with 64-bit sizes too, and AVI, whose parts of 1 GiB are RIFF chunks of their own."""
    at = start
    for _ in range(_MAX_ELEMENTS):
        header = headers.at(at, 12)
        if header[:4] not in {b"RIFF", b"RF64", b"BW64"}:
            return False
        if len(header) < 12:
            return True
        wide = headers.at(at + 12, 24) if header[:4] != b"RIFF" else b""
        known = wide[:4] == b"ds64" and len(wide) == 24
        size, data_size = struct.unpack_from("<QQ", wide, 8) if known else (header_size(header), None)
        if header[8:12] == b"WAVE" and _data_ends_early(headers, at + 12, data_size):
            return True
        if _left_open(size):
            return False
        at += 8 + size + size % 2
        if at - size % 2 > headers.size_bytes + _RIFF_SLACK_BYTES:
            return True
    return False


def header_size(header: bytes) -> int:
    """The size in a RIFF chunk's header of 8 bytes."""
    return int(struct.unpack_from("<I", header, 4)[0])


def _data_ends_early(headers: Headers, at: int, data_size: int | None) -> bool:
    """WAV: whether the samples reach beyond the file, or it ends before they begin."""
    for _ in range(_MAX_ELEMENTS):
        header = headers.at(at, 8)
        if len(header) < 8:
            return at > headers.size_bytes
        size = header_size(header)
        if header[:4] == b"data":
            if size == _UNKNOWN and data_size is not None:
                size = data_size
            return not _left_open(size) and at + 8 + size > headers.size_bytes + _RIFF_SLACK_BYTES
        at += 8 + size + size % 2
    return False


def _left_open(size: int) -> bool:
    """Whether a size says that it was not known yet: none, all ones, or SoX's and ALSA's 2 GiB, less a header."""
    return size == 0 or size >= (1 << 64) - 4096 or any(abs(size - (1 << bits)) <= 4096 for bits in (31, 32))


def _ogg_ends_early(headers: Headers, start: int) -> bool:
    begin = max(start, headers.size_bytes - _OGG_TAIL_BYTES)
    tail = headers.at(begin, headers.size_bytes - begin)
    at = tail.rfind(b"OggS")
    if at < 0:
        return False
    if len(tail) < at + 27 or len(tail) < at + 27 + tail[at + 26]:
        return True
    end = at + 27 + tail[at + 26] + sum(tail[at + 27 : at + 27 + tail[at + 26]])
    rest = tail[end : end + 4]
    return end > len(tail) or (bool(rest) and b"OggS".startswith(rest))


def _matroska_ends_early(headers: Headers, start: int) -> bool:
    at = start
    for _ in range(16):  # a header and a segment; a few more where files were joined
        header = headers.at(at, 12)
        if not header.startswith((b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67")):
            return False
        if len(header) < 5:
            return True
        length = 9 - header[4].bit_length()  # of the size, from 1 to 8 bytes; 9: not to be read
        if length > 8:
            return False
        if len(header) < 4 + length:
            return True
        size = int.from_bytes(header[4 : 4 + length], "big") & (1 << 7 * length) - 1
        if size == (1 << 7 * length) - 1:
            return False  # not known when it was written
        at += 4 + length + size
        if at > headers.size_bytes:
            return True
    return False


def _flac_ends_early(headers: Headers, start: int) -> bool:
    at, least = start + 4, 0
    for _ in range(_MAX_ELEMENTS):
        header = headers.at(at, 4)
        if len(header) < 4:
            return True
        if header[0] & 0x7F == 0:
            least = _least_bytes(headers.at(at + 4, 34))
        at += 4 + int.from_bytes(header[1:4], "big")
        if at > headers.size_bytes:
            return True
        if header[0] & 0x80:
            break
    return at + least > headers.size_bytes


def _least_bytes(info: bytes) -> int:
    """What the frames of a FLAC file take at the least, by its STREAMINFO; 0 where that is not told."""
    if len(info) < 34:
        return 0
    samples_a_frame, smallest_frame = int.from_bytes(info[2:4], "big"), int.from_bytes(info[4:7], "big")
    samples = int.from_bytes(info[13:18], "big") & (1 << 36) - 1
    return -(-samples // samples_a_frame) * smallest_frame if samples_a_frame else 0
