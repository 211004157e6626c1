"""Whether a bare sequence of frames, MP3 or ADTS, ends before what it promises."""

from __future__ import annotations

import re
import struct

from operators.decode.headers import Headers

_ADTS_HEADER = 7
_ADTS_TAIL_BYTES = 2 * (1 << 13)
"""Twice the longest frame."""

_MP3_SEARCH_BYTES = 4096
_MPEG1 = 3
# kbit/s of Layer III by index, and Hz by index of MPEG 1; 2 has half, 2.5 a quarter (ISO/IEC 11172-3, 13818-3).
_KBITS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_HZ = (44_100, 48_000, 32_000)


def mp3_ends_early(headers: Headers, start: int) -> bool:
    """Whether there are fewer bytes than the first frame's Xing, Info or VBRI header says, by more than a frame.

    Args:
        start: behind ID3v2 tags.
    """
    begin = headers.at(start, _MP3_SEARCH_BYTES)
    for at in range(len(begin) - 3):
        length = _mp3_frame_bytes(begin[at : at + 4])
        if not length:
            continue
        first = start + at
        promised = _mp3_promised_bytes(begin[at : at + 180])
        if promised is None and at:
            continue  # padding may look like a frame: only one that says more is believed
        return first + max(length, (promised or 0) - length) > headers.size_bytes
    return False


def _mp3_frame_bytes(header: bytes) -> int:
    """Length of the Layer III frame with this header of 4 bytes; 0 where it is none."""
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    kbits_at, rate_at, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if header[0] != 0xFF or header[1] & 0xE0 != 0xE0 or version == 1 or layer != 1:
        return 0
    if kbits_at in {0, 15} or rate_at == 3:
        return 0
    if version == _MPEG1:
        return 144_000 * _KBITS_MPEG1[kbits_at] // _RATES_HZ[rate_at] + padding
    return 72_000 * _KBITS_MPEG2[kbits_at] // (_RATES_HZ[rate_at] // (2 if version == 2 else 4)) + padding


def _mp3_promised_bytes(frame: bytes) -> int | None:
    """What the first frame's first bytes say of all frames' bytes, itself included; None where they say nothing."""
    mono, mpeg1 = frame[3] >> 6 == 3, frame[1] >> 3 & 3 == _MPEG1
    at = 4 + ((17 if mono else 32) if mpeg1 else (9 if mono else 17))
    if frame[at : at + 4] in {b"Xing", b"Info"} and len(frame) >= at + 16:
        has_frames, has_bytes = frame[at + 7] & 1, frame[at + 7] & 2
        # The number of frames promises no bytes: this one is longer than the others where they are too short for it.
        return int(struct.unpack_from(">I", frame, at + 8 + 4 * has_frames)[0]) or None if has_bytes else None
    if frame[36:40] == b"VBRI" and len(frame) >= 50:
        return int(struct.unpack_from(">I", frame, 46)[0]) or None
    return None


def adts_ends_early(headers: Headers, start: int) -> bool:
    """Whether the last frame reaches beyond the file.

    Args:
        start: of the first frame, behind ID3v2 tags.
    """
    fixed = headers.at(start, 4)
    begin = max(start, headers.size_bytes - _ADTS_TAIL_BYTES)
    tail = headers.at(begin, headers.size_bytes - begin)
    # Frames begin with the same bits all through a file. Where these stand within a frame by chance, no frame ends.
    found = [match.start() for match in re.finditer(re.escape(fixed[:3]), tail)]
    ends = {at: _adts_end(tail, at) for at in found}
    begins = set(ends.values()) | ({0} if begin == start else set())
    last = max(begins & ends.keys(), default=None)
    if last is None:
        return False
    end = ends[last]
    rest = tail[end : end + 3]
    return end > len(tail) or (0 < len(rest) < 3 and fixed.startswith(rest))


def _adts_end(tail: bytes, at: int) -> int:
    """Where the frame at `at` ends; beyond the tail where its header does."""
    header = tail[at : at + _ADTS_HEADER]
    if len(header) < _ADTS_HEADER:
        return len(tail) + 1
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return at + max(length, _ADTS_HEADER)
