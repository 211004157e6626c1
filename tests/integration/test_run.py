"""`mediatok run` as its users have it: a process that goes on until SIGTERM, looked at from a second terminal."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

pytestmark = pytest.mark.services

MEDIATOK = str(Path(sys.executable).parent / "mediatok")
MESSAGES = 300


def mediatok(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([MEDIATOK, *arguments], capture_output=True, text=True, timeout=120, check=False)


def publish(bootstrap: str, topic: str, first: int, count: int) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(first, first + count):
        text = {"uri": f"note:{number}", "modality": "text", "text": f"text number {number}"}
        producer.produce(topic, json.dumps(text).encode(), key=str(number).encode())
    assert producer.flush(30) == 0


def wait_for_done(state: Path, pid: int, count: int, timeout_s: float = 120) -> Mapping[str, Any]:
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        path = state / "status.json"
        status = json.loads(path.read_text()) if path.exists() else {"pid": 0}
        if status["pid"] == pid and sum(lane["done_items"] for lane in status["lanes"]) >= count:
            return status
        time.sleep(0.1)
    raise AssertionError(f"{count} messages were not done within {timeout_s} s")


def text_config(tmp_path: Path, bootstrap: str, topic: str) -> Path:
    config = tmp_path / "run.yaml"
    raw = {
        "lake": str(tmp_path / "lake"),
        "state": str(tmp_path / "state"),
        "kafka": {"bootstrap.servers": bootstrap, "group.id": topic, "group.protocol": "consumer"},
        "commit": {"interval_s": 0.3},
        "ray": {"cpus": 2, "object_store_bytes": 128 << 20},
        "lanes": {
            "text": {
                "topics": [topic],
                "products": {"bytes": {"tokenizer": "text-bytes"}},
                "limits": {"seal_age_s": 0.5},
            }
        },
    }
    config.write_text(yaml.safe_dump(raw))
    return config


def rows(lake: Path) -> int:
    return json.loads(mediatok("lake", "ls", str(lake), "--json").stdout)["products"][0]["rows"]


@pytest.mark.slow
def test_a_run_goes_on_until_sigterm_and_leaves_everything_committed(kafka_bootstrap: str, tmp_path: Path) -> None:
    topic, state, lake = f"run-{uuid.uuid4().hex[:8]}", tmp_path / "state", tmp_path / "lake"
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(30)
    config = text_config(tmp_path, kafka_bootstrap, topic)
    checked = mediatok("check", str(config))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "FAIL" not in checked.stdout

    publish(kafka_bootstrap, topic, 0, MESSAGES)
    with (tmp_path / "run.log").open("wb") as log:
        process = subprocess.Popen([MEDIATOK, "run", str(config)], stdout=log, stderr=subprocess.STDOUT)
    wait_for_done(state, process.pid, MESSAGES)
    publish(kafka_bootstrap, topic, MESSAGES, 50)
    wait_for_done(state, process.pid, MESSAGES + 50)
    seen = mediatok("status", "--state", str(state))
    assert seen.returncode == 0, seen.stderr
    assert "text" in seen.stdout

    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, (tmp_path / "run.log").read_text()[-3000:]

    verified = mediatok("lake", "verify", str(lake))
    assert verified.returncode == 0, verified.stdout
    assert rows(lake) == MESSAGES + 50
    assert committed_offsets(kafka_bootstrap, f"{topic}.text", topic) == MESSAGES + 50, "Kafka's lag monitors are told"


@pytest.mark.soak
@pytest.mark.slow
def test_a_gap_stops_the_run_and_the_command_that_it_names_goes_on_behind_it(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    topic, lake = f"gap-{uuid.uuid4().hex[:8]}", tmp_path / "lake"
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    config = text_config(tmp_path, kafka_bootstrap, topic)
    publish(kafka_bootstrap, topic, 0, 10)
    assert mediatok("run", str(config), "--until-idle").returncode == 0
    assert rows(lake) == 10

    publish(kafka_bootstrap, topic, 10, 10)
    gone = TopicPartition(topic, 0, 15)
    admin.delete_records([gone])[gone].result(30)
    stopped = mediatok("run", str(config), "--until-idle")
    assert stopped.returncode == 1
    said = re.search(r"mediatok skip LAKE (\S+) (\d+) (\d+)", stopped.stdout + stopped.stderr)
    assert said is not None, stopped.stdout + stopped.stderr
    assert said.groups()[1:] == ("10", "15")

    skipped = mediatok("skip", str(lake), *said.groups())
    assert skipped.returncode == 0, skipped.stderr
    assert "5 offsets are void (expired)" in skipped.stdout
    assert mediatok("run", str(config), "--until-idle").returncode == 0
    assert rows(lake) == 15
    assert mediatok("lake", "verify", str(lake)).returncode == 0
    assert "nothing to skip" in mediatok("skip", str(lake), *said.groups()).stdout


def committed_offsets(bootstrap: str, group: str, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    partitions = consumer.committed([TopicPartition(topic, 0), TopicPartition(topic, 1)], timeout=10)
    consumer.close()
    return sum(partition.offset for partition in partitions)
