"""Frames of one stream, and what becomes of packets that can't be decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from av.error import EOFError as EndOfFileError
from av.error import FFmpegError

from operators.decode.base import OnDamage
from operators.decode.demux import Demuxer, decode_error
from operators.errors import DecodeFailedError, TruncatedError


def frames_of(
    demuxer: Demuxer,
    stream: Any,  # noqa: ANN401  an av.stream.Stream
    on_damage: OnDamage,
    at_s: Callable[[], Fraction],
    damage_s: list[Fraction],
) -> Iterator[Any]:
    """A stream's frames as its decoder gives them: pictures in order of presentation.

    Packets that fail before the first frame are passed over in any case: often they are a tag, or the rest of what the
    stream was cut from.

    Args:
        demuxer: open, and where to begin.
        stream: of it.
        on_damage: whether damage ends it, or is noted and left out.
        at_s: where on the clock the caller is, for messages and notes.
        damage_s: where damage is noted.

    Raises:
        TruncatedError: the file can't be read on, or its last packet can't be decoded.
        DecodeFailedError: another packet can't be decoded.
    """
    keep, begun = on_damage is OnDamage.KEEP, False
    packets = demuxer.packets(stream)
    while True:
        try:
            packet = next(packets, None)
        except FFmpegError as error:
            if not keep:
                raise TruncatedError(f"the file can't be read on: {decode_error(error)}") from error
            damage_s.append(at_s())
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except EndOfFileError:
            return
        except FFmpegError as error:
            if begun and not keep:
                kind = TruncatedError if _is_last(packets) else DecodeFailedError
                said = decode_error(error)
                raise kind(f"a packet near {float(at_s()):.3f} s can't be decoded: {said}") from error
            if begun:
                damage_s.append(at_s())
            continue
        for frame in frames:
            begun = True
            yield frame


def _is_last(packets: Iterator[Any]) -> bool:
    """Whether no packet with content follows."""
    try:
        following = next(packets, None)
    except FFmpegError:
        return True
    return following is None or not following.size
