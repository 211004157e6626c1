"""What strikes in a round: drawn by a seed, begun at a random moment, and undone a while later."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.replicas import Replica
from tests.chaos.stage import SESSION_S, Stage
from tests.integration.fault_proxy import Fault as Answer
from tests.integration.fault_proxy import Plan, Request

MOST_FAULTS = 3
SPREAD_S = 4.0
"""Faults of a round begin within this time."""
TROUBLE_SHARE = 0.3
ANSWERS = [
    Answer.CLOSE_BEFORE,
    Answer.CLOSE_AFTER,
    Answer.ERROR_500_BEFORE,
    Answer.ERROR_500_AFTER,
    Answer.ERROR_503_BEFORE,
    Answer.ERROR_503_AFTER,
    Answer.DELAY_AFTER,
    Answer.LATE,
    Answer.TWICE,
    Answer.HALF_SENT,
    Answer.HALF_ANSWERED,
]


class Fault(StrEnum):
    """What happens."""

    COORDINATOR_KILLED = "coordinator killed"
    COORDINATOR_PAUSED = "coordinator paused"
    """SIGSTOP past its session, then SIGCONT."""
    COORDINATOR_DRAINED = "coordinator drained"
    """SIGTERM."""
    WORKER_KILLED = "worker killed"
    PACKER_KILLED = "packer killed"
    RAYLET_KILLED = "raylet killed"
    """And with it all actors of all replicas."""
    BROKER_KILLED = "broker killed"
    STORE_KILLED = "store killed"
    STORE_TROUBLE = "store in trouble"
    """Answers that are lost, late, errors or halves."""
    SPOOL_FULL = "spool's disk full"
    STORE_FULL = "store's disk full"


NEED_DISKS = {Fault.SPOOL_FULL, Fault.STORE_FULL}
NOT_BOTH = {Fault.STORE_KILLED, Fault.STORE_FULL}
"""A gateway that starts on a full disk tells nothing of ours."""
LASTS_S = {
    Fault.COORDINATOR_PAUSED: (SESSION_S + 2, SESSION_S + 5),
    Fault.BROKER_KILLED: (0.5, 4.0),
    Fault.STORE_KILLED: (0.5, 6.0),
    Fault.STORE_TROUBLE: (3.0, 8.0),
    Fault.SPOOL_FULL: (3.0, 7.0),
    Fault.STORE_FULL: (3.0, 7.0),
}


@dataclass(frozen=True)
class Strike:
    """One fault of a round.

    Attributes:
        after_s: from the round's beginning.
        lasts_s: until it is undone; 0.0: nothing is to be undone.
        replica: whose.
        seed: of what it draws itself.
    """

    fault: Fault
    after_s: float
    lasts_s: float
    replica: int
    seed: int


def draw(rng: random.Random, replicas: int, possible: list[Fault], number: int) -> tuple[Strike, ...]:
    """The faults of round `number`: one of each kind in turn, so that none is missed, and up to two more."""
    first = possible[number % len(possible)]
    others = rng.sample([fault for fault in possible if fault is not first], rng.choice([0, 1, 1, 2]))
    strikes = list[Strike]()
    if first in NOT_BOTH or set(others) >= NOT_BOTH:
        others = [fault for fault in others if fault not in NOT_BOTH]
    for fault in [first, *others][:MOST_FAULTS]:
        low_s, high_s = LASTS_S.get(fault, (0.0, 0.0))
        after_s, lasts_s = rng.uniform(1.0, SPREAD_S), rng.uniform(low_s, high_s)
        strikes.append(Strike(fault, after_s, lasts_s, rng.randrange(replicas), rng.randrange(1 << 30)))
    return tuple(strikes)


def possible_faults(stage: Stage) -> list[Fault]:
    """All, but for those that need disks that can't be had here."""
    return [fault for fault in Fault if stage.disks or fault not in NEED_DISKS]


def begin(strike: Strike, stage: Stage) -> Callable[[], object]:
    """Let it happen. Returns what undoes it."""
    replica = stage.replicas[strike.replica]
    match strike.fault:
        case Fault.COORDINATOR_KILLED:
            replica.send(signal.SIGKILL)
        case Fault.COORDINATOR_DRAINED:
            replica.send(signal.SIGTERM)
        case Fault.COORDINATOR_PAUSED:
            return _pause(replica)
        case Fault.WORKER_KILLED:
            _kill(replica.actor("/workers"))
        case Fault.PACKER_KILLED:
            _kill(replica.actor("packer"))
        case Fault.RAYLET_KILLED:
            stage.ray.kill_raylet()
        case Fault.BROKER_KILLED:
            stage.kafka.kill()
            return stage.kafka.start
        case Fault.STORE_KILLED:
            stage.store.kill()
            return stage.store.start
        case Fault.STORE_TROUBLE:
            stage.proxy.plan = _trouble(random.Random(strike.seed))
            return lambda: setattr(stage.proxy, "plan", _no_trouble)
        case Fault.SPOOL_FULL:
            stage.disks[strike.replica].fill()
            return stage.disks[strike.replica].free
        case Fault.STORE_FULL:
            assert stage.store_disk is not None
            stage.store_disk.fill()
            return stage.store_disk.free
    return _nothing


def _kill(pid: int) -> None:
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _pause(replica: Replica) -> Callable[[], object]:
    pid = replica.send(signal.SIGSTOP)

    def wake() -> None:
        if pid and replica.pid == pid:
            os.kill(pid, signal.SIGCONT)

    return wake


def _trouble(rng: random.Random) -> Plan:
    return lambda request: rng.choice(ANSWERS) if rng.random() < TROUBLE_SHARE else None


def _no_trouble(request: Request) -> Answer | None:
    return None


def _nothing() -> None:
    """What is over at once."""
