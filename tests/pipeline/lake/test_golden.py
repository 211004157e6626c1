"""The golden lake must open for ever. Where this fails, the code broke the format: change the code, never this."""

from __future__ import annotations

from pathlib import Path

import pyarrow.dataset

from operators.errors import MediatokError
from operators.records import VoidReason
from pipeline.lake.checkpoint import checkpoint_bytes
from pipeline.lake.history import read_log
from pipeline.lake.lake import Lake
from pipeline.lake.open_store import open_store
from pipeline.lake.reader import list_products, published_files, read_table
from pipeline.lake.state import fold
from pipeline.lake.verify import verify
from pipeline.records import SourcePartition, Span

ROOT = Path(__file__).parents[2] / "golden" / "lake-v1"
URI = str(ROOT)
LOG, OTHER = SourcePartition("golden-topic", 0), SourcePartition("golden-listing", 0)
FIRST, SECOND = "image-rq-1a2b3c4d", "image-rq-5e6f7a8b"


def test_the_state_is_what_it_was() -> None:
    state = Lake.open(URI, read_only=True).state
    assert state.version == 5
    assert {key: known.open for key, known in state.products.items()} == {FIRST: False, SECOND: True}
    assert [known.product.revision for known in state.products.values()] == [1, 2]
    assert state.start(SECOND, LOG) == 10
    assert state.own_coverage[FIRST, LOG].span(LOG).ranges == ((10, 17),)
    assert state.own_coverage[SECOND, LOG].span(LOG).ranges == ((17, 19), (20, 21), (22, 23))
    assert state.position(SECOND, LOG) == 19
    assert state.position(SECOND, OTHER) == 1
    assert state.open_letters("image-rq", Span(LOG, ((0, 100),))) == ((13, 14),)
    assert state.counters[FIRST].voids == {VoidReason.TOMBSTONE: 1}
    assert state.counters[SECOND].voids == {VoidReason.EXPIRED: 2}


def test_the_log_alone_says_the_same_as_the_checkpoint() -> None:
    store = open_store(URI)
    assert checkpoint_bytes(fold(read_log(store))) == checkpoint_bytes(Lake.open(URI).state)
    # Byte for byte only where the Arrow library is the one that wrote it: meaning counts.
    assert store.list("_meta/checkpoints/") == ["_meta/checkpoints/000000004.zip"]


def test_the_rows_are_what_they_were() -> None:
    table = read_table(URI, FIRST)
    assert table.column("offset").to_pylist() == [10, 11, 14, 0, 12]
    assert table.column("codes").to_pylist() == [[n, n + 1, n + 2, n + 3] for n in (10, 11, 14, 0, 12)]
    assert read_table(URI, "image-rq", columns=["offset"]).to_pydict() == {"offset": [20, 22]}
    assert pyarrow.dataset.dataset(list(published_files(URI, FIRST)), format="arrow").count_rows() == 5


def test_the_letters_are_what_they_were() -> None:
    (letter,) = Lake.open(URI, read_only=True).open_letters("image-rq")
    assert letter.origin.offset == 13
    assert letter.key == b"\x00\xffkey"
    assert letter.headers == (("trace", b"\x01\x02"),)
    assert letter.failure.code == "decode.truncated"


def test_it_verifies() -> None:
    report = verify(open_store(URI))
    # A checkpoint of another release of Arrow may differ in bytes; nothing else may.
    assert [each for each in report.findings if each.kind != "checkpoint_differs"] == []
    assert [(tally.items, tally.items_with_rows, tally.letters, tally.voids) for tally in report.products] == [
        (8, 5, 1, 1),
        (4, 2, 0, 2),
    ]
    assert [summary.rows for summary in list_products(URI)] == [5, 2]


def test_it_was_opened_for_reading_only() -> None:
    try:
        Lake.open(URI, read_only=True).publish_live()
    except MediatokError as error:
        assert "reading only" in str(error)
    else:
        raise AssertionError("a read-only lake was written to")
