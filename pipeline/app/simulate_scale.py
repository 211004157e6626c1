"""`mediatok simulate scale`: fleets under a virtual clock, sized by the production code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from operators.errors import ConfigError
from pipeline.observe import units
from pipeline.simulate.scaling.figures import Figures, figures_of
from pipeline.simulate.scaling.fleet import Fleet
from pipeline.simulate.scaling.graphs import judge_graphs
from pipeline.simulate.scaling.plot import as_html, blocks, series
from pipeline.simulate.scaling.scenarios import SCENARIOS

GRAPHS = "graphs"
MOST_SHOWN = 10


def list_scenarios() -> int:
    """Print them. Exit code 0."""
    table = Table(box=None, show_header=False)
    for name, scenario in SCENARIOS.items():
        table.add_row(name, scenario.what)
    table.add_row(GRAPHS, "random graphs and budgets: how near they come to the best split, and whether one is stuck")
    Console().print(table)
    return 0


def run_scale(name: str, seed: int, graphs: int, out: Path | None) -> int:
    """Run a scenario. Exit code 1 if it broke a promise.

    Raises:
        ConfigError: there is no such scenario.
    """
    if name == GRAPHS:
        return _run_graphs(seed, graphs)
    if name not in SCENARIOS:
        raise ConfigError(f"no scenario {name!r}: one of {', '.join([*SCENARIOS, GRAPHS])}")
    scenario = SCENARIOS[name]
    history = Fleet(scenario, seed).run()
    figures = figures_of(scenario, history)
    console = Console()
    console.print(Text(scenario.what))
    plots = Table(box=None, show_header=False)
    for what, values in series(history).items():
        plots.add_row(what, units.short(max(values)), blocks(values))
    console.print(plots)
    console.print(_table(figures))
    for broken in figures.broken:
        console.print(Text.assemble(("broken", "bold red"), f": {broken}"))
    if out is not None:
        out.write_text(as_html(scenario.what, history), encoding="utf-8")
        console.print(f"plotted in {out}")
    return 1 if figures.broken else 0


def _table(figures: Figures) -> Table:
    table = Table(box=None, show_header=False)
    drain = "–" if figures.drain is None else f"{figures.drain:.3f} × the optimum, {units.duration(figures.drain_s)}"
    moves = ", ".join(f"{reason} {times}" for reason, times in sorted(figures.decisions.items()))
    for what, value in (
        ("busy share", f"{figures.busy:.1%}"),
        ("drain", drain),
        ("reversals an hour", f"{figures.reversals_an_hour:.1f}"),
        ("rescales a day", f"{figures.rescales_a_day:.0f}"),
        ("workers, once settled", f"{units.count(figures.fewest)} to {units.count(figures.most)}"),
        ("lag at the end", units.duration(figures.lag_s)),
        ("longest without progress", units.duration(figures.stuck_s)),
        ("moves", moves or "none"),
    ):
        table.add_row(what, value)
    return table


def _run_graphs(first: int, graphs: int) -> int:
    """Exit code 1 if one was stuck, far from the best split, slow to find it, or did not rest."""
    report = judge_graphs(_counted(first, graphs))
    console = Console()
    table = Table(box=None, show_header=False)
    for what, value in (
        ("graphs", units.count(report.graphs)),
        ("stuck", str(report.stuck)),
        ("not within 5 % of the best split", str(report.far)),
        ("worst", f"{report.worst_share:.1%}"),
        ("with more than 3 decisions", str(report.slow)),
        ("with more than 2 reversals in ten minutes", str(report.rocking)),
    ):
        table.add_row(what, value)
    console.print(table)
    for verdict in report.wrong[:MOST_SHOWN]:
        console.print(f"seed {verdict.seed}: {verdict.wrong}")
    return 1 if report.wrong else 0


def _counted(first: int, count: int) -> Iterator[int]:
    """The seeds, with a bar on standard error where that is a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        yield from bars.track(range(first, first + count), description="graphs")
