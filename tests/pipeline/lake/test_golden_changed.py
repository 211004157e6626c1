"""The golden lake after a re-tokenization, a takedown and a compaction must open for ever, as the one before them."""

from __future__ import annotations

from pathlib import Path

from operators.records import VoidReason
from pipeline.lake.checkpoint import checkpoint_bytes
from pipeline.lake.history import read_log
from pipeline.lake.lake import Lake
from pipeline.lake.open_store import open_store
from pipeline.lake.reader import read_table
from pipeline.lake.state import fold
from pipeline.lake.verify import verify
from pipeline.records import Predicate, PredicateField, SourcePartition

URI = str(Path(__file__).parents[2] / "golden" / "lake-v1-changed")
LOG, OTHER = SourcePartition("golden-topic", 0), SourcePartition("golden-listing", 0)
FIRST, SECOND = "image-rq-1a2b3c4d", "image-rq-5e6f7a8b"


def test_the_state_is_what_it_was() -> None:
    state = Lake.open(URI, read_only=True).state
    assert (state.version, state.min_base) == (11, 5)
    assert state.predicates == {
        Predicate(PredicateField.URI, "mem://golden-topic/11.png"): 8,
        Predicate(PredicateField.URI, "mem://golden-topic/13.png"): 8,
    }
    assert state.own_coverage[SECOND, LOG].span(LOG).ranges == ((10, 12), (17, 19), (20, 21), (22, 23))
    assert state.position(SECOND, LOG) == 19
    assert state.own_coverage[SECOND, OTHER].span(OTHER).count == 450
    assert state.letters == {}
    assert state.counters[FIRST].voids == {VoidReason.TOMBSTONE: 1, VoidReason.TAKEN_DOWN: 2}
    assert state.counters[SECOND].voids[VoidReason.TAKEN_DOWN] == 1
    assert [len(state.shards[key]) for key in (FIRST, SECOND)] == [1, 2]


def test_the_log_alone_says_the_same_as_the_checkpoint() -> None:
    assert checkpoint_bytes(fold(read_log(open_store(URI)))) == checkpoint_bytes(Lake.open(URI).state)


def test_the_rows_are_what_they_were() -> None:
    assert read_table(URI, FIRST).column("offset").to_pylist() == [0, 12, 10, 14]
    assert read_table(URI, SECOND).column("offset").to_pylist() == [20, 22, 10]


def test_it_verifies() -> None:
    report = verify(open_store(URI))
    assert [each for each in report.findings if each.kind != "checkpoint_differs"] == []
