from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.errors import InvariantError, ShardCorruptError
from operators.pack.shard import NothingLeft, ShardFacts, filter_shard, read_index, read_row, write_shard

MakeRows = Callable[..., pa.RecordBatch]
on_disk = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def ranged(path: Path, calls: list[tuple[int, int]]) -> Callable[[int, int], bytes]:
    def read(offset: int, length: int) -> bytes:
        calls.append((offset, length))
        return path.read_bytes()[offset : offset + length]

    return read


def test_a_shard_opens_with_pyarrow_alone(tmp_path: Path, text_schema: pa.Schema, make_rows: MakeRows):
    rows = make_rows([3, 0, 5])
    facts = write_shard(tmp_path / "a.arrow", text_schema, [rows])
    table = pa.ipc.open_file(tmp_path / "a.arrow").read_all()
    assert table.schema.equals(text_schema, check_metadata=True)
    assert table.to_pylist() == rows.to_pylist()
    data = (tmp_path / "a.arrow").read_bytes()
    assert (facts.rows, facts.tokens, facts.size_bytes) == (3, 8, len(data))
    assert facts.sha256 == sha256(data).hexdigest()


@on_disk
@given(
    lengths=st.lists(st.integers(0, 3000), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    batch_bytes=st.sampled_from([1, 900, 5000, 1 << 20]),
)
def test_the_same_rows_give_the_same_bytes_however_they_come(
    lengths, cuts, batch_bytes, tmp_path: Path, text_schema: pa.Schema, make_rows: MakeRows
):
    rows = make_rows(lengths)
    bounds = sorted({0, len(lengths), *(cut for cut in cuts if cut < len(lengths))})
    pieces = [rows.slice(begin, end - begin) for begin, end in pairwise(bounds)]
    one = write_shard(tmp_path / "one.arrow", text_schema, [rows], batch_bytes)
    many = write_shard(tmp_path / "many.arrow", text_schema, iter(pieces), batch_bytes)
    assert one == many
    assert (tmp_path / "one.arrow").read_bytes() == (tmp_path / "many.arrow").read_bytes()
    assert pa.ipc.open_file(tmp_path / "one.arrow").read_all().to_pylist() == rows.to_pylist()


def test_record_batches_are_of_about_the_size_asked_for(tmp_path: Path, text_schema, make_rows: MakeRows):
    index = read_index(
        write_shard(tmp_path / "a.arrow", text_schema, [make_rows([500] * 40)] * 10, batch_bytes=100_000).index
    )
    sizes = [entry.length for entry in index.batches[:-1]]
    assert len(sizes) > 3
    assert all(90_000 < size < 120_000 for size in sizes)


def test_a_row_is_one_ranged_read_away(tmp_path: Path, text_schema: pa.Schema, make_rows: MakeRows):
    rows = make_rows([100, 2000, 0, 30, 900, 1])
    path = tmp_path / "a.arrow"
    index = read_index(write_shard(path, text_schema, [rows], batch_bytes=1500).index)
    assert 1 < len(index.batches) < 6
    for number, expected in enumerate(rows.to_pylist()):
        calls: list[tuple[int, int]] = []
        assert read_row(ranged(path, calls), index, text_schema, number).to_pylist() == [expected]
        assert len(calls) == 1
    for number in (-1, 6):
        with pytest.raises(IndexError):
            read_row(ranged(path, []), index, text_schema, number)


def test_the_sidecar_says_where_schema_and_footer_lie(tmp_path: Path, text_schema: pa.Schema, make_rows: MakeRows):
    path = tmp_path / "a.arrow"
    index = read_index(write_shard(path, text_schema, [make_rows([3])]).index)
    data = path.read_bytes()
    offset, length = index.schema
    assert pa.ipc.read_schema(pa.py_buffer(data[offset : offset + length])).equals(text_schema, check_metadata=True)
    assert sum(index.footer) == len(data) - 10
    assert int.from_bytes(data[-10:-6], "little") == index.footer[1]


def test_damage_is_noticed(tmp_path: Path, text_schema: pa.Schema, make_rows: MakeRows):
    path = tmp_path / "a.arrow"
    index = read_index(write_shard(path, text_schema, [make_rows([300, 300])]).index)
    data = bytearray(path.read_bytes())
    data[index.batches[0].offset + index.batches[0].length - 40] ^= 1
    path.write_bytes(data)
    with pytest.raises(ShardCorruptError, match="crc32c"):
        read_row(ranged(path, []), index, text_schema, 0)
    path.write_bytes(data[:-200])
    with pytest.raises(ShardCorruptError, match="crc32c"):
        read_row(ranged(path, []), index, text_schema, 0)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"format":1}', b"\xff", json.dumps({"format": 9}).encode(), b'{"format":"x"}']
)
def test_what_is_no_sidecar_is_refused(data: bytes):
    with pytest.raises(ShardCorruptError):
        read_index(data)


def test_a_shard_has_rows(tmp_path: Path, text_schema: pa.Schema, make_rows: MakeRows):
    for batches in ([], [make_rows([1]).slice(0, 0)]):
        with pytest.raises(InvariantError, match="without rows"):
            write_shard(tmp_path / "a.arrow", text_schema, batches)


ranges = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda p: (p[0], p[0] + p[1])), max_size=4)


@on_disk
@given(drops=st.lists(st.tuples(st.sampled_from(["topic", "other"]), st.integers(0, 2), ranges), max_size=4))
def test_a_filter_drops_exactly_the_messages_it_was_told(
    drops, tmp_path: Path, text_schema: pa.Schema, make_rows: MakeRows
):
    batches = [make_rows(list(range(20)), first=0, partition=0), make_rows([5] * 30, first=10, partition=1)]
    source, target = tmp_path / "source.arrow", tmp_path / "target.arrow"
    target.unlink(missing_ok=True)
    write_shard(source, text_schema, batches, batch_bytes=3000)
    before = source.read_bytes()
    gone = {
        (name, partition, offset)
        for name, partition, spans in drops
        for start, end in spans
        for offset in range(start, end)
    }
    expected = [
        row
        for batch in batches
        for row in batch.to_pylist()
        if (row["source_id"], row["partition"], row["offset"]) not in gone
    ]
    outcome = filter_shard(source, target, drops).facts
    assert source.read_bytes() == before
    if expected:
        assert isinstance(outcome, ShardFacts)
        table = pa.ipc.open_file(target).read_all()
        assert table.to_pylist() == expected
        assert table.schema.equals(text_schema, check_metadata=True)
        assert outcome.rows == len(expected)
    else:
        assert outcome == NothingLeft(50)
        assert not target.exists()


def test_a_filter_that_leaves_nothing_says_so(tmp_path: Path, text_schema: pa.Schema, make_rows: MakeRows):
    write_shard(tmp_path / "a.arrow", text_schema, [make_rows([1, 2, 3])])
    drop = [("topic", 0, ((0, 2), (1, 3)))]
    assert filter_shard(tmp_path / "a.arrow", tmp_path / "b.arrow", drop).facts == NothingLeft(3)
    assert not (tmp_path / "b.arrow").exists()


def test_what_is_no_shard_cannot_be_filtered(tmp_path: Path):
    (tmp_path / "a.arrow").write_bytes(b"something else altogether")
    with pytest.raises(ShardCorruptError):
        filter_shard(tmp_path / "a.arrow", tmp_path / "b.arrow", [])
