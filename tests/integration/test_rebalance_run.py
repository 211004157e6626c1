"""Two whole runs on one Ray, in one group: one joins, the other stalls, wakes and is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.chaos.ray_head import RayHead
from tests.integration.independent_count import Count, count
from tests.integration.rebalancing import shorten_session

pytestmark = [pytest.mark.services, pytest.mark.soak]

PARTITIONS = 4
SLEEP = {"sleep_s": 0.005}
PATIENCE_S = 120.0


class Run:
    """`mediatok run`, with a folder for its state."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self.state = folder / name
        self.log = folder / f"{name}.log"
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**config, "state": str(self.state)}))
        command = [str(Path(sys.executable).parent / "mediatok"), "run", str(path)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "MEDIATOK_LOG": "json", **environment}
            )

    @property
    def done(self) -> int:
        """Items that it has committed."""
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        path = self.state / "status.json"
        status = json.loads(path.read_text()) if path.exists() else {"lanes": []}
        return sum(lane["done_items"] for lane in status["lanes"])

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)


class Topic:
    """What is published, and what became of it."""

    def __init__(self, bootstrap: str, lake: Path) -> None:
        self.name = f"two-runs-{uuid.uuid4().hex[:8]}"
        self.published = 0
        self._bootstrap = bootstrap
        self._lake = lake
        admin = AdminClient({"bootstrap.servers": bootstrap})
        admin.create_topics([NewTopic(self.name, PARTITIONS, 1)])[self.name].result(30)
        shorten_session(admin, f"{self.name}.text")

    def publish(self, messages: int) -> None:
        producer = Producer({"bootstrap.servers": self._bootstrap})
        for number in range(self.published, self.published + messages):
            text = {"uri": f"note:{number}", "modality": "text", "text": f"text number {number}"}
            producer.produce(self.name, json.dumps(text).encode(), partition=number % PARTITIONS)
        assert producer.flush(30) == 0
        self.published += messages

    def count(self) -> Count:
        return count(self._bootstrap, [self.name], str(self._lake), {})

    def all_done(self) -> bool:
        found = self.count()
        return found.messages == self.published and not found.uncovered


def wait(what: str, holds: Callable[[], bool], meanwhile: Callable[[], None] = lambda: None) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, f"no {what}"
        meanwhile()
        time.sleep(0.2)


@pytest.fixture
def ray_head(tmp_path: Path) -> Iterator[RayHead]:
    with RayHead(tmp_path / "ray") as head:
        yield head


@pytest.mark.timeout(400)
def test_a_run_that_stalls_wakes_and_dies_beside_another_loses_and_repeats_nothing(
    kafka_bootstrap: str, ray_head: RayHead, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    topic = Topic(kafka_bootstrap, lake)
    config = {
        "lake": str(lake),
        "kafka": {"bootstrap.servers": kafka_bootstrap, "group.id": topic.name, "group.protocol": "consumer"},
        "commit": {"interval_s": 0.3},
        "ray": {"address": ray_head.address},
        "lanes": {
            "text": {
                "topics": [topic.name],
                "products": {"bytes": {"tokenizer": "tests.pipeline.runtime.pretend:Letters", "options": SLEEP}},
                "limits": {"seal_age_s": 0.5, "prepare_batch": 8, "tokenize_windows": 8},
                "workers": {"min": 1, "max": 1, "cpus": 0.5},
            }
        },
    }
    more = 8
    runs = [first := Run(tmp_path, "first", config, ray_head.environment)]
    try:
        topic.publish(200)
        wait("work", lambda: first.done > 0)
        runs.append(second := Run(tmp_path, "second", config, ray_head.environment))
        wait("work of both", lambda: first.done > 0 and second.done > 0, lambda: topic.publish(more))

        topic.publish(200)
        first.send(signal.SIGSTOP)
        wait("takeover of what the stalled run had", topic.all_done)
        before = first.done
        first.send(signal.SIGCONT)
        wait("return of the woken run", lambda: first.done > before, lambda: topic.publish(more))

        topic.publish(200)
        first.send(signal.SIGKILL)
        wait("takeover of what the killed run had", topic.all_done)
        second.send(signal.SIGTERM)
        assert second.process.wait(60) == 0, second.log.read_text()[-3000:]
    finally:
        for run in runs:
            run.process.kill()
            run.process.wait(30)
    found = topic.count()
    assert found.messages == topic.published
    assert (found.lost, found.repeated, found.unknown, found.uncovered, found.letters) == (0, 0, 0, 0, 0), found
