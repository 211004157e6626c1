"""A lake in a bucket that speaks S3 and honours `If-None-Match: *` (AWS, MinIO, RustFS, versitygw, ...)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import botocore.exceptions
import s3fs

from pipeline.lake.store_object import PART_BYTES, PARTS_AT_ONCE, TROUBLE, ObjectStore, Problem


class S3Store(ObjectStore):
    """Below `s3://bucket/prefix`, through s3fs without any of its caches.

    Args:
        uri: s3://bucket[/prefix].
        options: of `s3fs.S3FileSystem`: key, secret, endpoint_url, client_kwargs, config_kwargs, ...
    """

    def __init__(self, uri: str, options: Mapping[str, object]) -> None:
        super().__init__(uri)
        settings = {"use_listings_cache": False, "skip_instance_cache": True, **options}
        self._fs: Any = s3fs.S3FileSystem(**cast("dict[str, Any]", settings))

    def create_key(self, key: str, data: bytes) -> None:
        """See `ObjectStore`. s3fs sends `If-None-Match: *`; it and botocore retry 5xx and silence."""
        self._fs.pipe_file(self._at(key), data, mode="create")

    def read_key(self, key: str, span: tuple[int, int] | None) -> bytes:
        """See `ObjectStore`. One request: s3fs would ask for the size first, to read large ones in pieces."""
        start, end = span or (None, None)
        try:
            return self._fs.cat_file(self._at(key), start=start, end=end, max_concurrency=1)
        except OSError as error:
            if span and _answer(error)[0] in {"InvalidRange", "416"}:
                return b""
            raise

    def write_key(self, key: str, data: bytes | Path) -> None:
        """See `ObjectStore`. Large files go up in parts, and appear when the last request joins them."""
        if isinstance(data, bytes):
            self._fs.pipe_file(self._at(key), data)
        else:
            self._fs.put_file(str(data), self._at(key), chunksize=PART_BYTES, max_concurrency=PARTS_AT_ONCE)

    def download_key(self, key: str, target: Path) -> None:
        """See `ObjectStore`."""
        self._fs.get_file(self._at(key), str(target), max_concurrency=1)

    def list_keys(self, prefix: str) -> list[str]:
        """See `ObjectStore`. Asked directly: s3fs's `find` takes a file that appears meanwhile for a folder."""
        found, more = list[str](), dict[str, str]()
        while True:
            page = self._fs.call_s3("list_objects_v2", Bucket=self.bucket, Prefix=prefix, **more)
            found += [str(each["Key"]) for each in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def delete_key(self, key: str) -> None:
        """See `ObjectStore`."""
        self._fs.call_s3("delete_object", Bucket=self.bucket, Key=key)

    def size_of_key(self, key: str) -> int:
        """See `ObjectStore`."""
        return int(self._fs.call_s3("head_object", Bucket=self.bucket, Key=key)["ContentLength"])

    def problem(self, error: Exception) -> Problem | None:
        """See `ObjectStore`."""
        match error:
            case FileNotFoundError():
                return Problem.NO_BUCKET if _answer(error)[0] == "NoSuchBucket" else Problem.NO_KEY
            case FileExistsError():
                return Problem.THERE
            case PermissionError() | botocore.exceptions.NoCredentialsError():
                return Problem.REFUSED
            case _ if isinstance(error, (*TROUBLE, botocore.exceptions.BotoCoreError)):
                code, status = _answer(error)
                return Problem.THERE if code == "PreconditionFailed" or status == 412 else Problem.TROUBLE
            case _:
                return None

    def _at(self, key: str) -> str:
        return f"{self.bucket}/{key}"


def _answer(error: BaseException) -> tuple[str, int]:
    """S3's code and the HTTP status behind an error that s3fs translated; "" and 0 where there are none."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, botocore.exceptions.ClientError):
            response = cast("dict[str, Any]", cause.response)
            status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            return str(response.get("Error", {}).get("Code", "")), status
        cause = cause.__cause__
    return "", 0
