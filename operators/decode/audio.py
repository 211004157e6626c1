"""Sound: a file -> PCM in the forms that tokenizers want, segment by segment.

A segment holds the windows that begin within its `SEGMENT_S` seconds. Between two calls the file stays open, with the
states of its decoder and resampler, so that segments are, bit for bit, what their range as a whole would have been.
Another process, or this one after it forgot, gets to the same place by decoding from the range's start: codecs that
predict, or that fill in noise, give other samples after a seek.

A recording that is much longer than `RANGE_S` is split into ranges of that length, which several workers may take, and
of which a worker that dies takes one with it, not the hours before. Where they are cut depends on the recording alone,
and each begins with a seek and two seconds that are decoded and thrown away: sample for sample the whole where a codec
does not make up noise. Only containers that find a time for sure are split (`_SEEKABLE`; of Ogg, streams are chained).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from operators.decode.base import Cursor, OnDamage, Segment
from operators.decode.damage import cut_short, promised_samples
from operators.decode.demux import AvLimits
from operators.decode.kept import Kept
from operators.decode.mixing import Samples
from operators.decode.pcm import PcmCutter, PcmSpan
from operators.decode.sound_track import SoundTrack
from operators.errors import TruncatedError
from operators.forms import PcmForm
from operators.records import ContentFacts

SEGMENT_S = 30
RANGE_S = 600
_SEEKABLE = frozenset({"wav", "w64", "flac", "mp3", "mov", "matroska"})


@dataclass(frozen=True, slots=True, eq=False)
class DecodedAudio:
    """A segment of a recording.

    Attributes:
        duration_s: of the whole, as its headers say; 0.0 where they don't.
        raw_start_s: what its own timestamps say at t = 0, its first sample.
        spans: its windows, by form.
        damage_s: when something was missing or could not be decoded (`OnDamage.KEEP`), on the clock.
        ended: whether this is the last segment; its last window may be short.
    """

    duration_s: float
    raw_start_s: Fraction
    spans: Mapping[PcmForm, PcmSpan]
    damage_s: tuple[Fraction, ...] = ()
    ended: bool = True


@dataclass(frozen=True, slots=True)
class _Range:
    """Segments [first, stop) of a recording; `stop` None: to its end, for headers may be wrong about that."""

    first: int = 0
    stop: int | None = None

    def cursor(self, segment: int) -> Cursor:
        """To go on with this segment of it."""
        return {"segment": segment, "first": self.first, "stop": self.stop}


class _Recording:
    """A file that is open, between two segments of a range.

    Attributes:
        segment: the next one.
    """

    def __init__(
        self, path: Path, forms: tuple[PcmForm, ...], part: _Range, limits: AvLimits, on_damage: OnDamage
    ) -> None:
        self.early = cut_short(path, on_damage)
        self.track = track = SoundTrack(path, limits, on_damage)
        try:
            from_s = part.first * SEGMENT_S
            begin_s = track.place(track.first_s, from_s)
            self.cutters = {form: PcmCutter(form, track.rate_hz, track.layout, begin_s, from_s) for form in forms}
        except BaseException:
            track.close()
            raise
        self.blocks: Iterator[Samples] = track.blocks()
        self.samples = begin_s * track.rate_hz
        self.promised = promised_samples(path)
        self.on_damage = on_damage
        self.segment = part.first
        self.ended = False

    def close(self) -> None:
        self.track.close()

    def next(self) -> DecodedAudio:
        """The next segment."""
        last = {form: _windows_before(form, self.segment + 1) for form in self.cutters}
        wanted = {form: last[form] - cutter.start // form.window for form, cutter in self.cutters.items()}
        while not self.ended and not all(cutter.holds(wanted[form]) for form, cutter in self.cutters.items()):
            self._more()
        spans = {form: cutter.take(wanted[form]) for form, cutter in self.cutters.items()}
        self.segment += 1
        # At the very end of the file it shows only with the next block that there is none.
        return DecodedAudio(
            self.track.duration_s, self.track.first_s, spans, tuple(self.track.damage_s), self._exhausted()
        )

    def _more(self) -> None:
        block = next(self.blocks, None)
        if block is not None:
            self.samples += block.shape[1]
            for cutter in self.cutters.values():
                cutter.push(block)
            return
        self.ended = True
        self._check_end()
        for cutter in self.cutters.values():
            cutter.finish()

    def _check_end(self) -> None:
        missing = self.promised is not None and self.samples < self.promised
        if missing and self.on_damage is OnDamage.REFUSE:
            raise TruncatedError(f"{self.samples} samples, where its header promises {self.promised}")
        if missing or self.early:
            self.track.damage_s.append(Fraction(self.samples, self.track.rate_hz))

    def _exhausted(self) -> bool:
        return self.ended and all(cutter.start >= cutter.end for cutter in self.cutters.values())


class AudioDecoder:
    """A `Decoder` of sound.

    Args:
        forms: that are wanted.
        limits: on what a file claims to be.
        on_damage: what to do with a file that ends too early, or that can't be decoded in places.
    """

    def __init__(
        self, forms: tuple[PcmForm, ...], limits: AvLimits | None = None, on_damage: OnDamage = OnDamage.REFUSE
    ) -> None:
        self._forms = forms
        self._limits = limits or AvLimits()
        self._on_damage = on_damage
        self._kept: Kept[_Recording] = Kept()

    def decode(self, content: Path, facts: ContentFacts, cursor: Cursor | None) -> Segment[DecodedAudio]:
        """The next `SEGMENT_S` seconds; the cursor counts segments.

        Raises:
            MediaError: no container, no audio stream, no samples, over a limit, truncated, or not to be decoded.
        """
        part, number = (_Range(), 0) if cursor is None else (_Range(cursor["first"], cursor["stop"]), cursor["segment"])
        recording = self._kept.take(facts, _place(part, number)) if cursor is not None else None
        forks: tuple[Cursor, ...] = ()
        try:
            if recording is None:
                recording = _Recording(content, self._forms, part, self._limits, self._on_damage)
                if cursor is None:
                    part, forks = self._split(recording.track)
                while recording.segment < number:
                    recording.next()
            decoded = recording.next()
        except BaseException:
            if recording is not None:
                recording.close()
            raise
        if decoded.ended or recording.segment == part.stop:
            recording.close()
            return Segment(decoded, None, forks)
        self._kept.keep(facts, _place(part, recording.segment), recording)
        return Segment(decoded, part.cursor(recording.segment), forks)

    def forget(self, facts: ContentFacts, cursor: Cursor) -> None:
        """Nobody will go on here: close what is open."""
        self._kept.drop(facts, _place(_Range(cursor["first"], cursor["stop"]), cursor["segment"]))

    def _split(self, track: SoundTrack) -> tuple[_Range, tuple[Cursor, ...]]:
        """The first range, and where the others begin."""
        step = _range_segments(self._forms)
        if step is None or track.container not in _SEEKABLE:
            return _Range(), ()
        count = math.ceil(track.duration_s / SEGMENT_S)
        starts = [first for first in range(0, count, step) if first + step / 2 < count] or [0]
        parts = [_Range(first, stop) for first, stop in zip(starts, [*starts[1:], None], strict=True)]
        return parts[0], tuple(part.cursor(part.first) for part in parts[1:])


def _place(part: _Range, segment: int) -> str:
    return f"{part.first}:{segment}"


def _range_segments(forms: tuple[PcmForm, ...]) -> int | None:
    """Segments a range: it begins where a window does, in every form. None: that never comes within an hour."""
    # A form's windows begin with a segment every so many segments.
    steps = [form.window // math.gcd(form.window, form.rate_hz * SEGMENT_S) for form in forms]
    unit = math.lcm(*steps)
    return None if unit * SEGMENT_S > 3600 else math.ceil(RANGE_S / (unit * SEGMENT_S)) * unit


def _windows_before(form: PcmForm, segment: int) -> int:
    """How many windows begin before this segment does."""
    return -(-segment * SEGMENT_S * form.rate_hz // form.window)
