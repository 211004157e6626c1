"""`mediatok simulate`: the production core under a virtual clock."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from operators.errors import ConfigError
from pipeline.observe import units
from pipeline.simulate.delivery import simulate_delivery, simulate_in_parallel
from pipeline.simulate.mistakes import Mistake
from pipeline.simulate.report import Report, as_table, mistakes_table


def run_delivery(first: int, seeds: int, jobs: int, mistake: str | None) -> int:
    """Run schedules `first` .. `first + seeds`. Exit code 1 if anything was lost, repeated, stuck or broken.

    Args:
        jobs: processes.
        mistake: name of one to plant.

    Raises:
        ConfigError: no such mistake.
    """
    planted = None if mistake is None else mistake_named(mistake)
    console, report = Console(), Report(planted)
    started_s = time.monotonic()
    for part in _counted(simulate_in_parallel(range(first, first + seeds), jobs, planted), seeds):
        report.add(part)
    console.print(as_table(report))
    took = units.duration(time.monotonic() - started_s)
    console.print(
        Text.assemble(("holds", "green"), f": {units.count(report.schedules)} schedules in {took}")
        if report.clean
        else Text.assemble((f"{units.count(len(report.findings))} schedules went wrong", "bold red"), f" in {took}")
    )
    for finding in report.findings[:1]:
        console.print(f"to see it again: {finding.command(planted)}", markup=False)
    return 0 if report.clean else 1


def run_mistakes(first: int, seeds: int) -> int:
    """Plant every mistake, each until it is caught. Exit code 1 if one is not, within `seeds` schedules."""
    reports = [
        simulate_delivery(range(first, first + seeds), mistake, stop_at_first=True)
        for mistake in _shown(Mistake, "mistakes", len(Mistake))
    ]
    console = Console()
    console.print(mistakes_table(reports))
    caught = [report for report in reports if not report.clean]
    console.print(f"{len(caught)} of {len(reports)} mistakes were caught")
    return 0 if len(caught) == len(reports) else 1


def mistake_named(name: str) -> Mistake:
    """A mistake by its name.

    Raises:
        ConfigError: there is none of this name.
    """
    try:
        return Mistake[name.upper().replace("-", "_")]
    except KeyError as error:
        raise ConfigError(f"--mistake {name!r}: there are {', '.join(Mistake.__members__)}") from error


def _counted(reports: Iterable[Report], seeds: int) -> Iterator[Report]:
    """The reports, with a bar for their schedules."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("schedules", total=seeds)
        for report in reports:
            bars.advance(task, report.schedules)
            yield report


def _shown(mistakes: Iterable[Mistake], what: str, total: int) -> Iterator[Mistake]:
    """The mistakes, with a bar on standard error where that is a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        yield from bars.track(mistakes, total=total, description=what)
