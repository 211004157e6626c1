"""`python -m tests.recovery`: kill -9 at random, count, and time how long it takes to be back to speed."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.ray_head import RayHead
from tests.recovery.compare import rows_of
from tests.recovery.corpus import make_originals
from tests.recovery.kills import Case, Kill, RoundReport, play
from tests.recovery.process import Backfill
from tests.recovery.speed import quantile

A_RUN = 4
"""Kills of each case in one run."""


def main() -> int:
    """Play, print a table; 1 if a row is lost, repeated or another one, or something is left."""
    parser = argparse.ArgumentParser(prog="python -m tests.recovery", description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="kills of each case (%(default)s)")
    parser.add_argument("--case", type=Case, choices=list(Case), nargs="*", default=list(Case), help="(all)")
    parser.add_argument("--seed", type=int, default=1, help="of who is killed when (%(default)s)")
    parser.add_argument("--folder", type=Path, help="for media, lakes and logs; by default a new one")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the Ray that was started here ends too
    folder = given.folder or Path(tempfile.mkdtemp(prefix="recovery-"))
    hide_pandas(folder / "without-pandas")
    console = Console()
    console.print(f"seed {given.seed}; logs in {folder}", markup=False)

    def say(kill: Kill) -> None:
        console.print(_line(kill), markup=False)

    reports = recover(folder, given.case, given.times, given.seed, say)
    console.print(table(reports, given.case))
    for line in summary(reports):
        console.print(line, markup=False)
    if given.json:
        given.json.write_text(json.dumps(as_json(reports, given.case), indent=1))
    return 0 if all(report.well for report in reports) else 1


def hide_pandas(folder: Path) -> None:
    """From this process's children: only the development group has it, and pyarrow loads it wherever it is found.

    That takes 0.8 s of CPU of each actor's start, which nobody's who has installed mediatok takes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pandas.py").write_text('raise ModuleNotFoundError("hidden", name="pandas")\n')
    before = [path for path in (os.environ.get("PYTHONPATH"),) if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *before])


def recover(
    folder: Path, cases: Sequence[Case], times: int, seed: int, say: Callable[[Kill], None] = lambda _: None
) -> list[RoundReport]:
    """Runs until each case was killed so often."""
    folder.mkdir(parents=True, exist_ok=True)
    originals = folder / "originals"
    make_originals(originals)
    head = RayHead(folder / "ray")
    head.start()
    try:
        quiet = Backfill(folder / "undisturbed", originals, head, pace_s=0.0)
        quiet.start()
        quiet.wait()
        undisturbed = rows_of(quiet.lake)
        rng, reports = random.Random(seed), list[RoundReport]()
        left = dict.fromkeys(cases, times)
        while any(left.values()):
            now = [case for case, count in left.items() for _ in range(min(A_RUN, count))]
            run_folder = folder / f"run-{len(reports)}"
            run_folder.mkdir()
            reports.append(play(run_folder, head, originals, undisturbed, now, rng, say))
            if not reports[-1].kills:
                raise RuntimeError(f"{run_folder}: the media ran out before anything was killed")
            for kill in reports[-1].kills:
                left[kill.case] -= 1
    finally:
        head.close()
    return reports


def table(reports: Sequence[RoundReport], cases: Sequence[Case]) -> Table:
    """A row a case."""
    made = Table("killed", "times", "speed before /s", "back after s: p50", "p90", "most", "not back")
    for case in cases:
        kills = [kill for report in reports for kill in report.kills if kill.case is case]
        back_s = [kill.back_s for kill in kills if kill.back_s is not None]
        speed = f"{quantile([kill.before_hz for kill in kills], 0.5):.1f}" if kills else "-"
        times = [f"{quantile(back_s, share):.1f}" if back_s else "-" for share in (0.5, 0.9, 1.0)]
        made.add_row(case.value, str(len(kills)), speed, *times, str(len(kills) - len(back_s)))
    return made


def summary(reports: Sequence[RoundReport]) -> list[str]:
    """What became of the rows."""
    counts = [report.count for report in reports]
    return [
        f"{len(reports)} runs, {sum(report.files for report in reports)} files, {sum(c.rows for c in counts)} rows",
        f"files with other rows than undisturbed: {sum(len(report.differing) for report in reports)}",
        f"lost {sum(c.lost for c in counts)}, repeated {sum(c.repeated for c in counts)}, "
        f"uncovered {sum(c.uncovered for c in counts)}, letters {sum(c.letters for c in counts)}",
        f"left at the end: {sum(r.left.leases for r in reports)} leases, "
        f"{sum(r.left.credit_bytes for r in reports)} bytes of credits",
        f"actors that outlived their coordinator: {sum(k.outlived for r in reports for k in r.kills)}",
    ]


def as_json(reports: Sequence[RoundReport], cases: Sequence[Case]) -> dict[str, Any]:
    """All figures."""
    kills = [kill for report in reports for kill in report.kills]
    return {
        "cases": {
            case.value: [
                {"who": kill.who, "before_hz": kill.before_hz, "back_s": kill.back_s, "outlived": kill.outlived}
                for kill in kills
                if kill.case is case
            ]
            for case in cases
        },
        "files": sum(report.files for report in reports),
        "differing": [name for report in reports for name in report.differing],
        "rows": sum(report.count.rows for report in reports),
        "lost": sum(report.count.lost for report in reports),
        "repeated": sum(report.count.repeated for report in reports),
        "letters": sum(report.count.letters for report in reports),
        "leases_left": sum(report.left.leases for report in reports),
        "credit_bytes_left": sum(report.left.credit_bytes for report in reports),
    }


def _line(kill: Kill) -> str:
    back = "not back" if kill.back_s is None else f"back after {kill.back_s:.1f} s"
    return f"{kill.case.value:12} {kill.who:20} {kill.before_hz:6.1f} /s  {back}"


if __name__ == "__main__":
    sys.exit(main())
