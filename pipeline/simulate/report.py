"""What a simulation found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table
from rich.text import Text

from pipeline.simulate.mistakes import Mistake

MOST_SHOWN = 10
MOST_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Finding:
    """A schedule that went wrong.

    Attributes:
        seed: that reproduces it.
        what: was found.
    """

    seed: int
    what: str

    def command(self, mistake: Mistake | None) -> str:
        """What shows it again."""
        planted = f" --mistake {mistake.name}" if mistake is not None else ""
        return f"mediatok simulate delivery --first {self.seed} --seeds 1{planted}"


@dataclass(slots=True)
class Report:
    """All schedules together.

    Attributes:
        mistake: that was planted.
        faults: what went wrong in the world, and what that led to, by kind.
        lost, repeated, stuck: items (or messages) with no outcome, with more than one, and with none because the
            world did not become quiet.
        broken: schedules in which production code found its own invariants broken, or an outcome was not the right one.
        findings: one a schedule that failed.
        messages: that were owed, counted once a product.
        versions: of all lakes' logs.
    """

    mistake: Mistake | None = None
    schedules: int = 0
    messages: int = 0
    versions: int = 0
    lost: int = 0
    repeated: int = 0
    stuck: int = 0
    broken: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])
    findings: list[Finding] = field(default_factory=list[Finding])

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def add(self, other: Report) -> None:
        """Take another one's schedules in."""
        for name in ("schedules", "messages", "versions", "lost", "repeated", "stuck", "broken"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.faults.update(other.faults)
        self.findings += other.findings


def as_text(report: Report) -> str:
    """A few plain lines."""
    lines = [
        f"schedules {report.schedules}, messages owed {report.messages}, versions {report.versions}"
        + (f", planted: {report.mistake}" if report.mistake else ""),
        f"lost {report.lost}, repeated {report.repeated}, stuck {report.stuck}, broken {report.broken}",
        "faults: " + ", ".join(f"{kind} {times}" for kind, times in sorted(report.faults.items())),
    ]
    lines += [f"seed {finding.seed}: {finding.what}" for finding in report.findings[:MOST_SHOWN]]
    return "\n".join(lines)


def as_table(report: Report) -> Table:
    """The same for a terminal."""
    table = Table(title="delivery, simulated" + (f": {report.mistake}" if report.mistake else ""), title_justify="left")
    table.add_column("what")
    table.add_column("times", justify="right")
    for name in ("schedules", "messages", "versions", "lost", "repeated", "stuck", "broken"):
        table.add_row(name, str(getattr(report, name)))
    table.add_section()
    for kind, times in sorted(report.faults.items()):
        table.add_row(Text(kind), str(times))
    if report.findings:
        table.add_section()
        for finding in report.findings[:MOST_SHOWN]:
            table.add_row(Text(finding.what[:MOST_CHARACTERS]), f"seed {finding.seed}")
    return table


def mistakes_table(reports: Sequence[Report]) -> Table:
    """Each planted mistake: how many schedules it took, and what was found."""
    table = Table(title="planted mistakes", title_justify="left")
    table.add_column("name")
    table.add_column("mistake")
    table.add_column("schedules", justify="right")
    table.add_column("found")
    for report in reports:
        assert report.mistake is not None
        found = report.findings[0].what[:MOST_CHARACTERS] if report.findings else "nothing: not caught"
        table.add_row(report.mistake.name, report.mistake.value, str(report.schedules), Text(found))
    return table
