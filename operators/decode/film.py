"""One range of a film, open between two segments: its pictures, sound and subtitles brought together in clips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from operators.clips import Clip
from operators.decode.base import OnDamage
from operators.decode.cues import read_cues
from operators.decode.damage import cut_short
from operators.decode.demux import AvLimits
from operators.decode.frame_track import FrameTrack, Shown
from operators.decode.mixing import Samples
from operators.decode.pcm import PcmCutter
from operators.decode.sampling import Sampler, frames_of_samples
from operators.decode.sound_track import SoundTrack
from operators.errors import EmptyMediaError, NoStreamError
from operators.forms import CLOCK_HZ, ClipForm


@dataclass(frozen=True, slots=True)
class FilmSettings:
    """How films are decoded.

    Attributes:
        limits: on what a file claims to be.
        on_damage: what to do with damage.
        threads: that the video decoder may use.
    """

    limits: AvLimits = field(default_factory=AvLimits)
    on_damage: OnDamage = OnDamage.REFUSE
    threads: int = 1


@dataclass(frozen=True, slots=True)
class FilmRange:
    """Part of a film.

    Attributes:
        origin_s: what the streams' own timestamps say at t = 0; None before they have been looked at.
        from_s, to_s: half-open, on the clock; `to_s` None: until the end.
    """

    origin_s: Fraction | None = None
    from_s: int = 0
    to_s: int | None = None


class Film:
    """See the module. Close it.

    Args:
        path: of the file.
        forms: of the clips that are wanted.
        part: of the film.
        settings: limits and the like.

    Attributes:
        origin_s: what the streams' own timestamps say at t = 0.
        width, height: of the pictures, upright and with square pixels.
        duration_s: of the whole, as the headers say; 0.0 where they don't.
        at_s: where the next segment begins.
        ended: whether the film has no more.

    Raises:
        MediaError: no container, no video stream, no frame, over a limit, truncated.
    """

    def __init__(self, path: Path, forms: tuple[ClipForm, ...], part: FilmRange, settings: FilmSettings) -> None:
        self._forms, self._settings = forms, settings
        self._early = cut_short(path, settings.on_damage)
        self._pictures = FrameTrack(path, settings.limits, settings.on_damage, settings.threads)
        self._sound: SoundTrack | None = None
        try:
            self._sound = _sound(path, forms, settings)
            starts = [self._pictures.first_s, *([self._sound.first_s] if self._sound else [])]
            self.origin_s = min(starts) if part.origin_s is None else part.origin_s
            self._place(path, part)
        except BaseException:
            self.close()
            raise
        self.width, self.height = self._pictures.width, self._pictures.height
        self.duration_s = self._pictures.duration_s
        self._shown: Iterator[Shown] = self._pictures.frames()
        self._last: Shown | None = None
        self._all_shown = self._all_heard = False
        self._period_s = max((1 / form.frames_hz for form in forms if form.frames_hz), default=Fraction(0))
        self.at_s = part.from_s
        self.ended = False

    @property
    def damage_s(self) -> tuple[Fraction, ...]:
        """When something was missing or could not be decoded, on the clock."""
        return (*self._pictures.damage_s, *(self._sound.damage_s if self._sound else ()))

    def close(self) -> None:
        """Let go of the file."""
        self._pictures.close()
        if self._sound is not None:
            self._sound.close()

    def clips(self, to_s: int) -> dict[ClipForm, tuple[Clip, ...]]:
        """The clips from where the last call ended until `to_s`, a whole number of them in every form.

        Raises:
            MediaError: it can't be decoded, or is longer than the limit.
        """
        self._listen(to_s + self._period_s)
        self._look(Fraction(to_s))
        end_s = Fraction(to_s)
        if self._all_shown and self._all_heard and self._end_s() <= to_s:
            end_s, self.ended = self._end_s(), True
            if self._early:
                self._pictures.damage_s.append(end_s)
        clips = {form: tuple(self._cut(form, int(end_s * CLOCK_HZ), to_s)) for form in self._forms}
        self.at_s = to_s
        return clips

    def _place(self, path: Path, part: FilmRange) -> None:
        self._pictures.place(self.origin_s, part.from_s)
        self._samplers = {form: Sampler(form, self._pictures, part.from_s) for form in self._forms if form.frames_hz}
        self._cutters: dict[ClipForm, PcmCutter] = {}
        self._blocks: Iterator[Samples] = iter(())
        if self._sound is not None:
            begin_s = self._sound.place(self.origin_s, part.from_s)
            self._blocks = self._sound.blocks()
            rate_hz, layout = self._sound.rate_hz, self._sound.layout
            for form in self._forms:
                if form.sound is not None:
                    self._cutters[form] = PcmCutter(form.sound, rate_hz, layout, begin_s, part.from_s)
        texts = any(form.text for form in self._forms)
        limits = self._settings.limits
        self._cues = read_cues(path, limits, self.origin_s, part.from_s, part.to_s) if texts else ()

    def _look(self, to_s: Fraction) -> None:
        """Decode pictures until one comes on screen at `to_s` or later: then all that is sampled before is known."""
        while not self._all_shown and (self._last is None or self._last.t_s < to_s):
            shown = next(self._shown, None)
            if shown is None:
                self._all_shown = True
                break
            self._last = shown
            for sampler in self._samplers.values():
                sampler.push(shown)
        if self._all_shown:
            for form, sampler in self._samplers.items():
                sampler.advance(min(to_s, self._shown_until_s(form)))

    def _shown_until_s(self, form: ClipForm) -> Fraction:
        """How long the last picture is sampled: it stays on screen while the sound goes on, as in any player.

        But for the last bit of sound, shorter than a sampling period (often an encoder's padding), there is none more.
        """
        rest_s = max(self._heard().values(), default=Fraction(0)) - 1 / form.frames_hz
        return max(self._pictures.end_s, rest_s + Fraction(1, CLOCK_HZ))

    def _listen(self, to_s: Fraction) -> None:
        """Decode sound up to `to_s`."""
        while not self._all_heard and self._heard_s() < to_s:
            block = next(self._blocks, None)
            self._all_heard = block is None
            for cutter in self._cutters.values():
                if block is None:
                    cutter.finish()
                else:
                    cutter.push(block)

    def _heard_s(self) -> Fraction:
        """Up to where there is sound in every form that wants it."""
        return min(self._heard().values(), default=Fraction(0))

    def _heard(self) -> dict[ClipForm, Fraction]:
        ends = {form: (form.sound, cutter.end) for form, cutter in self._cutters.items()}
        return {form: Fraction(end, sound.rate_hz) for form, (sound, end) in ends.items() if sound is not None}

    def _end_s(self) -> Fraction:
        """When the last of what there is ends."""
        return max([self._pictures.end_s, *self._heard().values()])

    def _cut(self, form: ClipForm, end: int, to_s: int) -> Iterator[Clip]:
        for start_s in range(self.at_s, to_s, form.clip_s):
            start, stop = start_s * CLOCK_HZ, (start_s + form.clip_s) * CLOCK_HZ
            if start >= end:
                return
            samples = self._samplers[form].take(stop) if form in self._samplers else []
            frames, shown, sampled = frames_of_samples(samples, form)
            cues = tuple(cue for cue in self._cues if form.text and start <= cue.t0 < stop)
            yield Clip(start, min(stop, end), frames, shown, sampled, self._heard_in(form), cues)

    def _heard_in(self, form: ClipForm) -> Samples:
        """The next clip's sound."""
        if form.sound is None or form not in self._cutters:
            return np.zeros((0, form.sound.channels if form.sound else 1), np.float32)
        samples = self._cutters[form].take(1).samples
        return samples if len(samples) > form.sound.context else samples[:0]


def _sound(path: Path, forms: tuple[ClipForm, ...], settings: FilmSettings) -> SoundTrack | None:
    """The film's sound; None where nobody wants it, or it has none."""
    if all(form.sound is None for form in forms):
        return None
    try:
        return SoundTrack(path, settings.limits, settings.on_damage)
    except (NoStreamError, EmptyMediaError):
        return None
