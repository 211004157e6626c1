"""What a run has measured: ratios and figures, as a table, as JSON and as plots in one folder."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.observe.status_table import plain_table
from tests.bench.plots import Curve, bars, curves

WIDTH = 200


class Wish(StrEnum):
    """Which way a figure should lie."""

    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        bench: whose it is, e.g. "rivals".
        what: for people, e.g. "images, ours / Ray Data, one stage".
        value: a ratio, or what `unit` says.
        unit: "×" for a ratio.
        of: for a ratio, its two sides, as measured.
        wish, wanted: what it should be; None: nothing is promised, it is for people to know.
        note: what else belongs to it, e.g. that a rival hung.
    """

    bench: str
    what: str
    value: float
    unit: str = "×"
    of: tuple[float, float] | None = None
    wish: Wish | None = None
    wanted: float = 0.0
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it is as wanted; None where nothing is."""
        if self.wish is None:
            return None
        return self.value >= self.wanted if self.wish is Wish.AT_LEAST else self.value <= self.wanted


def ratio(bench: str, what: str, ours: float, other: float, wanted: float | None = None, note: str = "") -> Figure:
    """Ours by theirs, more being better; infinite where they came to nothing."""
    value = ours / other if other else float("inf")
    wish = None if wanted is None else Wish.AT_LEAST
    return Figure(bench, what, value, of=(ours, other), wish=wish, wanted=wanted or 0.0, note=note)


@dataclass
class Results:
    """Of one run; written as far as they are known, should the run be cut short.

    Args:
        out: folder.

    Attributes:
        details: by bench, whatever it has measured, as JSON takes it.
    """

    out: Path
    figures: list[Figure] = field(default_factory=list[Figure])
    details: dict[str, Any] = field(default_factory=dict[str, Any])

    def add(self, *figures: Figure) -> None:
        """Note them, and write the files again."""
        self.figures += figures
        self.write()

    def curve(self, name: str, title: str, unit: str, lines: Mapping[str, Curve], budget: float | None = None) -> None:
        """A plot over time of its own: `<name>.svg`."""
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / f"{name}.svg").write_text(curves(title, unit, lines, budget), encoding="utf-8")

    def write(self) -> None:
        """`results.json` and `ratios.svg`."""
        self.out.mkdir(parents=True, exist_ok=True)
        found = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "host": {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()},
            "figures": [asdict(figure) | {"met": figure.met} for figure in self.figures],
            "details": self.details,
        }
        (self.out / "results.json").write_text(json.dumps(found, indent=1, default=str), encoding="utf-8")
        shown = [figure for figure in self.figures if figure.unit == "×" and figure.value != float("inf")]
        wanted = [figure.wanted if figure.wish else None for figure in shown]
        rows = [(f"{figure.bench}: {figure.what}", figure.value) for figure in shown]
        (self.out / "ratios.svg").write_text(bars("Ratios", rows, wanted), encoding="utf-8")

    def show(self, console: Console) -> None:
        """The table; it stands in `table.txt` too, for it is wider than most terminals."""
        table = plain_table("bench", "what", "figure", "wanted", "met", "measured", "note")
        for figure in self.figures:
            table.add_row(*_cells(figure))
        with (self.out / "table.txt").open("w", encoding="utf-8") as file:
            Console(file=file, width=WIDTH).print(table)
        Console(file=console.file, width=max(WIDTH, console.width)).print(table)
        console.print(f"also in {self.out}: table.txt, results.json, {', '.join(sorted(self._plots()))}")

    def _plots(self) -> list[str]:
        return [path.name for path in self.out.glob("*.svg")]


def _cells(figure: Figure) -> Sequence[str]:
    wanted = f"{figure.wish.value} {figure.wanted:g}" if figure.wish else ""
    met = {True: "yes", False: "NO", None: ""}[figure.met]
    sides = f"{_short(figure.of[0])} / {_short(figure.of[1])}" if figure.of else ""
    return figure.bench, figure.what, f"{_short(figure.value)} {figure.unit}", wanted, met, sides, figure.note


def _short(value: float) -> str:
    if value == float("inf"):
        return "∞"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
