"""Films: a file -> clips of pictures, sound and subtitles on one clock, segment by segment, range by range.

t = 0 is the earliest start of the streams that are kept. A film longer than `RANGE_S` is split into ranges of about
that length, which several workers may take: where they are cut depends on the film alone, and each begins anew (a seek
to a keyframe, decoders and resampler warmed up before its start), so the clips are the same whoever decodes them.
Within a range the file stays open between two segments, and a segment holds a few clips, so a film costs the memory of
those.

Pictures and sound are read through two file handles, each at its own pace: in a container that is badly interleaved
one would have to be held back for the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from operators.clips import Clip
from operators.decode.base import Cursor, Segment
from operators.decode.film import Film, FilmRange, FilmSettings
from operators.decode.kept import Kept
from operators.forms import ClipForm
from operators.records import ContentFacts

RANGE_S = 180
"""A worker has at most two ranges of a film open, and takes those with it when it dies: of two hours, a 20th."""
SEGMENT_S = 30
SEGMENT_BYTES = 24 << 20
"""Of pictures and sound, in about one segment; a clip that is larger is one by itself."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodedVideo:
    """A segment of a film.

    Attributes:
        width, height: of its pictures, upright and with square pixels.
        duration_s: of the whole, as its headers say; 0.0 where they don't.
        raw_start_s: what its own timestamps say at t = 0.
        clips: by form.
        damage_s: when something was missing or could not be decoded (`OnDamage.KEEP`), on the clock.
        ended: whether the film ends with these clips; the last one may be short.
    """

    width: int
    height: int
    duration_s: float
    raw_start_s: Fraction
    clips: Mapping[ClipForm, tuple[Clip, ...]]
    damage_s: tuple[Fraction, ...] = ()
    ended: bool = True


class VideoDecoder:
    """A `Decoder` of films.

    Args:
        forms: of the clips that are wanted; at least one.
        settings: limits and the like.
    """

    def __init__(self, forms: tuple[ClipForm, ...], settings: FilmSettings | None = None) -> None:
        self._forms = forms
        self._settings = settings or FilmSettings()
        self._kept: Kept[Film] = Kept()
        # Every form has a whole number of clips in it.
        unit_s = math.lcm(*(form.clip_s for form in forms))
        unit_bytes = sum(clip_bytes(form) * (unit_s // form.clip_s) for form in forms)
        self._segment_s = unit_s * max(1, min(SEGMENT_S // unit_s, SEGMENT_BYTES // max(1, unit_bytes)))
        self._range_s = -(-RANGE_S // self._segment_s) * self._segment_s

    def decode(self, content: Path, facts: ContentFacts, cursor: Cursor | None) -> Segment[DecodedVideo]:
        """The next clips of a range; with the first of a long film, where its other ranges begin.

        Raises:
            MediaError: no container, no video stream, no frame, over a limit, truncated, or not to be decoded.
        """
        part, at_s = (FilmRange(), 0) if cursor is None else _of(cursor)
        film = self._kept.take(facts, _place(part, at_s)) if cursor is not None else None
        forks: tuple[Cursor, ...] = ()
        try:
            if film is None:
                film = Film(content, self._forms, part, self._settings)
                if cursor is None:
                    part, forks = self._split(film)
                while film.at_s < at_s and not film.ended:
                    film.clips(self._segment_end_s(film.at_s, part))
            to_s = self._segment_end_s(film.at_s, part)
            clips = film.clips(to_s)
        except BaseException:
            if film is not None:
                film.close()
            raise
        decoded = DecodedVideo(
            film.width, film.height, film.duration_s, film.origin_s, clips, film.damage_s, film.ended
        )
        if film.ended or to_s == part.to_s:
            film.close()
            return Segment(decoded, None, forks)
        self._kept.keep(facts, _place(part, to_s), film)
        return Segment(decoded, _cursor(part, to_s), forks)

    def forget(self, facts: ContentFacts, cursor: Cursor) -> None:
        """Nobody will go on here: close what is open."""
        self._kept.drop(facts, _place(*_of(cursor)))

    def _segment_end_s(self, at_s: int, part: FilmRange) -> int:
        to_s = at_s + self._segment_s
        return to_s if part.to_s is None else min(to_s, part.to_s)

    def _split(self, film: Film) -> tuple[FilmRange, tuple[Cursor, ...]]:
        """The first range, and where the others begin. The last one has no end: headers may be wrong about it."""
        step = self._range_s
        starts = [from_s for from_s in range(0, int(film.duration_s), step) if from_s + step / 2 < film.duration_s]
        bounds = [*starts[1:], None]
        parts = [FilmRange(film.origin_s, from_s, to_s) for from_s, to_s in zip(starts or [0], bounds, strict=True)]
        return parts[0], tuple(_cursor(part, part.from_s) for part in parts[1:])


def clip_bytes(form: ClipForm) -> int:
    """About what one clip holds of memory."""
    pictures = math.ceil(form.frames_hz * form.clip_s) * form.height * form.width * 3
    return pictures + (4 * form.sound.channels * (form.sound.window + form.sound.context) if form.sound else 0)


def _cursor(part: FilmRange, at_s: int) -> Cursor:
    assert part.origin_s is not None
    origin = [part.origin_s.numerator, part.origin_s.denominator]
    return {"origin": origin, "from_s": part.from_s, "to_s": part.to_s, "at_s": at_s}


def _of(cursor: Cursor) -> tuple[FilmRange, int]:
    return FilmRange(Fraction(*cursor["origin"]), cursor["from_s"], cursor["to_s"]), cursor["at_s"]


def _place(part: FilmRange, at_s: int) -> str:
    return f"{part.from_s}:{at_s}"
