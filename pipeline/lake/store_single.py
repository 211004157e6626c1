"""Exclusion by a lock file on this host, for stores that can't refuse to create what is there."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from operators.errors import ConfigError, StoreUnavailableError, StoreUnsafeError
from pipeline.lake.store import CreateAnswer, LakeStore, NoSuchFileError


class SingleWriterStore:
    """Another store, for one writing process at a time: it looks whether a file is there, and then puts it.

    That is safe while every process that writes the lake holds the same lock file, hence runs on this host, and the
    lock is on a local disk. What no lock can hold back is a put whose answer was lost, which may land later: so after
    one, nothing but the same bytes is put under its name. A process that is killed while a put is on its way must not
    be followed by another within the store's own timeout.

    Args:
        inner: the store.
        lock: a file on a local disk, made where it is not there; held until `close`, or the process's end.

    Raises:
        ConfigError: another process holds it, or it can't be made.
    """

    def __init__(self, inner: LakeStore, lock: Path) -> None:
        self._inner = inner
        self._one_at_a_time = threading.Lock()
        self._unanswered = dict[str, bytes]()
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            self._lock = lock.open("a+", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"commit.single_writer_lock: {lock}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "unknown"
            self._lock.close()
            raise ConfigError(
                f"commit.single_writer_lock: process {holder} holds {lock}, and only one may write {inner.uri} at a "
                "time: wait for it, or end it"
            ) from error
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()

    def close(self) -> None:
        """Let go of the lock."""
        self._lock.close()

    @property
    def uri(self) -> str:
        """See `LakeStore`."""
        return self._inner.uri

    def create(self, path: str, data: bytes) -> CreateAnswer:
        """See `LakeStore`.

        Raises:
            StoreUnsafeError: a put of other bytes to this path was never answered, and may still land.
        """
        with self._one_at_a_time:
            try:
                return self._create(path, data)
            except StoreUnavailableError:
                return CreateAnswer.UNCLEAR

    def _create(self, path: str, data: bytes) -> CreateAnswer:
        try:
            self._inner.size(path)
        except NoSuchFileError:
            pass
        else:
            return CreateAnswer.EXISTS
        if self._unanswered.get(path, data) != data:
            raise StoreUnsafeError(
                f"{self.uri}/{path}: a put was never answered and may still land; start again when the store is well"
            )
        self._unanswered[path] = data
        self._inner.write(path, data)
        del self._unanswered[path]
        return CreateAnswer.CREATED

    def read(self, path: str) -> bytes:
        """See `LakeStore`."""
        return self._inner.read(path)

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """See `LakeStore`."""
        return self._inner.read_range(path, start, end)

    def write(self, path: str, data: bytes | Path) -> None:
        """See `LakeStore`."""
        self._inner.write(path, data)

    def download(self, path: str, target: Path) -> None:
        """See `LakeStore`."""
        self._inner.download(path, target)

    def list(self, prefix: str) -> list[str]:
        """See `LakeStore`."""
        return self._inner.list(prefix)

    def delete(self, path: str) -> None:
        """See `LakeStore`."""
        self._inner.delete(path)

    def size(self, path: str) -> int:
        """See `LakeStore`."""
        return self._inner.size(path)
