"""The page: a `Report` through Jinja templates into one file that asks nobody for anything.

Everything that comes from outside goes through Jinja's escaping. Should that fail once, the policy in the page's head
still lets no script run but ours (by its hash) and nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol, cast

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from pipeline.observe import units
from pipeline.observe.report import drawing, embed
from pipeline.observe.report.model import LaneFigures, Rate, Report
from pipeline.observe.report.samples import FilmLane, FilmSpan

SECTIONS = (
    ("products", "Products"),
    ("images", "Images"),
    ("sound", "Sound"),
    ("film", "Film"),
    ("text", "Text"),
    ("run", "Run"),
    ("letters", "Dead letters"),
)
_UNITS = {"pixel": "bit/px", "second": "bit/s", "byte": "bit/byte"}
_WORKING = "working"
_SHOWN = {"\n": "⏎\n", "\t": "⇥"}
_TINTS = 6
"""How many grounds the chips of tokens have."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a lane's bar.

    Attributes:
        name: of the reason, or "working".
        words: what it means.
        share: of the run, in [0, 1].
        rank: 0 for working, then 1, 2, ... from the longest wait down: what it is shaded by.
    """

    name: str
    words: str
    seconds: float
    share: float
    rank: int


class _Version(Protocol):
    @property
    def why_not(self) -> str: ...


class _Card(Protocol):
    @property
    def versions(self) -> Sequence[_Version | None]: ...


def render(report: Report) -> str:
    """The whole page."""
    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    cast("dict[str, Any]", environment.globals).update(
        stretches=stretches, reasons=reasons, why_not=why_not, loudest=drawing.loudest, BARS=drawing.BARS
    )
    script = _resource("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("template.html.j2").render(
        report=report,
        sections=SECTIONS,
        # Ours, and meant to be neither escaped nor run by anything but its hash.
        style=Markup(_resource("style.css")),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_hash=f"sha256-{digest}",
    )


def stretches(lane: LaneFigures, seconds: float) -> list[Stretch]:
    """What a lane's time in a run went to: working first, then waits, the longest first; all shares sum to 1."""
    waits = sorted(((reason, s) for reason, s in lane.waited_s.items() if s > 0), key=lambda wait: -wait[1])
    waited_s = sum(s for _, s in waits)
    whole_s = max(seconds, waited_s) or 1.0
    parts = [Stretch(_WORKING, "nothing was waited for", whole_s - waited_s, 1 - waited_s / whole_s, 0)]
    for rank, (reason, s) in enumerate(waits, 1):
        parts.append(Stretch(reason.value, reason.explanation, s, s / whole_s, rank))
    return parts


def reasons(texts: Iterable[str]) -> list[tuple[str, int]]:
    """Each reason once and how often it was given, so that a page of cards need not repeat it."""
    return Counter(text for text in texts if text).most_common()


def why_not(cards: Iterable[_Card], index: int) -> list[tuple[str, int]]:
    """Why the `index`th product gives nothing back, and for how many of the cards."""
    return reasons(version.why_not for card in cards if (version := card.versions[index]) is not None)


def clock(seconds: float) -> str:
    """A time on a medium's clock: 3.25 -> "0:03.2", 75 -> "1:15.0"."""
    tenths = math.floor(seconds * 10 + 1e-6)
    return f"{tenths // 600}:{tenths // 10 % 60:02}.{tenths % 10}"


def decibels(value: float | None) -> str:
    """30.337 -> "30.3 dB"; of equal things "exact"; of None "–"."""
    if value is None:
        return "–"
    return "exact" if value == math.inf else f"{value:.1f} dB".replace("-", "−")


def bits(rate: Rate | None) -> str:
    """0.625 bits a pixel -> "0.625 bit/px"; 12800 a second -> "12.8 kbit/s"."""
    if rate is None:
        return "–"
    if rate.unit == "second":
        return bits_per_s(rate.bits)
    return f"{rate.bits:.3g} {_UNITS[rate.unit]}"


def bits_per_s(rate: float) -> str:
    """12800 -> "12.8 kbit/s"."""
    for factor, unit in ((1e6, "Mbit/s"), (1e3, "kbit/s")):
        if rate >= factor:
            return f"{rate / factor:.3g} {unit}"
    return f"{rate:.3g} bit/s"


def percent(share: float) -> str:
    """For CSS and people: 0.1234 -> "12.3%"."""
    return f"{100 * share:.1f}%"


def place(span: FilmSpan, shown_s: float) -> str:
    """Where a span lies on the time axis, as CSS custom properties."""
    start = min(max(0.0, span.start_s), shown_s)
    end = min(max(start, span.end_s), shown_s)
    return f"--a:{100 * start / shown_s:.3f}%;--w:{100 * (end - start) / shown_s:.3f}%" if shown_s else "--a:0%;--w:0%"


def facts(span: FilmSpan, lane: FilmLane) -> str:
    """All that is known of a span, in a line."""
    parts = [lane.name, f"{clock(span.start_s)} – {clock(span.end_s)}", f"{units.count(span.n_tokens)} tokens"]
    parts.append(f"from token {units.count(span.first)} of clip {span.clip}")
    parts += [f"“{span.text}”"] if span.text else []
    parts += [f"speaker {span.speaker}"] if span.speaker else []
    parts += [f"language {span.language}"] if span.language else []
    parts += [] if span.since_s is None else [f"on screen since {clock(max(0.0, span.since_s))}"]
    parts += [] if span.confidence is None else [f"confidence {span.confidence:.2f}"]
    return " · ".join(parts)


def tail(uri: str) -> str:
    """What a URI is called: its last part."""
    return uri.rstrip("/").rpartition("/")[2] or uri


def place_name(uri: str) -> str:
    """A lake's last two folders: enough to know it by."""
    parts = [part for part in uri.partition("://")[2 if "://" in uri else 0].split("/") if part]
    return "/".join(parts[-2:]) or uri


def tint(code: int) -> int:
    """Which ground a token's chip has: equal tokens look alike."""
    return code * 7 % _TINTS


def visible(text: str) -> str:
    """What a stranger's text holds besides letters: line ends are shown, nothing can turn the direction of writing."""
    return "".join(sign if sign.isprintable() else _SHOWN.get(sign, "␦") for sign in text)


def mean_db(values: Iterable[float | None]) -> str:
    """The mean of those that are known and finite."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return decibels(sum(known) / len(known)) if known else ""


def _resource(name: str) -> str:
    return resources.files("pipeline.observe.report").joinpath(name).read_text(encoding="utf-8")


_FILTERS: Mapping[str, Callable[..., Any]] = {
    "bits": bits,
    "bits_per_s": bits_per_s,
    "clock": clock,
    "codes": embed.codes_uri,
    "compact": units.compact,
    "count": units.count,
    "db": decibels,
    "duration": units.duration,
    "facts": facts,
    "flac": embed.flac_uri,
    "jpeg": embed.jpeg_uri,
    "mean_db": mean_db,
    "percent": percent,
    "place": place,
    "place_name": place_name,
    "rate": units.rate,
    "size": units.size,
    "tail": tail,
    "ticks": drawing.ticks_s,
    "tint": tint,
    "visible": visible,
    "wave": drawing.waveform_path,
}
