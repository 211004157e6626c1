"""What the tests of sound and film share: forms, and all segments of a file end to end."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from operators.clips import Clip
from operators.decode import AudioDecoder, AvLimits, FilmSettings, OnDamage, VideoDecoder
from operators.forms import ClipForm, PcmForm
from operators.records import ContentFacts

FACTS = ContentFacts("v1", "aa", 1)
PCM = PcmForm(24_000, 1, 24_000 * 5, 320)
CLIPS = ClipForm(2, Fraction(5), 64, 64, PcmForm(24_000, 1, 48_000, 320), text=True)


def heard(
    path: Path, form: PcmForm = PCM, *, keep: bool = False, limits: AvLimits | None = None
) -> tuple[np.ndarray, list[Any]]:
    """`[N, C]`: all samples of a file without their contexts, and its segments, range by range."""
    decoder = AudioDecoder((form,), limits, OnDamage.KEEP if keep else OnDamage.REFUSE)
    segments: list[Any] = []
    waiting: list[Any] = [None]
    while waiting:
        segment = decoder.decode(path, FACTS, waiting.pop(0))
        segments.append(segment.decoded)
        waiting += segment.forks
        if segment.cursor is not None:
            waiting.insert(0, segment.cursor)
    samples = [segment.spans[form].samples[form.context :] for segment in segments]
    return np.concatenate(samples), segments


def watched(path: Path, form: ClipForm = CLIPS, *, keep: bool = False, fresh: bool = False) -> list[Clip]:
    """All clips of a film, range by range; `fresh`: each segment by a decoder that has seen nothing before."""
    settings = FilmSettings(on_damage=OnDamage.KEEP if keep else OnDamage.REFUSE)
    decoder = VideoDecoder((form,), settings)
    waiting: list[Any] = [None]
    clips: list[Clip] = []
    while waiting:
        cursor = waiting.pop(0)
        segment = (VideoDecoder((form,), settings) if fresh else decoder).decode(path, FACTS, cursor)
        clips += segment.decoded.clips[form]
        waiting += segment.forks
        if segment.cursor is not None:
            waiting.insert(0, segment.cursor)
    return sorted(clips, key=lambda clip: clip.start)


def alike(one: list[Clip], other: list[Clip]) -> bool:
    """Whether two lists of clips are the same, bit for bit."""
    return len(one) == len(other) and all(
        (a.start, a.end, a.cues) == (b.start, b.end, b.cues)
        and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("frames", "shown", "sampled", "sound"))
        for a, b in zip(one, other, strict=True)
    )
