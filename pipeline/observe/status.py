"""What a run is doing, as a file: the coordinator writes it every second, `mediatok status` reads it from anywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from operators.errors import ConfigError
from operators.records import Origin
from pipeline.flow.waits import WaitReason
from pipeline.flow.watchdog import StallCause

STATUS_FILE = "status.json"
STALE_AFTER_S = 5.0
_FORMAT = 1


class State(StrEnum):
    """Of a run or one of its lanes."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    IDLE = "idle"
    DRAINING = "draining"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class CreditStatus:
    """What a lane may have in flight, and has."""

    slots_used: int
    slots_total: int
    bytes_used: int
    bytes_total: int


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """One stage's workers.

    Attributes:
        workers_wanted: the last decision's target.
        reason: the last decision's, e.g. "up_backlog".
        rate_hz: items finished a second.
    """

    stage: str
    workers_ready: int
    workers_starting: int
    workers_draining: int
    workers_wanted: int
    queued_items: int
    in_flight_items: int
    rate_hz: float
    reason: str


@dataclass(frozen=True, slots=True)
class OldestItem:
    """The item that has been in flight longest.

    Attributes:
        origin: of its item that is furthest behind.
        stage: what that is doing, e.g. "backing off".
        detail: where, with whom, how often already, and why.
    """

    origin: Origin
    uri: str
    age_s: float
    stage: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class OutageStatus:
    """A bucket or host that is down.

    Attributes:
        place: scheme and bucket or host.
        lasts_s: since it was found to be down.
        waiting_items: that wait for it.
        error: what the last try there said.
    """

    place: str
    lasts_s: float
    waiting_items: int
    error: str


@dataclass(frozen=True, slots=True)
class StallStatus:
    """A lane that is stuck.

    Attributes:
        lasts_s: since something last finished.
        detail: who, what and how long.
        dump: the file that says more.
    """

    cause: StallCause
    lasts_s: float
    detail: str
    dump: str = ""


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """One lane.

    Attributes:
        lag_items: in the source, not read yet; None while unknown.
        done_items: committed, with whatever outcome, since the run began.
        letters: of these, dead letters (in any product).
        rate_hz: items committed a second, of late.
        tokens_hz: tokens committed a second, of late.
        waiting: for what, now; None while nothing is waited for.
        waited_s: seconds by reason since the run began.
        committed_version: newest version of the lake's log with something of this lane; 0 before the first.
        held_letters: letters of items that wait until the share of letters has been judged.
        outages: places that are down, those that most items wait for first.
        stalled: why nothing finishes though there is work; None while all is well.
    """

    lane: str
    state: State
    lag_items: int | None
    in_flight_items: int
    in_flight_bytes: int
    done_items: int
    letters: int
    rate_hz: float
    tokens_hz: float
    credits: CreditStatus
    pools: tuple[PoolStatus, ...]
    waiting: WaitReason | None
    waited_s: Mapping[WaitReason, float]
    oldest: OldestItem | None
    committed_version: int
    held_letters: int = 0
    outages: tuple[OutageStatus, ...] = ()
    stalled: StallStatus | None = None

    @property
    def remaining_items(self) -> int | None:
        """Not committed yet, as far as the source says."""
        return None if self.lag_items is None else self.lag_items + self.in_flight_items

    @property
    def eta_s(self) -> float | None:
        """Until nothing remains at the present rate; None where it can't be told."""
        remaining = self.remaining_items
        if remaining is None or (remaining and self.rate_hz <= 0):
            return None
        return remaining / self.rate_hz if remaining else 0.0


@dataclass(frozen=True, slots=True)
class RunStatus:
    """A run.

    Attributes:
        config: path of its configuration.
        lake: URI.
        started_at_s, written_at_s: seconds since 1970, UTC.
        notes: what people should know, e.g. pools that do not fit.
        pids: of the actors on this host or others, by name: "image/workers/1", "packer image-0".
        spilled_bytes: of Ray's object store, that it had to write to disk; None while unknown.
        wanted_nodes: what the cluster was asked for because the pools do not fit, e.g. "3 × 1 CPU, 0.5 GPU".
    """

    state: State
    config: str
    lake: str
    pid: int
    host: str
    started_at_s: float
    written_at_s: float
    lanes: tuple[LaneStatus, ...]
    notes: tuple[str, ...] = ()
    pids: Mapping[str, int] = field(default_factory=dict[str, int])
    spilled_bytes: int | None = None
    wanted_nodes: str = ""


@dataclass(frozen=True, slots=True)
class StatusReading:
    """A status and how old it is.

    Attributes:
        stale: the run says it goes on but has not written for `STALE_AFTER_S`: it hangs, or was killed.
    """

    status: RunStatus
    age_s: float
    stale: bool


def write_status(state_dir: Path, status: RunStatus) -> None:
    """Replace `<state_dir>/status.json`; a reader sees the old or the new one, never a part.

    Raises:
        OSError: the folder can't be written.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    fresh = state_dir / f".{STATUS_FILE}.{os.getpid()}"
    fresh.write_text(to_json(status), encoding="utf-8")
    fresh.replace(state_dir / STATUS_FILE)


def read_status(state_dir: Path, now_s: float) -> StatusReading:
    """The last status written there.

    Args:
        now_s: seconds since 1970, UTC.

    Raises:
        ConfigError: there is none, or it is not one that this version can read.
    """
    path = state_dir / STATUS_FILE
    try:
        status = from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"no run has written its status to {path}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no status of this version of mediatok: {error}") from error
    age_s = max(0.0, now_s - status.written_at_s)
    return StatusReading(status, age_s, status.state != State.STOPPED and age_s > STALE_AFTER_S)


def to_json(status: RunStatus) -> str:
    """As it stands in the file."""
    return json.dumps({"format": _FORMAT, **asdict(status)})


def from_json(text: str) -> RunStatus:
    """Back from `to_json`.

    Raises:
        ValueError, KeyError, TypeError: no status, or one of another version.
    """
    raw = json.loads(text)
    if raw.pop("format") != _FORMAT:
        raise ValueError("another format")
    parsed: dict[str, Any] = {
        "state": State(raw["state"]),
        "lanes": tuple(_lane(lane) for lane in raw["lanes"]),
        "notes": tuple(raw["notes"]),
    }
    return RunStatus(**{**raw, **parsed})


def _lane(raw: dict[str, Any]) -> LaneStatus:
    parsed: dict[str, Any] = {
        "state": State(raw["state"]),
        "credits": CreditStatus(**raw["credits"]),
        "pools": tuple(PoolStatus(**pool) for pool in raw["pools"]),
        "waiting": None if raw["waiting"] is None else WaitReason(raw["waiting"]),
        "waited_s": {WaitReason(reason): waited_s for reason, waited_s in raw["waited_s"].items()},
        "oldest": None if raw["oldest"] is None else _oldest(raw["oldest"]),
        "outages": tuple(OutageStatus(**outage) for outage in raw.get("outages", ())),
        "stalled": _stall(raw.get("stalled")),
    }
    return LaneStatus(**{**raw, **parsed})


def _stall(raw: dict[str, Any] | None) -> StallStatus | None:
    if raw is None:
        return None
    parsed: dict[str, Any] = {"cause": StallCause(raw["cause"])}
    return StallStatus(**{**raw, **parsed})


def _oldest(raw: dict[str, Any]) -> OldestItem:
    parsed: dict[str, Any] = {"origin": Origin(**raw["origin"])}
    return OldestItem(**{**raw, **parsed})
