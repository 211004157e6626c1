from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.services.install import POM, VERSITYGW_VERSION
from pipeline.config import load_config, resolve_secrets

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "infra" / "mediatok.example.yaml"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def test_the_example_config_has_a_lane_for_each_modality_with_its_default_tokenizer() -> None:
    lanes = load_config(EXAMPLE).lanes
    made = {name: [product.tokenizer for product in lane.products.values()] for name, lane in lanes.items()}
    assert made == {
        "image": ["image-rq"],
        "audio": ["audio-mdct"],
        "video": ["video-interleaved"],
        "text": ["text-bpe"],
    }


def test_shared_memory_holds_the_object_store_and_that_what_the_lanes_may_hold(compose: dict[str, Any]) -> None:
    config = load_config(EXAMPLE)
    size, unit = int(compose["mediatok"]["shm_size"][:-2]), compose["mediatok"]["shm_size"][-2:]
    assert unit == "gb"
    assert config.ray.object_store_bytes < size << 30
    held = sum(lane.limits.window_bytes + lane.limits.token_bytes for lane in config.lanes.values())
    assert config.ray.object_store_bytes >= held


def test_the_compose_file_sets_every_variable_that_the_example_config_asks_for(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in compose["mediatok"]["environment"].items():
        monkeypatch.setenv(name, value)
    config = load_config(EXAMPLE)
    assert resolve_secrets(config.kafka)["bootstrap.servers"] == "kafka:19092"
    assert resolve_secrets(config.storage)["s3"]["endpoint_url"] == "http://s3:7070"


def test_the_compose_file_makes_the_topics_and_buckets_of_the_example_config(compose: dict[str, Any]) -> None:
    config = load_config(EXAMPLE)
    (made,) = re.findall(r"for topic in (.*); do", compose["topics"]["command"][0])
    assert set(made.split()) == {topic for lane in config.lanes.values() for topic in lane.topics}
    places = [config.lake, *config.fetch.places]
    buckets = {f"/data/buckets/{place.removeprefix('s3://').partition('/')[0]}" for place in places}
    assert buckets == set(compose["buckets"]["entrypoint"][2:])


def test_containers_and_local_services_are_of_the_same_versions(compose: dict[str, Any]) -> None:
    kafka, s3 = compose["kafka"]["image"], compose["s3"]["image"]
    assert f"<version>{kafka.partition(':')[2]}</version>" in POM.read_text()
    assert s3.partition(":")[2] == VERSITYGW_VERSION
    assert (compose["topics"]["image"], compose["buckets"]["image"]) == (kafka, s3)


def test_the_image_takes_the_python_and_uv_that_the_project_is_locked_with() -> None:
    dockerfile = (ROOT / "infra" / "Dockerfile").read_text()
    uv = next(
        line.split(":=")[1].strip() for line in (ROOT / "Makefile").read_text().splitlines() if "UV_VERSION" in line
    )
    assert f"--from=astral/uv:{uv} " in dockerfile
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert oldest.startswith(">=3.11,") and "FROM python:3.11." in dockerfile
