"""From a URI to a store, with patience."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import stamina

from operators.errors import ConfigError, StoreUnsafeError, TransientError
from pipeline.lake.store import CreateAnswer, LakeStore, conditional_put_works
from pipeline.lake.store_local import LocalStore
from pipeline.lake.store_single import SingleWriterStore

T = TypeVar("T")

ATTEMPTS = 6
TIMEOUT_S = 60.0


class PatientStore:
    """Another store, tried again while its trouble may pass. An exclusive create is tried once: a lake settles that."""

    def __init__(self, inner: LakeStore, *, attempts: int = ATTEMPTS, timeout_s: float = TIMEOUT_S) -> None:
        self._inner, self._attempts, self._timeout_s = inner, attempts, timeout_s

    @property
    def uri(self) -> str:
        """See `LakeStore`."""
        return self._inner.uri

    def create(self, path: str, data: bytes) -> CreateAnswer:
        """See `LakeStore`."""
        try:
            return self._inner.create(path, data)
        except TransientError:
            return CreateAnswer.UNCLEAR

    def read(self, path: str) -> bytes:
        """See `LakeStore`."""
        return self._patiently(lambda: self._inner.read(path))

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """See `LakeStore`."""
        return self._patiently(lambda: self._inner.read_range(path, start, end))

    def write(self, path: str, data: bytes | Path) -> None:
        """See `LakeStore`."""
        self._patiently(lambda: self._inner.write(path, data))

    def download(self, path: str, target: Path) -> None:
        """See `LakeStore`."""
        self._patiently(lambda: self._inner.download(path, target))

    def list(self, prefix: str) -> list[str]:
        """See `LakeStore`."""
        return self._patiently(lambda: self._inner.list(prefix))

    def delete(self, path: str) -> None:
        """See `LakeStore`."""
        self._patiently(lambda: self._inner.delete(path))

    def size(self, path: str) -> int:
        """See `LakeStore`."""
        return self._patiently(lambda: self._inner.size(path))

    def _patiently(self, call: Callable[[], T]) -> T:
        for attempt in stamina.retry_context(on=TransientError, attempts=self._attempts, timeout=self._timeout_s):
            with attempt:
                return call()
        raise AssertionError("a retry context ends with a result or an error")


def open_store(uri: str, options: Mapping[str, object] | None = None) -> LakeStore:
    """The store below a URI: a path, file:///path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.

    Args:
        uri: the lake's root; abfs:// is az://.
        options: of the object store, see `S3Store`, `GcsStore`, `AzureStore`; none for folders.

    Raises:
        ConfigError: another scheme, or options where there are none.
    """
    scheme = urlsplit(uri).scheme
    if scheme in {"s3", "gs", "az", "abfs"}:
        return PatientStore(_object_store(scheme, uri, options or {}))
    if scheme not in {"", "file"}:
        raise ConfigError(f"a lake lies in a folder or under s3://, gs:// or az://, not {scheme}:// ({uri})")
    if options:
        raise ConfigError(f"a lake in a folder takes no store options, but got {sorted(options)}")
    return PatientStore(LocalStore(Path(unquote(urlsplit(uri).path)) if scheme else Path(uri).expanduser()))


def open_to_commit(
    uri: str, options: Mapping[str, object] | None = None, single_writer_lock: Path | None = None
) -> LakeStore:
    """The store for a process that commits: one on which two can't create the same version.

    Args:
        uri: as `open_store`.
        options: as `open_store`.
        single_writer_lock: a file on a local disk that keeps other writers out, where the store can't.

    Raises:
        StoreUnsafeError: the store creates what is there (looked at in buckets only: link(2) is known), and no lock.
        ConfigError: as `open_store`; another process holds the lock.
        StoreUnavailableError: the store gave no clear answer.
    """
    store = open_store(uri, options)
    if single_writer_lock is not None:
        return SingleWriterStore(store, single_writer_lock)
    if "://" in store.uri and not conditional_put_works(store, uuid.uuid4().hex):
        raise StoreUnsafeError(unsafe(uri))
    return store


def unsafe(uri: str) -> str:
    """What is wrong with a store that creates what is there, and what to do."""
    return (
        f"{uri} overwrites on a conditional put, so exactly-once can't be promised on it. If only one process at a "
        "time writes this lake, always on this host, say so: commit.single_writer_lock, a file on a local disk"
    )


def _object_store(scheme: str, uri: str, options: Mapping[str, object]) -> LakeStore:
    """Imports only the client that is asked for: each takes a second."""
    if scheme == "s3":
        from pipeline.lake.store_s3 import S3Store

        return S3Store(uri, options)
    if scheme == "gs":
        from pipeline.lake.store_gcs import GcsStore

        return GcsStore(uri, options)
    from pipeline.lake.store_azure import AzureStore

    return AzureStore(uri, options)
