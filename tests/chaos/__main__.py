"""`python -m tests.chaos`: kill everything at random, on real Kafka, S3 and Ray, and count."""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from tests.chaos.rounds import RoundReport, Rounds
from tests.chaos.stage import Setting, Stage


def main() -> int:
    """Play the rounds; 1 if anything is lost, repeated, wrong or stuck."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what strikes when, and of the messages (%(default)s)")
    parser.add_argument("--replicas", type=int, default=2, help="(%(default)s)")
    parser.add_argument("--protocol", choices=["consumer", "classic"], default="consumer", help="(%(default)s)")
    parser.add_argument("--folder", type=Path, help="for data and logs; a new one below the system's by default")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    setting = Setting(given.seed, given.replicas, given.protocol)
    print(
        f"seed {given.seed}, {given.replicas} replicas, group protocol {given.protocol}; logs in {folder}", flush=True
    )
    return 0 if chaos(folder, setting, given.rounds) else 1


def chaos(folder: Path, setting: Setting, rounds: int) -> bool:
    """Play; print a line a round and a summary. Returns whether all is well."""
    began_s, reports, asked = time.monotonic(), list[RoundReport](), _signals()
    with Stage(folder, setting) as stage:
        if stage.no_disks:
            print(f"no disk can be filled here: {stage.no_disks}")
        play = Rounds(stage, setting.seed)
        play.warm_up()
        print(f"ready after {time.monotonic() - began_s:.0f} s", flush=True)
        for number in range(rounds):
            if asked.is_set():
                break
            reports.append(play.play(number))
            print(reports[-1].line, flush=True)
            for example in reports[-1].audit.examples:
                print(f"    {example}", flush=True)
        stage.publisher.pause()
        codes = stage.supervisor.close()
        verified = stage.verify()
        _summarize(reports, stage, codes, verified.returncode)
        if verified.returncode:
            print(verified.stdout, verified.stderr)
    return not verified.returncode and not any(report.failures for report in reports)


def _signals() -> threading.Event:
    """The first Ctrl-C or SIGTERM ends the run after the present round, the next one at once."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            sys.exit(1)
        asked.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, ask)
    return asked


def _summarize(reports: Sequence[RoundReport], stage: Stage, codes: Sequence[int | None], verified: int) -> None:
    faults = Counter(strike.fault for report in reports for strike in report.strikes)
    failures = Counter[str]()
    for report in reports:
        failures += Counter(report.failures)
    recovered_s = sorted(report.recovered_s for report in reports)
    if not reports:
        return
    count = reports[-1].audit.count
    print(f"\n{len(reports)} rounds, {count.messages} messages, {stage.auditor.version} versions of the log")
    print(f"rows {count.rows}, letters {count.letters}, empties {count.empties}, voids {count.voids}")
    print(f"recovered in {statistics.median(recovered_s):.1f} s (p50), {recovered_s[-1]:.1f} s (most)")
    print("faults: " + ", ".join(f"{number} {fault.value}" for fault, number in faults.most_common()))
    print("store's answers: " + ", ".join(f"{number} {each}" for each, number in stage.proxy.faults.most_common()))
    print("how processes ended:")
    for how, number in stage.supervisor.ends.most_common():
        print(f"  {number:4} {how}")
    print(f"  at the end: {list(codes)}")
    print(f"not published: {stage.publisher.failed}")
    print(f"lake verify: {'well' if not verified else f'exit {verified}'}")
    print("failures: " + (", ".join(f"{name} {number}" for name, number in failures.items()) or "none"))


if __name__ == "__main__":
    sys.exit(main())
