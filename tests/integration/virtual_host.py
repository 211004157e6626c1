"""S3 with the bucket in the host's name, on loopback: a resolver of our own stands for DNS."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from infra.services.s3 import DOMAIN


class Loopback(AbstractResolver):
    """Every name is 127.0.0.1; those that were asked for are kept."""

    def __init__(self) -> None:
        self.asked = list[str]()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        found = ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)
        return [found]

    async def close(self) -> None:
        pass


def virtual_options(options: Mapping[str, Any], resolver: Loopback | None = None) -> dict[str, Any]:
    """The options of a versitygw on this machine, so that buckets are named by host."""
    endpoint = f"http://{DOMAIN}:{urlsplit(options['endpoint_url']).port}"
    config = {"s3": {"addressing_style": "virtual"}, "connector_args": {"resolver": resolver or Loopback()}}
    return {**options, "endpoint_url": endpoint, "config_kwargs": config}
