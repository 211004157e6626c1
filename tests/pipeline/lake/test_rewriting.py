"""Takedowns and compaction of a real lake in a folder."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.pack.shard import write_shard
from operators.records import Origin, VoidReason
from pipeline.lake.delta import Start
from pipeline.lake.lake import Lake
from pipeline.lake.open_store import open_store
from pipeline.lake.proposal import Proposal
from pipeline.lake.reader import read_table
from pipeline.lake.rewriting import Tally, compact, find_repeats, groups, take_down
from pipeline.lake.store import NoSuchFileError
from pipeline.lake.vacuum import delete, plan_vacuum, set_floor
from pipeline.lake.verify import verify
from pipeline.records import Predicate, PredicateField, Sealed, Shard

TARGET_BYTES = 1 << 20


@pytest.fixture
def lake(golden: ModuleType, tmp_path: Path) -> Lake:
    """The golden lake, opened to be changed."""
    golden.make_lake(tmp_path / "lake")
    return Lake(open_store(str(tmp_path / "lake")))


def told(tally: Tally) -> None:
    assert tally.version


def uris(lake: Lake, product: str) -> list[str]:
    return read_table(lake.uri, product).column("uri").to_pylist()


def files_with(lake: Lake, text: str) -> set[str]:
    """Live files that hold these bytes."""
    return {path for path in lake.state.live_paths if text.encode() in lake.store.read(path)}


def test_what_is_taken_down_is_in_no_live_file_and_counted_as_void(golden: ModuleType, lake: Lake) -> None:
    first, gone = golden.FIRST.key, "mem://golden-topic/11.png"
    assert files_with(lake, gone)
    tally = take_down(lake, [Predicate(PredicateField.URI, gone)], told)
    assert (tally.replaced, tally.added, tally.taken_down) == (1, 1, 1)
    assert not files_with(lake, gone)
    assert gone not in uris(lake, first)
    assert lake.state.counters[first].voids[VoidReason.TAKEN_DOWN] == 1
    assert verify(lake.store).findings == []


def test_taken_down_again_it_changes_nothing(lake: Lake) -> None:
    predicates = [Predicate(PredicateField.URI, "mem://golden-topic/11.png")]
    version = take_down(lake, predicates, told).version
    again = take_down(lake, predicates, told)
    assert (again.version, again.replaced) == (version, 0)


def test_letters_and_empties_are_taken_down_too_but_a_closed_letter_counts_no_second_time(
    golden: ModuleType, lake: Lake
) -> None:
    first = golden.FIRST.key
    # 12 is a letter that a replay closed with a row, 13 an open one, 15 an empty; all are in one file.
    predicates = [Predicate(PredicateField.URI, f"mem://golden-topic/{offset}.png") for offset in (12, 13, 15)]
    tally = take_down(lake, predicates, told)
    assert tally.taken_down == 3
    assert lake.state.outcomes == {}
    assert list(lake.open_letters("image-rq")) == []
    assert (lake.state.counters[first].letters, lake.state.counters[first].empties) == (0, 0)
    assert verify(lake.store).findings == []


def test_a_whole_shard_may_go(golden: ModuleType, lake: Lake) -> None:
    second = golden.SECOND.key
    predicates = [Predicate(PredicateField.URI, f"mem://golden-topic/{offset}.png") for offset in (20, 22)]
    assert take_down(lake, predicates, told).added == 0
    assert lake.state.shards[second] == {}
    assert verify(lake.store).findings == []


def test_small_neighbours_become_one_shard_with_the_same_rows(golden: ModuleType, lake: Lake) -> None:
    first = golden.FIRST.key
    before = read_table(lake.uri, first)
    tally = compact(lake, first, TARGET_BYTES, {}, told)
    assert (tally.replaced, tally.added, tally.stale) == (3, 1, 0)
    assert len(lake.state.shards[first]) == 1
    assert read_table(lake.uri, first).equals(before)
    assert verify(lake.store).findings == []
    assert compact(lake, first, TARGET_BYTES, {}, told).replaced == 0


def test_compaction_obeys_a_takedown_of_which_only_the_predicate_is_committed(golden: ModuleType, lake: Lake) -> None:
    first, gone = golden.FIRST.key, "mem://golden-topic/11.png"
    lake.commit(Proposal(predicates=(Predicate(PredicateField.URI, gone),)))
    tally = compact(lake, first, TARGET_BYTES, {}, told)
    assert tally.taken_down == 1
    assert not files_with(lake, gone)


def test_what_another_replaced_meanwhile_is_left_alone(golden: ModuleType, lake: Lake) -> None:
    first = golden.FIRST.key
    late = Lake(lake.store)
    take_down(lake, [Predicate(PredicateField.URI, "mem://golden-topic/11.png")], told)
    tally = compact(late, first, TARGET_BYTES, {}, told)
    assert (tally.stale, tally.replaced) == (1, 0)
    assert verify(lake.store).findings == []


def bring_twice(golden: ModuleType, lake: Lake) -> None:
    """Message 30 announces what message 20 did: the same sample_id under another origin."""
    batch = golden.rows(golden.SECOND, golden.LOG, (20, 31))
    offsets = pa.array([30, 31], pa.int64())
    batch = batch.set_column(batch.schema.get_field_index("offset"), batch.schema.field("offset"), offsets)
    with tempfile.TemporaryDirectory() as folder:
        facts = write_shard(Path(folder) / "shard", batch.schema, [batch])
        path = lake.upload_shard(Path(folder) / "shard", golden.SECOND.key, facts.index, golden.DT)
    shard = Shard(golden.SECOND.key, path, facts.rows, facts.tokens, facts.size_bytes, facts.sha256)
    lake.commit(Proposal((Sealed(golden.SECOND.key, (shard,), (golden.span(golden.LOG, 30, 31),)),)))


def test_one_row_a_sample_is_kept_the_first(golden: ModuleType, lake: Lake) -> None:
    second = golden.SECOND.key
    bring_twice(golden, lake)
    assert uris(lake, second).count("mem://golden-topic/20.png") == 2
    tally = compact(lake, second, TARGET_BYTES, find_repeats(lake, second), told)
    assert tally.duplicates == 1
    table = read_table(lake.uri, second)
    assert table.column("offset").to_pylist() == [20, 22, 31]
    assert lake.state.counters[second].voids[VoidReason.DUPLICATE] == 1
    assert verify(lake.store).findings == []
    assert find_repeats(lake, second) == {}


def test_two_who_drop_repeats_at_once_leave_one_row_though_a_shard_moved_in_between(
    golden: ModuleType, lake: Lake
) -> None:
    second, uri = golden.SECOND.key, "mem://golden-topic/20.png"
    bring_twice(golden, lake)
    late = Lake(lake.store)
    planned = find_repeats(late, second)
    # What is rewritten comes to stand last: the row that was first in the order of commits is not any more.
    take_down(lake, [Predicate(PredicateField.URI, "mem://golden-topic/22.png")], told)
    assert uris(lake, second).index(uri) != len(uris(lake, second)) - 1
    compact(lake, second, 1, find_repeats(lake, second), told)
    compact(late, second, 1, planned, told)
    assert uris(lake, second).count(uri) == 1
    assert verify(lake.store).findings == []


def overtaken(lake: Lake, monkeypatch: pytest.MonkeyPatch, product: str) -> None:
    """The first download finds that somebody has merged all shards of a product, and vacuumed what they were."""
    download = lake.store.download

    def late(path: str, target: Path) -> None:
        monkeypatch.setattr(lake.store, "download", download)
        other = Lake(open_store(lake.uri))
        compact(other, product, TARGET_BYTES, {}, told)
        set_floor(other, other.state.version)
        delete(other.store, plan_vacuum(other.store, other.state.min_base), lambda _: None, sleep=lambda _: None)
        download(path, target)

    monkeypatch.setattr(lake.store, "download", late)


def test_a_takedown_goes_on_where_vacuum_took_what_another_had_replaced(
    golden: ModuleType, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    overtaken(lake, monkeypatch, golden.FIRST.key)
    gone = "mem://golden-topic/11.png"
    take_down(lake, [Predicate(PredicateField.URI, gone)], told)
    assert not files_with(lake, gone)
    assert verify(lake.store).findings == []


def test_a_compaction_leaves_what_another_had_replaced_and_vacuum_took(
    golden: ModuleType, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    overtaken(lake, monkeypatch, golden.FIRST.key)
    tally = compact(lake, golden.FIRST.key, TARGET_BYTES, {}, lambda _: None)
    assert (tally.stale, tally.replaced) == (1, 0)
    assert verify(lake.store).findings == []


def test_a_live_shard_that_is_not_there_is_an_error_and_no_endless_search(golden: ModuleType, lake: Lake) -> None:
    lake.store.delete(next(iter(lake.state.shards[golden.FIRST.key])))
    with pytest.raises(NoSuchFileError):
        take_down(lake, [Predicate(PredicateField.URI, "mem://golden-topic/11.png")], told)
    with pytest.raises(NoSuchFileError):
        compact(lake, golden.FIRST.key, TARGET_BYTES, {}, told)


def shard(number: int, size_bytes: int, dt: int) -> Shard:
    path = f"data/product=a-1/dt=2026-11-{dt:02}/part-1-{number:032x}.arrow"
    return Shard("a-1", path, 1, 1, size_bytes, "00")


@given(st.lists(st.tuples(st.integers(1, 150), st.integers(24, 25)), max_size=20))
def test_groups_are_neighbours_of_one_date_that_fit_and_no_two_groups_would(sizes: list[tuple[int, int]]) -> None:
    shards = [shard(number, size, dt) for number, (size, dt) in enumerate(sizes)]
    found = list(groups(shards, 100, {}))
    for group in found:
        first = shards.index(group[0])
        assert list(group) == shards[first : first + len(group)]
        assert len(group) > 1
        assert sum(each.size_bytes for each in group) <= 100
        assert len({each.path.split("/")[2] for each in group}) == 1
    merged = [each for group in found for each in group]
    assert len(merged) == len(set(merged))


def test_a_letter_of_a_subject_goes_by_its_message(golden: ModuleType, lake: Lake) -> None:
    value = b'{"uri": "mem://golden-topic/40.png", "attributes": {"subject_key": "anna"}}'
    letter = replace(
        golden.letter(golden.SECOND, 40), uri="mem://golden-topic/40.png", value=value, headers=(), key=None
    )
    sealed = Sealed(golden.SECOND.key, covers=(golden.span(golden.LOG, 40),), letters=(letter,))
    lake.commit(Proposal((sealed,), starts=(Start(golden.SECOND.key, golden.LOG, 10),)))
    assert letter.origin == Origin("golden-topic", 0, 40, 0)
    tally = take_down(lake, [Predicate(PredicateField.SUBJECT_KEY, "anna")], told)
    assert tally.taken_down == 1
    assert letter.origin not in {each.origin for each in lake.open_letters("image-rq")}
