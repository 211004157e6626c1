"""What tokenizers want of sound and film: forms that decoders bring media into and views cut windows of."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

CLOCK_HZ = 705_600_000
"""Ticks a second of a film's clock: flicks (Facebook, 2018). All usual frame rates, sampling rates and time bases of
whole milliseconds or 1/90000 s are whole numbers of them."""


@dataclass(frozen=True, slots=True)
class PcmForm:
    """Sound as a tokenizer wants it, in windows that lie end to end.

    Attributes:
        rate_hz: sampling rate.
        channels: 1 (all channels mixed) or 2.
        window: samples of a window; the last one of an item may be shorter.
        context: samples before a window's start that come with it, zeros before the item's start: what a codec with
            overlapping frames must have seen.
    """

    rate_hz: int
    channels: int
    window: int
    context: int = 0


@dataclass(frozen=True, slots=True)
class ClipForm:
    """A film as a tokenizer wants it, in clips that lie end to end.

    Attributes:
        clip_s: length of a clip in whole seconds; the last one of an item may be shorter.
        frames_hz: frames sampled a second; 0: none.
        height, width: of a frame in pixels.
        sound: whose `window` is the clip; None: no sound is wanted.
        text: whether subtitles are wanted.
    """

    clip_s: int
    frames_hz: Fraction
    height: int
    width: int
    sound: PcmForm | None
    text: bool
