"""From a view's key to the view."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from operators.errors import ConfigError
from operators.window.base import View
from operators.window.image import Fit, ImageView
from operators.window.text import LEAST_BYTES, TextView

FORMS = ("rgb8:<height>x<width>:cover", "rgb8:<height>x<width>:stretch", "utf8:<max bytes>")
"""What a key can look like."""


def _image(found: re.Match[str]) -> View[Any]:
    return ImageView(int(found[1]), int(found[2]), Fit(found[3]))


def _text(found: re.Match[str]) -> View[Any]:
    if int(found[1]) < LEAST_BYTES:
        raise ConfigError(f"view {found[0]!r}: at least {LEAST_BYTES} bytes, as many as a character has")
    return TextView(int(found[1]))


# No leading zeros: a view has one name.
_FAMILIES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], View[Any]]], ...] = (
    (re.compile(r"rgb8:([1-9][0-9]{0,4})x([1-9][0-9]{0,4}):(cover|stretch)"), _image),
    (re.compile(r"utf8:([1-9][0-9]{0,11})"), _text),
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
