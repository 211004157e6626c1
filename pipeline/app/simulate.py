"""`mediatok simulate`: the production core under a virtual clock."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from pipeline.observe import units
from pipeline.simulate.delivery import simulate_delivery
from pipeline.simulate.report import as_table


def run_delivery(first: int, seeds: int) -> int:
    """Run schedules `first` .. `first + seeds`. Exit code 1 if anything was lost, repeated, stuck or broken."""
    console = Console()
    started_s = time.monotonic()
    report = simulate_delivery(_counted(first, seeds))
    console.print(as_table(report))
    took = units.duration(time.monotonic() - started_s)
    console.print(
        Text.assemble(("holds", "green"), f": {units.count(report.schedules)} schedules in {took}")
        if report.clean
        else Text.assemble((f"{units.count(len(report.findings))} schedules went wrong", "bold red"), f" in {took}")
    )
    for finding in report.findings[:1]:
        console.print(f"to see it again: mediatok simulate delivery --first {finding.seed} --seeds 1")
    return 0 if report.clean else 1


def _counted(first: int, seeds: int) -> Iterator[int]:
    """The seeds, with a bar on standard error where that is a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        yield from bars.track(range(first, first + seeds), description="schedules")
