"""From a URI to a store, with patience."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import stamina

from operators.errors import ConfigError, TransientError
from pipeline.lake.store import CreateAnswer, LakeStore
from pipeline.lake.store_local import LocalStore

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
    """The store below a URI: a path, file:///path or s3://bucket/prefix.

    Args:
        uri: the lake's root.
        options: of the object store, see `ObjectStore`; none for folders.

    Raises:
        ConfigError: another scheme, or options where there are none.
    """
    scheme = urlsplit(uri).scheme
    if scheme == "s3":
        from pipeline.lake.store_object import ObjectStore

        return PatientStore(ObjectStore(uri, options or {}))
    if scheme not in {"", "file"}:
        raise ConfigError(f"a lake lies in a folder or under s3://, not {scheme}:// ({uri})")
    if options:
        raise ConfigError(f"a lake in a folder takes no store options, but got {sorted(options)}")
    return PatientStore(LocalStore(Path(unquote(urlsplit(uri).path)) if scheme else Path(uri).expanduser()))
