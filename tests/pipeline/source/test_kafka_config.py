from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from operators.errors import ConfigError
from pipeline.source.kafka import KafkaSource
from pipeline.source.kafka_config import KafkaConfig, consumer_properties
from pipeline.source.kafka_errors import Trouble, trouble_of

BASE = {"bootstrap.servers": "localhost:1", "group.id": "g"}


def config(**properties: Any) -> KafkaConfig:
    return KafkaConfig(("t",), BASE | {name.replace("_", "."): value for name, value in properties.items()})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auto.offset.reset", "earliest"),
        ("auto.offset.reset", "latest"),
        ("enable.auto.commit", True),
        ("enable.auto.commit", "true"),
        ("enable.auto.offset.store", "true"),
        ("enable.partition.eof", False),
    ],
)
def test_a_property_that_contradicts_ours_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"kafka\.{name}"):
        consumer_properties(KafkaConfig(("t",), BASE | {name: value}))


def test_a_property_that_agrees_with_ours_is_taken() -> None:
    found = consumer_properties(
        KafkaConfig(("t",), BASE | {"auto.offset.reset": "error", "enable.auto.commit": "false"})
    )
    assert found.values["auto.offset.reset"] == "error"
    assert found.values["enable.auto.commit"] is False


def test_any_other_property_is_passed_through() -> None:
    found = consumer_properties(KafkaConfig(("t",), BASE | {"group.instance.id": "host-1", "fetch.min.bytes": 7}))
    assert found.values["group.instance.id"] == "host-1"
    assert found.values["fetch.min.bytes"] == 7


@pytest.mark.parametrize(
    ("properties", "incremental"),
    [
        ({}, True),
        ({"group.protocol": "consumer"}, True),
        ({"partition.assignment.strategy": "cooperative-sticky"}, True),
        ({"partition.assignment.strategy": "range,roundrobin"}, False),
        ({"group.protocol": "classic", "partition.assignment.strategy": "range"}, False),
    ],
)
def test_the_protocol_tells_how_assignments_come(properties: dict[str, str], incremental: bool) -> None:
    assert consumer_properties(KafkaConfig(("t",), BASE | properties)).incremental is incremental


def test_secrets_come_from_the_environment_and_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BROKER_PASSWORD", "hunter2")
    (tmp_path / "user").write_text("ada\n")
    found = consumer_properties(
        KafkaConfig(
            ("t",),
            BASE | {"sasl.password": {"env": "BROKER_PASSWORD"}, "sasl.username": {"file": str(tmp_path / "user")}},
        )
    )
    assert found.values["sasl.password"] == "hunter2"
    assert found.values["sasl.username"] == "ada"
    assert "hunter2" not in repr(found)
    assert found.shown()["sasl.password"] == found.shown()["sasl.username"] == "***"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"env": "MEDIATOK_NO_SUCH_VARIABLE"}, "MEDIATOK_NO_SUCH_VARIABLE"),
        ({"file": "/no/such/file"}, "/no/such/file"),
        ({"vault": "x"}, "env: NAME"),
        ({"env": "A", "file": "B"}, "env: NAME"),
        (["x"], "must be a string"),
        (None, "must be a string"),
    ],
)
def test_a_secret_that_can_not_be_had_is_named(value: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=r"kafka\.sasl\.password") as caught:
        consumer_properties(KafkaConfig(("t",), BASE | {"sasl.password": value}))
    assert says in str(caught.value)


def test_no_secret_is_logged_or_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    with capture_logs() as logs:
        KafkaSource(KafkaConfig(("t",), BASE | {"sasl.password": {"env": "SECRET"}}), NoPositions()).close()
    assert logs
    assert "hunter2" not in repr(logs)
    # A refused value is quoted by librdkafka.
    with pytest.raises(ConfigError) as caught:
        KafkaSource(KafkaConfig(("t",), BASE | {"security.protocol": {"env": "SECRET"}}), NoPositions())
    assert "hunter2" not in str(caught.value)
    assert "security.protocol" in str(caught.value)


def test_an_unknown_property_is_named() -> None:
    with pytest.raises(ConfigError, match=r"fetch\.min\.bites"):
        KafkaSource(KafkaConfig(("t",), BASE | {"fetch.min.bites": 1}), NoPositions())


@pytest.mark.parametrize(
    ("topics", "properties", "says"),
    [
        ((), BASE, "topics"),
        (("^media.*",), BASE, "patterns"),
        (("t",), {"group.id": "g"}, "bootstrap.servers"),
        (("t",), {"bootstrap.servers": "x:1"}, "group.id"),
        (("t",), BASE | {"metadata.broker.list": "y:1"}, "given twice"),
    ],
)
def test_what_is_required_is_asked_for(topics: tuple[str, ...], properties: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        consumer_properties(KafkaConfig(topics, properties))


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (KafkaError._PARTITION_EOF, Trouble.END),
        (KafkaError._AUTO_OFFSET_RESET, Trouble.OUT_OF_RANGE),
        (KafkaError._LOG_TRUNCATION, Trouble.TRUNCATED),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, Trouble.UNKNOWN_TOPIC),
        (KafkaError._AUTHENTICATION, Trouble.REFUSED),
        (KafkaError._FATAL, Trouble.REFUSED),
        (KafkaError.FENCED_INSTANCE_ID, Trouble.FENCED),
        (KafkaError.UNRELEASED_INSTANCE_ID, Trouble.NAME_HELD),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, Trouble.REFUSED),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, Trouble.REFUSED),
        (KafkaError._SSL, Trouble.REFUSED_UNLESS_SEEN),
        (KafkaError._ALL_BROKERS_DOWN, Trouble.PASSING),
        (KafkaError._TRANSPORT, Trouble.PASSING),
        (KafkaError.REBALANCE_IN_PROGRESS, Trouble.PASSING),
    ],
)
def test_each_error_has_its_meaning(code: int, trouble: Trouble) -> None:
    assert trouble_of(KafkaError(code)) is trouble


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (KafkaError.FENCED_INSTANCE_ID, Trouble.FENCED),
        (KafkaError.UNRELEASED_INSTANCE_ID, Trouble.NAME_HELD),
        (KafkaError.UNKNOWN_MEMBER_ID, Trouble.REFUSED),
    ],
)
def test_a_fatal_error_says_in_its_text_alone_what_it_was(code: int, trouble: Trouble) -> None:
    text = f"Fatal error: {KafkaError(code).str()}"
    assert trouble_of(KafkaError(KafkaError._FATAL, text)) is trouble


def test_what_is_fatal_to_the_client_does_not_pass() -> None:
    assert trouble_of(KafkaError(KafkaError.UNKNOWN_MEMBER_ID, "gone", True)) is Trouble.REFUSED


class NoPositions:
    def begun(self, source_id: str) -> bool:
        raise AssertionError("nothing is assigned here")

    def resolve(self, logs: Any, at_time: Any) -> Any:
        raise AssertionError("nothing is assigned here")
