"""Files below the allowed folders."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from operators.errors import DeniedError, NotFoundError, ReferenceRefusedError, StoreUnavailableError
from operators.records import MediaReference
from pipeline.fetch.base import Fetched, FetchLimits, check_range, check_size, check_version, fetched, wanted_bytes
from pipeline.fetch.policy import FetchPolicy


@dataclass(frozen=True, slots=True)
class LocalStore:
    """Reads files. Their version is `<mtime in ns>-<size>`, both in hex."""

    policy: FetchPolicy
    limits: FetchLimits

    def fetch(self, reference: MediaReference) -> Fetched:
        """One try."""
        path = self.policy.file(reference.uri)
        try:
            # O_NONBLOCK: opening a pipe must not wait for its writer.
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise NotFoundError(f"{reference.uri}: no such file") from error
        except PermissionError as error:
            raise DeniedError(f"{reference.uri}: {error.strerror}") from error
        except OSError as error:
            raise StoreUnavailableError(f"{reference.uri}: {error.strerror}") from error
        try:
            return self._read(handle, reference)
        finally:
            os.close(handle)

    def _read(self, handle: int, reference: MediaReference) -> Fetched:
        before = os.fstat(handle)
        if stat.S_ISDIR(before.st_mode):
            raise NotFoundError(f"{reference.uri}: is a folder")
        if not stat.S_ISREG(before.st_mode):
            raise ReferenceRefusedError(f"{reference.uri}: is no regular file")
        wanted = wanted_bytes(reference, before.st_size)
        check_size(reference, wanted, self.limits)
        version = check_version(reference, file_version(before))
        start = reference.byte_range[0] if reference.byte_range else 0
        content = _read_all(handle, start, wanted)
        if file_version(os.fstat(handle)) != file_version(before):
            raise StoreUnavailableError(f"{reference.uri}: was written to while it was read")
        return fetched(check_range(reference, content), version)


def file_version(status: os.stat_result) -> str:
    """`<mtime in ns>-<size>`, both in hex."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


def _read_all(handle: int, start: int, size: int) -> bytes:
    content = os.pread(handle, size, start)
    while len(content) < size and (more := os.pread(handle, size - len(content), start + len(content))):
        content += more  # one read gives 2 GiB at most
    return content
