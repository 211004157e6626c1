from __future__ import annotations

from collections import Counter

import pytest
from rich.console import Console

from pipeline.simulate.delivery import simulate_delivery, simulate_in_parallel
from pipeline.simulate.faults import Event, Kind, PutFate, Step
from pipeline.simulate.mistakes import Mistake
from pipeline.simulate.report import Report, as_table, as_text, mistakes_table

SCHEDULES = 2000
CHUNK = 500
MOST_SEEDS = 1000
"""Within these a planted mistake must be found."""

CHANCES = {kind for kind in Kind if kind is not Kind.PUT}
FATES = {fate for fate in PutFate if fate is not PutFate.FINE}
CRASHES = {f"crash: {step}" for step in Step}
RARE = {f"crash: {step}" for step in (Step.FILTER, Step.JOB)}
LED_TO = {
    "hole in a log",
    "call overtaken by a later one",
    "stopped: source.gap",
    "stopped: source.recreated",
    "stopped: product.superseded",
    "superseded",
    "gap skipped by hand",
    "topic made anew by hand",
    "sealed again after vacuum",
    *(f"job done: {job}" for job in ("replay", "retokenize", "catch-up", "backfill", "takedown", "compaction")),
}


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(first, marks=pytest.mark.soak) for first in range(CHUNK, SCHEDULES, CHUNK))]
)
def test_nothing_is_lost_repeated_or_stuck_whatever_goes_wrong(first: int) -> None:
    report = simulate_delivery(range(first, first + CHUNK))
    assert report.clean, as_text(report)
    assert (report.schedules, report.lost, report.repeated, report.stuck, report.broken) == (CHUNK, 0, 0, 0, 0)
    # It has seen something: a simulator in which nothing goes wrong finds nothing either.
    assert CHANCES | FATES | set(Event) | (CRASHES - RARE) | LED_TO <= set(report.faults)
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


def test_there_are_enough_mistakes_to_believe_the_check() -> None:
    assert len(Mistake) >= 22


def test_a_seed_gives_the_same_schedule_each_time() -> None:
    first, again = simulate_delivery([7, 8]), simulate_delivery([7, 8])
    assert first == again
    assert simulate_delivery([9, 10]) != first


def test_in_several_processes_the_same_is_found() -> None:
    seeds, mistake = range(100, 160), Mistake.CREDITS_KEPT
    whole = Report(mistake)
    for part in simulate_in_parallel(seeds, 2, mistake):
        whole.add(part)
    assert whole.findings
    assert whole == simulate_delivery(seeds, mistake)


def test_the_report_names_the_seed_in_text_and_table() -> None:
    report = simulate_delivery(range(5), Mistake.CREDITS_KEPT, stop_at_first=True)
    seed = report.findings[0].seed
    assert f"seed {seed}: " in as_text(report)
    assert Mistake.CREDITS_KEPT in as_text(report)
    console = Console(width=200)
    with console.capture() as shown:
        console.print(as_table(report))
        console.print(mistakes_table([report]))
    assert f"seed {seed}" in shown.get()
    assert "CREDITS_KEPT" in shown.get()
    assert report.findings[0].command(report.mistake) == (
        f"mediatok simulate delivery --first {seed} --seeds 1 --mistake CREDITS_KEPT"
    )


def test_reports_add_up() -> None:
    first, second = simulate_delivery([1]), simulate_delivery([2])
    both = simulate_delivery([1, 2])
    first.add(second)
    assert first == both
    assert first.faults == Counter(both.faults)
