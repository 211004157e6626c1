"""What all object stores share: keys below a root, and errors that mean the same whichever store they come from."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Generator
from enum import StrEnum
from pathlib import Path

import aiohttp

from operators.errors import ConfigError, StoreUnavailableError
from pipeline.lake.store import CreateAnswer, NoSuchFileError

TROUBLE = (OSError, TimeoutError, asyncio.TimeoutError, aiohttp.ClientError)
"""What any client raises where a server can't be reached, is slow or breaks off."""

PART_BYTES = 16 << 20
"""Of a large file's upload, where the client can be told."""
PARTS_AT_ONCE = 4


class Problem(StrEnum):
    """What an error of a client means."""

    NO_KEY = "no_key"
    NO_BUCKET = "no_bucket"
    REFUSED = "refused"
    """Access denied, or a request that the store will never take."""
    THERE = "there"
    """The condition of an exclusive create does not hold."""
    TROUBLE = "trouble"
    """May pass: 409, 429, 5xx, silence."""


class ObjectStore(ABC):
    """Below `scheme://bucket/prefix`. Subclasses say how each store does it, without caches or read-ahead.

    A `key` is what stands after the bucket, prefix included. Subclasses raise whatever their client raises; `problem`
    tells what that means.

    Args:
        uri: scheme://bucket[/prefix].
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/")
        self.bucket, _, prefix = self._uri.partition("://")[2].partition("/")
        if not self.bucket:
            raise ConfigError(f"{uri}: names no bucket")
        self._prefix = f"{prefix}/" if prefix else ""

    @property
    def uri(self) -> str:
        """scheme://bucket/prefix."""
        return self._uri

    def create(self, path: str, data: bytes) -> CreateAnswer:
        """See `LakeStore`.

        `EXISTS` may be this call's own doing: clients retry what they could not hear the answer to.
        """
        try:
            self.create_key(self._prefix + path, data)
        except Exception as error:
            match self.problem(error):
                case Problem.THERE:
                    return CreateAnswer.EXISTS
                case Problem.TROUBLE:
                    return CreateAnswer.UNCLEAR
                case Problem.NO_KEY:
                    raise self._translated(Problem.NO_BUCKET, path, error) from error
                case None:
                    raise
                case problem:
                    raise self._translated(problem, path, error) from error
        return CreateAnswer.CREATED

    def read(self, path: str) -> bytes:
        """See `LakeStore`."""
        with self._errors(path):
            return self.read_key(self._prefix + path, None)

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """See `LakeStore`."""
        if start >= end:
            return b""
        with self._errors(path):
            return self.read_key(self._prefix + path, (start, end))

    def write(self, path: str, data: bytes | Path) -> None:
        """See `LakeStore`."""
        if isinstance(data, Path) and not data.is_file():
            raise NoSuchFileError(f"{data} is not there")
        try:
            with self._errors(path):
                self.write_key(self._prefix + path, data)
        except NoSuchFileError as error:
            raise ConfigError(f"{self._uri}: no such bucket") from error

    def download(self, path: str, target: Path) -> None:
        """See `LakeStore`."""
        with self._errors(path):
            self.download_key(self._prefix + path, target)

    def list(self, prefix: str) -> list[str]:
        """See `LakeStore`."""
        try:
            with self._errors(prefix):
                return sorted(key.removeprefix(self._prefix) for key in self.list_keys(self._prefix + prefix))
        except NoSuchFileError:
            return []

    def delete(self, path: str) -> None:
        """See `LakeStore`."""
        with contextlib.suppress(NoSuchFileError), self._errors(path):
            self.delete_key(self._prefix + path)

    def size(self, path: str) -> int:
        """See `LakeStore`."""
        with self._errors(path):
            return self.size_of_key(self._prefix + path)

    @abstractmethod
    def create_key(self, key: str, data: bytes) -> None:
        """Put it only if nothing is there: the store must decide, in the request that brings the bytes."""

    @abstractmethod
    def read_key(self, key: str, span: tuple[int, int] | None) -> bytes:
        """All of it, or bytes [start, end)."""

    @abstractmethod
    def write_key(self, key: str, data: bytes | Path) -> None:
        """Put it whole: readers see what was there before, until they see all of it."""

    @abstractmethod
    def download_key(self, key: str, target: Path) -> None:
        """Copy it to local disk."""

    @abstractmethod
    def list_keys(self, prefix: str) -> list[str]:
        """All keys that begin with a prefix."""

    @abstractmethod
    def delete_key(self, key: str) -> None:
        """Remove it; that it is not there may be an error."""

    @abstractmethod
    def size_of_key(self, key: str) -> int:
        """In bytes."""

    @abstractmethod
    def problem(self, error: Exception) -> Problem | None:
        """What an error of the client means; None where it is a mistake of ours."""

    @contextlib.contextmanager
    def _errors(self, path: str) -> Generator[None]:
        try:
            yield
        except Exception as error:
            problem = self.problem(error)
            if problem is None:
                raise
            raise self._translated(problem, path, error) from error

    def _translated(self, problem: Problem, path: str, error: Exception) -> Exception:
        match problem:
            case Problem.NO_KEY:
                return NoSuchFileError(f"{self._uri}/{path} is not there")
            case Problem.NO_BUCKET:
                return ConfigError(f"{self._uri}: no such bucket")
            case Problem.REFUSED:
                return ConfigError(f"{self._uri}/{path}: {error}")
            case Problem.THERE | Problem.TROUBLE:
                return StoreUnavailableError(f"{self._uri}/{path}: {error!r}")
