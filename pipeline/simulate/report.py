"""What a simulation found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from rich.table import Table

from pipeline.simulate.mistakes import Mistake


@dataclass(frozen=True, slots=True)
class Finding:
    """A schedule that went wrong.

    Attributes:
        seed: that reproduces it.
        what: was found.
    """

    seed: int
    what: str


@dataclass(slots=True)
class Report:
    """All schedules together.

    Attributes:
        mistake: that was planted.
        faults: what went wrong in the world, by kind.
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


def as_text(report: Report) -> str:
    """A few plain lines."""
    lines = [
        f"schedules {report.schedules}, messages owed {report.messages}, versions {report.versions}"
        + (f", planted: {report.mistake}" if report.mistake else ""),
        f"lost {report.lost}, repeated {report.repeated}, stuck {report.stuck}, broken {report.broken}",
        "faults: " + ", ".join(f"{kind} {times}" for kind, times in sorted(report.faults.items())),
    ]
    lines += [f"seed {finding.seed}: {finding.what}" for finding in report.findings[:10]]
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
        table.add_row(kind, str(times))
    if report.findings:
        table.add_section()
        for finding in report.findings[:10]:
            table.add_row(finding.what, f"seed {finding.seed}")
    return table
