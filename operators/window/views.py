"""From a view's key to the view."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from operators.errors import ConfigError
from operators.forms import ClipForm, PcmForm
from operators.resizing import Fit
from operators.window.audio import CHANNELS, AudioView
from operators.window.base import View
from operators.window.clip import ClipView
from operators.window.image import ImageView
from operators.window.text import LEAST_BYTES, TextView

FORMS = (
    "rgb8:<height>x<width>:cover",
    "rgb8:<height>x<width>:stretch",
    "utf8:<max bytes>",
    "pcm:<rate>:<mono|stereo>:<samples>+<context>",
    "clip:<seconds>s:<frames a second>fps:<height>x<width>:<rate>-<mono|stereo>+<context>:<text|mute>",
)
"""What a key can look like."""


def _image(found: re.Match[str]) -> View[Any]:
    return ImageView(int(found[1]), int(found[2]), Fit(found[3]))


def _text(found: re.Match[str]) -> View[Any]:
    if int(found[1]) < LEAST_BYTES:
        raise ConfigError(f"view {found[0]!r}: at least {LEAST_BYTES} bytes, as many as a character has")
    return TextView(int(found[1]))


def _audio(found: re.Match[str]) -> View[Any]:
    return AudioView(PcmForm(int(found[1]), CHANNELS[found[2]], int(found[3]), int(found[4])))


def _clip(found: re.Match[str]) -> View[Any]:
    clip_s, frames_hz = int(found[1]), Fraction(found[2])
    sound = None
    if found[5] != "silent":
        rate_hz = int(found[6])
        sound = PcmForm(rate_hz, CHANNELS[found[7]], rate_hz * clip_s, int(found[8]))
    return ClipView(ClipForm(clip_s, frames_hz, int(found[3]), int(found[4]), sound, found[9] == "text"))


# No leading zeros: a view has one name.
_FAMILIES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], View[Any]]], ...] = (
    (re.compile(r"rgb8:([1-9][0-9]{0,4})x([1-9][0-9]{0,4}):(cover|stretch)"), _image),
    (re.compile(r"utf8:([1-9][0-9]{0,11})"), _text),
    (re.compile(r"pcm:([1-9][0-9]{0,6}):(mono|stereo):([1-9][0-9]{0,9})\+(0|[1-9][0-9]{0,9})"), _audio),
    (
        re.compile(
            r"clip:([1-9][0-9]{0,3})s:((?:0|[1-9][0-9]{0,5})(?:/[1-9][0-9]{0,5})?)fps:"
            r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4}):"
            r"(silent|([1-9][0-9]{0,6})-(mono|stereo)\+(0|[1-9][0-9]{0,9})):(text|mute)"
        ),
        _clip,
    ),
)


def parse_view(key: str) -> View[Any]:
    """The view of that name.

    Raises:
        ConfigError: there is none; says what names look like.
    """
    for pattern, make in _FAMILIES:
        found = pattern.fullmatch(key)
        if found is not None:
            return make(found)
    raise ConfigError(f"view {key!r}: not one of {', '.join(FORMS)}")
