"""The packers' Ray actor: a thin shell around `Packer`, in a module of its own.

Its process loads neither decoders nor tokenizers: where many actors start at once, each second of imports counts.
"""

from __future__ import annotations

import functools
import os
import pickle
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

from operators.records import TokenBatch
from pipeline.flow.calls import SealReason
from pipeline.lake.files import upload_shard
from pipeline.lake.history import last_hint
from pipeline.lake.open_store import open_store
from pipeline.records import Delivery, PackReport, SourcePartition
from pipeline.runtime.actor_options import ACTOR_OPTIONS
from pipeline.runtime.packer import PackedProduct, Packer
from pipeline.runtime.reporting import ReportingPacker


@dataclass(frozen=True, slots=True)
class PackerSpec:
    """All that an actor needs to know to become a packer.

    Attributes:
        lake: its URL.
        storage: fsspec's options for it, secrets resolved.
        spool_dir: of this packer alone.
        target_bytes, limit_bytes: see `Packer`.
    """

    products: tuple[PackedProduct, ...]
    lake: str
    storage: Mapping[str, Any]
    spool_dir: Path
    target_bytes: int
    limit_bytes: int

    def maker(self) -> Callable[[], Packer]:
        """Makes the packer, in whatever process it is called."""
        return functools.partial(_make, self)


def _make(spec: PackerSpec) -> Packer:
    store = open_store(spec.lake, spec.storage)

    def upload(local: Path, product: str, index: bytes, dt: str) -> str:
        # The hint is a version that the log has had for sure: vacuum spares files that are named by it or a later one.
        base, unique = last_hint(store), uuid.uuid4().hex
        return upload_shard(store, local, product, index, dt=dt, base=base, unique=unique)

    return Packer(
        spec.products,
        spec.spool_dir,
        upload,
        lambda: int(time.time() * 1000),
        target_bytes=spec.target_bytes,
        limit_bytes=spec.limit_bytes,
    )


@ray.remote(**ACTOR_OPTIONS)
class PackerActor:
    """A lane's packer: assembles whole messages on its node's disk and uploads shards."""

    def __init__(self, make: Callable[[], Packer]) -> None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        pa.array([""])  # the first one imports pandas where that is installed: a second that belongs to the start
        self._packer = ReportingPacker(make())

    def info(self) -> int:
        """Answers once the packer is ready: its pid."""
        return os.getpid()

    def add(self, pickled_deliveries: bytes, *batches: TokenBatch) -> PackReport:
        """See `ReportingPacker.add`."""
        deliveries: tuple[Delivery, ...] = pickle.loads(pickled_deliveries)  # noqa: S301  the coordinator's
        return self._packer.add(deliveries, batches)

    def seal(self, reason: SealReason) -> PackReport:
        """See `Packer.seal`."""
        return self._packer.seal(reason)

    def forget(self, logs: frozenset[SourcePartition]) -> PackReport:
        """See `Packer.forget`."""
        return self._packer.forget(logs)
