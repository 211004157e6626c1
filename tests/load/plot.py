"""Lines over time as one SVG."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT, LEFT, TOP, GAP = 900, 160, 90, 40, 60
COLOURS = ("#2266cc", "#cc4422", "#228844", "#8844aa", "#aa8800", "#555555")


def as_svg(title: str, charts: Mapping[str, Mapping[str, Points]]) -> str:
    """Charts one below the other; by their titles, the lines by their names: (seconds, value), from zero up."""
    parts = [f'<text x="{LEFT}" y="20" font-size="15">{html.escape(title)}</text>']
    for index, (name, lines) in enumerate(charts.items()):
        parts.append(_chart(name, lines, TOP + index * (HEIGHT + GAP)))
    height = TOP + len(charts) * (HEIGHT + GAP)
    size = f'width="{LEFT + WIDTH + 20}" height="{height}"'
    style = 'font-family="sans-serif" font-size="12"'
    white = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{white}{"".join(parts)}</svg>\n'


def _chart(name: str, lines: Mapping[str, Points], top: int) -> str:
    points = [point for line in lines.values() for point in line]
    last, most = max((x for x, _ in points), default=0.0) or 1.0, max((y for _, y in points), default=0.0) or 1.0
    bottom = top + HEIGHT
    axis = f'<path d="M{LEFT} {top}V{bottom}H{LEFT + WIDTH}" fill="none" stroke="#999"/>'
    scale = f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most:.3g}</text>'
    scale += f'<text x="{LEFT - 6}" y="{bottom}" text-anchor="end">0</text>'
    scale += f'<text x="{LEFT + WIDTH}" y="{bottom + 15}" text-anchor="end">{last:.0f} s</text>'
    drawn, legend = "", f'<text x="{LEFT}" y="{top - 6}">{html.escape(name)}</text>'
    for at, (label, line) in enumerate(lines.items()):
        colour = COLOURS[at % len(COLOURS)]
        path = " ".join(f"{LEFT + x / last * WIDTH:.1f},{bottom - y / most * (HEIGHT - 5):.1f}" for x, y in line)
        drawn += f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        x = LEFT + 260 + at * 150
        legend += f'<text x="{x}" y="{top - 6}" fill="{colour}">{html.escape(label)}</text>'
    return axis + scale + drawn + legend
