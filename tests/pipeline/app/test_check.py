from __future__ import annotations

import socket
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.app import check
from pipeline.app.check import Finding, check_config, findings
from pipeline.config import parse_config
from pipeline.source.embedded import EmbeddedBroker
from pipeline.source.kafka_config import KafkaConfig

LANES = {"text": {"topics": ["media.text"], "products": {"bytes": {"tokenizer": "text-bytes"}}}}


def found(tmp_path: Path, **changes: Any) -> dict[str, Finding]:
    raw = {"lake": str(tmp_path / "lake"), "lanes": LANES, "ray": {"cpus": 2, "gpus": 0}, **changes}
    return {finding.what: finding for finding in findings(parse_config(raw))}


def test_a_good_config_passes_and_leaves_nothing_behind(tmp_path: Path, capsys) -> None:
    config = parse_config({"lake": str(tmp_path / "lake"), "lanes": LANES})
    assert check_config(config) == 0
    out = capsys.readouterr().out
    assert "FAIL" not in out
    assert "tokenizers: bytes-" in out
    assert [path for path in (tmp_path / "lake").rglob("*") if path.is_file()] == []


def test_a_wrong_tokenizer_is_named_with_the_nearest(tmp_path: Path) -> None:
    lanes = {"text": {"products": {"bytes": {"tokenizer": "text-byte"}}}}
    finding = found(tmp_path, lanes=lanes)["tokenizers"]
    assert not finding.ok
    assert "text-byte" in finding.detail
    assert "did you mean" in finding.detail


def test_a_broker_that_is_not_there_fails_the_lane(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    finding = found(tmp_path, kafka={"bootstrap.servers": address})["kafka, lane text"]
    assert not finding.ok
    assert "source.unavailable" in finding.detail
    assert address in finding.detail


def test_the_topics_of_a_broker_are_named_with_their_ids(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(check, "KafkaConfig", partial(KafkaConfig, topic_ids=False))  # the embedded broker has none
    with EmbeddedBroker() as broker:
        broker.create(["media.text"])
        finding = found(tmp_path, kafka={"bootstrap.servers": broker.bootstrap})["kafka, lane text"]
    assert finding.ok, finding.detail
    assert finding.detail.startswith("media.text = kafka")


def test_a_lane_without_topics_fails_where_there_is_a_broker(tmp_path: Path) -> None:
    lanes = {"text": {"products": {"bytes": {"tokenizer": "text-bytes"}}}}
    finding = found(tmp_path, lanes=lanes, kafka={"bootstrap.servers": "127.0.0.1:1"})["kafka, lane text"]
    assert finding == Finding(
        "kafka, lane text",
        ok=False,
        detail="config.invalid: lanes.text.topics: a lane that runs on Kafka needs one",
    )


def test_a_folder_that_cannot_be_written_fails(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("")
    config = parse_config({"lake": str(tmp_path / "file" / "lake"), "lanes": LANES})
    assert check_config(config) == 1
    assert "FAIL store: " in capsys.readouterr().out


def test_a_missing_root_and_pools_without_gpus_fail(tmp_path: Path) -> None:
    lanes = {"text": {**LANES["text"], "workers": {"gpus": 1.0}}}
    all_found = found(tmp_path, lanes=lanes, fetch={"roots": [str(tmp_path / "nowhere")]})
    assert not all_found["fetch roots"].ok
    assert not all_found["pools"].ok
    assert "lanes.text.workers" in all_found["pools"].detail
