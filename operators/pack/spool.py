"""Rows on local disk until their messages are whole.

A slot is one record batch, written as an encapsulated IPC message at a multiple of 64 bytes in a file of many slots.
Nothing of a slot stays in memory but where it lies; reading maps the file, so that what is read is page cache.
Bytes count until the *file* is gone, since only that frees the disk: files are small, so that one waiting row
keeps little.

The directory belongs to one process. What a former one left is uncommitted, hence will be done again, and is
wiped at the start.
"""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO, RawIOBase
from pathlib import Path

import pyarrow as pa

from operators.errors import InvariantError, SpoolDiskFullError, SpoolFullError

_ALIGNMENT = 64
_PATTERNS = ("rows-*.spool", "shard-*.arrow")


@contextmanager
def full_disk_stops(directory: Path) -> Generator[None, None, None]:
    """Turn "no space left" into an error that says so.

    It stops the run and is not tried again: `limit_bytes` promised that this much room is there, and waiting would
    hold every credit while somebody else's files fill the disk. Nothing is lost, since nothing here is committed.

    Raises:
        SpoolDiskFullError: the disk or the quota has no room left.
    """
    try:
        yield
    except OSError as error:
        # pyarrow raises an OSError with the errno in its text only.
        full = error.errno in {errno.ENOSPC, errno.EDQUOT} or f"[errno {errno.ENOSPC}]" in str(error)
        if not full:
            raise
        raise SpoolDiskFullError(f"no space left for the spool in {directory}: {error}") from error


@dataclass(slots=True)
class _File:
    path: Path
    size_bytes: int = 0
    slots: int = 0


@dataclass(slots=True)
class _Slot:
    file: _File
    offset: int
    length: int
    rows_left: int
    schema: pa.Schema


class Spool:
    """Slots of rows, released row by row.

    Args:
        directory: of this process alone; made where it is missing. Only files that a spool or packer writes are wiped.
        limit_bytes: what it may hold on disk.
        file_bytes: a file that has reached this is closed and the next one begun.
    """

    def __init__(self, directory: Path, limit_bytes: int, file_bytes: int = 8 << 20) -> None:
        self.directory = directory
        self.limit_bytes = limit_bytes
        self._file_bytes = file_bytes
        self._slots: dict[int, _Slot] = {}
        self._next_slot = 0
        self._next_file = 0
        self._size_bytes = 0
        self._open: tuple[_File, FileIO] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        for pattern in _PATTERNS:
            for left in directory.glob(pattern):
                left.unlink()

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return self._size_bytes

    @property
    def slots(self) -> int:
        """How many slots have rows left."""
        return len(self._slots)

    def append(self, batch: pa.RecordBatch) -> int:
        """Write a batch of at least one row; returns its slot.

        Raises:
            SpoolFullError: it would go over `limit_bytes`; nothing was written.
            SpoolDiskFullError: the disk is full before the limit is reached.
        """
        if batch.num_rows < 1:
            raise InvariantError("a slot holds at least one row")
        message = batch.serialize()
        padded = -(-message.size // _ALIGNMENT) * _ALIGNMENT
        if self._size_bytes + padded > self.limit_bytes:
            raise SpoolFullError(f"{self._size_bytes} bytes spooled and {padded} to come: over {self.limit_bytes}")
        with full_disk_stops(self.directory):
            file, handle = self._writable()
            offset = file.size_bytes
            _write_at(handle, message, offset)
            handle.truncate(offset + padded)
        file.size_bytes += padded
        file.slots += 1
        self._size_bytes += padded
        slot, self._next_slot = self._next_slot, self._next_slot + 1
        self._slots[slot] = _Slot(file, offset, message.size, batch.num_rows, batch.schema)
        return slot

    def read(self, slot: int) -> pa.RecordBatch:
        """A slot's rows, memory-mapped: the map lives as long as the batch does."""
        held = self._held(slot)
        with pa.memory_map(str(held.file.path)) as mapped:
            mapped.seek(held.offset)
            return pa.ipc.read_record_batch(mapped.read_buffer(held.length), held.schema)

    def release(self, slot: int, rows: int) -> None:
        """So many of a slot's rows are no longer wanted; with its last row the slot is gone.

        Raises:
            InvariantError: more rows than it has left.
        """
        held = self._held(slot)
        held.rows_left -= rows
        if held.rows_left < 0:
            raise InvariantError(f"slot {slot} was released {-held.rows_left} rows too often")
        if held.rows_left:
            return
        del self._slots[slot]
        held.file.slots -= 1
        if not held.file.slots:
            self._drop(held.file)

    def close(self) -> None:
        """Delete every file."""
        files = {id(held.file): held.file for held in self._slots.values()}
        if self._open is not None:
            files[id(self._open[0])] = self._open[0]
        for file in files.values():
            self._drop(file)
        self._slots.clear()

    def _held(self, slot: int) -> _Slot:
        if slot not in self._slots:
            raise InvariantError(f"the spool has no slot {slot}")
        return self._slots[slot]

    def _writable(self) -> tuple[_File, FileIO]:
        if self._open is not None and self._open[0].size_bytes < self._file_bytes:
            return self._open
        path = self.directory / f"rows-{self._next_file:08d}.spool"
        handle = path.open("xb", buffering=0)
        if self._open is not None:
            self._open[1].close()
        self._next_file += 1
        self._open = (_File(path), handle)
        return self._open

    def _drop(self, file: _File) -> None:
        if self._open is not None and self._open[0] is file:
            self._open[1].close()
            self._open = None
        self._size_bytes -= file.size_bytes
        file.path.unlink()


def _write_at(handle: RawIOBase, data: pa.Buffer, offset: int) -> None:
    """All of it, from the last good byte on: a write that failed half-way is written over by the next."""
    handle.seek(offset)
    view = memoryview(data)
    while view:
        view = view[handle.write(view) or 0 :]
