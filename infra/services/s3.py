"""versitygw: an S3 server over a folder, with conditional puts."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.services.install import install_versitygw
from infra.services.process import Server, free_port

REGION = "us-east-1"
DOMAIN = "s3.test"
"""A bucket is reached as `<bucket>.s3.test` too, by clients that take that name for 127.0.0.1."""


class S3Server(Server):
    """A gateway with one user, who may do everything. A folder below `data/buckets` is a bucket.

    Args:
        home: see `Server`.
        port: a free one by default.
        key, secret: of the user.
        notify: (bootstrap servers, topic) that it announces every change of an object to; the topic must exist.
        detached: see `Server`.
    """

    name = "versitygw"

    def __init__(
        self,
        home: Path,
        *,
        port: int = 0,
        key: str = "mediatok",
        secret: str = "mediatok-secret",
        notify: tuple[str, str] | None = None,
        detached: bool = False,
    ) -> None:
        super().__init__(home, detached=detached)
        self._port = port or free_port()
        self.key, self.secret = key, secret
        self._notify = notify

    @property
    def endpoint(self) -> str:
        """URL of the service."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def storage_options(self) -> dict[str, Any]:
        """For `s3fs.S3FileSystem` and whatever takes fsspec's `storage_options`."""
        return s3_options(self.endpoint, self.key, self.secret)

    def make_bucket(self, name: str = "") -> str:
        """A bucket, made if it is not there; with a fresh name by default."""
        return make_bucket(name, self.storage_options)

    def _command(self) -> list[str]:
        program = install_versitygw()
        buckets = self.data / "buckets"
        buckets.mkdir(exist_ok=True)
        events = ["--event-kafka-url", self._notify[0], "--event-kafka-topic", self._notify[1]] if self._notify else []
        where = ["posix", *self._metadata(buckets), str(buckets)]
        address = ["--port", f"127.0.0.1:{self._port}", "--region", REGION, "--health", "/health"]
        return [str(program), "--quiet", *address, "--virtual-domain", f"{DOMAIN}:{self._port}", *events, *where]

    def _metadata(self, buckets: Path) -> list[str]:
        """Etags and the like go into extended attributes; beside the data where the file system has none."""
        try:
            os.setxattr(buckets, "user.mediatok", b"1")
        except (OSError, AttributeError):
            sidecar = self.data / "metadata"
            sidecar.mkdir(exist_ok=True)
            return ["--sidecar", str(sidecar)]
        return []

    def _environment(self) -> dict[str, str]:
        return {"ROOT_ACCESS_KEY": self.key, "ROOT_SECRET_KEY": self.secret}

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/health", timeout=1.0) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def s3_options(endpoint: str, key: str, secret: str) -> dict[str, Any]:
    """What s3fs needs to know of a service."""
    return {"endpoint_url": endpoint, "key": key, "secret": secret, "client_kwargs": {"region_name": REGION}}


def make_bucket(name: str, options: Mapping[str, Any]) -> str:
    """A bucket on any S3, made if it is not there; with a fresh name for "". Returns its name."""
    name = name or f"b-{uuid.uuid4().hex[:12]}"
    files = _files(options)
    if not files.exists(name):
        files.call_s3("create_bucket", Bucket=name)  # `mkdir` sends a location, which us-east-1 refuses
    return name


def remove_bucket(name: str, options: Mapping[str, Any]) -> None:
    """A bucket on any S3 and all that is in it, deleted."""
    _files(options).rm(name, recursive=True)


def _files(options: Mapping[str, Any]) -> Any:  # noqa: ANN401  s3fs has no types
    import s3fs

    return s3fs.S3FileSystem(**options, skip_instance_cache=True, use_listings_cache=False)
