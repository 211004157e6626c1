"""The count itself: a small lake and topic made by hand, and what it says of each way to get them wrong."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
import s3fs
from confluent_kafka import Producer, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic

from tests.integration.independent_count import Count, count

pytestmark = pytest.mark.services

MESSAGES = [b'{"uri": "a"}', b'{"items": [{"uri": "b"}, {"uri": "c"}]}', None, b"not json", b'{"uri": "empty"}']
RIGHT = Count(messages=5, items=6, rows=4, tokens=40, letters=1, empties=1, voids=1)


class Made:
    """Rows `(offset, item, window_index, window_count)` and one log version, before they are written."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.rows = [(0, 0, 0, 2), (0, 0, 1, 2), (1, 0, 0, 1), (1, 1, 0, 1)]
        self.outcomes: list[dict[str, Any]] = [self.outcome("letter", 3), self.outcome("empty", 4)]
        self.voids = [{"product": "p-01234567", "reason": "tombstone", "items": 1}]
        self.covers = [self.span(0, 5)]

    def outcome(self, kind: str, offset: int) -> dict[str, Any]:
        return {"outcome": kind, "origin": [self.source, 0, offset, 0]}

    def span(self, start: int, end: int) -> dict[str, Any]:
        return {"product": "p-01234567", "source": self.source, "partition": 0, "ranges": [[start, end]]}

    def write(self, store: s3fs.S3FileSystem, root: str) -> None:
        offset, item, index, total = (list(column) for column in zip(*self.rows, strict=True))
        columns = {"source_id": [self.source] * len(offset), "partition": [0] * len(offset), "offset": offset}
        columns |= {"item": item, "window_index": index, "window_count": total, "n_tokens": [10] * len(offset)}
        table = pa.table(columns)
        sink = io.BytesIO()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        letters = sum(line["outcome"] == "letter" for line in self.outcomes)
        counts = {"letters": letters, "empties": len(self.outcomes) - letters}
        shard = {"rows": table.num_rows, "tokens": 10 * table.num_rows, "size_bytes": sink.tell(), "sha256": ""}
        delta = {
            "format": 1,
            "version": 1,
            "base": 0,
            "commit_id": "c",
            "writer": "w",
            "committed_at_ms": 0,
            "openings": [{"product": {"name": "p", "fingerprint": "01234567" * 8}, "lane": "image", "closes": None}],
            "starts": [{"product": "p-01234567", "source": self.source, "partition": 0, "offset": 0}],
            "shards": [{"product": "p-01234567", "path": "data/1.arrow", **shard}],
            "outcomes": [{"product": "p-01234567", "path": "_meta/letters/1.jsonl", **counts, "open": []}],
            "covers": self.covers,
            "voids": self.voids,
        }
        store.pipe_file(f"{root}/data/1.arrow", sink.getvalue())
        store.pipe_file(f"{root}/data/never-committed.arrow", sink.getvalue())
        store.pipe_file(f"{root}/_meta/letters/1.jsonl", b"\n".join(json.dumps(x).encode() for x in self.outcomes))
        store.pipe_file(f"{root}/_meta/log/000000/000000001.json", json.dumps(delta).encode())


def lose_an_item(made: Made) -> None:
    made.rows.remove((1, 1, 0, 1))


def lose_a_window(made: Made) -> None:
    made.rows.remove((0, 0, 1, 2))


def lose_a_letter(made: Made) -> None:
    del made.outcomes[0]


def lose_an_item_behind_a_void_of_another(made: Made) -> None:
    made.rows.remove((1, 1, 0, 1))
    made.voids[0]["items"] = 2


def repeat_a_row(made: Made) -> None:
    made.rows.append((1, 0, 0, 1))


def give_an_item_a_letter_and_a_row(made: Made) -> None:
    made.outcomes.append(made.outcome("letter", 0))


def cover_a_message_twice(made: Made) -> None:
    made.covers.append(made.span(1, 2))


def cover_too_little(made: Made) -> None:
    made.covers = [made.span(0, 4)]


def make_up_a_message(made: Made) -> None:
    made.rows.append((77, 0, 0, 1))


def make_up_an_item(made: Made) -> None:
    made.rows.append((1, 2, 0, 1))


@pytest.fixture(scope="module")
def topic(kafka_bootstrap: str) -> str:
    name = f"count-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})  # its requests end with it
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)
    producer = Producer({"bootstrap.servers": kafka_bootstrap})
    for value in MESSAGES:
        producer.produce(name, value)
    assert producer.flush(30) == 0
    return name


@pytest.mark.parametrize(
    ("mistake", "found"),
    [
        (None, RIGHT),
        (lose_an_item, replace(RIGHT, rows=3, tokens=30, lost=1)),
        (lose_a_window, replace(RIGHT, rows=3, tokens=30, lost=1)),
        (lose_a_letter, replace(RIGHT, letters=0, lost=1)),
        (lose_an_item_behind_a_void_of_another, replace(RIGHT, rows=3, tokens=30, voids=2, lost=1, repeated=1)),
        (repeat_a_row, replace(RIGHT, rows=5, tokens=50, repeated=1)),
        (give_an_item_a_letter_and_a_row, replace(RIGHT, letters=2, repeated=1)),
        (cover_a_message_twice, replace(RIGHT, repeated=1)),
        (cover_too_little, replace(RIGHT, uncovered=1)),
        (make_up_a_message, replace(RIGHT, rows=5, tokens=50, unknown=1)),
        (make_up_an_item, replace(RIGHT, rows=5, tokens=50, unknown=1)),
    ],
    ids=lambda value: value.__name__ if callable(value) else "right" if value is None else "",
)
def test_each_mistake_is_counted_and_nothing_else(
    kafka_bootstrap: str, s3_service: Any, topic: str, mistake: Callable[[Made], None] | None, found: Count
) -> None:
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    described = admin.describe_topics(TopicCollection([topic]))
    topic_id = str(described[topic].result(30).topic_id).translate(str.maketrans("+/", "-_"))
    made = Made(f"kafka:{topic_id}")
    if mistake:
        mistake(made)
    root = f"{s3_service.new_bucket()}/lake"
    made.write(s3fs.S3FileSystem(**s3_service.storage_options), root)
    assert count(kafka_bootstrap, [topic], f"s3://{root}", s3_service.storage_options) == found


def test_a_topic_that_no_product_began_is_lost_to_all(kafka_bootstrap: str, s3_service: Any, topic: str) -> None:
    root = f"{s3_service.new_bucket()}/lake"
    Made("kafka:another").write(s3fs.S3FileSystem(**s3_service.storage_options), root)
    found = count(kafka_bootstrap, [topic], f"s3://{root}", s3_service.storage_options)
    assert (found.lost, found.uncovered, found.unknown) == (5, 5, 5)
