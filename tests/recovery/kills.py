"""What is killed, at random moments of one run after the other, and how long its lane takes to be back to its speed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tests.chaos.ray_head import RayHead
from tests.integration.independent_count import Count
from tests.recovery.compare import Rows, counted, differing
from tests.recovery.corpus import Amount, make_copies
from tests.recovery.process import LANES, PACE_S, Backfill, Left
from tests.recovery.speed import BEFORE_S, Curve

AT_RANDOM_S = 4.0
"""A blow falls so long after the speed was measured, at most."""
PATIENCE_S = 300.0
LATE_S = 3.0
"""Rows that were packed before a packer was killed are sealed and committed within this time."""
LOOK_EACH_S = 0.5
STEADY = 1.5
"""The most by which the speeds of two times of `BEFORE_S` / 2 may differ."""
SPREAD_S = {True: 45.0, False: 16.0}
"""About what a kill of a coordinator, and of an actor, takes of a run."""


class Case(StrEnum):
    """What is killed."""

    DECODER = "decoder"
    """A worker of the films, which tokenizes too."""
    TOKENIZER = "tokenizer"
    """A worker of the recordings' tokenizers."""
    PACKER = "packer"
    """One of the pictures' two."""
    COORDINATOR = "coordinator"
    """`mediatok backfill`, which is started again at once."""


_ACTORS: Mapping[Case, tuple[str, str]] = {
    Case.DECODER: ("video", "video/workers/"),
    Case.TOKENIZER: ("audio", "audio/tokenize/"),
    Case.PACKER: ("image", "packer image-"),
}


@dataclass(frozen=True)
class Kill:
    """One.

    Attributes:
        who: by name.
        before_hz: windows a second of its lane (of the slowest to come back) before.
        back_s: until its lanes had nine tenths of their speed again; None: not within `PATIENCE_S`.
        outlived: actors of a killed coordinator that still ran when all was back.
    """

    case: Case
    who: str
    before_hz: float
    back_s: float | None
    outlived: int = 0


@dataclass
class RoundReport:
    """One run from its start to its end.

    Attributes:
        differing: files whose rows are others than an undisturbed run's.
        count: by independent code.
        left: what the run says that it still holds.
    """

    kills: list[Kill] = field(default_factory=list)
    files: int = 0
    differing: list[str] = field(default_factory=list)
    count: Count = field(default_factory=Count)
    left: Left = field(default_factory=lambda: Left(0, 0))

    @property
    def well(self) -> bool:
        """Whether rows and count are as they must be, and nothing is left."""
        wrong = (self.count.lost, self.count.repeated, self.count.unknown, self.count.uncovered, self.count.letters)
        return not (self.differing or any(wrong) or self.left.leases or self.left.credit_bytes)


def play(
    folder: Path,
    head: RayHead,
    originals: Path,
    undisturbed: Rows,
    cases: Sequence[Case],
    rng: random.Random,
    say: Callable[[Kill], None],
) -> RoundReport:
    """One run in which these are killed one after the other; it then goes on to its end and is compared.

    Where the media run out before, fewer are.
    """
    amount = enough_for(cases)
    make_copies(originals, folder / "media", amount)
    report = RoundReport(files=amount.files)
    run = Backfill(folder / "run", folder / "media", head)
    run.start()
    try:
        order = list(cases)
        rng.shuffle(order)
        for case in order:
            kill = _blow(run, case, rng)
            if kill is None:
                break
            report.kills.append(kill)
            say(kill)
        report.left = run.wait()
    finally:
        run.close()
    report.differing = differing(run.lake, folder / "media", undisturbed)
    report.count = counted(run.lake, amount.files)
    return report


def enough_for(cases: Sequence[Case]) -> Amount:
    """What the lanes do at their best while these are killed."""
    seconds = 20.0 + sum(SPREAD_S[case is Case.COORDINATOR] for case in cases)
    windows = seconds / PACE_S
    # Of films and recordings two are tokenized at a time; a file's windows are 27 and 26, on the average. On two cores
    # films come to some 24 a second, so that the last ones would take as long again as all kills.
    return Amount(films=round(1.2 * windows / 27), sounds=round(1.8 * windows / 26), pictures=round(windows))


def _blow(run: Backfill, case: Case, rng: random.Random) -> Kill | None:
    """Wait for a steady speed, kill at a random moment, wait until it is back. None: the run has come to its end."""
    lanes = list(LANES) if case is Case.COORDINATOR else [_ACTORS[case][0]]
    if not _steady(run, lanes, case):
        return None
    time.sleep(rng.uniform(0, AT_RANDOM_S))
    if case is Case.COORDINATOR:
        before = dict(run.pids())
        blow_s, who = time.time(), "coordinator"
        run.kill()
        run.start()
    else:
        before = {}
        names = {name: pid for name, pid in run.pids().items() if name.startswith(_ACTORS[case][1])}
        if not names or run.ended:
            return None
        who = rng.choice(sorted(names))
        blow_s = time.time()
        with contextlib.suppress(ProcessLookupError):
            os.kill(names[who], signal.SIGKILL)
    speeds = {lane: _curve(run, lane, case).hz(blow_s - BEFORE_S, blow_s) for lane in lanes}
    back = {lane: _back_s(run, lane, case, blow_s, speeds[lane]) for lane in lanes}
    slowest = max(back, key=lambda lane: PATIENCE_S if back[lane] is None else back[lane])
    return Kill(case, who, speeds[slowest], back[slowest], sum(map(_lives, before.values())))


def _steady(run: Backfill, lanes: Sequence[str], case: Case) -> bool:
    """Wait until the lanes have gone for some seconds without a pause. False: the run is over, or nearly."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        if run.ended:
            return False
        now_s = time.time()
        halves = [
            (_curve(run, lane, case).hz(now_s - each - BEFORE_S / 2, now_s - each))
            for lane in lanes
            for each in (1.0, 1.0 + BEFORE_S / 2)
        ]
        if run.pids() and all(halves) and max(_ratios(halves)) < STEADY:
            return True
        time.sleep(LOOK_EACH_S)
    return False


def _ratios(halves: Sequence[float]) -> list[float]:
    return [max(late, early) / min(late, early) for late, early in zip(halves[::2], halves[1::2], strict=True)]


def _back_s(run: Backfill, lane: str, case: Case, blow_s: float, before_hz: float) -> float | None:
    while (now_s := time.time()) < blow_s + PATIENCE_S:
        late_s = LATE_S if case is Case.PACKER else 0.0
        back_s = _curve(run, lane, case).back_s(blow_s, before_hz, now_s, late_s)
        if back_s is not None:
            return back_s
        if run.ended:
            return None
        time.sleep(LOOK_EACH_S)
    return None


def _curve(run: Backfill, lane: str, case: Case) -> Curve:
    """Windows tokenized; where a packer is killed, rows committed."""
    return Curve(run.committed(lane) if case is Case.PACKER else run.tokenized(lane))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
