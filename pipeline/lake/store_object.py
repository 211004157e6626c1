"""A lake in a bucket that speaks S3 and honours `If-None-Match: *` (AWS, MinIO, RustFS, versitygw, ...)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, cast

import aiohttp
import botocore.exceptions
import s3fs

from operators.errors import ConfigError, StoreUnavailableError
from pipeline.lake.store import CreateAnswer, NoSuchFileError

_TROUBLE = (OSError, TimeoutError, asyncio.TimeoutError, aiohttp.ClientError, botocore.exceptions.BotoCoreError)


class ObjectStore:
    """Below `s3://bucket/prefix`, through s3fs without any of its caches.

    Args:
        uri: s3://bucket[/prefix].
        options: of `s3fs.S3FileSystem`: key, secret, endpoint_url, client_kwargs, config_kwargs, ...
    """

    def __init__(self, uri: str, options: Mapping[str, object]) -> None:
        self._uri = uri.rstrip("/")
        self._root = self._uri.removeprefix("s3://")
        settings = {"use_listings_cache": False, "skip_instance_cache": True, **options}
        self._fs: Any = s3fs.S3FileSystem(**cast("dict[str, Any]", settings))

    @property
    def uri(self) -> str:
        """s3://bucket/prefix."""
        return self._uri

    def create(self, path: str, data: bytes) -> CreateAnswer:
        """See `LakeStore`.

        412 is `EXISTS`, though it may be this call's own doing: s3fs and the SDK below it retry what they could not
        hear the answer to. 409, 5xx and silence are `UNCLEAR`.
        """
        try:
            self._fs.pipe_file(self._at(path), data, mode="create")
        except FileExistsError:
            return CreateAnswer.EXISTS
        except PermissionError as error:
            raise ConfigError(f"{self._uri}/{path}: {error}") from error
        except FileNotFoundError as error:
            raise ConfigError(f"{self._uri}: no such bucket") from error
        except _TROUBLE as error:
            return CreateAnswer.EXISTS if _status(error) == 412 else CreateAnswer.UNCLEAR
        return CreateAnswer.CREATED

    def read(self, path: str) -> bytes:
        """See `LakeStore`."""
        with self._errors(path):
            return self._fs.cat_file(self._at(path))

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """See `LakeStore`."""
        if start >= end:
            return b""
        with self._errors(path):
            return self._fs.cat_file(self._at(path), start=start, end=end)

    def write(self, path: str, data: bytes | Path) -> None:
        """See `LakeStore`."""
        if isinstance(data, Path) and not data.is_file():
            raise NoSuchFileError(f"{data} is not there")
        with self._errors(path):
            if isinstance(data, bytes):
                self._fs.pipe_file(self._at(path), data)
            else:
                self._fs.put_file(str(data), self._at(path))

    def download(self, path: str, target: Path) -> None:
        """See `LakeStore`."""
        with self._errors(path):
            self._fs.get_file(self._at(path), str(target))

    def list(self, prefix: str) -> list[str]:
        """See `LakeStore`."""
        with self._errors(prefix):
            try:
                found = cast("list[str]", self._fs.find(self._at(prefix)))
            except FileNotFoundError:
                return []
        return sorted(name.removeprefix(f"{self._root}/") for name in found)

    def delete(self, path: str) -> None:
        """See `LakeStore`."""
        with self._errors(path), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._at(path))

    def size(self, path: str) -> int:
        """See `LakeStore`."""
        with self._errors(path):
            return int(self._fs.info(self._at(path), refresh=True)["size"])

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    @contextlib.contextmanager
    def _errors(self, path: str) -> Generator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NoSuchFileError(f"{self._uri}/{path} is not there") from error
        except (PermissionError, botocore.exceptions.NoCredentialsError) as error:
            raise ConfigError(f"{self._uri}/{path}: {error}") from error
        except _TROUBLE as error:
            raise StoreUnavailableError(f"{self._uri}/{path}: {error!r}") from error


def _status(error: BaseException) -> int:
    """The HTTP status behind an error that s3fs translated; 0 where there is none."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, botocore.exceptions.ClientError):
            response = cast("dict[str, Any]", cause.response)
            code = str(response.get("Error", {}).get("Code", ""))
            status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            return 412 if code == "PreconditionFailed" else status
        cause = cause.__cause__
    return 0
