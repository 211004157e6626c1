"""A packer that makes room for itself, and never loses a `Sealed` on the way to its coordinator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from operators.errors import SpoolFullError
from operators.records import TokenBatch
from pipeline.flow.calls import SealReason
from pipeline.records import Delivery, PackReport, Sealed, SourcePartition


class Packs(Protocol):
    """What a packer does; see `pipeline.runtime.packer.Packer`."""

    def add(self, deliveries: Sequence[Delivery], batches: Sequence[TokenBatch]) -> PackReport:
        """See `Packer.add`."""
        ...

    def seal(self, reason: SealReason) -> PackReport:
        """See `Packer.seal`."""
        ...

    def forget(self, logs: frozenset[SourcePartition]) -> PackReport:
        """See `Packer.forget`."""
        ...


class ReportingPacker:
    """A full spool is sealed before the deliveries are tried again.

    What was sealed so is kept until an answer gets through: should the second try fail too, the messages are uploaded
    and forgotten by the packer, and only the next report can still name them.
    """

    def __init__(self, packer: Packs) -> None:
        self._packer = packer
        self._unreported: tuple[Sealed, ...] = ()

    def add(self, deliveries: Sequence[Delivery], batches: Sequence[TokenBatch]) -> PackReport:
        """See `Packer.add`."""
        try:
            report = self._packer.add(deliveries, batches)
        except SpoolFullError:
            self._unreported += self._packer.seal(SealReason.STARVED).sealed
            report = self._packer.add(deliveries, batches)
        return self._whole(report)

    def seal(self, reason: SealReason) -> PackReport:
        """See `Packer.seal`."""
        return self._whole(self._packer.seal(reason))

    def forget(self, logs: frozenset[SourcePartition]) -> PackReport:
        """See `Packer.forget`."""
        return self._whole(self._packer.forget(logs))

    def _whole(self, report: PackReport) -> PackReport:
        unreported, self._unreported = self._unreported, ()
        return replace(report, sealed=(*unreported, *report.sealed))
