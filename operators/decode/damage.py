"""Whether a file ends before its container does, and whether that is an error."""

from __future__ import annotations

from pathlib import Path

from operators.decode.base import OnDamage
from operators.decode.ending import file_ends_early, flac_total_samples
from operators.errors import TruncatedError


def cut_short(path: Path, on_damage: OnDamage) -> bool:
    """Whether the file ends before what its own headers promise.

    Raises:
        TruncatedError: it does, and that is not to be kept.
    """
    with path.open("rb") as file:
        early = file_ends_early(file, path.stat().st_size)
    if early and on_damage is OnDamage.REFUSE:
        raise TruncatedError("the file ends before what its headers promise")
    return early


def promised_samples(path: Path) -> int | None:
    """How many samples (a channel) a FLAC file says it has; None for other files, and where it does not say."""
    with path.open("rb") as file:
        return flac_total_samples(file)
