"""Counts what the broker has against what the lake has, by code that shares nothing with the pipeline.

It imports neither `pipeline` nor `operators`, reads the topics from their beginning and every version of the lake's log
(`pipeline/lake/README.md` is all it goes by), and opens each committed file with pyarrow.

A product's revisions count as one. Owed to a product is every item of the topics in which it has a start, from that
start on, and what lies below and was caught up with; a topic with messages in which no product has a start is owed by
all of them.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain
from typing import Any, NamedTuple

import fsspec
import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from pyroaring import BitMap64

PATIENCE_S = 30.0
HEAD = {"format", "version", "base", "commit_id", "writer", "committed_at_ms", "min_base"}
LISTS = {"openings", "starts", "closings", "outcomes", "covers", "skips", "shards", "voids"}
NOTHING_TO_DO = {"tombstone", "test_event", "removal"}
COLUMNS = ["source_id", "partition", "offset", "item", "window_index", "window_count"]


class Place(NamedTuple):
    """A message."""

    source: str
    partition: int
    offset: int


@dataclass(frozen=True)
class Count:
    """Everything below but `messages` is summed over the products.

    Attributes:
        messages: that the broker has.
        items: owed.
        lost: items without an outcome, and windows that are missing from an item that has some.
        repeated: rows beyond the first of an item's window, items with more than one outcome, and messages that the
            log says are done more than once.
        unknown: rows, letters and empties whose item the broker does not have.
        uncovered: owed messages that the log does not say are done.
        rows, tokens: in the committed files.
        letters: items whose last outcome is a letter.
        empties: items without tokens.
        voids: items that are nothing to tokenize; messages that were skipped or never stood in the log are not counted.
    """

    messages: int = 0
    items: int = 0
    lost: int = 0
    repeated: int = 0
    unknown: int = 0
    uncovered: int = 0
    rows: int = 0
    tokens: int = 0
    letters: int = 0
    empties: int = 0
    voids: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Count)))


@dataclass
class Kept:
    """What the lake has of one product, by name."""

    starts: dict[tuple[str, int], int] = field(default_factory=dict)
    covered: Counter[Place] = field(default_factory=Counter)
    skipped: set[Place] = field(default_factory=set)
    windows: Counter[tuple[Place, int, int]] = field(default_factory=Counter)
    """By message, item and window_index."""
    window_counts: dict[tuple[Place, int], set[int]] = field(default_factory=lambda: defaultdict(set))
    letters: dict[Place, Counter[int]] = field(default_factory=dict)
    """By message, the items with an open letter."""
    empties: Counter[tuple[Place, int]] = field(default_factory=Counter)
    voids: Counter[str] = field(default_factory=Counter)
    tokens: int = 0


def count(bootstrap: str, topics: Sequence[str], lake_uri: str, storage_options: Mapping[str, Any]) -> Count:
    """What became of everything in the topics.

    Args:
        bootstrap: of the broker, which must give topics an id.
        topics: that the run read.
        lake_uri: s3://bucket/prefix or a folder.
        storage_options: of its file system.

    Raises:
        ValueError: the lake's log or a file does not fit its description.
    """
    return compare(broker_messages(bootstrap, topics), lake_products(lake_uri, storage_options))


def compare(messages: Mapping[Place, Sequence[bool]], products: Mapping[str, Kept]) -> Count:
    """What became of the messages (see `broker_messages`) in the products (see `lake_products`)."""
    owed_by_someone = {source for kept in products.values() for source, _ in kept.starts}
    total = Count(messages=len(messages))
    for kept in products.values():
        mine = {source for source, _ in kept.starts}
        owed = {
            place: items
            for place, items in messages.items()
            if (place.source in mine or place.source not in owed_by_someone)
            and (place.offset >= kept.starts.get((place.source, place.partition), 0) or kept.covered[place])
            and place not in kept.skipped
        }
        total += _compare(owed, messages, kept)
    if not products:
        total += Count(items=sum(map(len, messages.values())), lost=sum(map(len, messages.values())))
    return total


def _compare(owed: Mapping[Place, Sequence[bool]], there: Mapping[Place, Sequence[bool]], kept: Kept) -> Count:
    """One product. `owed`: by message, for each of its items whether there is anything to do."""
    letters = {(place, item): n for place, items in kept.letters.items() for item, n in items.items()}
    with_rows = {(place, item) for place, item, _ in kept.windows}
    outcomes = Counter(with_rows) + Counter(letters) + kept.empties
    missing_windows = sum(
        not kept.windows[place, item, index]
        for (place, item), counts in kept.window_counts.items()
        for index in range(max(counts))
    )
    left = Counter(
        to_do for place, items in owed.items() for item, to_do in enumerate(items) if not outcomes[place, item]
    )
    void = {True: 0, False: 0}
    for reason, items in kept.voids.items():
        if reason != "hole":
            void[reason not in NOTHING_TO_DO] += items
    return Count(
        items=sum(map(len, owed.values())),
        lost=missing_windows + sum(max(0, left[kind] - void[kind]) for kind in void),
        repeated=sum(n - 1 for n in kept.windows.values())
        + sum(n - 1 for n in outcomes.values())
        + sum(n - 1 for n in kept.covered.values())
        + sum(max(0, void[kind] - left[kind]) for kind in void),
        unknown=sum(n for (place, item), n in outcomes.items() if item >= len(there.get(place, ()))),
        uncovered=sum(not kept.covered[place] for place in owed),
        rows=sum(kept.windows.values()),
        tokens=kept.tokens,
        letters=sum(letters.values()),
        empties=sum(kept.empties.values()),
        voids=sum(void.values()),
    )


def broker_messages(bootstrap: str, topics: Sequence[str]) -> dict[Place, list[bool]]:
    """Every message, from the beginning: for each of its items whether there is anything to do."""
    ids = source_ids(bootstrap, topics)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"count-{uuid.uuid4().hex}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
    )
    found: dict[Place, list[bool]] = {}
    try:
        metadata = consumer.list_topics(timeout=PATIENCE_S)
        reading = {(topic, partition) for topic in topics for partition in metadata.topics[topic].partitions}
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic, partition in reading])
        while reading:
            message = consumer.poll(PATIENCE_S)
            if message is None:
                raise TimeoutError(f"the broker says nothing about {sorted(reading)}")
            if message.error() is None:
                place = Place(ids[message.topic()], message.partition(), message.offset())
                found[place] = items_of(message.value())
            elif message.error().code() == KafkaError._PARTITION_EOF:
                reading.discard((message.topic(), message.partition()))
            else:
                raise KafkaException(message.error())
    finally:
        consumer.close()
    return found


def source_ids(bootstrap: str, topics: Sequence[str]) -> dict[str, str]:
    """What the lake calls each topic."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    described = admin.describe_topics(TopicCollection(list(topics)))
    # Kafka writes its ids in the alphabet of base64 that is safe in URLs, the client's str() in the other one.
    written = {topic: str(described[topic].result(PATIENCE_S).topic_id) for topic in topics}
    return {topic: "kafka:" + text.translate(str.maketrans("+/", "-_")) for topic, text in written.items()}


def items_of(value: bytes | None) -> list[bool]:
    """For each item of a message, whether there is anything to do."""
    if value is None:
        return [False]
    try:
        document = json.loads(value)
    except ValueError:
        return [True]
    entries: object = document
    if isinstance(document, dict) and "uri" not in document:
        if document.get("Event") == "s3:TestEvent":
            return [False]
        entries = document.get("Records", document.get("items"))
    if not isinstance(entries, list) or not entries:
        return [True]
    return [not _is_removal(entry) for entry in entries]


def _is_removal(entry: object) -> bool:
    return isinstance(entry, dict) and "ObjectRemoved" in str(entry.get("eventName", ""))


def lake_products(lake_uri: str, storage_options: Mapping[str, Any]) -> dict[str, Kept]:
    """What the log and its files say, by the products' names."""
    cache = {"skip_instance_cache": True, "use_listings_cache": False}
    store, root = fsspec.core.url_to_fs(lake_uri, **({**cache, **storage_options} if "://" in lake_uri else {}))
    names: dict[str, str] = {}
    products: dict[str, Kept] = defaultdict(Kept)
    paths = sorted(path for path in store.find(f"{root}/_meta/log") if path.endswith(".json"))
    for number, path in enumerate(paths, 1):
        delta = json.loads(store.cat_file(path))
        if delta["version"] != number or delta["format"] != 1 or set(delta) - HEAD - LISTS:
            raise ValueError(
                f"{path}: version {delta['version']}, format {delta['format']}, {set(delta) - HEAD - LISTS}"
            )
        for each in delta.get("openings", ()):
            names[_key(each["product"])] = each["product"]["name"]
        for each in delta.get("starts", ()):
            log = each["source"], each["partition"]
            kept = products[names[each["product"]]]
            kept.starts[log] = min(each["offset"], kept.starts.get(log, each["offset"]))
        for each in delta.get("closings", ()):
            for place in places_of(each):
                products[names[each["product"]]].letters.pop(place, None)
        for each in delta.get("outcomes", ()):
            _read_outcomes(products[names[each["product"]]], store.cat_file(f"{root}/{each['path']}"), each)
        for each in delta.get("covers", ()):
            products[names[each["product"]]].covered.update(places_of(each))
        for each in delta.get("skips", ()):
            products[names[each["product"]]].skipped.update(places_of(each))
        for each in delta.get("shards", ()):
            _read_shard(products[names[each["product"]]], store.cat_file(f"{root}/{each['path']}"), each)
        for each in delta.get("voids", ()):
            products[names[each["product"]]].voids[each["reason"]] += each["items"]
    return dict(products)


def _key(product: Mapping[str, Any]) -> str:
    return f"{product['name']}-{product['fingerprint'][:8]}"


def places_of(span: Mapping[str, Any]) -> Iterable[Place]:
    if "bitmap" in span:
        offsets: Iterable[int] = BitMap64.deserialize(base64.b64decode(span["bitmap"]))
    else:
        offsets = chain.from_iterable(range(start, end) for start, end in span["ranges"])
    for offset in offsets:
        yield Place(span["source"], span["partition"], offset)


def _read_outcomes(kept: Kept, data: bytes, said: Mapping[str, Any]) -> None:
    letters: dict[Place, Counter[int]] = defaultdict(Counter)
    empties = 0
    for line in map(json.loads, data.splitlines()):
        source, partition, offset, item = line["origin"]
        place = Place(source, partition, offset)
        if line["outcome"] == "letter":
            letters[place][item] += 1
        else:
            kept.empties[place, item] += 1
            empties += 1
    if (sum(n.total() for n in letters.values()), empties) != (said["letters"], said["empties"]):
        raise ValueError(f"{said['path']} holds other numbers of letters and empties than the log says")
    for place, items in letters.items():
        kept.letters.setdefault(place, Counter()).update(items)


def _read_shard(kept: Kept, data: bytes, said: Mapping[str, Any]) -> None:
    with pa.ipc.open_file(data) as reader:
        table = reader.read_all()
    if (table.num_rows, len(data)) != (said["rows"], said["size_bytes"]):
        raise ValueError(f"{said['path']}: {table.num_rows} rows, {len(data)} bytes; the log says {said}")
    for source, partition, offset, item, index, total in zip(
        *(table[name].to_pylist() for name in COLUMNS), strict=True
    ):
        place = Place(source, partition, offset)
        kept.windows[place, item, index] += 1
        kept.window_counts[place, item].add(total)
    kept.tokens += sum(table["n_tokens"].to_pylist())
