"""A whole run in this process: embedded broker, the test's Ray, a lake in a folder."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from confluent_kafka import Producer

from pipeline.app.build import Built, build, plan
from pipeline.config import parse_config
from pipeline.graph import LanePlan
from pipeline.lake.lake import Lake
from pipeline.lake.reader import read_table
from pipeline.lake.verify import Report, verify
from pipeline.observe.status import RunStatus, State
from pipeline.records import Letter
from pipeline.runtime import cluster
from pipeline.runtime.coordinator import EndReason
from pipeline.runtime.intake import Claims
from pipeline.source.base import Positions, Source
from pipeline.source.embedded import EmbeddedBroker
from pipeline.source.kafka import KafkaSource

HERE = "tests.pipeline.runtime.pretend"


@dataclass(frozen=True)
class Sent:
    """A message for a topic's partition 0, so that what is sent together is batched together."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def reference(topic: str, **fields: Any) -> Sent:
    return Sent(topic, json.dumps(fields).encode())


def send(broker: EmbeddedBroker, messages: Iterable[Sent]) -> None:
    """Returns when the broker has them; their offsets are in their order."""
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 1, "enable.idempotence": True})
    for each in messages:
        while True:
            try:
                producer.produce(each.topic, each.value, each.key, partition=0, headers=list(each.headers))
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(30) == 0


@dataclass
class Ended:
    """A run that has ended.

    Attributes:
        seen: the status of each second.
    """

    built: Built
    lake_uri: str
    reason: EndReason | None = None
    seen: list[RunStatus] = field(default_factory=list)

    def rows(self, product: str) -> pa.Table:
        return read_table(self.lake_uri, product)

    def letters(self, product: str) -> dict[int, Letter]:
        """By offset (partition 0, one item a message)."""
        return {letter.origin.offset: letter for letter in Lake.open(self.lake_uri).open_letters(product)}

    def verified(self) -> Report:
        report = verify(Lake.open(self.lake_uri).store)
        assert report.ok, report.findings
        return report


def lanes(**lanes: Mapping[str, Any]) -> dict[str, Any]:
    """Lanes of the pretended tokenizers, with what is given laid over them."""
    base: dict[str, dict[str, Any]] = {
        "image": {"topics": ["image"], "products": {"mean": {"tokenizer": f"{HERE}:MeanColour"}}},
        "text": {"topics": ["text"], "products": {"letters": {"tokenizer": f"{HERE}:Letters"}}},
    }
    return {name: {**base.get(name, {}), **lane} for name, lane in lanes.items()}


def run(
    folder: Path,
    broker: EmbeddedBroker,
    lanes: Mapping[str, Any],
    *,
    until_idle: bool = True,
    each_second: Callable[[Ended, RunStatus], None] | None = None,
    **config: Any,
) -> Ended:
    """Build and run a config's lanes until all is committed, or until `each_second` asks the coordinator to end."""
    raw = {
        "lake": str(folder / "lake"),
        "state": str(folder / "state"),
        "commit": {"interval_s": 0.5},
        "lanes": lanes,
        **config,
    }
    parsed = parse_config(raw)
    plans = plan(parsed)
    ended: list[Ended] = []

    def make_source(lane: LanePlan, positions: Positions) -> Source:
        return KafkaSource(broker.config(lane.config.topics, f"test.{lane.name}"), positions)

    def show(status: RunStatus) -> None:
        ended[0].seen.append(status)
        if each_second is not None:
            each_second(ended[0], status)

    claims = Claims({topic: (lane.modality,) for lane in plans for topic in lane.config.topics})
    built = build(
        parsed,
        "test",
        make_source,
        claims,
        plans=plans,
        nodes=cluster.start(parsed.ray),
        until_idle=until_idle,
        show=show,
    )
    ended.append(Ended(built, parsed.lake))
    try:
        ended[0].reason = built.coordinator.run(until_idle=until_idle)
        built.observer.publish(built.coordinator, time.monotonic(), State.STOPPED)
    finally:
        built.coordinator.close()
    return ended[0]
