"""Views of films: "clip:<seconds>s:<frames a second>fps:<height>x<width>:<sound>:<text|mute>".

The sound is "<rate in Hz>-<mono|stereo>+<context samples>" or "silent". Clips lie end to end on the film's clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from operators.clips import Clip, clip_batch
from operators.forms import CLOCK_HZ, ClipForm
from operators.records import Modality, WindowBatch, WindowMeta
from operators.window.audio import layout_of
from operators.window.damage import is_partial


class VideoLike(Protocol):
    """A segment of a film."""

    @property
    def width(self) -> int:
        """Of its pictures in pixels, upright."""
        ...

    @property
    def height(self) -> int:
        """Of its pictures in pixels, upright."""
        ...

    @property
    def duration_s(self) -> float:
        """Of the whole, as its headers say."""
        ...

    @property
    def raw_start_s(self) -> Fraction:
        """What its own timestamps say at t = 0."""
        ...

    @property
    def clips(self) -> Mapping[ClipForm, Sequence[Clip]]:
        """By form."""
        ...

    @property
    def damage_s(self) -> Sequence[Fraction]:
        """When something is missing."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the film ends here."""
        ...


@dataclass(frozen=True, slots=True)
class ClipView:
    """Windows are `Clip`s; start and end count ticks of `CLOCK_HZ`."""

    form: ClipForm

    @property
    def key(self) -> str:
        """Its name."""
        return clip_key(self.form)

    @property
    def modality(self) -> Modality:
        """Films."""
        return Modality.VIDEO

    def windows(self, decoded: VideoLike) -> list[tuple[WindowMeta, Clip]]:
        """The segment's clips."""
        clips = decoded.clips[self.form]
        return [(self._meta(decoded, clip, last=decoded.ended and clip is clips[-1]), clip) for clip in clips]

    def stack(self, arrays: Sequence[Clip]) -> WindowBatch:
        """See `operators.clips.clip_batch`."""
        return clip_batch(self.key, self.form, arrays)

    def _meta(self, decoded: VideoLike, clip: Clip, *, last: bool) -> WindowMeta:
        return WindowMeta(
            clip.start,
            clip.end,
            rate_num=CLOCK_HZ,
            width=decoded.width,
            height=decoded.height,
            duration_s=decoded.duration_s,
            partial=is_partial(decoded.damage_s, clip.start, clip.end, CLOCK_HZ, last=last),
            raw_start=round(decoded.raw_start_s * CLOCK_HZ),
        )


def clip_key(form: ClipForm) -> str:
    """The name of a form's view."""
    sound = "silent"
    if form.sound is not None:
        sound = f"{form.sound.rate_hz}-{layout_of(form.sound)}+{form.sound.context}"
    text = "text" if form.text else "mute"
    return f"clip:{form.clip_s}s:{form.frames_hz}fps:{form.height}x{form.width}:{sound}:{text}"
