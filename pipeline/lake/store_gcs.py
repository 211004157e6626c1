"""A lake in Google Cloud Storage: `ifGenerationMatch=0` lets a put succeed only where nothing is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import aiohttp
import google.auth.exceptions
import requests.exceptions
from gcsfs.core import GCSFileSystem
from gcsfs.retry import HttpError

from pipeline.lake.store_object import PART_BYTES, TROUBLE, ObjectStore, Problem

_SILENCE = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
_CLIENTS = (requests.exceptions.RequestException, google.auth.exceptions.TransportError, *TROUBLE)


class GcsStore(ObjectStore):
    """Below `gs://bucket/prefix`, through gcsfs: its credentials, retries and session, but requests of our own.

    gcsfs's own small uploads put the content between boundaries that the content may itself hold; ours send it alone.
    The store allows about one write a second to the same name; more are answered 429 and tried again.

    Args:
        uri: gs://bucket[/prefix].
        options: of `gcsfs.GCSFileSystem`: token, project, endpoint_url, ...
    """

    def __init__(self, uri: str, options: Mapping[str, object]) -> None:
        super().__init__(uri)
        settings = {"session_kwargs": {"timeout": _SILENCE}, **options, "use_listings_cache": False}
        # Not `gcsfs.GCSFileSystem`: that asks for each bucket's kind first, with a right of its own.
        self._fs: Any = GCSFileSystem(skip_instance_cache=True, **cast("dict[str, Any]", settings))
        self._service = str(self._fs.base).removesuffix("/storage/v1/")

    def create_key(self, key: str, data: bytes) -> None:
        """See `ObjectStore`."""
        self._put(key, data, ifGenerationMatch="0")

    def read_key(self, key: str, span: tuple[int, int] | None) -> bytes:
        """See `ObjectStore`."""
        headers = {"Range": f"bytes={span[0]}-{span[1] - 1}"} if span else {}
        try:
            return self._fs.call("GET", f"b/{self.bucket}/o/{quote(key, safe='')}", alt="media", headers=headers)[1]
        except HttpError as error:
            if span and _status(error) == 416:
                return b""
            raise

    def write_key(self, key: str, data: bytes | Path) -> None:
        """See `ObjectStore`. A resumable upload appears when its last piece is in."""
        if isinstance(data, bytes):
            self._put(key, data)
        elif data.stat().st_size <= PART_BYTES:
            self._put(key, data.read_bytes())
        else:
            kind = "application/octet-stream"
            self._fs.put_file(str(data), self._at(key), content_type=kind, chunksize=PART_BYTES)

    def download_key(self, key: str, target: Path) -> None:
        """See `ObjectStore`."""
        self._fs.get_file(self._at(key), str(target), concurrency=1)

    def list_keys(self, prefix: str) -> list[str]:
        """See `ObjectStore`."""
        found, token = list[str](), None
        while True:
            page = self._json("GET", f"b/{self.bucket}/o", prefix=prefix, fields=_LISTED, pageToken=token)
            found += [str(item["name"]) for item in page.get("items", ())]
            token = page.get("nextPageToken")
            if not token:
                return found

    def delete_key(self, key: str) -> None:
        """See `ObjectStore`."""
        self._fs.call("DELETE", f"b/{self.bucket}/o/{quote(key, safe='')}")

    def size_of_key(self, key: str) -> int:
        """See `ObjectStore`."""
        return int(self._json("GET", f"b/{self.bucket}/o/{quote(key, safe='')}", fields="size").get("size", 0))

    def problem(self, error: Exception) -> Problem | None:
        """See `ObjectStore`."""
        match error:
            case FileNotFoundError():
                return Problem.NO_KEY
            case FileExistsError():
                return Problem.THERE
            case PermissionError() | google.auth.exceptions.DefaultCredentialsError():
                return Problem.REFUSED
            case OSError() if str(error).startswith("Forbidden"):  # gcsfs's words for 403
                return Problem.REFUSED
            case ValueError() if str(error).startswith("Bad Request"):
                return Problem.REFUSED
            case HttpError():
                return Problem.TROUBLE if _may_pass(_status(error)) else Problem.REFUSED
            case google.auth.exceptions.RefreshError():
                return Problem.TROUBLE if error.retryable else Problem.REFUSED
            case _ if isinstance(error, _CLIENTS):
                return Problem.TROUBLE
            case _:
                return None

    def _put(self, key: str, data: bytes, **conditions: str) -> None:
        self._fs.call(
            "POST",
            f"{self._service}/upload/storage/v1/b/{self.bucket}/o",
            uploadType="media",
            name=key,
            headers={"Content-Type": "application/octet-stream"},
            data=data,
            **conditions,
        )

    def _json(self, method: str, path: str, **parameters: object) -> dict[str, Any]:
        return json.loads(self._fs.call(method, path, **parameters)[1])

    def _at(self, key: str) -> str:
        return f"{self.bucket}/{key}"


_LISTED = "items(name),nextPageToken"


def _status(error: HttpError) -> int:
    return int(error.code or 0)


def _may_pass(status: int) -> bool:
    return status in {0, 408, 409, 429} or status >= 500
