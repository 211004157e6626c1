"""Tells Ray's autoscaler what the pools want beyond what fits.

`ray.autoscaler.sdk.request_resources` sets one request for the whole cluster [2.60]: each call replaces the one before,
whoever made it, and it stays when the caller ends. So what each process wants stands in the cluster's key-value
store, and whoever has news requests the sum. A process that was killed counts until `FORGET_S` have passed and another
one looks; the last one's request stays until a mediatok runs there again, or somebody calls
`request_resources(bundles=[])`.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import structlog
from ray.autoscaler.sdk import request_resources
from ray.experimental import internal_kv

from pipeline.scale.demand import Bundles, joined, told
from pipeline.scale.packing import Share

NAMESPACE = b"mediatok-nodes"
REFRESH_S = 20.0
FORGET_S = 90.0

_kv: Any = internal_kv
_log = structlog.get_logger(__name__)


class NodeRequests:
    """One process's part. Each call that has something to say is a few round trips to the cluster's head."""

    def __init__(self) -> None:
        self._key = uuid.uuid4().hex
        self._mine: Bundles = {}
        self._next_s = 0.0
        self._requested: Bundles | None = None

    def ask(self, bundles: Bundles, now_s: float) -> None:
        """What should fit, of this process's; often called, it does something where that changed or it is time."""
        changed = bundles != self._mine
        if not changed and now_s < self._next_s:
            return
        self._mine, self._next_s = bundles, now_s + REFRESH_S
        if changed:
            _log.info("asks for nodes" if bundles else "asks for no more nodes", room_for=told(bundles))
        self._publish()

    def close(self) -> None:
        """This process wants nothing any more."""
        self._mine = {}
        self._publish()

    def _publish(self) -> None:
        if self._mine:
            _kv._internal_kv_put(self._key, encode(self._mine, time.time()), namespace=NAMESPACE)
        else:
            _kv._internal_kv_del(self._key, namespace=NAMESPACE)
        wanted, forgotten = self._of_all()
        if wanted or forgotten or self._requested:
            bundles = [_resources(share) for share, count in wanted.items() for _ in range(count)]
            request_resources(bundles=bundles)
        self._requested = wanted

    def _of_all(self) -> tuple[Bundles, int]:
        """What all processes want, and how many that are gone were forgotten."""
        demands: dict[str, Bundles] = {}
        forgotten = 0
        for key in _kv._internal_kv_list("", namespace=NAMESPACE):
            value = _kv._internal_kv_get(key, namespace=NAMESPACE)
            if value is None:
                continue
            bundles, at_s = decode(value)
            if time.time() - at_s > FORGET_S:
                _kv._internal_kv_del(key, namespace=NAMESPACE)
                forgotten += 1
            else:
                demands[str(key)] = bundles
        return joined(demands), forgotten


def encode(bundles: Bundles, at_s: float) -> bytes:
    """A process's part, as it stands in the store; `at_s` in seconds since 1970, UTC."""
    shapes = [[share.cpus, share.gpus, count] for share, count in bundles.items()]
    return json.dumps({"at_s": at_s, "bundles": shapes}).encode()


def decode(value: bytes) -> tuple[Bundles, float]:
    """Back from `encode`."""
    raw = json.loads(value)
    return {Share(cpus, gpus): count for cpus, gpus, count in raw["bundles"]}, raw["at_s"]


def _resources(share: Share) -> dict[str, float]:
    return {"CPU": share.cpus, "GPU": share.gpus} if share.gpus else {"CPU": share.cpus}
