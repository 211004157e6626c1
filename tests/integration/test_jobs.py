"""`dlq replay` and `catch-up` beside a real broker, counted by code that shares nothing with the pipeline."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.integration.independent_count import count

pytestmark = pytest.mark.services

MEDIATOK = str(Path(sys.executable).parent / "mediatok")
BYTES = {"tokenizer": "text-bytes"}


def mediatok(*arguments: object) -> str:
    """Runs a command to its good end; returns what it printed."""
    command = [MEDIATOK, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def configure(tmp_path: Path, bootstrap: str, topic: str, products: dict[str, Any]) -> Path:
    raw = {
        "lake": str(tmp_path / "lake"),
        "state": str(tmp_path / "state"),
        "kafka": {"bootstrap.servers": bootstrap, "group.id": topic, "group.protocol": "consumer"},
        "commit": {"interval_s": 0.3},
        "fetch": {"roots": [str(tmp_path)]},
        "ray": {"cpus": 2, "object_store_bytes": 128 << 20},
        "lanes": {"text": {"topics": [topic], "products": products, "limits": {"seal_age_s": 0.5}}},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def publish(bootstrap: str, topic: str, values: Sequence[bytes | None]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def rows(lake: Path, product: str) -> int:
    products = json.loads(mediatok("lake", "ls", lake, "--json"))["products"]
    return sum(each["rows"] for each in products if each["name"] == product)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_replayed_letters_and_what_a_joined_product_catches_up_with_are_there_once(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    topic, lake = f"jobs-{uuid.uuid4().hex[:8]}", tmp_path / "lake"
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(30)
    files = [tmp_path / f"{number}.txt" for number in range(40)]
    for number, file in enumerate(files):
        if number % 4:
            file.write_text(f"text {number}")
    uris = [{"uri": file.as_uri()} for file in files]
    several = [{"items": uris[number : number + 3]} for number in range(0, 40, 3)]
    values = [json.dumps(each).encode() for each in (*uris, *several)]
    publish(kafka_bootstrap, topic, [*values, b"not json", None])

    config = configure(tmp_path, kafka_bootstrap, topic, {"bytes": BYTES})
    mediatok("run", config, "--until-idle")
    found = count(kafka_bootstrap, [topic], str(lake), {})
    assert (found.items, found.letters, found.rows, found.voids) == (82, 21, 60, 1)
    assert (found.lost, found.repeated, found.unknown, found.uncovered) == (0, 0, 0, 0), found

    for number, file in enumerate(files):
        file.write_text(f"text {number}")
    said = mediatok("dlq", "replay", config, "--code", "fetch.*")
    assert "20 letters are closed, 0 are open" in said
    found = count(kafka_bootstrap, [topic], str(lake), {})
    assert (found.items, found.letters, found.rows, found.voids) == (82, 1, 80, 1)
    assert (found.lost, found.repeated, found.unknown, found.uncovered) == (0, 0, 0, 0), found
    assert "no open letters" in mediatok("dlq", "replay", config, "--code", "fetch.*")

    config = configure(tmp_path, kafka_bootstrap, topic, {"bytes": BYTES, "late": BYTES})
    publish(kafka_bootstrap, topic, values[:10])
    mediatok("run", config, "--until-idle")
    assert rows(lake, "bytes") == 90
    assert rows(lake, "late") == 10, "it joined where the lane was"
    mediatok("catch-up", config)
    assert rows(lake, "late") == 90
    found = count(kafka_bootstrap, [topic], str(lake), {})
    assert (found.items, found.rows, found.letters, found.voids) == (184, 180, 2, 2)
    assert (found.lost, found.repeated, found.unknown, found.uncovered) == (0, 0, 0, 0), found
    assert "nothing is wrong" in mediatok("lake", "verify", lake)
