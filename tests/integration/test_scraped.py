"""What Prometheus would get from a run: everything that the dashboard and the alerts ask for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client.parser import text_string_to_metric_families

from infra.services.process import free_port
from pipeline.observe.metrics import METRICS
from tests.infra.monitoring import OURS, metrics_used
from tests.integration.test_run import MEDIATOK, wait_for_done

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.soak]

PATIENCE_S = 60.0


def scraped(port: int) -> dict[str, list[dict[str, str]]]:
    """By name, the labels of each series; nothing before Ray shows any."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, OSError):
        return {}
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def publish(bootstrap: str, topic: str, *values: bytes | None) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def text(number: int, words: str) -> bytes:
    return json.dumps({"uri": f"note:{number}", "modality": "text", "text": words}).encode()


def config(bootstrap: str, topic: str, folder: Path, port: int) -> dict[str, Any]:
    return {
        "lake": str(folder / "lake"),
        "state": str(folder / "state"),
        "kafka": {"bootstrap.servers": bootstrap, "group.id": topic, "group.protocol": "consumer"},
        "commit": {"interval_s": 0.5},
        "ray": {"cpus": 2, "object_store_bytes": 128 << 20, "metrics_port": port},
        "lanes": {
            "text": {
                "topics": [topic],
                "products": {"bytes": {"tokenizer": "text-bytes"}},
                "limits": {"seal_age_s": 0.5},
                "failures": {"window_s": 1.0},
                "workers": {"min": 1, "max": 1},
            }
        },
    }


def test_a_run_shows_every_metric_that_the_dashboard_and_the_alerts_use(kafka_bootstrap: str, tmp_path: Path) -> None:
    port, path, state, topic = free_port(), tmp_path / "run.yaml", tmp_path / "state", f"scraped-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    path.write_text(yaml.safe_dump(config(kafka_bootstrap, topic, tmp_path, port)))
    odd = text(50, ""), b"{", None
    publish(kafka_bootstrap, topic, *(text(number, "some words") for number in range(50)), *odd)
    with (tmp_path / "run.log").open("wb") as log:
        process = subprocess.Popen([MEDIATOK, "run", str(path)], stdout=log, stderr=subprocess.STDOUT)
    try:
        status = wait_for_done(state, process.pid, 50)
        os.kill(next(pid for name, pid in status["pids"].items() if name.startswith("text/")), signal.SIGKILL)
        publish(kafka_bootstrap, topic, *(text(number, "more words") for number in range(60, 110)))
        end_s = time.monotonic() + PATIENCE_S
        while (missing := metrics_used() - scraped(port).keys()) and time.monotonic() < end_s:
            time.sleep(2.0)
        assert not missing
        labels = {f"ray_{metric.name}": {str(label) for label in metric.labels} for metric in METRICS}
        for name, series in scraped(port).items():
            if name.startswith(OURS):
                ours = next(each for each in labels if name.startswith(each))
                assert all(labels[ours] <= each.keys() for each in series)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    assert code == 0, (tmp_path / "run.log").read_text()[-3000:]
