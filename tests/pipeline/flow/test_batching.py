from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from operators.records import MediaReference, Origin, WindowMeta
from pipeline.flow.batching import LONG_SHARE, SHORT_LATELY_S, Batch, Batcher, BatchReason, Upstream
from pipeline.flow.calls import Block, Lease, Piece, PieceItem, RowSpan

ALL_FOLLOWS = Upstream(fresh=True, begun=True)
NOTHING_FOLLOWS = Upstream(fresh=False, begun=False)


def piece(rows: int, tag: int = 0) -> Piece:
    lease = Lease(tag, MediaReference(f"{tag}", Origin("s", 0, tag, 0)))
    windows = tuple(WindowMeta(i, i + 1) for i in range(rows))
    return Piece(Block(None, rows), (PieceItem(lease, None, RowSpan(0, windows), rows),))


def tags(batch: Batch | None) -> list[int]:
    assert batch is not None
    return [one.items[0].lease.attempt for one in batch.pieces]


def taken(batcher: Batcher, now_s: float, *, more_follows: bool) -> Batch | None:
    upstream = ALL_FOLLOWS if more_follows else NOTHING_FOLLOWS
    batch = batcher.peek(now_s, upstream)
    if batch is not None:
        assert batcher.peek(now_s, upstream) == batch
        batcher.take(batch)
    return batch


def next_windows(batcher: Batcher) -> int:
    batch = batcher.peek(0.0, NOTHING_FOLLOWS)
    return 0 if batch is None else batch.windows


def long_segment(tag: int) -> Piece:
    """One window of something that goes on."""
    segment = piece(1, tag)
    (item,) = segment.items
    return Piece(segment.block, (replace(item, total=-1),))


def long_piece(*lengths: int) -> Piece:
    """An item a length, each of one window."""
    items: list[PieceItem] = []
    for row, length in enumerate(lengths):
        lease = Lease(length, MediaReference(f"{length}", Origin("s", 0, row, 0)))
        items.append(PieceItem(lease, None, RowSpan(row, (WindowMeta(0, length),)), 1))
    return Piece(Block(None, len(lengths)), tuple(items))


def test_a_batch_closes_when_one_more_piece_would_pass_its_size() -> None:
    batcher = Batcher(most_windows=10, most_wait_s=1.0)
    for tag, rows in enumerate((4, 4, 4)):
        batcher.add(piece(rows, tag), now_s=0.0)
    first = taken(batcher, 0.0, more_follows=True)
    assert tags(first) == [0, 1]
    assert first is not None and first.reason is BatchReason.FULL
    assert batcher.windows == 4
    assert taken(batcher, 0.0, more_follows=True) is None


def test_a_batch_goes_when_its_first_piece_has_waited_long_enough() -> None:
    batcher = Batcher(most_windows=10, most_wait_s=1.0)
    batcher.add(piece(1), now_s=5.0)
    assert taken(batcher, 5.9, more_follows=True) is None
    batch = taken(batcher, 6.0, more_follows=True)
    assert batch is not None and batch.reason is BatchReason.AGED


def test_a_batch_does_not_wait_for_what_will_not_come() -> None:
    batcher = Batcher(most_windows=10, most_wait_s=1.0)
    batcher.add(piece(1), now_s=5.0)
    batch = taken(batcher, 5.0, more_follows=False)
    assert batch is not None and batch.reason is BatchReason.NOTHING_FOLLOWS


def test_a_piece_larger_than_a_batch_goes_alone() -> None:
    batcher = Batcher(most_windows=10, most_wait_s=1.0)
    batcher.add(piece(1, 1), 0.0)
    batcher.add(piece(50, 2), 0.0)
    assert tags(taken(batcher, 0.0, more_follows=True)) == [1]
    assert tags(taken(batcher, 0.0, more_follows=True)) == [2]


def test_suspects_are_a_batch_of_their_own_and_go_first() -> None:
    batcher = Batcher(most_windows=10, most_wait_s=1.0)
    batcher.add(piece(10, 1), 0.0)
    batcher.add_apart((piece(1, 2), piece(1, 3)))
    batcher.add_apart(())
    assert len(batcher) == 3
    assert next_windows(batcher) == 2
    assert tags(taken(batcher, 0.0, more_follows=True)) == [2, 3]
    assert next_windows(batcher) == 10
    assert tags(taken(batcher, 0.0, more_follows=True)) == [1]
    assert (len(batcher), batcher.windows, next_windows(batcher)) == (0, 0, 0)


@given(st.lists(st.integers(1, 20), max_size=40), st.integers(1, 32))
def test_everything_comes_out_once_in_order_and_in_batches_of_bounded_size(sizes: list[int], most: int) -> None:
    batcher, out = Batcher(most, 1.0), list[int]()
    for tag, rows in enumerate(sizes):
        batcher.add(piece(rows, tag), 0.0)
    while len(batcher):
        expected = next_windows(batcher)
        batch = taken(batcher, 0.0, more_follows=False)
        assert batch is not None
        windows = sum(one.size for one in batch.pieces)
        assert windows == expected
        assert windows <= most or len(batch.pieces) == 1
        out += tags(batch)
    assert out == list(range(len(sizes)))
    assert batcher.windows == 0


def test_windows_of_different_lengths_wait_apart_where_the_tokenizer_pads() -> None:
    batcher = Batcher(most_windows=2, most_wait_s=1.0, by_length=True)
    assert batcher.add(long_piece(30, 3, 29, 2), 0.0) == 4
    assert (batcher.windows, batcher.items, len(batcher)) == (4, 4, 4)
    batches = [taken(batcher, 0.0, more_follows=True) for _ in range(2)]
    assert [tags(batch) for batch in batches] == [[30, 29], [3, 2]]
    assert (batcher.windows, batcher.items, len(batcher)) == (0, 0, 0)


def test_neighbours_of_one_length_stay_one_piece() -> None:
    batcher = Batcher(most_windows=8, most_wait_s=1.0, by_length=True)
    assert batcher.add(long_piece(30, 29, 28, 2, 3), 0.0) == 2


def test_the_bucket_that_has_waited_longest_goes_first_even_before_a_full_one() -> None:
    batcher = Batcher(most_windows=2, most_wait_s=1.0, by_length=True)
    batcher.add(long_piece(2), 0.0)
    batcher.add(long_piece(100), 0.1)
    batcher.add(long_piece(30, 31), 0.2)
    batches = [taken(batcher, 1.05, more_follows=True) for _ in range(2)]
    assert [batch.reason for batch in batches if batch is not None] == [BatchReason.AGED, BatchReason.FULL]
    assert tags(batches[0]) == [2]
    assert taken(batcher, 1.05, more_follows=True) is None
    assert tags(taken(batcher, 1.1, more_follows=True)) == [100]


@given(st.lists(st.lists(st.integers(1, 1000), min_size=1, max_size=6), max_size=20), st.integers(1, 8))
def test_no_batch_pads_to_more_than_twice_its_shortest_item_and_nothing_is_lost(
    pieces: list[list[int]], most: int
) -> None:
    batcher, out = Batcher(most, 1.0, by_length=True), list[int]()
    readers = sum(batcher.add(long_piece(*lengths), 0.0) for lengths in pieces)
    assert readers == len(batcher)
    while len(batcher):
        batch = taken(batcher, 0.0, more_follows=False)
        assert batch is not None
        lengths = [item.rows.windows[0].end for one in batch.pieces for item in one.items]
        assert max(lengths) < 2 * min(lengths)
        out += lengths
    assert sorted(out) == sorted(length for lengths in pieces for length in lengths)
    assert (batcher.windows, batcher.items) == (0, 0)


def test_segments_of_what_is_long_and_what_is_short_take_turns() -> None:
    batcher = Batcher(most_windows=1, most_wait_s=1.0)
    for tag in (1, 2, 3):
        assert batcher.add(long_segment(tag), 0.0) == 1
    for tag in (7, 8):
        batcher.add(piece(1, tag), 0.5)
    order = [tags(taken(batcher, 0.5, more_follows=True)) for _ in range(5)]
    assert order == [[1], [7], [2], [8], [3]]


def test_batches_of_what_is_long_are_small_while_what_is_short_comes() -> None:
    batcher = Batcher(most_windows=8, most_wait_s=1.0)

    def windows_of_long(now_s: float) -> int:
        batch = taken(batcher, now_s, more_follows=False)
        assert batch is not None
        assert batch.is_long
        return batch.windows

    for tag in range(40):
        batcher.add(long_segment(tag), 0.0)
    assert windows_of_long(0.0) == 8
    batcher.add(piece(1, 100), 1.0)
    assert tags(taken(batcher, 1.0, more_follows=False)) == [100]
    assert windows_of_long(1.0) == 8 // LONG_SHARE
    assert windows_of_long(0.9 + SHORT_LATELY_S) == 8 // LONG_SHARE
    assert windows_of_long(1.1 + SHORT_LATELY_S) == 8


def test_what_is_short_does_not_wait_for_more_of_what_is_long() -> None:
    batcher = Batcher(most_windows=8, most_wait_s=1.0)
    batcher.add(long_segment(1), 0.0)
    batcher.add(piece(1, 7), 0.0)
    batch = batcher.peek(0.0, Upstream(fresh=False, begun=True))
    assert batch is not None and batch.reason is BatchReason.NOTHING_FOLLOWS
    assert tags(batch) == [7]
    batcher.take(batch)
    assert batcher.peek(0.0, Upstream(fresh=False, begun=True)) is None
    assert batcher.peek(0.0, Upstream(fresh=True, begun=False)) is None
    assert tags(batcher.peek(0.0, NOTHING_FOLLOWS)) == [1]
