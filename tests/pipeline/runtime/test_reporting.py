from __future__ import annotations

import pytest

from operators.errors import SpoolFullError
from pipeline.flow.calls import SealReason
from pipeline.records import PackReport, Sealed
from pipeline.runtime.reporting import ReportingPacker


class Scripted:
    """Answers `add` by a script; each seal gives one more `Sealed`."""

    def __init__(self, *adds: Exception | None) -> None:
        self._adds = list(adds)
        self.seals: list[SealReason] = []

    def _report(self, *sealed: Sealed) -> PackReport:
        return PackReport(sealed, spooled_bytes=0, waiting_messages=0)

    def add(self, deliveries, batches) -> PackReport:
        answer = self._adds.pop(0)
        if answer is not None:
            raise answer
        return self._report()

    def seal(self, reason: SealReason) -> PackReport:
        self.seals.append(reason)
        return self._report(Sealed(f"sealed-{len(self.seals)}"))

    def forget(self, logs) -> PackReport:
        return self._report()


def products(report: PackReport) -> list[str]:
    return [sealed.product for sealed in report.sealed]


def test_a_full_spool_is_sealed_and_the_deliveries_are_taken_then() -> None:
    packer = Scripted(SpoolFullError("full"), None)
    assert products(ReportingPacker(packer).add((), ())) == ["sealed-1"]
    assert packer.seals == [SealReason.STARVED]


@pytest.mark.parametrize("through", ["add", "seal", "forget"])
def test_what_was_sealed_before_a_call_failed_stands_in_the_next_report_and_in_no_other(through: str) -> None:
    packer = ReportingPacker(Scripted(SpoolFullError("full"), SpoolFullError("still full"), None, None))
    with pytest.raises(SpoolFullError, match="still full"):
        packer.add((), ())
    calls = {
        "add": lambda: packer.add((), ()),
        "seal": lambda: packer.seal(SealReason.AGE),
        "forget": lambda: packer.forget(frozenset()),
    }
    assert products(calls[through]())[0] == "sealed-1"
    assert "sealed-1" not in products(packer.add((), ()))
