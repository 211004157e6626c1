"""A packer that takes its time: each delivery of rows costs so much more, as if the lake's store were slow.

In a module of its own since packers' actors import it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from operators.records import TokenBatch
from pipeline.flow.calls import SealReason
from pipeline.records import Delivery, PackReport, SourcePartition
from pipeline.runtime.packer import Packer
from pipeline.runtime.packer_actor import PackerSpec

SLOW_S = "MEDIATOK_BENCH_SLOW_S"
"""The environment variable that says how long: the actors are made with this process's."""


class SlowPacker:
    """See the module."""

    def __init__(self, packer: Packer, pause_s: float) -> None:
        self._packer, self._pause_s = packer, pause_s

    def add(self, deliveries: Sequence[Delivery], batches: Sequence[TokenBatch]) -> PackReport:
        """Slowly."""
        time.sleep(self._pause_s * len(deliveries))
        return self._packer.add(deliveries, batches)

    def seal(self, reason: SealReason) -> PackReport:
        """As fast as the packer."""
        return self._packer.seal(reason)

    def forget(self, logs: frozenset[SourcePartition]) -> PackReport:
        """Likewise."""
        return self._packer.forget(logs)


def slow_packer(spec: PackerSpec) -> SlowPacker:
    """In the place of what `pipeline.runtime.packer_actor` makes."""
    return SlowPacker(spec.maker()(), float(os.environ[SLOW_S]))
