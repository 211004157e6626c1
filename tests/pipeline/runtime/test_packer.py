from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.errors import InvariantError, SpoolFullError, StoreUnavailableError
from operators.pack.schema import spec_of
from operators.pack.shard import read_index
from operators.records import (
    ContentFacts,
    EmptyReason,
    Failure,
    MediaReference,
    Modality,
    Origin,
    TokenBatch,
    VoidReason,
    WindowMeta,
)
from operators.tokenize.base import TokenKind, TokenSpec
from pipeline.flow.calls import SealReason
from pipeline.records import Delivery, Empty, Letter, PackReport, Product, Sealed, SealKind, SourcePartition, Span
from pipeline.runtime.packer import PackedProduct, Packer

TEXT = TokenSpec(TokenKind.CODES, Modality.TEXT, "utf8:1024", ("t",), (256,), "uint16")
WIDE = replace(TEXT, codebook_sizes=(70_000,), dtype="uint32")
BYTES = Product("bytes", 1, "ab" * 32, Modality.TEXT, TEXT)
BPE = Product("bpe", 1, "cd" * 32, Modality.TEXT, WIDE)
NOON_MS = 1_767_355_200_000
"""2026-01-02T12:00Z."""


class Lake:
    """Takes uploads; may be told to fail."""

    def __init__(self) -> None:
        self.tables: dict[str, pa.Table] = {}
        self.calls: list[tuple[str, str, bytes, str]] = []
        self.failures = 0

    def upload(self, local: Path, product: str, index: bytes, dt: str) -> str:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("503")
        path = f"data/product={product}/dt={dt}/part-0-{len(self.calls)}.arrow"
        self.tables[path] = pa.ipc.open_file(pa.py_buffer(local.read_bytes())).read_all()
        self.calls.append((path, product, index, dt))
        return path

    def rows(self, sealed: Sequence[Sealed]) -> list[dict[str, object]]:
        return [row for one in sealed for shard in one.shards for row in self.tables[shard.path].to_pylist()]


class Setup:
    def __init__(self, directory: Path, **options: int) -> None:
        self.lake = Lake()
        self.now_ms = NOON_MS
        self.directory = directory
        products = [PackedProduct(BYTES, {"class": "Bytes"}), PackedProduct(BPE, {"class": "Bpe"})]
        self.packer = Packer(products, directory, self.lake.upload, lambda: self.now_ms, **options)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path / "spool")


def delivery(
    offset: int, row: int = -1, *, windows: int = 1, partition: int = 0, product: Product = BYTES, **others: object
) -> Delivery:
    reference = MediaReference(f"s3://b/{offset}", Origin("topic", partition, offset, 0))
    metas = tuple(WindowMeta(start, start + 1) for start in range(windows)) if row >= 0 else ()
    made = Delivery(
        product=product.key,
        items=1,
        attempt=1,
        reference=reference,
        facts=ContentFacts("v", "ab" * 32, 3) if row >= 0 else None,
        windows=metas,
        batch=0 if row >= 0 else -1,
        row=max(row, 0),
        total=windows if row >= 0 and others.get("last", True) else -1,
    )
    return replace(made, **others)


def texts(*lengths: int, dtype: str = "uint16") -> TokenBatch:
    return TokenBatch.ragged([np.full(length, length, dtype) for length in lengths], dtype)


def letter(offset: int) -> Letter:
    failure = Failure("decode.truncated", "decode", "cut")
    return Letter(BYTES.key, Origin("topic", 0, offset, 0), "u", failure, "t", b"k", b"v", (), 1, NOON_MS)


def test_what_is_whole_is_sealed_and_uploaded(setup: Setup):
    report = setup.packer.add([delivery(4, 1), delivery(3, 0)], [texts(10, 20)])
    assert (report.sealed, report.waiting_messages) == ((), 2)
    assert report.spooled_bytes > 0
    report = setup.packer.seal(SealReason.AGE)
    (sealed,) = report.sealed
    assert sealed.covers == (Span(SourcePartition("topic", 0), ((3, 5),)),)
    assert (sealed.letters, sealed.empties, dict(sealed.voids), sealed.kind) == ((), (), {}, SealKind.LIVE)
    (shard,) = sealed.shards
    index = read_index(setup.lake.calls[0][2])
    assert (shard.rows, shard.tokens, shard.size_bytes, shard.sha256) == (2, 30, index.size_bytes, index.sha256)
    assert shard.path == f"data/product={BYTES.key}/dt=2026-01-02/part-0-0.arrow"
    rows = setup.lake.rows(report.sealed)
    assert [(row["offset"], row["codes"], row["dt"]) for row in rows] == [
        (3, [10] * 10, "2026-01-02"),
        (4, [20] * 20, "2026-01-02"),
    ]
    assert spec_of(setup.lake.tables[shard.path].schema) == TEXT
    assert (report.spooled_bytes, report.waiting_messages) == (0, 0)
    assert list(setup.directory.iterdir()) == []


def test_windows_are_numbered_once_their_item_is_whole(setup: Setup):
    first = delivery(0, 0, windows=2, last=False)
    setup.packer.add([first], [texts(1, 2)])
    assert setup.packer.seal(SealReason.AGE).sealed == ()
    rest = replace(delivery(0, 1), windows=(WindowMeta(7, 8),), total=3)
    setup.packer.add([rest, delivery(1, 0)], [texts(9, 3)])
    rows = setup.lake.rows(setup.packer.seal(SealReason.AGE).sealed)
    assert [(row["offset"], row["window_index"], row["window_count"], row["n_tokens"]) for row in rows] == [
        (0, 0, 3, 1),
        (0, 1, 3, 2),
        (0, 2, 3, 3),
        (1, 0, 1, 9),
    ]


def test_a_call_may_feed_several_products(setup: Setup):
    both = [delivery(0, 0), delivery(0, 0, product=BPE, batch=1)]
    setup.packer.add(both, [texts(5), texts(2, dtype="uint32")])
    sealed = setup.packer.seal(SealReason.DRAIN).sealed
    assert sorted((one.product, one.shards[0].tokens) for one in sealed) == [(BPE.key, 2), (BYTES.key, 5)]


def test_outcomes_without_rows_are_sealed_without_shards(setup: Setup):
    empty = Empty(BYTES.key, Origin("topic", 0, 1, 0), "u", EmptyReason.NO_TOKENS)
    endings = (letter(0), empty, VoidReason.HOLE, VoidReason.HOLE, VoidReason.TOMBSTONE)
    setup.packer.add([delivery(offset, ended=ending) for offset, ending in enumerate(endings)], [])
    (sealed,) = setup.packer.seal(SealReason.AGE).sealed
    assert sealed == Sealed(
        product=BYTES.key,
        covers=(Span(SourcePartition("topic", 0), ((0, 5),)),),
        letters=(letter(0),),
        empties=(empty,),
        voids={VoidReason.HOLE: 2, VoidReason.TOMBSTONE: 1},
        voided=sealed.voided,
    )
    assert setup.lake.calls == []


def test_a_seal_stands_in_one_report_only(setup: Setup):
    setup.packer.add([delivery(0, 0)], [texts(5)])
    assert len(setup.packer.seal(SealReason.AGE).sealed) == 1
    assert setup.packer.seal(SealReason.AGE).sealed == ()
    again = setup.packer.add([delivery(0, 0)], [texts(5)])
    assert (again.sealed, again.spooled_bytes, again.waiting_messages) == ((), 0, 0)


def test_size_seals_within_add_and_cuts_shards_of_one_to_two_targets(tmp_path: Path):
    setup = Setup(tmp_path / "spool", target_bytes=20_000, batch_bytes=4000)
    report = setup.packer.add([delivery(offset, offset) for offset in range(30)], [texts(*[4000] * 30)])
    (sealed,) = report.sealed
    assert len(sealed.shards) > 3
    assert all(19_000 < shard.size_bytes < 60_000 for shard in sealed.shards)
    assert [row["offset"] for row in setup.lake.rows([sealed])] == list(range(30))
    assert setup.packer.status().seals == {SealReason.SIZE: 1}


def test_a_large_message_spans_shards_within_one_seal(tmp_path: Path):
    setup = Setup(tmp_path / "spool", target_bytes=20_000)
    report = setup.packer.add([delivery(0, 0, windows=10)], [texts(*[4000] * 10)])
    (sealed,) = report.sealed
    assert len(sealed.shards) > 1
    assert sealed.covers[0].count == 1
    assert [row["window_index"] for row in setup.lake.rows([sealed])] == list(range(10))


def test_what_does_not_fit_is_not_taken_and_fits_after_a_seal(tmp_path: Path):
    setup = Setup(tmp_path / "spool", limit_bytes=40_000)
    setup.packer.add([delivery(0, 0)], [texts(10_000)])
    more = [delivery(1, 0), delivery(1, 0, product=BPE, batch=1)]
    batches = [texts(100), texts(6_000, dtype="uint32")]
    with pytest.raises(SpoolFullError):
        setup.packer.add(more, batches)
    assert setup.packer.status().waiting_messages == 1
    setup.packer.seal(SealReason.STARVED)
    setup.packer.add(more, batches)
    assert len(setup.packer.seal(SealReason.STARVED).sealed) == 2
    assert setup.packer.status().spooled_bytes == 0


def test_an_upload_that_fails_loses_and_repeats_nothing(setup: Setup):
    setup.packer.add([delivery(0, 0), delivery(1, ended=letter(1))], [texts(5)])
    before = setup.packer.status()
    setup.lake.failures = 1
    with pytest.raises(StoreUnavailableError):
        setup.packer.seal(SealReason.AGE)
    assert setup.packer.status() == before
    setup.packer.add([delivery(0, 0)], [texts(5)])
    (sealed,) = setup.packer.seal(SealReason.AGE).sealed
    assert [row["offset"] for row in setup.lake.rows([sealed])] == [0]
    assert len(sealed.letters) == 1
    assert setup.packer.status().spooled_bytes == 0


def test_products_sealed_together_are_sealed_all_or_none(setup: Setup):
    both = [delivery(0, 0), delivery(0, 0, product=BPE, batch=1)]
    setup.packer.add(both, [texts(5), texts(2, dtype="uint32")])
    upload = setup.lake.upload

    def second_fails(local: Path, product: str, index: bytes, dt: str) -> str:
        if len(setup.lake.calls) == 1:
            setup.lake.failures = 1
        return upload(local, product, index, dt)

    setup.packer._upload = second_fails
    with pytest.raises(StoreUnavailableError):
        setup.packer.seal(SealReason.AGE)
    setup.packer._upload = upload
    assert setup.packer.forget([SourcePartition("topic", 0)]).waiting_messages == 0
    assert setup.packer.seal(SealReason.AGE).sealed == ()


def test_after_forgetting_nothing_of_a_log_is_reported(setup: Setup):
    setup.packer.add([delivery(0, 0), delivery(9, 1, partition=1)], [texts(5, 6)])
    setup.packer.add([delivery(1, 0, windows=2, last=False)], [texts(5, 6)])
    report = setup.packer.forget({SourcePartition("topic", 0)})
    assert report.waiting_messages == 1
    (sealed,) = setup.packer.seal(SealReason.AGE).sealed
    assert sealed.covers == (Span(SourcePartition("topic", 1), ((9, 10),)),)
    assert setup.packer.status().spooled_bytes == 0


def test_no_tokens_of_waiting_messages_stay_in_memory(setup: Setup):
    values = np.arange(1000, dtype=np.uint16)
    kept = weakref.ref(values)
    batch = TokenBatch(values, np.array([0, 1000]), np.array([[1000]], np.int32), np.array([1000]))
    setup.packer.add([delivery(0, 0)], [batch])
    del batch, values
    gc.collect()
    assert kept() is None
    assert setup.packer.status().waiting_messages == 1


def test_the_date_is_that_of_closing(setup: Setup):
    setup.packer.add([delivery(0, 0)], [texts(5)])
    setup.now_ms += 12 * 3600 * 1000
    report = setup.packer.seal(SealReason.AGE)
    assert [row["dt"] for row in setup.lake.rows(report.sealed)] == ["2026-01-03"]
    assert setup.lake.calls[0][3] == "2026-01-03"


def test_the_status_says_since_when_something_is_whole(setup: Setup):
    setup.packer.add([delivery(0, 0, last=False)], [texts(5)])
    setup.now_ms += 5000
    assert setup.packer.status().oldest_whole_age_s == 0.0
    setup.packer.add([delivery(1, 0)], [texts(5)])
    setup.now_ms += 2500
    status = setup.packer.status()
    assert (status.oldest_whole_age_s, status.whole_messages[BYTES.key], status.waiting_messages) == (2.5, 1, 2)
    setup.packer.seal(SealReason.AGE)
    assert setup.packer.status().oldest_whole_age_s == 0.0


@pytest.mark.parametrize("wrong", [delivery(0, 0, batch=1), delivery(0, 0, batch=-1), delivery(0, 0, product=BPE)])
def test_deliveries_that_contradict_their_tokens_stop_the_run(wrong: Delivery, setup: Setup):
    with pytest.raises(InvariantError):
        setup.packer.add([delivery(5, 0), wrong], [texts(5)])
    assert setup.packer.status().spooled_bytes == 0


def test_closing_leaves_no_files(setup: Setup):
    setup.packer.add([delivery(0, 0)], [texts(5)])
    setup.packer.close()
    assert list(setup.directory.iterdir()) == []


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(range(12)),
    lengths=st.lists(st.integers(0, 400), min_size=12, max_size=12),
    size=st.integers(1, 12),
    target_bytes=st.sampled_from([500, 3000, 1 << 20]),
    seal_every=st.integers(1, 5),
)
def test_whatever_the_order_every_row_is_sealed_once(
    order: list[int], lengths: list[int], size: int, target_bytes: int, seal_every: int, tmp_path: Path
):
    setup = Setup(tmp_path / "spool", target_bytes=target_bytes, batch_bytes=700)
    reports: list[PackReport] = []
    for call, begin in enumerate(range(0, 12, size)):
        batch = texts(*(lengths[n] for n in order[begin : begin + size]))
        wanted = [delivery(n // 2, row, partition=n % 2) for row, n in enumerate(order[begin : begin + size])]
        reports.append(setup.packer.add(wanted, [batch]))
        if call % seal_every == 0:
            reports.append(setup.packer.seal(SealReason.AGE))
    reports.append(setup.packer.seal(SealReason.DRAIN))
    sealed = [one for report in reports for one in report.sealed]
    rows = {(row["partition"], row["offset"]): row["codes"] for row in setup.lake.rows(sealed)}
    assert rows == {(n % 2, n // 2): [lengths[n]] * lengths[n] for n in range(12)}
    assert len(setup.lake.rows(sealed)) == 12
    covered = [(span.log.partition, offset) for one in sealed for span in one.covers for offset in _offsets(span)]
    assert sorted(covered) == sorted(rows)
    for one in sealed:
        origins = [(row["partition"], row["offset"]) for row in setup.lake.rows([one])]
        assert origins == sorted(origins)
    assert (reports[-1].spooled_bytes, reports[-1].waiting_messages) == (0, 0)


def _offsets(span: Span) -> list[int]:
    return [offset for start, end in span.ranges for offset in range(start, end)]
