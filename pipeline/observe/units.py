"""Numbers as people read them: thousands separators, binary bytes, few digits."""

from __future__ import annotations

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DECIMAL = ("", "k", "M", "G", "T")


def count(number: int | None) -> str:
    """12345 -> "12,345"; None, the unknown, -> "–"."""
    return "–" if number is None else f"{number:,}"


def compact(number: int | None, limit: int = 10_000_000) -> str:
    """Like `count`, but shortened from `limit` on."""
    return count(number) if number is None or number < limit else short(number)


def size(number_bytes: float) -> str:
    """5_000_000 -> "4.8 MiB"."""
    return _scaled(number_bytes, 1024.0, _BINARY)


def rate(hz: float) -> str:
    """Per second, without saying so: 0.25 -> "0.25", 42.3 -> "42.3", 12345.6 -> "12,346"."""
    if hz == 0 or hz >= 1000:
        return f"{hz:,.0f}"
    return f"{hz:.1f}" if hz >= 1 else f"{hz:.2f}"


def short(number: float) -> str:
    """For narrow places: 1_234_567 -> "1.2M"."""
    return _scaled(number, 1000.0, _DECIMAL).replace(" ", "")


def _scaled(number: float, step: float, names: tuple[str, ...]) -> str:
    """A number below `step` with at most one decimal, and its unit."""
    power = 0
    while round(number, 1) >= step and power < len(names) - 1:
        number, power = number / step, power + 1
    return f"{number:.0f} {names[power]}" if power == 0 else f"{number:.1f} {names[power]}"


def duration(seconds: float | None) -> str:
    """0.4 -> "0.4 s", 75 -> "1:15", 4000 -> "1:06:40", 200_000 -> "2 d 07:33"; None -> "–"."""
    if seconds is None:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest_s = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02}:{minutes:02}"
    return f"{hours}:{minutes:02}:{rest_s:02}" if hours else f"{minutes}:{rest_s:02}"


def middle(text: str, width: int) -> str:
    """At most `width` characters, the middle left out: the end of a URI says most."""
    if len(text) <= width:
        return text
    head = (width - 1) // 3
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"
