"""Files below the allowed folders."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from operators.errors import DeniedError, NotFoundError, ReferenceRefusedError, StoreUnavailableError
from operators.records import MediaReference
from pipeline.fetch.base import (
    Fetched,
    FetchLimits,
    Head,
    Sink,
    check_range,
    check_size,
    check_version,
    fetched,
    wanted_bytes,
)
from pipeline.fetch.intake import PIECE_BYTES, Intake
from pipeline.fetch.policy import FetchPolicy


@dataclass(frozen=True, slots=True)
class LocalStore:
    """Reads files. Their version is `<mtime in ns>-<size>`, both in hex."""

    policy: FetchPolicy
    limits: FetchLimits

    def fetch(self, reference: MediaReference) -> Fetched:
        """One try."""
        handle = self.open(reference)
        try:
            before = checked_status(handle, reference, self.limits)
            version = check_version(reference, file_version(before))
            content = _read_all(handle, wanted_bytes(reference, before.st_size), _start(reference), reference)
            check_unchanged(handle, reference, before)
            return fetched(check_range(reference, content), version)
        finally:
            os.close(handle)

    def copy(self, reference: MediaReference, sink: Sink, limits: FetchLimits) -> None:
        """One try, in pieces."""
        intake = Intake(reference, sink, limits)
        handle = self.open(reference)
        try:
            before = checked_status(handle, reference, limits)
            left = wanted_bytes(reference, before.st_size)
            if not intake.begin(Head(check_version(reference, file_version(before)), certain=True, size_bytes=left)):
                return
            at = _start(reference)
            while left > 0 and (piece := _pread(handle, min(PIECE_BYTES, left), at, reference)):
                intake.write(piece)
                at, left = at + len(piece), left - len(piece)
            check_unchanged(handle, reference, before)
            intake.end()
        finally:
            os.close(handle)

    def open(self, reference: MediaReference) -> int:
        """A descriptor to read from; not yet known to be a regular file's.

        Raises:
            ReferenceRefusedError: it lies outside of the roots.
            NotFoundError, DeniedError, StoreUnavailableError: as the system says.
        """
        path = self.policy.file(reference.uri)
        try:
            # O_NONBLOCK: opening a pipe must not wait for its writer.
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise NotFoundError(f"{reference.uri}: no such file") from error
        except PermissionError as error:
            raise DeniedError(f"{reference.uri}: {error.strerror}") from error
        except OSError as error:
            raise StoreUnavailableError(f"{reference.uri}: {error.strerror}") from error


def checked_status(handle: int, reference: MediaReference, limits: FetchLimits) -> os.stat_result:
    """The status of a file that may be read.

    Raises:
        NotFoundError: it is a folder.
        ReferenceRefusedError: it is a pipe, a socket or a device.
        TooLargeError: what is meant of it is over the limit.
    """
    status = os.fstat(handle)
    if stat.S_ISDIR(status.st_mode):
        raise NotFoundError(f"{reference.uri}: is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise ReferenceRefusedError(f"{reference.uri}: is no regular file")
    check_size(reference, wanted_bytes(reference, status.st_size), limits)
    return status


def check_unchanged(handle: int, reference: MediaReference, before: os.stat_result) -> None:
    """After the last byte.

    Raises:
        StoreUnavailableError: somebody has written to the file since `before`.
    """
    if file_version(os.fstat(handle)) != file_version(before):
        raise StoreUnavailableError(f"{reference.uri}: was written to while it was read")


def file_version(status: os.stat_result) -> str:
    """`<mtime in ns>-<size>`, both in hex."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


def _start(reference: MediaReference) -> int:
    return reference.byte_range[0] if reference.byte_range else 0


def _read_all(handle: int, size: int, start: int, reference: MediaReference) -> bytes:
    content = _pread(handle, size, start, reference)
    while len(content) < size and (more := _pread(handle, size - len(content), start + len(content), reference)):
        content += more  # one read gives 2 GiB at most
    return content


def _pread(handle: int, size: int, start: int, reference: MediaReference) -> bytes:
    try:
        return os.pread(handle, size, start)
    except OSError as error:
        raise StoreUnavailableError(f"{reference.uri}: {error.strerror}") from error
