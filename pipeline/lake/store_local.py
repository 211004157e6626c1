"""A lake in a folder. A file appears whole or not at all, and is on disk before anybody is told of it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Generator
from pathlib import Path
from uuid import uuid4

from operators.errors import ConfigError, StoreUnavailableError
from pipeline.lake.store import CreateAnswer, NoSuchFileError


class LocalStore:
    """Below one folder. Exclusive creation is link(2): it fails where the name exists, and the content is complete.

    Files being written begin with a dot and are never listed; a crash may leave some behind.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def uri(self) -> str:
        """The folder's absolute path."""
        return str(self._root)

    def create(self, path: str, data: bytes) -> CreateAnswer:
        """See `LakeStore`."""
        target = self._root / path
        with self._errors(path):
            temporary = self._written_beside(target, data)
            try:
                os.link(temporary, target)
            except FileExistsError:
                return CreateAnswer.EXISTS
            finally:
                temporary.unlink()
        try:
            _sync_folder(target.parent)
        except OSError:
            # It is there, but perhaps not after a power cut: whoever asked must not count on it.
            return CreateAnswer.UNCLEAR
        return CreateAnswer.CREATED

    def read(self, path: str) -> bytes:
        """See `LakeStore`."""
        with self._errors(path):
            return (self._root / path).read_bytes()

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """See `LakeStore`."""
        with self._errors(path), (self._root / path).open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    def write(self, path: str, data: bytes | Path) -> None:
        """See `LakeStore`."""
        target = self._root / path
        with self._errors(path):
            self._written_beside(target, data).replace(target)
            _sync_folder(target.parent)

    def download(self, path: str, target: Path) -> None:
        """See `LakeStore`."""
        with self._errors(path):
            shutil.copyfile(self._root / path, target)

    def list(self, prefix: str) -> list[str]:
        """See `LakeStore`."""
        with self._errors(prefix):
            return sorted(
                (Path(folder) / name).relative_to(self._root).as_posix()
                for folder, _, names in os.walk(self._root / prefix)
                for name in names
                if not name.startswith(".")
            )

    def delete(self, path: str) -> None:
        """See `LakeStore`."""
        with self._errors(path):
            (self._root / path).unlink(missing_ok=True)

    def size(self, path: str) -> int:
        """See `LakeStore`."""
        with self._errors(path):
            return (self._root / path).stat().st_size

    def _written_beside(self, target: Path, data: bytes | Path) -> Path:
        """A temporary file in the target's folder, on disk."""
        _make_folder(target.parent)
        temporary = target.parent / f".{target.name}.{uuid4().hex}"
        try:
            with temporary.open("xb") as file:
                if isinstance(data, bytes):
                    file.write(data)
                else:
                    with data.open("rb") as source:
                        shutil.copyfileobj(source, file, 1 << 20)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    @contextlib.contextmanager
    def _errors(self, path: str) -> Generator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NoSuchFileError(f"{self.uri}/{path} is not there") from error
        except PermissionError as error:
            raise ConfigError(f"{self.uri}/{path}: {error.strerror}") from error
        except OSError as error:
            raise StoreUnavailableError(f"{self.uri}/{path}: {error}") from error


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it; their names are on disk on return."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
