"""What an operator raises becomes a record, and in the lane a letter for the one item that is guilty."""

from __future__ import annotations

import random
from typing import Any

import pytest

from operators.decode import TextDecoder
from operators.errors import InvariantError
from operators.records import Failure, MediaReference, Modality, Origin
from pipeline.flow.calls import CallFailure, Lease, Prepare, Tokenize
from pipeline.flow.core import LaneSettings
from pipeline.flow.failures import FailureSettings
from pipeline.flow.lane import Lane
from pipeline.records import Message
from pipeline.runtime.worker import FetchSettings, StageWorker, WorkerSpec

VIEW = "utf8:4096"


@pytest.fixture
def worker() -> StageWorker:
    tokenizers = {"letters": ("tests.pipeline.runtime.pretend:Letters", {})}
    stages = ("prepare", "letters")
    return StageWorker(
        WorkerSpec("text", Modality.TEXT, stages, (VIEW,), tokenizers, FetchSettings(), {}, "", "refuse", 1, 0.0)
    )


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder with a mistake that shows on one text."""
    decode = TextDecoder.decode

    def wrong(self: TextDecoder, content: bytes, *rest: Any) -> Any:
        if content == b"spoilt":
            raise ZeroDivisionError("no such text")
        return decode(self, content, *rest)

    monkeypatch.setattr(TextDecoder, "decode", wrong)


def text(number: int, content: bytes) -> MediaReference:
    return MediaReference(f"t{number}", Origin("s", 0, number, 0), Modality.TEXT, inline=content)


def test_an_exception_of_a_decoder_is_answered_as_a_record(worker: StageWorker, spoilt: None) -> None:
    answer, batches = worker.prepare([Lease(1, text(0, b"good")), Lease(2, text(1, b"spoilt"))])
    assert batches == (None,)
    assert answer.report.failure is not None
    assert not answer.report.stops
    assert (answer.report.failure.code, answer.report.failure.stage) == ("prepare.failed", "prepare")
    assert answer.report.failure.message == "ZeroDivisionError: no such text"
    assert "Traceback" in answer.report.failure.stack


def test_it_costs_the_item_a_letter_and_its_neighbours_nothing(worker: StageWorker, spoilt: None) -> None:
    at_once = LaneSettings(failures=FailureSettings(window_s=0.0))
    lane = Lane("text", {"letters": VIEW}, ["p"], at_once, random.Random(0), lambda: 0)
    lane.worker_ready("w", ["prepare", "letters"])
    for number in range(7):
        reference = text(number, b"spoilt" if number == 4 else b"good")
        lane.admit(Message(reference.origin, "t", None, b"v"), [reference], ["letters"], 0.0)
    prepared: set[int] = set()
    failures: dict[int, Failure] = {}
    for _ in range(50):
        for action in lane.actions(0.0):
            match action:
                case Prepare(call=call, leases=leases):
                    answer, _batches = worker.prepare(leases)
                    if answer.report.failure is not None:
                        lane.failed(call, CallFailure.RAISED, answer.report.failure)
                        continue
                    prepared |= {lease.reference.origin.offset for lease in leases}
                    lane.core.end(call)
                case Tokenize():
                    raise AssertionError("nothing was handed on")
                case pack:
                    for delivery in getattr(pack, "deliveries", ()):
                        failures[delivery.reference.origin.offset] = delivery.ended.failure
    assert prepared == {0, 1, 2, 3, 5, 6}
    assert {offset: failure.code for offset, failure in failures.items()} == {4: "prepare.failed"}


def test_a_tokenizer_that_loses_a_window_is_found_out(worker: StageWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    _, (batch,) = worker.prepare([Lease(n, text(n, b"good")) for n in range(3)])
    assert batch is not None
    tokenizer = worker._tokenizers["letters"]
    tokenize = tokenizer.tokenize
    monkeypatch.setattr(tokenizer, "tokenize", lambda windows: tokenize(windows.rows(0, len(windows) - 1)))
    answer, tokens = worker.tokenize("letters", [(0, 3)], [batch])
    assert tokens is None
    assert answer.report.failure is not None
    assert "3 windows gave 2" in answer.report.failure.message


def test_a_worker_over_its_memory_answers_and_begins_no_other_call(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [100]
    monkeypatch.setattr("pipeline.runtime.memory.own_bytes", lambda: own[0])
    tokenizers = {"letters": ("tests.pipeline.runtime.pretend:Letters", {})}
    given = (
        "text",
        Modality.TEXT,
        ("prepare", "letters"),
        (VIEW,),
        tokenizers,
        FetchSettings(),
        {},
        "",
        "refuse",
        1,
        0.0,
    )
    worker = StageWorker(WorkerSpec(*given, memory_bytes=1000), lambda _departure: None)
    worker.info()
    answer, (batch,) = worker.prepare([Lease(1, text(1, b"good"))])
    assert batch is not None
    assert answer.report.leaving is None
    own[0] = 1100
    last, tokens = worker.tokenize("letters", [(0, 1)], [batch])
    assert tokens is not None
    assert (last.report.begun, last.report.failure) == (True, None)
    assert last.report.leaving is not None
    own[0] = 500
    for report in (
        worker.prepare([Lease(2, text(2, b"good"))])[0].report,
        worker.tokenize("letters", [], [])[0].report,
    ):
        assert not report.begun
        assert report.leaving == last.report.leaving


def test_a_worker_is_warm_before_it_says_where_it_is(worker: StageWorker) -> None:
    info = worker.info()
    assert 0 < info.warm_up_s <= info.warm_s
    assert info.window_tokens_bytes["letters"] > 0


def test_an_error_that_stops_the_run_says_so(worker: StageWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(windows: Any) -> Any:
        raise InvariantError("weights that are not those of the product")

    monkeypatch.setattr(worker._tokenizers["letters"], "tokenize", broken)
    _, (batch,) = worker.prepare([Lease(1, text(1, b"good"))])
    assert batch is not None
    answer, _ = worker.tokenize("letters", [(0, 1)], [batch])
    assert answer.report.stops
