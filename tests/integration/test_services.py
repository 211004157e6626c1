"""What the other tests expect of the services themselves: promises that delivery rests on."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import s3fs
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic

from infra.services import KafkaServer

pytestmark = pytest.mark.services

PATIENCE_S = 30.0


def create(bootstrap: str, partitions: int = 2) -> str:
    topic = f"mediatok-test-{uuid.uuid4().hex[:10]}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result()
    return topic


def publish(bootstrap: str, topic: str, values: range) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for value in values:
        producer.produce(topic, str(value))
    assert producer.flush(PATIENCE_S) == 0


def consume(bootstrap: str, topic: str, count: int, protocol: str = "consumer") -> list[int]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": uuid.uuid4().hex,
            "group.protocol": protocol,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    values: list[int] = []
    try:
        while len(values) < count:
            messages = consumer.consume(count, PATIENCE_S)
            assert messages, f"only {len(values)} of {count} messages came"
            for message in messages:
                assert message.error() is None, message.error()
                values.append(int(message.value() or b""))
    finally:
        consumer.close()
    return sorted(values)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_kafka_delivers_to_both_kinds_of_groups(kafka_bootstrap: str, protocol: str) -> None:
    topic = create(kafka_bootstrap)
    publish(kafka_bootstrap, topic, range(100))
    assert consume(kafka_bootstrap, topic, 100, protocol) == list(range(100))


def test_kafka_gives_topics_an_id_and_makes_none_by_itself(kafka_bootstrap: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    topics = [create(kafka_bootstrap), create(kafka_bootstrap)]
    described = admin.describe_topics(TopicCollection(topics))
    assert len({str(future.result().topic_id) for future in described.values()}) == 2
    unknown = uuid.uuid4().hex
    with pytest.raises(KafkaException) as raised:
        admin.describe_topics(TopicCollection([unknown]))[unknown].result()
    assert raised.value.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert unknown not in admin.list_topics(timeout=PATIENCE_S).topics


@pytest.mark.slow
def test_a_killed_broker_comes_back_with_its_messages_on_its_port(own_kafka: type[KafkaServer], tmp_path: Path) -> None:
    with own_kafka(tmp_path) as server:
        topic = create(server.bootstrap)
        publish(server.bootstrap, topic, range(50))
        before = server.bootstrap
        server.kill()
        assert server.pid is None
        server.start()
        assert server.bootstrap == before
        publish(server.bootstrap, topic, range(50, 100))
        assert consume(server.bootstrap, topic, 100) == list(range(100))


def test_of_many_conditional_puts_of_one_name_exactly_one_succeeds(s3_service: Any) -> None:
    path = f"{s3_service.new_bucket()}/_meta/log/000000/000000001.json"

    files = s3fs.S3FileSystem(**s3_service.storage_options, skip_instance_cache=True)

    def put(number: int) -> bool:
        try:
            files.pipe_file(path, str(number).encode(), mode="create")
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, range(24)))
    assert sum(won) == 1
    assert files.cat_file(path) == str(won.index(True)).encode()


def test_a_bucket_is_fresh(s3_service: Any) -> None:
    files = s3fs.S3FileSystem(**s3_service.storage_options, skip_instance_cache=True)
    first, second = s3_service.new_bucket(), s3_service.new_bucket()
    files.pipe_file(f"{first}/a/b", b"x" * 1000)
    assert first != second
    assert files.find(f"{second}/") == []
    assert files.cat_file(f"{first}/a/b", start=10, end=20) == b"x" * 10
