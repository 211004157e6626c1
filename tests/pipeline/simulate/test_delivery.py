from __future__ import annotations

import pytest
from rich.console import Console

from pipeline.simulate.delivery import simulate_delivery
from pipeline.simulate.faults import Kind, PutFate, Step
from pipeline.simulate.mistakes import Mistake
from pipeline.simulate.report import as_table, as_text

SCHEDULES = 2000
CHUNK = 500
MOST_SEEDS = 600
"""Within these a planted mistake must be found."""


@pytest.mark.parametrize("first", range(0, SCHEDULES, CHUNK))
def test_nothing_is_lost_repeated_or_stuck_whatever_goes_wrong(first: int) -> None:
    report = simulate_delivery(range(first, first + CHUNK))
    assert report.clean, as_text(report)
    assert (report.schedules, report.lost, report.repeated, report.stuck, report.broken) == (CHUNK, 0, 0, 0, 0)
    # It has seen something: a simulator in which nothing goes wrong finds nothing either.
    chances = {kind for kind in Kind if kind is not Kind.PUT}
    fates = {fate for fate in PutFate if fate is not PutFate.FINE}
    crashes = {f"crash: {step}" for step in Step if step is not Step.FILTER}
    assert chances | fates | crashes <= set(report.faults)
    assert report.messages > 10 * CHUNK


@pytest.mark.parametrize("mistake", list(Mistake))
def test_every_planted_mistake_is_caught(mistake: Mistake) -> None:
    report = simulate_delivery(range(MOST_SEEDS), mistake, stop_at_first=True)
    print(
        f"{mistake.name}: caught by schedule {report.schedules}: {report.findings[0].what if report.findings else ''}"
    )
    assert not report.clean, f"{mistake} was not caught in {MOST_SEEDS} schedules"
    # What was found is reproduced by its seed alone.
    (finding,) = report.findings
    assert simulate_delivery([finding.seed], mistake).findings == [finding]
    assert simulate_delivery([finding.seed]).clean


def test_a_seed_gives_the_same_schedule_each_time() -> None:
    first, again = simulate_delivery([7, 8]), simulate_delivery([7, 8])
    assert first == again
    assert simulate_delivery([9, 10]) != first


def test_the_report_names_the_seed_in_text_and_table() -> None:
    report = simulate_delivery(range(5), Mistake.CREDITS_KEPT, stop_at_first=True)
    seed = report.findings[0].seed
    assert f"seed {seed}: " in as_text(report)
    assert Mistake.CREDITS_KEPT in as_text(report)
    console = Console(width=200)
    with console.capture() as shown:
        console.print(as_table(report))
    assert f"seed {seed}" in shown.get()
