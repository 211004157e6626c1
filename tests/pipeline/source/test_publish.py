from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.errors import ConfigError, SourceUnavailableError
from operators.records import MediaReference, Modality, Origin
from pipeline.records import Message
from pipeline.refs.modality import Unrecognised
from pipeline.refs.parse import parse
from pipeline.source.embedded import KEPT_BYTES, KEPT_MESSAGES, EmbeddedBroker, Retention
from pipeline.source.events import Messages
from pipeline.source.media_files import CAPTION_BYTES, Outgoing, Unclaimed, media_messages
from pipeline.source.publish import publish

JPEG = b"\xff\xd8\xff\xe0rest"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "cat.jpg": JPEG,
        "cat.txt": b"a cat \xc3\xbc\n",
        "sub/dog.png": b"not really",
        "sub/dog.txt": b"x" * (CAPTION_BYTES + 1),
        "a story.md": b"once",
        "nameless": JPEG,
        "blob": b"\0\1\2\3",
        "empty": b"",
        ".hidden.jpg": JPEG,
        ".git/x.jpg": JPEG,
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_a_folder_becomes_one_message_a_file(folder: Path) -> None:
    found = list(media_messages([str(folder)]))
    names = [Path(entry.uri).name for entry in found]
    assert names == ["a%20story.md", "blob", "cat.jpg", "cat.txt", "empty", "nameless", "dog.png", "dog.txt"]
    assert [entry for entry in found if isinstance(entry, Unclaimed)] == [
        Unclaimed((folder / "blob").as_uri(), Unrecognised.BINARY),
        Unclaimed((folder / "empty").as_uri(), Unrecognised.NO_CONTENT),
    ]
    messages = {Path(entry.uri).name: json.loads(entry.value) for entry in found if isinstance(entry, Outgoing)}
    assert messages["cat.jpg"] == {
        "uri": (folder / "cat.jpg").as_uri(),
        "modality": "image",
        "size_bytes": len(JPEG),
        "attributes": {"caption": "a cat ü"},
    }
    assert messages["nameless"]["modality"] == "image"
    assert messages["cat.txt"]["modality"] == messages["a%20story.md"]["modality"] == "text"
    assert "attributes" not in messages["dog.png"], "too long for a caption"


def test_what_is_published_can_be_parsed(folder: Path) -> None:
    for entry in media_messages([str(folder), "s3://bucket/key.mp4", (folder / "cat.jpg").as_uri()]):
        if isinstance(entry, Outgoing):
            (item,) = parse(Message(Origin("s", 0, 0, 0), "t", None, entry.value)).items
            assert isinstance(item, MediaReference)
            assert (item.uri, item.modality) == (entry.uri, entry.modality)


def test_a_uri_elsewhere_is_told_by_its_suffix() -> None:
    found = list(media_messages(["s3://b/x.mp4", "https://h/a.flac?q=1", "s3://b/x"]))
    assert [getattr(entry, "modality", None) for entry in found] == [Modality.VIDEO, Modality.AUDIO, None]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        list(media_messages([str(tmp_path / "nowhere")]))


def outgoing(count: int, size: int = 10) -> Iterator[Outgoing]:
    for number in range(count):
        yield Outgoing(Modality.IMAGE, f"s3://b/{number}", b"x" * size)


def test_messages_arrive_once_each(bench: Any, make_lake: Any) -> None:
    topic = bench.topic()
    told: list[tuple[str, int, int, int]] = []
    progress: list[tuple[int, int]] = []
    report = publish(
        [*outgoing(500), Unclaimed("x", Unrecognised.BINARY)],
        bench.broker.bootstrap,
        lambda _: topic,
        on_delivered=lambda *where: told.append(where),
        on_progress=lambda *counts: progress.append(counts),
    )
    assert report.delivered == {topic: 500}
    assert report.messages == 500
    assert len(report.unclaimed) == 1
    assert report.size_bytes == sum(len(message.uri) + len(message.value) for message in outgoing(500))
    assert progress[-1] == (500, 500)
    found = [m for e in bench.drain(bench.source(make_lake(), topic)) if isinstance(e, Messages) for m in e.messages]
    assert sorted(m.key for m in found) == sorted(m.uri.encode() for m in outgoing(500))
    assert {(m.topic, m.origin.partition, m.origin.offset) for m in found} == {where[:3] for where in told}


def test_publishing_waits_for_room_so_that_nothing_is_forgotten(bench: Any, make_lake: Any) -> None:
    topic = bench.topic()
    retention = Retention()
    reports: list[Any] = []
    size, count = 100_000, 300  # 30 MB through a broker that keeps 5 MB of a partition
    thread = threading.Thread(
        target=lambda: reports.append(
            publish(
                outgoing(count, size),
                bench.broker.bootstrap,
                lambda _: topic,
                room=retention.room,
                on_delivered=retention.published,
            )
        )
    )
    thread.start()
    thread.join(1.0)
    assert not reports, "as long as nothing is committed it waits"
    source = bench.source(make_lake(), topic)
    given: dict[tuple[int, int], bytes] = {}
    waiting: list[Message] = []

    def commit() -> None:
        for message in waiting:
            retention.committed(topic, message.origin.partition, message.origin.offset + 1)
        waiting.clear()

    for _ in range(3000):
        events = source.poll(500, 0.02)
        for message in (m for e in events if isinstance(e, Messages) for m in e.messages):
            given[message.origin.partition, message.origin.offset] = message.key or b""
            waiting.append(message)
        if not events:
            commit()
        if len(given) == count:
            break
    thread.join(30)
    assert reports
    assert sorted(given.values()) == sorted(message.uri.encode() for message in outgoing(count))


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("published"), st.integers(0, 2), st.integers(1, 1000)),
            st.tuples(st.just("committed"), st.integers(0, 2), st.integers(0, 30)),
        ),
        max_size=60,
    )
)
def test_room_is_what_the_fullest_partition_can_take(steps: list[tuple[str, int, int]]) -> None:
    retention = Retention()
    kept: dict[int, dict[int, int]] = {0: {}, 1: {}, 2: {}}
    ends = [0, 0, 0]
    for step, partition, number in steps:
        if step == "published":
            retention.published("t", partition, ends[partition], number)
            kept[partition][ends[partition]] = number
            ends[partition] += 1
        else:
            retention.committed("t", partition, number)
            kept[partition] = {at: size for at, size in kept[partition].items() if at >= number}
        assert retention.room() == KEPT_BYTES - max(sum(sizes.values()) for sizes in kept.values())


def test_many_small_messages_fill_a_partition_too() -> None:
    retention = Retention()
    for offset in range(KEPT_MESSAGES):
        retention.published("t", 0, offset, 1)
    assert retention.room() == 0
    retention.committed("t", 0, 1)
    assert retention.room() > 0


def test_a_broker_that_is_away_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.source.publish._ANSWER_S", 0.3)
    with pytest.raises(SourceUnavailableError, match=r"127\.0\.0\.1:1"):
        publish(outgoing(1), "127.0.0.1:1", lambda _: "t")


def test_a_message_that_is_too_large_is_named(bench: Any) -> None:
    with pytest.raises(ConfigError, match=r"s3://b/0.*message\.max\.bytes"):
        publish(outgoing(1, 2_000_000), bench.broker.bootstrap, lambda _: "t")


def test_a_refused_property_is_named(bench: Any) -> None:
    with pytest.raises(ConfigError, match=r"linger\.mss"):
        publish(outgoing(1), bench.broker.bootstrap, lambda _: "t", {"linger.mss": 5})


def test_a_consumer_s_properties_do_not_disturb(bench: Any) -> None:
    properties = {"group.id": "g", "auto.offset.reset": "error", "message.timeout.ms": 5000, "client.id": "me"}
    report = publish(outgoing(2), bench.broker.bootstrap, lambda m: f"p.{m.modality}", properties)
    assert report.delivered == {"p.image": 2}


def test_an_embedded_broker_serves_its_topics_and_ends_with_its_context() -> None:
    with EmbeddedBroker() as broker:
        broker.create(["one", "two"])
        assert publish(outgoing(3), broker.bootstrap, lambda _: "one").messages == 3
        first, epoch = broker.bootstrap, broker.source_epoch
    with EmbeddedBroker() as again:
        assert again.source_epoch != epoch
        assert publish(outgoing(1), again.bootstrap, lambda _: "one").messages == 1
    assert first
