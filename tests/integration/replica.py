"""One replica of a run, light enough for a matrix of them: all of the production code but Ray.

    python -m tests.integration.replica CONFIG.yaml

It says what it has in `report.json` in its state folder, and leaves on SIGTERM as `mediatok run` does: 0, or 1 and
why.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from operators.errors import MediatokError
from operators.tokenize import registry
from pipeline.app.build import claims_of, fetch_settings, lane_settings, packer_spec
from pipeline.config import Config, load_config
from pipeline.flow.lane import Lane
from pipeline.flow.prepare_stage import PREPARE
from pipeline.graph import LanePlan, plan_lanes
from pipeline.lake.lake import Lake
from pipeline.observe.logs import setup_logs
from pipeline.runtime.coordinator import Coordinator, EndReason
from pipeline.runtime.desk import LakeDesk
from pipeline.runtime.driver import LaneDriver
from pipeline.runtime.intake import Intake
from pipeline.runtime.lane_run import LaneRun
from pipeline.runtime.positions import LanePositions
from pipeline.runtime.scaler import Scaler
from pipeline.runtime.worker import WorkerSpec
from pipeline.source.kafka import KafkaSource
from pipeline.source.kafka_config import KafkaConfig
from tests.integration.local_driver import LocalDriver

WORKERS = 4


class FixedSize:
    """A scaler's part: the workers are there."""

    decisions: Mapping[str, Any] = MappingProxyType({})
    wanted_nodes = ""

    def tick(self, now_s: float) -> None:
        """Nothing to decide."""

    def close(self) -> None:
        """Nothing was asked for."""


class Reporter:
    """Writes what the replica has, a few times a second; `longest_s` is between two rounds, work or no work."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written_s = self._round_s = time.monotonic()
        self._longest_s = 0.0

    def __call__(self, coordinator: Coordinator, now_s: float) -> None:
        self._longest_s = max(self._longest_s, now_s - self._round_s)
        self._round_s = now_s
        if now_s - self._written_s < 0.1:
            return
        self._written_s = now_s
        (lane,) = coordinator.lanes
        report: dict[str, Any] = {
            "pid": os.getpid(),
            "partitions": sorted(log.partition for log in lane.source.lag()),
            "done": lane.done_messages,
            "commits": coordinator.progress.commits,
            "in_flight": len(lane.lane.core.ledger),
            "longest_s": self._longest_s,
        }
        beside = self._path.with_suffix(".tmp")
        beside.write_text(json.dumps(report))
        beside.rename(self._path)


def worker_spec(lane: LanePlan, config: Config) -> WorkerSpec:
    """One fused worker of a lane."""
    return WorkerSpec(
        lane=lane.name,
        modality=lane.modality,
        stages=(PREPARE, *lane.keys),
        views=tuple(dict.fromkeys(lane.views.values())),
        tokenizers={item.product.key: (item.tokenizer, item.options) for item in lane.products},
        fetch=fetch_settings(config.fetch),
        storage={},
        media_dir=str(config.state / "media"),
        on_damage=lane.config.on_damage,
        threads=1,
        gpus=0,
    )


def assemble(config: Config) -> Coordinator:
    """As `pipeline.app.build.build` and `pipeline.app.run.run_config` do."""
    (plan,) = plans = plan_lanes(config, registry.build)
    desk = LakeDesk(Lake.open(config.lake), plans, keep_added=False)
    desk.open_products()
    packers = [f"{plan.name}-{number}" for number in range(plan.config.packers)]
    lane = Lane(plan.name, plan.views, packers, lane_settings(plan), random.Random(), lambda: int(time.time() * 1000))
    made = {name: packer_spec(plan, name, config, {}).maker()() for name in packers}
    driver = LocalDriver(lane, worker_spec(plan, config), WORKERS, made)
    assert config.kafka is not None
    source = KafkaSource(KafkaConfig(tuple(plan.config.topics), config.kafka), LanePositions(desk, plan))
    intake = Intake(claims_of(config, lambda each: each.topics), plan.modality)
    run = LaneRun(plan, lane, cast("LaneDriver", driver), source, intake, desk)
    reporter = Reporter(config.state / "report.json")
    return Coordinator([run], desk, cast("Scaler", FixedSize()), config.commit.interval_s, reporter)


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    setup_logs()
    config = load_config(Path(arguments[0]))
    config.state.mkdir(parents=True, exist_ok=True)
    coordinator = assemble(config)
    signal.signal(signal.SIGTERM, lambda *_: coordinator.ask_to_end())
    try:
        reason = coordinator.run(until_idle=False)
    finally:
        coordinator.close()
    for name, error in coordinator.errors().items():
        print(f"{name}: {type(error).__name__}: {error}", flush=True)
    return 1 if reason is EndReason.STOPPED or coordinator.errors() else 0


def serve(config: str, log: str) -> None:
    """The whole life of a process: both streams go to the log."""
    with open(log, "ab", buffering=0) as out:  # noqa: PTH123  a file descriptor is all that is wanted
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.environ["MEDIATOK_LOG"] = "json"
    try:
        code = main([config])
    except MediatokError as stopped:
        code, _ = 1, print(f"{type(stopped).__name__}: {stopped}")
    sys.stdout.flush()
    os._exit(code)  # not through what the parent's process has registered


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
