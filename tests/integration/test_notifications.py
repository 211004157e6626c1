"""What versitygw itself says in Kafka when objects come and go, read by our parser."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Any

import pytest
import s3fs
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

from infra.services import S3Server
from operators.records import MediaReference, Origin, VoidReason
from pipeline.records import Message
from pipeline.refs import parse

pytestmark = pytest.mark.services

PATIENCE_S = 60.0
KEY = "a b/100%+ü.jpg"


def read(bootstrap: str, topic: str, count: int) -> list[Message]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    messages: list[Message] = []
    while len(messages) < count:
        record = consumer.poll(PATIENCE_S)
        assert record is not None, f"only {len(messages)} of {count} messages came"
        assert record.error() is None, record.error()
        origin = Origin("topic", 0, record.offset() or 0, 0)
        messages.append(Message(origin, topic, record.key(), record.value()))
    consumer.close()
    return messages


def test_an_object_announced_by_versitygw_is_one_reference_and_its_removal_void(
    kafka_bootstrap: str, own_s3: type[S3Server], tmp_path: Path
) -> None:
    topic = f"mediatok-test-{uuid.uuid4().hex[:10]}"
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()
    with own_s3(tmp_path, notify=(kafka_bootstrap, topic)) as server:
        bucket = server.make_bucket()
        files: Any = s3fs.S3FileSystem(**server.storage_options, skip_instance_cache=True)
        files.pipe_file(f"{bucket}/{KEY}", b"123")
        files.rm(f"{bucket}/{KEY}")
        [tested], [made], [removed] = (parse(message).items for message in read(kafka_bootstrap, topic, 3))
    assert tested is VoidReason.TEST_EVENT
    assert removed is VoidReason.REMOVAL
    assert isinstance(made, MediaReference)
    assert made.uri == f"s3://{bucket}/{KEY}"
    assert made.size_bytes == 3
    assert made.version == hashlib.md5(b"123").hexdigest()
