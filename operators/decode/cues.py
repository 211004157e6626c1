"""Subtitles of a film as text with times.

They lie thinly between packets of sound and pictures, so a whole range is read through once for them, up to
`_LATE_S` beyond its end: what a container has interleaved worse than that is not found.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.error import FFmpegError

from operators.clips import Cue
from operators.decode.demux import AvLimits, Demuxer, raw_time_s
from operators.errors import NoStreamError
from operators.forms import CLOCK_HZ

_LATE_S = 30
_UNTIMED_S = 5
"""How long a subtitle without a duration stays."""
_ASS_FIELDS = 8
"""Commas before the text of an ASS event: read order, layer, style, name, three margins, effect."""
_MARKUP = re.compile(r"\{[^}]*\}|<[^>]*>")


def read_cues(path: Path, limits: AvLimits, origin_s: Fraction, from_s: int, to_s: int | None) -> tuple[Cue, ...]:
    """The subtitles that come up in [from_s, to_s) on the clock, in order; `to_s` None: until the end.

    Args:
        path: of the file.
        limits: on what it claims to be.
        origin_s: what the streams' own timestamps say at t = 0.

    Raises:
        MediaError: no container, too many streams, too long.
    """
    with Demuxer(path, limits) as demuxer:
        stream = demuxer.subtitles()
        if stream is None:
            return ()
        if from_s:
            demuxer.seek(stream, origin_s + from_s - _LATE_S)
        cues: list[Cue] = []
        # Without an end to find, the demuxer may skip all else.
        pace = _pacemaker(demuxer) if to_s is not None else None
        for packet in _readable(demuxer, stream, pace):
            t_s = raw_time_s(packet.pts if packet.pts is not None else packet.dts, packet.time_base)
            if t_s is None:
                continue
            t_s -= origin_s
            if to_s is not None and t_s > to_s + _LATE_S:
                break
            # Before t = 0 nothing is shown, so it comes up with the film.
            t_s = max(Fraction(0), t_s)
            if packet.stream.index == stream.index and from_s <= t_s and (to_s is None or t_s < to_s):
                cues.extend(_cues(packet, t_s, stream.language))
        return tuple(sorted(cues, key=lambda cue: (cue.t0, cue.t1)))


def _pacemaker(demuxer: Demuxer) -> Any | None:  # noqa: ANN401
    """A stream that shows how far reading has come."""
    for choose in (demuxer.sound, demuxer.film):
        try:
            return choose()
        except NoStreamError:
            continue
    return None


def _readable(demuxer: Demuxer, stream: Any, pace: Any | None) -> Any:  # noqa: ANN401
    """Packets until the file ends or can't be read on: what is damaged is for the other tracks to say."""
    packets = demuxer.packets(stream, *([pace] if pace is not None else []))
    while True:
        try:
            packet = next(packets, None)
        except FFmpegError:
            return
        if packet is None:
            return
        yield packet


def _cues(packet: Any, t_s: Fraction, language: str | None) -> list[Cue]:  # noqa: ANN401
    try:
        subtitles = packet.decode()
    except FFmpegError:
        return []  # one that can't be read is none
    length_s = raw_time_s(packet.duration, packet.time_base) or Fraction(_UNTIMED_S)
    texts = [text for subtitle in subtitles if (text := _text(subtitle))]
    t0, t1 = int(t_s * CLOCK_HZ), int((t_s + length_s) * CLOCK_HZ)
    return [Cue(t0, t1, text, language) for text in texts]


def _text(subtitle: Any) -> str:  # noqa: ANN401
    """Without markup, from an ASS event, which is what FFmpeg makes of all kinds of text."""
    ass = getattr(subtitle, "ass", b"") or b""
    raw = ass.decode("utf-8", "replace").split(",", _ASS_FIELDS)[-1]
    raw = raw.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
    return "\n".join(line.strip() for line in _MARKUP.sub("", raw).splitlines()).strip()
