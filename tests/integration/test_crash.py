"""kill -9 of coordinator, tokenizer and packer in mid-run, on real Kafka and S3; counted by independent code."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import s3fs
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from PIL import Image

from tests.integration.independent_count import count

pytestmark = pytest.mark.services

OBJECTS = 60
MESSAGES = 1500
FINISH_S = 240


@pytest.fixture
def media_bucket(s3_service: Any) -> str:
    """A bucket with small photographs-like images, one text, and nothing else."""
    bucket = s3_service.new_bucket()
    store = s3fs.S3FileSystem(**s3_service.storage_options)
    rng = np.random.default_rng(7)
    for number in range(OBJECTS):
        coarse = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
        store.pipe_file(f"{bucket}/in/{number:03}.jpg", buffer.getvalue())
    store.pipe_file(f"{bucket}/in/empty.jpg", b"")
    return bucket


def messages(bucket: str) -> list[bytes | None]:
    """Mostly images; every 50th is something else."""
    odd: list[bytes | None] = [
        b"not json",
        None,
        json.dumps({"uri": f"s3://{bucket}/in/missing.jpg"}).encode(),
        json.dumps({"uri": f"s3://{bucket}/in/empty.jpg"}).encode(),
        json.dumps({"items": [{"uri": f"s3://{bucket}/in/000.jpg"}, {"uri": f"s3://{bucket}/in/001.jpg"}]}).encode(),
    ]
    good = [json.dumps({"uri": f"s3://{bucket}/in/{n % OBJECTS:03}.jpg"}).encode() for n in range(MESSAGES)]
    return [odd[(n // 50) % len(odd)] if n % 50 == 49 else value for n, value in enumerate(good)]


class Run:
    """`mediatok run CONFIG --until-idle` as a process of its own, in a session of its own."""

    def __init__(self, config: Path, state: Path, log: Path) -> None:
        self._state = state
        self._log = log.open("ab")
        self.began_s = time.time()
        self.process = subprocess.Popen(
            [str(Path(sys.executable).parent / "mediatok"), "run", str(config), "--until-idle"],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "MEDIATOK_LOG": "json"},
        )

    def status(self) -> Mapping[str, Any]:
        try:
            status = json.loads((self._state / "status.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return status if status["pid"] == self.process.pid else {}

    def wait_for(
        self, what: str, holds: Callable[[Mapping[str, Any]], bool], timeout_s: float = 120
    ) -> Mapping[str, Any]:
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            status = self.status()
            if status and holds(status):
                return status
            assert self.process.poll() is None, f"the run ended before {what}; see {self._log.name}"
            time.sleep(0.1)
        raise AssertionError(f"no {what} within {timeout_s} s; see {self._log.name}")

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def finish(self) -> int:
        return self.process.wait(FINISH_S)


def done(status: Mapping[str, Any]) -> int:
    return sum(lane["done_items"] for lane in status["lanes"])


def pid_of(status: Mapping[str, Any], prefix: str) -> int:
    return next(pid for name, pid in status["pids"].items() if name.startswith(prefix))


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_kill_9_of_coordinator_tokenizer_and_packer_loses_and_repeats_nothing(
    kafka_bootstrap: str, s3_service: Any, media_bucket: str, tmp_path: Path
) -> None:
    topic = f"crash-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.create_topics([NewTopic(topic, 3, 1)])[topic].result(30)
    producer = Producer({"bootstrap.servers": kafka_bootstrap, "linger.ms": 20})
    values = messages(media_bucket)
    for number, value in enumerate(values):
        producer.produce(topic, value=value, key=str(number).encode())
    assert producer.flush(60) == 0

    lake = f"s3://{s3_service.new_bucket()}/lake"
    state = tmp_path / "state"
    config = tmp_path / "run.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "lake": lake,
                "state": str(state),
                "storage": {"s3": s3_service.storage_options},
                "kafka": {"bootstrap.servers": kafka_bootstrap, "group.id": f"g-{topic}"},
                "commit": {"interval_s": 0.5},
                "ray": {"cpus": 2, "object_store_bytes": 256 << 20},
                "lanes": {
                    "image": {
                        "topics": [topic],
                        "products": {"patches": {"tokenizer": "image-patches-projected"}},
                        "workers": {"min": 1, "max": 2, "cpus": 1},
                        "packers": 2,
                        "limits": {"prepare_batch": 8, "seal_age_s": 1.0, "shard_bytes": 4 << 20, "most_ready": 256},
                    }
                },
            }
        )
    )
    log = tmp_path / "run.log"

    first = Run(config, state, log)
    first.wait_for("a commit with work left", lambda s: 0 < done(s) < len(values))
    first.kill()

    second = Run(config, state, log)
    status = second.wait_for("a first commit", lambda s: done(s) > 0)
    os.kill(pid_of(status, "image/workers"), signal.SIGKILL)
    at_kill = done(status)
    status = second.wait_for("progress after the tokenizer's death", lambda s: done(s) > at_kill + 50)
    os.kill(pid_of(status, "packer"), signal.SIGKILL)
    assert second.finish() == 0, log.read_text()[-4000:]

    third = Run(config, state, log)
    assert third.finish() == 0, "a run that finds everything done ends well"

    found = count(kafka_bootstrap, [topic], lake, s3_service.storage_options)
    assert found.messages == len(values)
    assert (found.lost, found.repeated, found.unknown, found.uncovered) == (0, 0, 0, 0), found
    assert found.letters > 0
    assert found.voids > 0
