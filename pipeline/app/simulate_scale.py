"""`mediatok simulate scale`: fleets under a virtual clock, sized by the production code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from rich.console import Console, JustifyMethod
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from operators.errors import ConfigError
from pipeline.observe import units
from pipeline.simulate.scaling.figures import Figures, figures_of
from pipeline.simulate.scaling.fleet import Fleet
from pipeline.simulate.scaling.graphs import MOST_DECISIONS, MOST_REVERSALS, GraphsReport, judge_graphs
from pipeline.simulate.scaling.lanes import judge_lane
from pipeline.simulate.scaling.plot import as_html, blocks, series
from pipeline.simulate.scaling.scenarios import SCENARIOS
from pipeline.simulate.scaling.theory import checks

_Thing = TypeVar("_Thing")
GRAPHS, THEORY = "graphs", "theory"
MOST_ERROR = 0.05
MOST_SHOWN = 10


def list_scenarios() -> int:
    """Print them. Exit code 0."""
    table = Table(box=None, show_header=False)
    for name, scenario in SCENARIOS.items():
        table.add_row(name, scenario.what)
    table.add_row(GRAPHS, "random graphs and budgets: how near they come to the best split, and whether one is stuck")
    table.add_row(THEORY, "waits, numbers and throughput that are known, beside what the simulation makes of them")
    Console().print(table)
    return 0


def run_scale(name: str, seed: int, graphs: int, jobs: int, lasts_s: float, out: Path | None) -> int:
    """Run a scenario. Exit code 1 if it broke a promise.

    Args:
        seed: of the noise; of the first of the graphs.
        graphs, jobs, lasts_s: how many graphs, in how many processes, and the virtual time of each.
        out: where to plot a scenario.

    Raises:
        ConfigError: there is no such scenario.
    """
    if name == GRAPHS:
        return _run_graphs(seed, graphs, jobs, lasts_s)
    if name == THEORY:
        return run_theory()
    if name not in SCENARIOS:
        raise ConfigError(f"no scenario {name!r}: one of {', '.join([*SCENARIOS, GRAPHS, THEORY])}")
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
        ("reversals in the worst hour", str(figures.reversals_an_hour)),
        ("rescales a day", f"{figures.rescales_a_day:.0f}"),
        ("workers, once settled", f"{units.count(figures.fewest)} to {units.count(figures.most)}"),
        ("lag at the end", units.duration(figures.lag_s)),
        ("longest without progress", units.duration(figures.stuck_s)),
        ("moves", moves or "none"),
    ):
        table.add_row(what, value)
    return table


def run_all(seed: int) -> int:
    """Every scenario, one line each. Exit code 1 if one of them broke a promise."""
    table = Table(title="fleets, simulated", title_justify="left")
    for what, justify in _COLUMNS:
        table.add_column(what, justify=justify)
    broken: list[str] = []
    for scenario in _counted(list(SCENARIOS.values()), "scenarios"):
        figures = figures_of(scenario, Fleet(scenario, seed).run())
        broken += [f"{scenario.name}: {line}" for line in figures.broken]
        table.add_row(
            scenario.name,
            units.duration(scenario.lasts_s),
            f"{figures.busy:.1%}",
            "–" if figures.drain is None else f"{figures.drain:.3f}",
            str(figures.reversals_an_hour),
            f"{figures.rescales_a_day:.0f}",
            f"{units.count(figures.fewest)} to {units.count(figures.most)}",
            units.duration(figures.lag_s),
            "no" if figures.broken else "yes",
        )
    console = Console()
    console.print(table)
    for line in broken:
        console.print(Text.assemble(("broken", "bold red"), f": {line}"))
    return 1 if broken else 0


_COLUMNS: tuple[tuple[str, JustifyMethod], ...] = (
    ("scenario", "left"),
    ("lasts", "right"),
    ("busy", "right"),
    ("drain ÷ least", "right"),
    ("reversals/h", "right"),
    ("rescales/day", "right"),
    ("workers", "right"),
    ("lag at the end", "right"),
    ("kept", "left"),
)


def run_theory() -> int:
    """What is known of queues beside what the simulation makes of it. Exit code 1 if one is off by more than 5 %."""
    table = Table(title="simulation and theory", title_justify="left")
    table.add_column("what")
    for what in ("measured", "theory", "error"):
        table.add_column(what, justify="right")
    found = list(_counted(checks(), "checks"))
    for check in found:
        table.add_row(check.what, f"{check.measured:.4g}", f"{check.theory:.4g}", f"{check.error:+.2%}")
    Console().print(table)
    return 1 if any(abs(check.error) > MOST_ERROR for check in found) else 0


def _run_graphs(first: int, graphs: int, jobs: int, lasts_s: float) -> int:
    """Exit code 1 if one was stuck, far from the best split, slow to find it, or did not rest."""
    report = GraphsReport()
    seeds = range(first, first + graphs)
    for verdict in _counted(judge_graphs(seeds, jobs, lasts_s), "graphs", graphs):
        report.add(verdict)
    lanes = [judge_lane(seed) for seed in _counted(seeds, "lanes")]
    held = [verdict for verdict in lanes if verdict.left_over or verdict.held_bytes]
    console = Console()
    table = Table(title="random graphs and budgets, simulated", title_justify="left")
    table.add_column("what")
    table.add_column("graphs", justify="right")
    for what, value in (
        (f"run, {units.duration(lasts_s)} each", units.count(report.graphs)),
        ("stuck", str(report.stuck)),
        ("not within 5 % of the best split at the end", str(report.far)),
        ("worst, of the best split", f"{report.worst_share:.1%}"),
        (f"with more than {MOST_DECISIONS} decisions", str(report.slow)),
        ("decisions", _spread(report.decisions)),
        (f"with more than {MOST_REVERSALS} reversals in an hour", str(report.rocking)),
        ("reversals", _spread(report.reversals)),
        ("single lanes with budgets too small, exact", units.count(len(lanes))),
        ("of them stuck, or with bytes left", str(len(held))),
    ):
        table.add_row(what, value)
    console.print(table)
    for verdict in report.wrong[:MOST_SHOWN]:
        console.print(f"seed {verdict.seed}: {verdict.wrong}")
    for verdict in held[:MOST_SHOWN]:
        console.print(
            f"lane {verdict.seed}: {verdict.left_over} left over, {verdict.held_bytes} bytes: {verdict.waits}"
        )
    return 1 if report.wrong or held else 0


def _spread(counts: Counter[int]) -> str:
    """How many graphs had so many: "0: 12, 1: 30"."""
    return ", ".join(f"{number}: {times}" for number, times in sorted(counts.items()))


def _counted(things: Iterable[_Thing], what: str, total: int | None = None) -> Iterator[_Thing]:
    """These, with a bar on standard error where that is a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        yield from bars.track(things, total=total, description=what)
