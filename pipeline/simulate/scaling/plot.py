"""Workers and lag over time: as a line of blocks for a terminal, as a picture for a browser."""

from __future__ import annotations

import html
from collections.abc import Sequence

from pipeline.observe import units
from pipeline.simulate.scaling.fleet import History

_BLOCKS = " ▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT, _LEFT = 900, 120, 70


def series(history: History) -> dict[str, list[float]]:
    """By what it shows: "workers of …" a pool, "lag of …" a lane, one value a step."""
    first = history.moments[0]
    found = {f"workers of {pool}": [float(m.workers[pool]) for m in history.moments] for pool in first.workers}
    return found | {f"lag of {lane}": [m.lag[lane] for m in history.moments] for lane in first.lag}


def blocks(values: Sequence[float], width: int = 60) -> str:
    """A line of `width` blocks, each as high as the largest value in its part of the time."""
    width = min(width, len(values))
    peaks = [max(values[len(values) * at // width : len(values) * (at + 1) // width]) for at in range(width)]
    top = max(peaks) or 1.0
    return "".join(_BLOCKS[round(max(0.0, peak) / top * (len(_BLOCKS) - 1))] for peak in peaks)


def as_html(title: str, history: History) -> str:
    """A page that needs nothing else."""
    last_s = history.moments[-1].now_s
    charts = "\n".join(_chart(name, values) for name, values in series(history).items())
    text = html.escape(title)
    return (
        f'<!doctype html><meta charset="utf-8"><title>{text}</title>'
        "<style>body{font:14px sans-serif;margin:2em}polyline{fill:none;stroke:#26c;stroke-width:1.5}</style>"
        f"<h1>{text}</h1>\n{charts}\n<p>0 to {units.duration(last_s)}, virtual time</p>\n"
    )


def _chart(name: str, values: Sequence[float]) -> str:
    """One line, from zero up; no more points than pixels."""
    top = max(values) or 1.0
    points = min(_WIDTH, len(values))
    picked = [max(values[len(values) * at // points : len(values) * (at + 1) // points]) for at in range(points)]
    line = " ".join(
        f"{_LEFT + at * _WIDTH / points:.0f},{_HEIGHT - value / top * (_HEIGHT - 10):.1f}"
        for at, value in enumerate(picked)
    )
    return (
        f'<h3>{html.escape(name)}</h3><svg width="{_WIDTH + _LEFT}" height="{_HEIGHT}">'
        f'<text x="0" y="12">{units.short(top)}</text><text x="0" y="{_HEIGHT}">0</text>'
        f'<polyline points="{line}"/></svg>'
    )
