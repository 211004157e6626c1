"""`mediatok run`: a config's lanes from Kafka into the lake, until asked to end or idle."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Self

import structlog
from rich.console import Console

from operators.errors import ConfigError
from pipeline.app.build import Built, Job, MakeSource, build, claims_of, plan_and_start
from pipeline.app.summarize import summarize
from pipeline.config import Config
from pipeline.graph import LanePlan
from pipeline.observe.logs import LOG_VARIABLE, LogStyle, setup_logs
from pipeline.observe.progress import ProgressDisplay
from pipeline.observe.status import RunStatus, State
from pipeline.observe.summary import render_summary
from pipeline.runtime import cluster
from pipeline.runtime.coordinator import Coordinator, EndReason
from pipeline.runtime.intake import Claims
from pipeline.runtime.lifeline import lifeline
from pipeline.source.base import Positions, Source
from pipeline.source.kafka import KafkaSource
from pipeline.source.kafka_config import KafkaConfig

_log = structlog.get_logger(__name__)


def run_config(config: Config, *, until_idle: bool, path: str = "config") -> int:
    """Run a config against its broker. Returns the exit code.

    Raises:
        MediatokError: it can't start, or can't go on.
    """
    check_kafka(config)

    def make_source(lane: LanePlan, positions: Positions) -> Source:
        return KafkaSource(kafka_of(config, lane), positions)

    claims = claims_of(config, lambda lane: lane.topics)
    return execute(config, path, make_source, claims, until_idle=until_idle)


def check_kafka(config: Config) -> None:
    """Whether a config's lanes can read from Kafka.

    Raises:
        ConfigError: they can't; names the field.
    """
    if config.kafka is None:
        raise ConfigError("kafka: missing; `mediatok demo` brings a broker of its own, `mediatok backfill` needs none")
    lacking = [name for name, lane in config.lanes.items() if not lane.topics]
    if lacking:
        raise ConfigError("\n".join(f"lanes.{name}.topics: a lane that runs on Kafka needs one" for name in lacking))


def kafka_of(config: Config, lane: LanePlan) -> KafkaConfig:
    """What a lane reads from, and how."""
    kafka = config.kafka or {}
    group = kafka.get("group.id", "mediatok")
    # Each lane is a group of its own, so that a topic may feed several lanes and each reads at its own pace.
    properties = {**kafka, "group.id": f"{group}.{lane.name}"}
    return KafkaConfig(tuple(lane.config.topics), properties, source_epoch=config.source_epoch)


def execute(
    config: Config,
    path: str,
    make_source: MakeSource,
    claims: Claims,
    *,
    until_idle: bool,
    style: LogStyle | None = None,
    job: Job | None = None,
) -> int:
    """Build, run, show, end: shared by `run`, `backfill`, `demo` and the jobs. Returns the exit code."""
    console = setup_logs(style=None if LOG_VARIABLE in os.environ else style)
    started_s = time.monotonic()
    with _locked(config.state), ProgressDisplay(console) as progress, _Signals() as signals:

        def show(status: RunStatus) -> None:
            progress.update(status.lanes, time.monotonic())

        try:
            plans, nodes = plan_and_start(config)
            signals.install()  # Ray has put its own in their place
            built = build(
                config,
                path,
                make_source,
                claims,
                plans=plans,
                nodes=nodes,
                until_idle=until_idle,
                show=show,
                job=job,
            )
        except BaseException:
            cluster.stop()
            raise
        for note in built.notes:
            _log.warning("placement", note=note)
        _log.info("running", lake=config.lake, start_s=round(time.monotonic() - started_s, 1))
        with lifeline():
            try:
                signals.drain(built.coordinator)
                reason = built.coordinator.run(until_idle=until_idle)
                built.observer.publish(built.coordinator, time.monotonic(), State.STOPPED)
            finally:
                built.coordinator.close()
                cluster.stop()
    _log.info("ended", reason=reason.value, version=built.coordinator.progress.version)
    if until_idle:
        _print_summary(built, config, time.monotonic() - started_s)
    errors = built.coordinator.errors()
    for lane, error in errors.items():
        console.print(f"lane {lane} stopped: {error.code}: {error}", style="red", markup=False)
        console.print(f"what to do: {error.advice}", markup=False)
    return 0 if reason is not EndReason.STOPPED and not errors else 1


def _print_summary(built: Built, config: Config, seconds: float) -> None:
    products = summarize(built, seconds)
    console = Console()
    console.print(render_summary(products, config.lake))
    if any(product.letters for product in products):
        console.print(f"\nWhat could not be tokenized, and why:\n  mediatok dlq ls {config.lake}", markup=False)


class _Signals:
    """SIGTERM and SIGINT drain, from the first moment on; a second one ends at once, and loses nothing but time."""

    def __init__(self) -> None:
        self._coordinator: Coordinator | None = None
        self._asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def install(self) -> None:
        """Take both signals; one that has come already is not forgotten."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.default_int_handler if self._asked else self._ask)

    def drain(self, coordinator: Coordinator) -> None:
        """From now on there is something to drain."""
        self._coordinator = coordinator
        if self._asked:
            coordinator.ask_to_end()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del frame
        _log.info("asked to end: draining", signal=signal.Signals(number).name)
        self._asked = True
        if self._coordinator is not None:
            self._coordinator.ask_to_end()
        signal.signal(number, signal.default_int_handler)


@contextmanager
def _locked(state: Path) -> Generator[None]:
    """One run a state folder: its spool and status are this process's alone.

    Raises:
        ConfigError: another run has it.
    """
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"state: {state} is in use by another run; give this one a folder of its own") from error
        yield
