"""A lake in Azure Blob Storage: `If-None-Match: *` lets a put succeed only where nothing is."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from adlfs import AzureBlobFileSystem
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError
from fsspec.asyn import sync

from operators.errors import ConfigError
from pipeline.lake.store_object import PARTS_AT_ONCE, TROUBLE, ObjectStore, Problem

T = TypeVar("T")

ONE_REQUEST_BYTES = 64 << 20
"""Up to here the SDK sends a file whole."""
_TIMEOUTS = ("timeout", "connection_timeout", "read_timeout")


class AzureStore(ObjectStore):
    """Below `az://container/prefix`, through adlfs's client: its credentials and loop, without its caches.

    Args:
        uri: az://container[/prefix], or abfs://.
        options: of `adlfs.AzureBlobFileSystem`: account_name, account_key, connection_string, sas_token, ...
    """

    def __init__(self, uri: str, options: Mapping[str, object]) -> None:
        super().__init__(uri)
        if "@" in self.bucket:
            raise ConfigError(f"{uri}: write az://container/prefix, and the account as an option of storage.az")
        settings = {**options, "use_listings_cache": False, "skip_instance_cache": True}
        try:
            self._fs: Any = AzureBlobFileSystem(**cast("dict[str, Any]", settings))
        except ValueError as error:
            raise ConfigError(f"{uri}: storage.az: {error}") from error
        self._patience = {name: options[name] for name in _TIMEOUTS if name in options}
        # Small requests are tried again by the caller: the SDK would begin with a pause of 15 s.
        self._once = {"retry_total": 0, **self._patience}

    def create_key(self, key: str, data: bytes) -> None:
        """See `ObjectStore`. One request up to 64 MiB; above, the condition is on the one that joins the blocks."""
        self._do(lambda: self._blob(key).upload_blob(data, overwrite=False, **self._once))

    def read_key(self, key: str, span: tuple[int, int] | None) -> bytes:
        """See `ObjectStore`."""

        async def read() -> bytes:
            part = {"offset": span[0], "length": span[1] - span[0]} if span else {}
            return await (await self._blob(key).download_blob(**part, **self._once)).readall()

        try:
            return self._do(read)
        except HttpResponseError as error:
            if span and error.status_code == 416:
                return b""
            raise

    def write_key(self, key: str, data: bytes | Path) -> None:
        """See `ObjectStore`. Large files go up in blocks, and appear when the last request joins them."""
        if isinstance(data, bytes):
            self._do(lambda: self._blob(key).upload_blob(data, overwrite=True, **self._once))
            return
        size_bytes = data.stat().st_size
        # A large one is not begun anew for one block: here the SDK's retries are worth their pause.
        patience = self._once if size_bytes <= ONE_REQUEST_BYTES else self._patience
        upload = {"overwrite": True, "length": size_bytes, "max_concurrency": PARTS_AT_ONCE, **patience}
        with data.open("rb") as file:
            self._do(lambda: self._blob(key).upload_blob(file, **upload))

    def download_key(self, key: str, target: Path) -> None:
        """See `ObjectStore`."""

        async def download() -> None:
            stream = await self._blob(key).download_blob(**self._once)
            with target.open("wb") as file:
                await stream.readinto(file)

        self._do(download)

    def list_keys(self, prefix: str) -> list[str]:
        """See `ObjectStore`. Folders, which accounts with a hierarchy list too, are no files."""

        async def names() -> list[str]:
            container = self._fs.service_client.get_container_client(self.bucket)
            found = container.list_blobs(name_starts_with=prefix, include=["metadata"], **self._once)
            return [blob.name async for blob in found if (blob.metadata or {}).get("hdi_isfolder") != "true"]

        return self._do(names)

    def delete_key(self, key: str) -> None:
        """See `ObjectStore`."""
        self._do(lambda: self._blob(key).delete_blob(**self._once))

    def size_of_key(self, key: str) -> int:
        """See `ObjectStore`."""
        return int(self._do(lambda: self._blob(key).get_blob_properties(**self._once)).size)

    def problem(self, error: Exception) -> Problem | None:
        """See `ObjectStore`."""
        match error:
            case ClientAuthenticationError():
                return Problem.REFUSED
            case HttpResponseError():
                return _of_answer(str(getattr(error, "error_code", "") or ""), error.status_code or 0)
            case _ if isinstance(error, (AzureError, *TROUBLE)):
                return Problem.TROUBLE
            case _:
                return None

    def _blob(self, key: str) -> Any:  # noqa: ANN401  adlfs has no types
        return self._fs.service_client.get_blob_client(self.bucket, key)

    def _do(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return cast("T", sync(self._fs.loop, call))


def _of_answer(code: str, status: int) -> Problem:
    """By the service's error code where it has one (a HEAD's answer has it in a header), else by the status."""
    match code, status:
        case (("BlobAlreadyExists" | "ConditionNotMet"), _):
            return Problem.THERE
        case ("ContainerNotFound", _):
            return Problem.NO_BUCKET
        case _, 404:
            return Problem.NO_KEY
        case _, 412:
            return Problem.THERE
        case _ if status in {0, 408, 409, 429} or status >= 500:
            return Problem.TROUBLE
        case _:
            return Problem.REFUSED
