"""`mediatok check` against a broker that grants some things and not others."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from infra.services import KafkaServer
from pipeline.app.check import findings
from pipeline.config import parse_config

pytestmark = pytest.mark.services

AUTHORIZED = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    # Whoever comes is User:ANONYMOUS, and may do everything but what an ACL of the topic says.
    "allow.everyone.if.no.acl.found": "true",
}


@pytest.mark.slow
def test_a_topic_that_may_not_be_read_is_named(own_kafka: type[KafkaServer], tmp_path: Path) -> None:
    with own_kafka(tmp_path / "kafka", properties=AUTHORIZED) as kafka:
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        made = admin.create_topics([NewTopic("open", 1, 1), NewTopic("closed", 1, 1)])
        for future in made.values():
            future.result(30)
        describe_only = AclBinding(
            ResourceType.TOPIC,
            "closed",
            ResourcePatternType.LITERAL,
            "User:ANONYMOUS",
            "*",
            AclOperation.DESCRIBE,
            AclPermissionType.ALLOW,
        )
        for future in admin.create_acls([describe_only]).values():
            future.result(30)

        def lane(topic: str) -> dict[str, object]:
            return {"modality": "text", "topics": [topic], "products": {topic: {"tokenizer": "text-bytes"}}}

        raw = {
            "lake": str(tmp_path / "lake"),
            "kafka": {"bootstrap.servers": kafka.bootstrap},
            "ray": {"cpus": 2, "gpus": 0},
            "lanes": {"readable": lane("open"), "forbidden": lane("closed")},
        }
        found = {finding.what: finding for finding in findings(parse_config(raw))}
    assert found["kafka, lane readable"].ok, found["kafka, lane readable"].detail
    assert not found["kafka, lane forbidden"].ok
    assert "may not read closed" in found["kafka, lane forbidden"].detail
