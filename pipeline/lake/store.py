"""What the lake needs of a store: whole files under keys, and one put that succeeds only where nothing is yet."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Protocol

import stamina

from operators.errors import StopError, StoreUnavailableError

PROBE_ATTEMPTS = 5


class CreateAnswer(StrEnum):
    """What a store says to an exclusive create. Only reading the key back settles who made it."""

    CREATED = "created"
    EXISTS = "exists"
    UNCLEAR = "unclear"


class NoSuchFileError(StopError):
    """There is no such file in the store."""

    code = "store.no_such_file"
    advice = "`mediatok lake verify` names every file that the log has and the store has not"


class LakeStore(Protocol):
    """Files below one root, named by paths with forward slashes.

    Every method raises StoreUnavailableError where trying again may help, ConfigError where access is denied.
    """

    @property
    def uri(self) -> str:
        """The root, without a slash at the end."""
        ...

    def create(self, path: str, data: bytes) -> CreateAnswer:
        """Make this file, whole, only if nothing is there. Trouble on the way is `UNCLEAR`, not an error."""
        ...

    def read(self, path: str) -> bytes:
        """The whole file.

        Raises:
            NoSuchFileError: it is not there.
        """
        ...

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Bytes [start, end) of a file.

        Raises:
            NoSuchFileError: it is not there.
        """
        ...

    def write(self, path: str, data: bytes | Path) -> None:
        """Make or replace this file, whole, with bytes or a local file; durable on return."""
        ...

    def download(self, path: str, target: Path) -> None:
        """Copy a file to local disk.

        Raises:
            NoSuchFileError: it is not there.
        """
        ...

    def list(self, prefix: str) -> list[str]:
        """The paths that begin with this folder (ends with "/"), at any depth, sorted."""
        ...

    def delete(self, path: str) -> None:
        """Remove a file; no error where there is none."""
        ...

    def size(self, path: str) -> int:
        """Of a file in bytes.

        Raises:
            NoSuchFileError: it is not there.
        """
        ...


def conditional_put_works(store: LakeStore, unique: str) -> bool:
    """Whether the store refuses to create a file that is there: without this nothing is exactly once.

    Args:
        store: any.
        unique: names the probe; a fresh uuid.

    Raises:
        StoreUnavailableError: it gave no clear answer in several tries.
        ConfigError: access is denied.
    """
    path = f"_meta/probe/{unique}"
    first, second = b"first", b"second"
    try:
        # `EXISTS` can be its own doing here, so what counts is what lies there.
        _clear_answer(store, path, first)
        if store.read(path) != first:
            raise StoreUnavailableError(f"{store.uri}: the probe {path} could not be written")
        answer = _clear_answer(store, path, second)
        return answer is CreateAnswer.EXISTS and store.read(path) == first
    finally:
        store.delete(path)


def _clear_answer(store: LakeStore, path: str, data: bytes) -> CreateAnswer:
    for attempt in stamina.retry_context(on=StoreUnavailableError, attempts=PROBE_ATTEMPTS):
        with attempt:
            answer = store.create(path, data)
            if answer is CreateAnswer.UNCLEAR:
                raise StoreUnavailableError(f"{store.uri}: no clear answer to {PROBE_ATTEMPTS} tries to create {path}")
            return answer
    raise AssertionError("a retry context ends with a result or an error")
