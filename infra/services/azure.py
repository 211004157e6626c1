"""Azurite: Azure Blob Storage over a folder, with conditional puts."""

from __future__ import annotations

import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.services.install import install_azurite, node
from infra.services.process import Server, free_port

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own, the same everywhere: Microsoft's documentation prints it."""


class AzureServer(Server):
    """A service with one account. Killed, it forgets the last seconds, whatever it answered; stopped, it does not.

    Args:
        home: see `Server`.
        port: a free one by default.
        detached: see `Server`.
    """

    name = "Azurite"

    def __init__(self, home: Path, *, port: int = 0, detached: bool = False) -> None:
        super().__init__(home, detached=detached)
        self._port = port or free_port()

    @property
    def endpoint(self) -> str:
        """URL of the service, without the account."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def storage_options(self) -> dict[str, Any]:
        """For `adlfs.AzureBlobFileSystem` and whatever takes fsspec's `storage_options`."""
        return azure_options(self.endpoint)

    def make_container(self, name: str = "") -> str:
        """A container; with a fresh name by default."""
        return make_container(name, self.storage_options)

    def _command(self) -> list[str]:
        script = install_azurite()
        address = ["--blobHost", "127.0.0.1", "--blobPort", str(self._port)]
        manners = ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        return [node(), str(script), *address, "--location", str(self.data), *manners]

    def _ready(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.endpoint}/{ACCOUNT}", timeout=1.0).close()
        except urllib.error.HTTPError:
            return True  # it refuses a request without a signature
        except (urllib.error.URLError, OSError):
            return False
        return True


def azure_options(endpoint: str) -> dict[str, Any]:
    """What adlfs needs to know of an Azurite."""
    parts = {"DefaultEndpointsProtocol": "http", "AccountName": ACCOUNT, "AccountKey": KEY}
    parts["BlobEndpoint"] = f"{endpoint}/{ACCOUNT}"
    return {"connection_string": ";".join(f"{name}={value}" for name, value in parts.items())}


def make_container(name: str, options: Mapping[str, Any]) -> str:
    """A new container, with a fresh name for "". Returns its name."""
    from azure.storage.blob import BlobServiceClient

    name = name or f"c-{uuid.uuid4().hex[:12]}"
    with BlobServiceClient.from_connection_string(options["connection_string"]) as service:
        service.create_container(name)
    return name
