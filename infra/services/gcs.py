"""fake-gcs-server: Google Cloud Storage's JSON interface over a folder, with conditional puts."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from infra.services.install import install_fake_gcs
from infra.services.process import Server, free_port


class GcsServer(Server):
    """A service without users: whoever reaches it may do everything.

    Args:
        home: see `Server`.
        port: a free one by default.
        public: host and port by which clients reach it, where that is a proxy: it names them where to send uploads.
        detached: see `Server`.
    """

    name = "fake-gcs-server"

    def __init__(self, home: Path, *, port: int = 0, public: str = "", detached: bool = False) -> None:
        super().__init__(home, detached=detached)
        self._port = port or free_port()
        self._public = public or f"127.0.0.1:{self._port}"

    @property
    def endpoint(self) -> str:
        """URL of the service."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def storage_options(self) -> dict[str, Any]:
        """For `gcsfs.GCSFileSystem` and whatever takes fsspec's `storage_options`."""
        return gcs_options(self.endpoint)

    def make_bucket(self, name: str = "") -> str:
        """A bucket; with a fresh name by default."""
        return make_gcs_bucket(name, self.endpoint)

    def _command(self) -> list[str]:
        where = ["-backend", "filesystem", "-filesystem-root", str(self.data)]
        address = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(self._port)]
        public = ["-external-url", f"http://{self._public}", "-public-host", self._public]
        return [str(install_fake_gcs()), *address, *public, *where, "-log-level", "warn"]

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/_internal/healthcheck", timeout=1.0) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def gcs_options(endpoint: str) -> dict[str, Any]:
    """What gcsfs needs to know of a service without users."""
    return {"endpoint_url": endpoint, "token": "anon", "project": "mediatok"}


def make_gcs_bucket(name: str, endpoint: str) -> str:
    """A new bucket, with a fresh name for "". Returns its name."""
    name = name or f"b-{uuid.uuid4().hex[:12]}"
    request = urllib.request.Request(
        f"{endpoint}/storage/v1/b?project=mediatok",
        data=json.dumps({"name": name}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10.0):
        return name
