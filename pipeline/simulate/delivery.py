"""Runs schedules of the whole delivery and counts what they lose, repeat or leave undone."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.simulate.audit import audit_lake
from pipeline.simulate.mistakes import Mistake
from pipeline.simulate.report import Finding, Report
from pipeline.simulate.schedule import Schedule
from pipeline.simulate.world import World


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


def _simulate_one(seed: int, report: Report) -> None:
    world = World(seed, report.mistake)
    schedule = Schedule(world)
    quiet = schedule.run()
    audit = audit_lake(world.store, world.broker.logs, world.media, world.promised)
    report.schedules += 1
    report.messages += audit.messages
    report.versions += len(world.store.log)
    report.faults.update(world.faults.seen)
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
