"""Runs schedules of the whole delivery and counts what they lose, repeat or leave undone."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from pipeline.simulate.audit import audit_lake
from pipeline.simulate.mistakes import Mistake
from pipeline.simulate.report import Finding, Report
from pipeline.simulate.schedule import Schedule
from pipeline.simulate.world import World

CHUNK = 50
"""Schedules that a process is given at once."""


def simulate_delivery(seeds: Iterable[int], mistake: Mistake | None = None, *, stop_at_first: bool = False) -> Report:
    """Run one schedule a seed.

    Args:
        seeds: each draws a world, its faults and their moments.
        mistake: to plant.
        stop_at_first: end with the first schedule that goes wrong.
    """
    report = Report(mistake)
    for seed in seeds:
        _simulate_one(seed, report)
        if stop_at_first and report.findings:
            break
    return report


def simulate_in_parallel(seeds: Sequence[int], jobs: int, mistake: Mistake | None = None) -> Iterator[Report]:
    """The same in several processes: a report for every few seeds, in their order.

    Args:
        seeds: as above.
        jobs: processes.
        mistake: to plant.
    """
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    if jobs == 1:
        yield from (simulate_delivery(chunk, mistake) for chunk in chunks)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(simulate_delivery, mistake=mistake), chunks)


def _where(error: Exception) -> str:
    """Where it was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"


def _simulate_one(seed: int, report: Report) -> None:
    world = World(seed, report.mistake)
    schedule = Schedule(world)
    try:
        quiet = schedule.run()
    except Exception as error:  # noqa: BLE001  whatever it is, its seed is to be told, and the others go on
        world.broken(f"{type(error).__name__}: {error}, at {_where(error)}")
        quiet = False
    audit = audit_lake(world)
    report.schedules += 1
    report.messages += audit.messages
    report.versions += len(world.store.log)
    report.faults.update({str(kind): times for kind, times in world.faults.seen.items()})
    wrong = [*world.errors, *audit.wrong]
    report.broken += bool(wrong)
    report.repeated += len(audit.repeated)
    findings = [*wrong, *(f"repeated: {what}" for what in audit.repeated)]
    if quiet:
        report.lost += len(audit.lost)
        findings += [f"lost: {what}" for what in audit.lost]
    elif not world.errors:
        report.stuck += max(1, len(audit.lost))
        findings.append(f"stuck: {schedule.describe()}")
    if findings:
        report.findings.append(Finding(seed, findings[0]))
