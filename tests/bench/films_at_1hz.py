"""Three ways to the pictures of a film at t = 0, 1, 2, ... s: on screen at t is the last frame that came by then.

sequential: every frame is decoded. seek: to the keyframe before each t, then on to t; no further where t lies in what
is being decoded. skip: every packet is read, but only those from the last keyframe before a t on are decoded, up to t.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

Shown = tuple[int, Fraction]
"""(t, when the frame shown came on screen), in seconds."""


def sequential(path: Path, seconds: int) -> list[Shown]:
    """All frames."""
    with _opened(path) as container:
        stream = container.streams.video[0]
        return _sampled(container.decode(stream), range(seconds), stream.time_base)


def seek(path: Path, seconds: int) -> list[Shown]:
    """A seek a picture."""
    shown: list[Shown] = []
    with _opened(path) as container:
        stream = container.streams.video[0]
        for t in range(seconds):
            container.seek(math.floor(t / stream.time_base), stream=stream, backward=True)
            shown += _sampled(container.decode(stream), range(t, t + 1), stream.time_base)
    return shown


def skip(path: Path, seconds: int) -> list[Shown]:
    """Packets of groups in which no t lies are not decoded, nor what follows the last t of a group."""
    shown: list[Shown] = []
    with _opened(path) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        for group, end_s in _groups(container, stream):
            times = range(len(shown), min(seconds, max(len(shown), math.ceil(end_s))))
            if not times:
                continue
            shown += _sampled(_decoded(context, group), times, stream.time_base)
            context.flush_buffers()
    return shown


WAYS: dict[str, Callable[[Path, int], list[Shown]]] = {"sequential": sequential, "seek": seek, "skip": skip}


def _opened(path: Path) -> Any:
    container = av.open(str(path))
    container.streams.video[0].codec_context.thread_count = 1
    return container


def _groups(container: Any, stream: Any) -> Iterator[tuple[list[Any], Fraction]]:
    """Packets from one keyframe to before the next, and when the next one comes; closed groups, as encoders write."""
    group: list[Any] = []
    for packet in container.demux(stream):
        if packet.dts is None:
            continue
        if packet.is_keyframe and group:
            yield group, packet.pts * stream.time_base
            group = []
        group.append(packet)
    if group:
        yield group, stream.duration * stream.time_base + 1


def _decoded(context: Any, group: list[Any]) -> Iterator[Any]:
    for packet in group:
        yield from context.decode(packet)
    yield from context.decode(None)


def _sampled(frames: Iterator[Any], times: range, clock: Fraction) -> list[Shown]:
    """What is shown at each time; ends as soon as that is known. A picture is made of each that is shown."""
    shown: list[Shown] = []
    current: Any = None
    for frame in frames:
        # Of a frame that the decoder gave up at the end of a group, PyAV knows no clock.
        while len(shown) < len(times) and frame.pts * clock > times[len(shown)]:
            shown.append(_picture(current if current is not None else frame, times[len(shown)], clock))
        if len(shown) == len(times):
            return shown
        current = frame
    while current is not None and len(shown) < len(times):
        shown.append(_picture(current, times[len(shown)], clock))
    return shown


def _picture(frame: Any, t: int, clock: Fraction) -> Shown:
    frame.reformat(format="rgb24").to_ndarray()
    return t, frame.pts * clock
