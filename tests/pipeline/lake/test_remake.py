from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

from operators.errors import StoreUnavailableError
from operators.pack.schema import doc_id, doc_json
from operators.pack.shard import write_shard
from operators.records import MediaReference, Modality, Origin
from pipeline.lake.delta import Opening
from pipeline.lake.lake import Lake
from pipeline.lake.proposal import Proposal
from pipeline.lake.remake import Remake, Untold
from pipeline.lake.store_local import LocalStore
from pipeline.records import Letter, Product, Sealed, SealKind, Shard, Task
from pipeline.refs.parse import parse

Items = Sequence[tuple[int, int]]
"""Offset and item."""


@pytest.fixture
def lake(golden: ModuleType, tmp_path: Path) -> Lake:
    return golden.make_lake(tmp_path / "lake")


def bring(golden: ModuleType, lake: Lake, product: Product, items: Items, **told: Sequence[Any]) -> Shard:
    """A shard with a row an item, as `golden.bring_shard` has one a message."""
    offsets = tuple(offset for offset, _ in items)
    columns: dict[str, pa.Array] = {
        "item": pa.array([item for _, item in items], pa.int32()),
        "sample_id": pa.array([f"{offset}-{item}" for offset, item in items]),
        **{name: pa.array(values) for name, values in told.items()},
    }
    batch = golden.rows(product, golden.LOG, offsets)
    for name, values in columns.items():
        batch = batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), values)
    batch = batch.replace_schema_metadata(golden.rows(product, golden.LOG, (0,)).schema.metadata)
    with tempfile.TemporaryDirectory() as folder:
        facts = write_shard(Path(folder) / "shard", batch.schema, [batch])
        path = lake.upload_shard(Path(folder) / "shard", product.key, facts.index, golden.DT)
    return Shard(product.key, path, facts.rows, facts.tokens, facts.size_bytes, facts.sha256)


def remake(lake: Lake, product: Product, source: str | None = None) -> Remake:
    return Remake(lake.store, lake.state, product.key, product.name, source, ["mem", "http"])


def tasks_of(work: Remake) -> dict[tuple[str, int], Task]:
    found = dict[tuple[str, int], Task]()
    while (some := work.next()) is not None:
        for task in some:
            key = (task.message.origin.source_id, task.message.origin.offset)
            assert key not in found, "a message comes once"
            found[key] = task
    assert not any(work.left.values())
    return found


def wanted_of(tasks: Mapping[tuple[str, int], Task], product: Product) -> dict[int, list[int]]:
    """By offset, the items."""
    return {offset: sorted((task.wanted or {})[product.key]) for (_, offset), task in tasks.items()}


def open_third(golden: ModuleType, lake: Lake) -> Product:
    third = Product("image-rq", 3, "9a9b9c9d" * 8, Modality.IMAGE, golden.SPEC)
    lake.commit(Proposal(openings=(Opening(third, "image"),)))
    return third


def test_what_a_predecessor_has_rows_of_comes_back_in_its_origins(golden: ModuleType, lake: Lake) -> None:
    work = remake(lake, golden.SECOND)
    assert work.predecessors == (golden.FIRST.key,)
    assert work.left == {golden.LOG: 4, golden.OTHER: 1}
    tasks = tasks_of(work)
    assert sorted(tasks) == [("golden-listing", 0), *(("golden-topic", offset) for offset in (10, 11, 12, 14))]
    task = tasks["golden-topic", 12]
    (item,) = parse(task.message).items
    assert item == MediaReference(
        uri="mem://golden-topic/12.png",
        origin=Origin("golden-topic", 0, 12, 0),
        modality=Modality.IMAGE,
        version="v1",
        attributes={"caption": "a caption"},
    )
    assert task.products == (golden.SECOND.key,)
    assert task.wanted == {golden.SECOND.key: {0: 0}}


def test_what_was_made_anew_already_does_not_come_again(golden: ModuleType, lake: Lake) -> None:
    shard = golden.bring_shard(lake, golden.SECOND, golden.LOG, 10, 11)
    part = Sealed(golden.SECOND.key, (shard,), (golden.span(golden.LOG, 10, 11),), kind=SealKind.RETOKENIZE)
    lake.commit(Proposal((part,)))
    assert sorted(tasks_of(remake(lake, golden.SECOND))) == [
        ("golden-listing", 0),
        ("golden-topic", 12),
        ("golden-topic", 14),
    ]


def test_of_two_predecessors_the_newer_one_is_asked(golden: ModuleType, lake: Lake) -> None:
    shard = golden.bring_shard(lake, golden.SECOND, golden.LOG, 10, 11)
    part = Sealed(golden.SECOND.key, (shard,), (golden.span(golden.LOG, 10, 11),), kind=SealKind.RETOKENIZE)
    lake.commit(Proposal((part,)))
    third = open_third(golden, lake)
    assert sorted(offset for _, offset in tasks_of(remake(lake, third))) == [0, 10, 11, 12, 14, 20, 22]
    only = tasks_of(remake(lake, third, golden.FIRST.key))
    assert sorted(offset for _, offset in only) == [0, 12, 14], "what the second made anew is the second's"


def test_a_message_whose_rows_lie_in_several_shards_comes_whole(golden: ModuleType, lake: Lake) -> None:
    shards = (
        bring(golden, lake, golden.SECOND, [(30, 0), (31, 0), (31, 2)]),
        bring(golden, lake, golden.SECOND, [(31, 5), (32, 1)]),
    )
    lake.commit(Proposal((Sealed(golden.SECOND.key, shards, (golden.span(golden.LOG, 30, 31, 32),)),)))
    third = open_third(golden, lake)
    tasks = tasks_of(remake(lake, third, golden.SECOND.key))
    wanted = wanted_of(tasks, third)
    assert {offset: wanted[offset] for offset in (30, 31, 32)} == {30: [0], 31: [0, 2, 5], 32: [1]}
    items = parse(tasks["golden-topic", 31].message).items
    assert [isinstance(item, MediaReference) for item in items] == [True, False, True, False, False, True]


def test_what_rows_do_not_tell_is_left_and_counted(golden: ModuleType, lake: Lake) -> None:
    part_of = doc_id(doc_json("mem://a", "v1", "[[0, 5], null]"))
    whole = doc_id(doc_json("http://a", "ab" * 32, ""))
    inline = doc_id(doc_json("mem://b", "ab" * 32, ""))
    told = {
        "uri": ["mem://a", "http://a", "mem://b", "note:1"],
        "version": ["v1", "", "", ""],
        "doc_id": [part_of, whole, inline, inline],
    }
    shard = bring(golden, lake, golden.SECOND, [(30, 0), (31, 0), (32, 0), (33, 0)], **told)
    lake.commit(Proposal((Sealed(golden.SECOND.key, (shard,), (golden.span(golden.LOG, 30, 31, 32, 33),)),)))
    third = open_third(golden, lake)
    work = remake(lake, third, golden.SECOND.key)
    assert sorted(offset for _, offset in tasks_of(work)) == [20, 22, 31]
    assert work.untold == {Untold.RANGE: 1, Untold.INLINE: 2}


def test_items_with_open_letters_are_left_to_a_replay(golden: ModuleType, lake: Lake) -> None:
    letter: Letter = golden.letter(golden.SECOND, 31)
    shard = bring(golden, lake, golden.SECOND, [(31, 1), (31, 0)])
    part = Sealed(golden.SECOND.key, (shard,), (golden.span(golden.LOG, 31),), (letter,))
    lake.commit(Proposal((part,)))
    third = open_third(golden, lake)
    assert wanted_of(tasks_of(remake(lake, third, golden.SECOND.key)), third)[31] == [1]


class Flaky(LocalStore):
    """Fails so many downloads."""

    failures = 0

    def download(self, path: str, target: Path) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("away")
        super().download(path, target)


def test_a_store_that_is_away_is_asked_again(golden: ModuleType, lake: Lake) -> None:
    store = Flaky(Path(lake.uri))
    work = Remake(store, lake.state, golden.SECOND.key, "image-rq", None, ["mem"])
    store.failures = 1
    with pytest.raises(StoreUnavailableError):
        work.next()
    assert len(tasks_of(work)) == 5
