from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from confluent_kafka import Message as KafkaMessage

from operators.errors import ConfigError, SourceUnavailableError
from operators.records import Failure, Modality, Origin
from operators.tokenize.base import TokenKind, TokenSpec
from pipeline.app.letter_copy import LetterCopy, run_copy
from pipeline.config import Config, parse_config
from pipeline.lake.delta import Opening, Start
from pipeline.lake.lake import Lake
from pipeline.lake.proposal import Proposal
from pipeline.records import Letter, Predicate, PredicateField, Product, Sealed, SourcePartition, Span, ranges_of
from pipeline.source.embedded import EmbeddedBroker
from pipeline.source.letter_topic import MESSAGE_BYTES, LetterTopic, headers_of

LOG = SourcePartition("kafka:abc", 3)
SPEC = TokenSpec(TokenKind.CODES, Modality.TEXT, "utf8:4096", ("t",), (256,), "uint16")
PRODUCT = Product("words", 1, "1a2b3c4d" * 8, Modality.TEXT, SPEC)
TOPIC = "letters"


def letter(offset: int, **fields: object) -> Letter:
    base = Letter(
        product=PRODUCT.key,
        origin=Origin(*LOG, offset, 0),
        uri=f"mem://{offset}",
        failure=Failure("fetch.denied", "fetch", f"letter {offset}"),
        topic="texts",
        key=b"\x00key",
        value=f"value {offset}".encode(),
        headers=(("trace", b"\xff"), ("trace", b"2")),
        attempts=2,
        at_ms=1_795_000_000_000,
    )
    return replace(base, **fields)


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        running.create([TOPIC])
        yield running


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.open(str(tmp_path / "lake"))
    lake.commit(Proposal(openings=(Opening(PRODUCT, "text"),), starts=(Start(PRODUCT.key, LOG, 0),)))
    return lake


def commit(lake: Lake, *letters: Letter) -> None:
    span = Span(LOG, ranges_of(each.origin.offset for each in letters))
    lake.commit(Proposal((Sealed(PRODUCT.key, covers=(span,), letters=letters),)))


def config(lake: Lake, broker: EmbeddedBroker) -> Config:
    lanes = {"text": {"products": {"words": {"tokenizer": "text-bytes"}}}}
    kafka = {"bootstrap.servers": broker.bootstrap, "group.id": "g"}
    return parse_config({"lake": lake.uri, "kafka": kafka, "lanes": lanes})


def copied(broker: EmbeddedBroker) -> list[KafkaMessage]:
    """What the topic has, by value."""
    settings = {"bootstrap.servers": broker.bootstrap, "group.id": "look", "enable.partition.eof": True}
    consumer = Consumer(settings)
    reading = set(range(4))
    consumer.assign([TopicPartition(TOPIC, number, OFFSET_BEGINNING) for number in reading])
    found: list[KafkaMessage] = []
    while reading:
        message = consumer.poll(30)
        assert message is not None
        error = message.error()
        if error is None:
            found.append(message)
        else:
            assert error.code() == KafkaError._PARTITION_EOF
            reading.discard(message.partition() or 0)
    consumer.close()
    return sorted(found, key=lambda message: message.value() or b"")


def values(broker: EmbeddedBroker) -> list[bytes | None]:
    return [message.value() for message in copied(broker)]


def test_letters_are_copied_with_their_message_and_where_they_come_from(
    lake: Lake, broker: EmbeddedBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(lake, letter(1), letter(2))
    assert run_copy(config(lake, broker), TOPIC, None, once=True) == 0
    assert "2 letters copied into letters, up to version 2" in capsys.readouterr().out
    first, second = copied(broker)
    assert (first.key(), first.value(), second.value()) == (b"\x00key", b"value 1", b"value 2")
    assert first.headers() == [
        ("trace", b"\xff"),
        ("trace", b"2"),
        ("mediatok.original.topic", b"texts"),
        ("mediatok.original.partition", b"3"),
        ("mediatok.original.offset", b"1"),
        ("mediatok.original.source_id", b"kafka:abc"),
        ("mediatok.original.item", b"0"),
        ("mediatok.error.code", b"fetch.denied"),
        ("mediatok.error.stage", b"fetch"),
        ("mediatok.error.message", b"letter 1"),
        ("mediatok.uri", b"mem://1"),
        ("mediatok.product", b"words-1a2b3c4d"),
        ("mediatok.attempts", b"2"),
        ("mediatok.at_ms", b"1795000000000"),
        ("mediatok.version", version("mediatok").encode()),
    ]


def test_each_follower_goes_on_where_it_was(lake: Lake, broker: EmbeddedBroker) -> None:
    commit(lake, letter(1))
    assert run_copy(config(lake, broker), TOPIC, None, once=True) == 0
    commit(lake, letter(2))
    assert run_copy(config(lake, broker), TOPIC, None, once=True) == 0
    assert run_copy(config(lake, broker), TOPIC, None, once=True) == 0
    assert values(broker) == [b"value 1", b"value 2"]
    assert json.loads(lake.store.read("_meta/followers/letters.json")) == {"format": 1, "version": 3}
    assert run_copy(config(lake, broker), TOPIC, "another", once=True) == 0
    assert values(broker) == [b"value 1", b"value 1", b"value 2", b"value 2"]


def test_what_was_taken_down_is_not_copied(lake: Lake, broker: EmbeddedBroker) -> None:
    commit(lake, letter(1), letter(2))
    lake.commit(Proposal(predicates=(Predicate(PredicateField.URI, "mem://1"),)))
    assert run_copy(config(lake, broker), TOPIC, None, once=True) == 0
    assert values(broker) == [b"value 2"]


class Broken(LetterTopic):
    """Confirms nothing."""

    def copy(self, letters: object) -> None:
        raise SourceUnavailableError("away")


def test_what_the_broker_has_not_confirmed_is_copied_again(lake: Lake, broker: EmbeddedBroker) -> None:
    commit(lake, letter(1))
    properties = {"bootstrap.servers": broker.bootstrap}
    broken = LetterCopy(lake, Broken(TOPIC, properties), "f")
    with pytest.raises(SourceUnavailableError):
        broken.go_on()
    again = LetterCopy(lake, LetterTopic(TOPIC, properties), "f")
    assert again.version < lake.state.version
    again.go_on()
    assert (again.version, again.copied, values(broker)) == (lake.state.version, 1, [b"value 1"])


def test_a_letter_that_is_too_large_names_the_setting(broker: EmbeddedBroker) -> None:
    topic = LetterTopic(TOPIC, {"bootstrap.servers": broker.bootstrap, "message.max.bytes": 2000})
    with pytest.raises(ConfigError, match=r"message\.max\.bytes"):
        topic.copy([letter(1, value=b"x" * 5000)])


def test_long_messages_are_cut_and_headers_of_an_earlier_copy_replaced() -> None:
    failure = Failure("fetch.denied", "fetch", "ä" * MESSAGE_BYTES)
    headers = dict(headers_of(letter(1, failure=failure, headers=(("mediatok.uri", b"old"), ("a", b"1")))))
    assert headers["mediatok.error.message"].decode() == "ä" * (MESSAGE_BYTES // 2)
    assert (headers["mediatok.uri"], headers["a"]) == (b"mem://1", b"1")


def test_a_follower_needs_a_name_that_can_be_a_files(lake: Lake, broker: EmbeddedBroker) -> None:
    with pytest.raises(ConfigError, match="--name"):
        run_copy(config(lake, broker), TOPIC, "../x", once=True)
