"""Sound: a file -> PCM in the forms that tokenizers want, segment by segment.

A segment holds the windows that begin within its `SEGMENT_S` seconds. Between two calls the file stays open, with the
states of its decoder and resampler, so that segments are, bit for bit, what the whole would have been. Another process,
or this one after it forgot, gets to the same place by decoding from the start: codecs that predict, or that fill in
noise, give other samples after a seek.
"""

from __future__ import annotations

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

SEGMENT_S = 60


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


class _Recording:
    """A file that is open, between two segments.

    Attributes:
        segment: the next one.
    """

    def __init__(self, path: Path, forms: tuple[PcmForm, ...], limits: AvLimits, on_damage: OnDamage) -> None:
        self.early = cut_short(path, on_damage)
        self.track = track = SoundTrack(path, limits, on_damage)
        try:
            begin_s = track.place(track.first_s, 0)
            self.cutters = {form: PcmCutter(form, track.rate_hz, track.layout, begin_s, 0) for form in forms}
        except BaseException:
            track.close()
            raise
        self.blocks: Iterator[Samples] = track.blocks()
        self.samples = 0
        self.promised = promised_samples(path)
        self.on_damage = on_damage
        self.segment = 0
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
        number = 0 if cursor is None else int(cursor["segment"])
        recording = self._kept.take(facts, str(number))
        try:
            if recording is None:
                recording = _Recording(content, self._forms, self._limits, self._on_damage)
                while recording.segment < number:
                    recording.next()
            decoded = recording.next()
        except BaseException:
            if recording is not None:
                recording.close()
            raise
        if decoded.ended:
            recording.close()
            return Segment(decoded)
        self._kept.keep(facts, str(recording.segment), recording)
        return Segment(decoded, {"segment": recording.segment})


def _windows_before(form: PcmForm, segment: int) -> int:
    """How many windows begin before this segment does."""
    return -(-segment * SEGMENT_S * form.rate_hz // form.window)
