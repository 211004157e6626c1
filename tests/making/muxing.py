"""What `sound` and `film` share: containers whose bytes are the same each time, packets in the order of their times."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.packet import Packet

BITEXACT = {"flags": "+bitexact", "threads": "1"}
"""Options for every encoder: no version strings, no dates; x264's output depends on the number of its threads."""


def create(path: Path, container: str | None = None, options: Mapping[str, str] | None = None) -> OutputContainer:
    """A container to write to.

    Args:
        path: of the file.
        container: FFmpeg's name of the muxer, e.g. "mp4", "matroska", "adts"; None: as the path ends.
        options: of the muxer, e.g. {"movflags": "faststart"}.
    """
    return av.open(path, "w", format=container, container_options={"fflags": "+bitexact", **(options or {})})


def mux(out: OutputContainer, *streams: Iterable[Packet[Any]]) -> None:
    """Write all streams' packets in the order of their decoding times, and the header even where there are none."""
    out.start_encoding()
    for packet in heapq.merge(*streams, key=decoding_time_s):
        out.mux_one(packet)


def decoding_time_s(packet: Packet[Any]) -> Fraction:
    """When a packet must be decoded, in seconds."""
    assert packet.dts is not None
    return packet.dts * packet.time_base


def moved(packets: Iterable[Packet[Any]], by_s: Fraction) -> Iterator[Packet[Any]]:
    """The same packets, later by just so many seconds, or earlier."""
    for packet in packets:
        if by_s:
            clock = common_clock(packet.time_base, by_s)
            finer, ticks = int(packet.time_base / clock), int(by_s / clock)
            packet.pts = None if packet.pts is None else packet.pts * finer + ticks
            packet.dts = None if packet.dts is None else packet.dts * finer + ticks
            packet.duration = None if packet.duration is None else packet.duration * finer
            packet.time_base = clock
        yield packet


def common_clock(one_s: Fraction, other_s: Fraction) -> Fraction:
    """The longest tick of which both are whole multiples."""
    return Fraction(math.gcd(one_s.numerator, other_s.numerator), math.lcm(one_s.denominator, other_s.denominator))


def remux(
    source: Path,
    path: Path,
    keep: Callable[[Packet[Any]], bool] = lambda packet: True,
    container: str | None = None,
    **options: str,
) -> Path:
    """Copy the packets that `keep` keeps into another file, without decoding them; returns `path`."""
    with av.open(source) as opened, create(path, container, options) as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in opened.streams}
        out.start_encoding()
        for packet in opened.demux():
            if packet.dts is not None and keep(packet):
                packet.stream = streams[packet.stream_index]
                out.mux_one(packet)
    return path
