"""`mediatok catch-up`: what lies below the `from` of products that joined later, or that began at "latest"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import structlog
from rich.console import Console

from operators.errors import ConfigError, SourceUnavailableError
from pipeline.app.build import claims_of
from pipeline.app.jobs import chosen_products, config_for, open_lake_of
from pipeline.app.run import check_kafka, execute, kafka_of
from pipeline.config import Config
from pipeline.flow.ranges import Ranges, difference, intersection, size
from pipeline.graph import LanePlan
from pipeline.lake.history import load_state
from pipeline.lake.state import LakeState
from pipeline.lake.store import LakeStore
from pipeline.observe import units
from pipeline.observe.logs import setup_logs
from pipeline.records import SourcePartition, Span
from pipeline.source.base import LogEnds, OffsetsAt, Positions, Source
from pipeline.source.kafka_config import KafkaConfig
from pipeline.source.kafka_past import KafkaPast, Owed

KafkaFor = Callable[[LanePlan], KafkaConfig]
"""What a lane reads from."""

_log = structlog.get_logger(__name__)


def run_catch_up(config: Config, path: str, product: str | None, since: str) -> int:
    """Read what lies below, make it, end. Returns the exit code.

    Args:
        config: as of the run.
        path: what it is called.
        product: a name or key; None: all of the config's.
        since: "earliest", or a time (ISO 8601; UTC where it names no zone).

    Raises:
        MediatokError: it can't start, or can't go on.
    """
    check_kafka(config)
    return catch_up(config, path, product, since, lambda lane: kafka_of(config, lane))


def catch_up(config: Config, path: str, product: str | None, since: str, kafka_for: KafkaFor) -> int:
    """As `run_catch_up`, with the lanes' topics as `kafka_for` says."""
    setup_logs()
    time_ms = _time_ms(since)
    lake = open_lake_of(config)
    names = chosen_products(config, product, lake)
    below: list[Below] = []
    part = config_for(config, names, "catch-up")

    def make_source(lane: LanePlan, positions: Positions) -> Source:
        del positions
        below.append(Below(lake.store, time_ms, lane.keys))
        return KafkaPast(kafka_for(lane), below[-1])

    code = execute(part, f"catch-up {path}", make_source, claims_of(config, lambda lane: lane.topics), until_idle=True)
    console = Console()
    for each in below:
        each.show(console)
    return code


class Below:
    """What a lane's products are owed below their `from`s, and what of that the broker does not have any more.

    Args:
        store: of the lake.
        time_ms: what is older is not wanted; None: all is.
        keys: of the products.
    """

    def __init__(self, store: LakeStore, time_ms: int | None, keys: tuple[str, ...]) -> None:
        self._keys = keys
        self._store = store
        self._time_ms = time_ms
        self._gone: dict[tuple[str, str, int], Ranges] = {}
        self._strangers: set[tuple[str, str]] = set()
        self._owed: dict[str, int] = dict.fromkeys(keys, 0)

    def __call__(self, logs: Sequence[LogEnds], at_time: OffsetsAt) -> Mapping[SourcePartition, Owed]:
        """See `pipeline.source.kafka_past.AskOwed`."""
        state = load_state(self._store)
        first = {ends.log: 0 for ends in logs}
        if self._time_ms is not None:
            first = dict(at_time(self._time_ms, list(first)))
            if silent := [ends.topic for ends in logs if ends.log not in first]:
                raise SourceUnavailableError(f"topic {silent[0]!r} does not say what its offsets were at that time")
        return {ends.log: self._of(state, ends, first[ends.log]) for ends in logs}

    def _of(self, state: LakeState, ends: LogEnds, first: int) -> Owed:
        owed = dict[str, Ranges]()
        for key in self._keys:
            start = state.start(key, ends.log)
            if start is None:
                self._strangers.add((key, ends.topic))
                continue
            wanted: Ranges = ((first, start),) if first < start else ()
            missing = difference(wanted, state.overlap(key, Span(ends.log, wanted)))
            if gone := intersection(missing, ((0, ends.earliest),)):
                self._gone[key, ends.topic, ends.log.partition] = gone
            if there := intersection(missing, ((ends.earliest, ends.latest),)):
                owed[key] = there
                self._owed[key] += size(there)
        return owed

    def show(self, console: Console) -> None:
        """What there was to do, and what could not be."""
        for key, count in self._owed.items():
            console.print(f"{key}: {units.count(count)} offsets below its start were not done yet", markup=False)
        for (key, topic, partition), ranges in sorted(self._gone.items()):
            shown = f"{units.count(size(ranges))} offsets up to {ranges[-1][1] - 1}"
            console.print(f"{key}: {shown} of {topic}/{partition} are gone (retention); nothing is owed", markup=False)
        for key, topic in sorted(self._strangers):
            console.print(f"{key} does not read {topic!r} yet: `mediatok run` gives it a start", markup=False)


def _time_ms(since: str) -> int | None:
    if since == "earliest":
        return None
    try:
        time = datetime.fromisoformat(since)
    except ValueError as error:
        raise ConfigError(f"--from {since!r}: must be earliest or a time, e.g. 2026-11-01T00:00:00Z") from error
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
