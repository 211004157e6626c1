from __future__ import annotations

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.errors import Disposition, InvariantError, SpoolDiskFullError, SpoolFullError
from operators.pack import spool as spool_module
from operators.pack.spool import Spool, full_disk_stops


def batch(*numbers: int) -> pa.RecordBatch:
    return pa.record_batch({"n": pa.array(numbers, pa.int64())})


def on_disk_bytes(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.iterdir())


def test_a_slot_is_read_back_as_it_was(tmp_path: Path):
    spool = Spool(tmp_path / "s", 1 << 20)
    slots = [spool.append(batch(1, 2)), spool.append(batch(3))]
    assert [spool.read(slot).column("n").to_pylist() for slot in slots] == [[1, 2], [3]]
    assert spool.size_bytes == on_disk_bytes(tmp_path / "s")


def test_rows_read_outlive_their_file(tmp_path: Path):
    spool = Spool(tmp_path, 1 << 20)
    slot = spool.append(batch(1, 2))
    rows = spool.read(slot)
    spool.release(slot, 2)
    assert rows.column("n").to_pylist() == [1, 2]
    assert list(tmp_path.iterdir()) == []


def test_a_file_goes_with_the_last_of_its_rows(tmp_path: Path):
    spool = Spool(tmp_path, 1 << 20, file_bytes=1 << 16)
    first, second = spool.append(batch(1, 2)), spool.append(batch(3))
    spool.release(first, 1)
    spool.release(second, 1)
    assert spool.size_bytes > 0
    spool.release(first, 1)
    assert (spool.size_bytes, spool.slots, list(tmp_path.iterdir())) == (0, 0, [])


def test_files_are_small_so_that_a_straggler_keeps_little(tmp_path: Path):
    spool = Spool(tmp_path, 1 << 20, file_bytes=500)
    slots = [spool.append(batch(*range(100))) for _ in range(6)]
    assert len(list(tmp_path.iterdir())) == 6
    for slot in slots[1:]:
        spool.release(slot, 100)
    assert len(list(tmp_path.iterdir())) == 1
    assert spool.size_bytes == on_disk_bytes(tmp_path)


def test_the_limit_is_kept_and_nothing_half_written(tmp_path: Path):
    spool = Spool(tmp_path, 3000)
    slot = spool.append(batch(*range(100)))
    held = spool.size_bytes
    with pytest.raises(SpoolFullError, match="3000") as caught:
        spool.append(batch(*range(500)))
    assert caught.value.disposition is Disposition.RETRY
    assert spool.size_bytes == held == on_disk_bytes(tmp_path)
    spool.release(slot, 100)
    assert spool.size_bytes == 0


def test_releasing_too_much_is_an_error(tmp_path: Path):
    spool = Spool(tmp_path, 1 << 20)
    slot = spool.append(batch(1, 2))
    with pytest.raises(InvariantError):
        spool.release(slot, 3)
    with pytest.raises(InvariantError):
        spool.read(slot + 1)
    with pytest.raises(InvariantError):
        spool.append(batch(1).slice(0, 0))


def test_what_a_former_process_left_is_wiped_and_nothing_else(tmp_path: Path):
    Spool(tmp_path, 1 << 20).append(batch(1))
    (tmp_path / "shard-p-0.arrow").write_bytes(b"half")
    (tmp_path / "mine.txt").write_bytes(b"keep")
    spool = Spool(tmp_path, 1 << 20)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
    assert spool.size_bytes == 0


def test_a_full_disk_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spool = Spool(tmp_path, 1 << 20)
    slot = spool.append(batch(1))

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(spool_module, "_write_at", no_room)
        with pytest.raises(SpoolDiskFullError) as caught:
            spool.append(batch(2))
    assert caught.value.disposition is Disposition.STOP
    assert spool.read(spool.append(batch(3))).column("n").to_pylist() == [3]
    assert spool.read(slot).column("n").to_pylist() == [1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told_by_arrow_too(tmp_path: Path):
    with pytest.raises(SpoolDiskFullError), full_disk_stops(tmp_path), pa.OSFile("/dev/full", "wb") as sink:
        sink.write(bytes(1 << 20))


def test_another_error_of_the_disk_stays_what_it_is(tmp_path: Path):
    with pytest.raises(PermissionError), full_disk_stops(tmp_path):
        raise PermissionError(errno.EACCES, "no")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 1000), st.integers(1, 40)), max_size=40))
def test_what_it_says_it_holds_lies_on_the_disk(steps, tmp_path: Path):
    spool = Spool(tmp_path, 1 << 20, file_bytes=2000)
    held: dict[int, tuple[list[int], int]] = {}
    for adding, pick, size in steps:
        if adding or not held:
            numbers = list(range(pick, pick + size))
            held[spool.append(batch(*numbers))] = (numbers, size)
        else:
            slot = sorted(held)[pick % len(held)]
            numbers, left = held.pop(slot)
            spool.release(slot, min(size, left))
            if left > size:
                held[slot] = (numbers, left - size)
        assert spool.size_bytes == on_disk_bytes(tmp_path)
        assert {slot: spool.read(slot).column("n").to_pylist() for slot in held} == {
            slot: numbers for slot, (numbers, _) in held.items()
        }
    spool.close()
    assert on_disk_bytes(tmp_path) == 0
