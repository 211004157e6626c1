"""Plots as SVG that needs nothing else: bars with what is wanted marked, curves over time with a budget."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import pairwise

Curve = Sequence[tuple[float, float]]
"""(seconds, value), ascending by time."""

COLOURS = ("#2266cc", "#cc5522", "#228844", "#884499", "#888822", "#225566")
_ROW, _LABEL, _WIDTH, _VALUE = 22, 430, 420, 70
_PLOT_WIDTH, _PLOT_HEIGHT, _LEFT, _TOP = 760, 260, 90, 34
_MOST_POINTS = 800


def bars(title: str, rows: Sequence[tuple[str, float]], marks: Sequence[float | None]) -> str:
    """One bar a row; a line across it where its mark lies."""
    top = max([value for _, value in rows] + [mark for mark in marks if mark is not None] + [1e-9])
    parts = [_text(4, 16, title, bold=True)]
    for number, ((what, value), mark) in enumerate(zip(rows, marks, strict=True)):
        y = 28 + number * _ROW
        parts.append(_text(4, y + 14, what))
        parts.append(f'<rect x="{_LABEL}" y="{y + 3}" width="{_WIDTH * value / top:.1f}" height="14" fill="#2266cc"/>')
        if mark is not None:
            x = _LABEL + _WIDTH * mark / top
            parts.append(f'<path d="M{x:.1f} {y}v20" stroke="#cc2222" stroke-width="2"/>')
        parts.append(_text(_LABEL + _WIDTH + 8, y + 14, f"{value:.3g}"))
    return _svg(_LABEL + _WIDTH + _VALUE, 36 + len(rows) * _ROW, parts)


def curves(title: str, unit: str, lines: Mapping[str, Curve], budget: float | None = None) -> str:
    """All lines on one axis from zero; the budget dashed."""
    values = [value for line in lines.values() for _, value in line]
    top = max([*values, budget or 0.0, 1e-9]) * 1.05
    end_s = max((line[-1][0] for line in lines.values() if line), default=1.0) or 1.0
    parts = [_text(4, 16, title, bold=True)]
    for share in (0.0, 0.5, 1.0):
        y = _TOP + _PLOT_HEIGHT * (1 - share)
        parts.append(f'<path d="M{_LEFT} {y:.1f}h{_PLOT_WIDTH}" stroke="#cccccc"/>')
        parts.append(_text(4, y + 4, f"{top * share:,.0f} {unit}"))
        parts.append(_text(_LEFT + _PLOT_WIDTH * share - 20, _TOP + _PLOT_HEIGHT + 16, f"{end_s * share:.0f} s"))
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(
            f"{_LEFT + _PLOT_WIDTH * at_s / end_s:.1f},{_TOP + _PLOT_HEIGHT * (1 - value / top):.1f}"
            for at_s, value in thinned(line)
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(_text(_LEFT + _PLOT_WIDTH + 10, _TOP + 14 + 18 * number, name, colour=colour))
    if budget is not None:
        y = _TOP + _PLOT_HEIGHT * (1 - budget / top)
        parts.append(f'<path d="M{_LEFT} {y:.1f}h{_PLOT_WIDTH}" stroke="#cc2222" stroke-dasharray="6 4"/>')
        parts.append(_text(_LEFT + 6, y - 4, "budget of the store", colour="#cc2222"))
    return _svg(_LEFT + _PLOT_WIDTH + 260, _TOP + _PLOT_HEIGHT + 30, parts)


def thinned(line: Curve, most: int = _MOST_POINTS) -> Curve:
    """No more points than that, each the highest of its part: a peak is never left out."""
    if len(line) <= most:
        return line
    cuts = [len(line) * at // most for at in range(most + 1)]
    return [max(line[start:stop], key=lambda point: point[1]) for start, stop in pairwise(cuts)]


def _text(x: float, y: float, text: str, *, bold: bool = False, colour: str = "#222222") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}"{weight}>{html.escape(text)}</text>'


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )
