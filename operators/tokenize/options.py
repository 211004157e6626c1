"""Options of a tokenizer: from the config's mapping to a frozen dataclass, with errors that help."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from operators.errors import ConfigError


def nearest(word: str, valid: Iterable[str]) -> str:
    """`; did you mean "x"? Valid: ...`, for the end of a message."""
    names = sorted(valid)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    guess = f'; did you mean "{close[0]}"?' if close else "."
    return f"{guess} Valid: {', '.join(names) or 'none'}"


def instance(cls: type[Any], name: str, options: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """`cls(cls.Options(**options))`, or `cls()` for a class that has no `Options`.

    Raises:
        ConfigError: an option is unknown or missing, or `Options` refuses its value.
    """
    made = getattr(cls, "Options", None)
    if made is None:
        if options:
            raise ConfigError(f"tokenizer {name} takes no options, not {', '.join(map(str, options))}")
        try:
            inspect.signature(cls).bind()
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"tokenizer {name}: can't be made without options, and has no Options ({error})"
            ) from error
        return cls()
    if not (inspect.isclass(made) and dataclasses.is_dataclass(made)):
        raise ConfigError(f"tokenizer {name}: its Options is no dataclass")
    fields = {field.name: field for field in dataclasses.fields(made) if field.init}
    for option in options:
        if option not in fields:
            raise ConfigError(f'options.{option}: tokenizer {name} has no option "{option}"{nearest(option, fields)}')
    for field in fields.values():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in options:
            raise ConfigError(f"options.{field.name}: tokenizer {name} needs it")
    return cls(made(**options))


def whole(name: str, value: object, low: int, high: int) -> int:
    """A whole number of `low`..`high`; booleans are none.

    Raises:
        ConfigError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(f"options.{name}: must be a whole number of {low}..{high}, not {value!r}")
    return value


def one_of(name: str, value: object, valid: Iterable[str]) -> str:
    """One of some words.

    Raises:
        ConfigError: it is not.
    """
    words = tuple(valid)
    if not isinstance(value, str) or value not in words:
        raise ConfigError(f"options.{name}: {value!r} is not valid{nearest(str(value), words)}")
    return value


def three_numbers(name: str, value: object) -> tuple[float, float, float]:
    """Three numbers, one a channel.

    Raises:
        ConfigError: they are not.
    """
    if isinstance(value, (list, tuple)):
        numbers = [float(entry) for entry in value if isinstance(entry, (int, float)) and not isinstance(entry, bool)]
        if len(numbers) == len(value) == 3:
            return numbers[0], numbers[1], numbers[2]
    raise ConfigError(f"options.{name}: must be three numbers, not {value!r}")


def path_or_none(name: str, value: object) -> Path | None:
    """A path, or None where none is given.

    Raises:
        ConfigError: it is neither.
    """
    if value is None or (isinstance(value, (str, Path)) and str(value)):
        return None if value is None else Path(value)
    raise ConfigError(f"options.{name}: must be a path, not {value!r}")


def image_size(value: object, patch: int) -> tuple[int, int]:
    """(height, width) from 256, "256x320" or [256, 320]; multiples of the patch.

    Raises:
        ConfigError: it is none of these.
    """
    sides: list[Any] = [value, value] if isinstance(value, int) else []
    if isinstance(value, str):
        sides = [int(part) if part.isdecimal() else part for part in value.split("x")]
    elif isinstance(value, (list, tuple)):
        sides = list(value)
    if len(sides) != 2:
        raise ConfigError(f'options.size: must be a side, "<height>x<width>" or [height, width], not {value!r}')
    height, width = (whole("size", side, patch, 16384) for side in sides)
    if height % patch or width % patch:
        raise ConfigError(f"options.size: {height}x{width} does not divide into patches of {patch}")
    return height, width


def positive_fraction(name: str, value: object) -> Fraction:
    """A rational above 0, from a number or "30000/1001"; the decimal that a float is written as.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            fraction = Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            fraction = Fraction(0)
        if 0 < fraction <= 1000:
            return fraction.limit_denominator(100_000)
    raise ConfigError(f'options.{name}: must be a number above 0 and at most 1000, or "30000/1001", not {value!r}')
