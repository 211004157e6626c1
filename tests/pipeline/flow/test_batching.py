from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from operators.records import MediaReference, Origin, WindowMeta
from pipeline.flow.batching import Batch, Batcher, BatchReason
from pipeline.flow.calls import Block, Lease, Piece, PieceItem, RowSpan


def piece(rows: int, tag: int = 0) -> Piece:
    lease = Lease(tag, MediaReference(f"{tag}", Origin("s", 0, tag, 0)))
    windows = tuple(WindowMeta(i, i + 1) for i in range(rows))
    return Piece(Block(None, rows), (PieceItem(lease, None, RowSpan(0, windows), rows),))


def tags(batch: Batch | None) -> list[int]:
    assert batch is not None
    return [one.items[0].lease.attempt for one in batch.pieces]


def test_a_batch_closes_when_one_more_piece_would_pass_its_size() -> None:
    batcher = Batcher(most_windows=10, most_wait_s=1.0)
    for tag, rows in enumerate((4, 4, 4)):
        batcher.add(piece(rows, tag), now_s=0.0)
    first = batcher.take(0.0, more_follows=True)
    assert tags(first) == [0, 1]
    assert first is not None and first.reason is BatchReason.FULL
    assert batcher.windows == 4
    assert batcher.take(0.0, more_follows=True) is None


def test_a_batch_goes_when_its_first_piece_has_waited_long_enough() -> None:
    batcher = Batcher(most_windows=10, most_wait_s=1.0)
    batcher.add(piece(1), now_s=5.0)
    assert batcher.take(5.9, more_follows=True) is None
    batch = batcher.take(6.0, more_follows=True)
    assert batch is not None and batch.reason is BatchReason.AGED


def test_a_batch_does_not_wait_for_what_will_not_come() -> None:
    batcher = Batcher(most_windows=10, most_wait_s=1.0)
    batcher.add(piece(1), now_s=5.0)
    batch = batcher.take(5.0, more_follows=False)
    assert batch is not None and batch.reason is BatchReason.NOTHING_FOLLOWS


def test_a_piece_larger_than_a_batch_goes_alone() -> None:
    batcher = Batcher(most_windows=10, most_wait_s=1.0)
    batcher.add(piece(1, 1), 0.0)
    batcher.add(piece(50, 2), 0.0)
    assert tags(batcher.take(0.0, more_follows=True)) == [1]
    assert tags(batcher.take(0.0, more_follows=True)) == [2]


def test_suspects_are_a_batch_of_their_own_and_go_first() -> None:
    batcher = Batcher(most_windows=10, most_wait_s=1.0)
    batcher.add(piece(10, 1), 0.0)
    batcher.add_apart((piece(1, 2), piece(1, 3)))
    batcher.add_apart(())
    assert len(batcher) == 3
    assert batcher.next_windows == 2
    assert tags(batcher.take(0.0, more_follows=True)) == [2, 3]
    assert batcher.next_windows == 10
    assert tags(batcher.take(0.0, more_follows=True)) == [1]
    assert (len(batcher), batcher.windows, batcher.next_windows) == (0, 0, 0)


@given(st.lists(st.integers(1, 20), max_size=40), st.integers(1, 32))
def test_everything_comes_out_once_in_order_and_in_batches_of_bounded_size(sizes: list[int], most: int) -> None:
    batcher, out = Batcher(most, 1.0), list[int]()
    for tag, rows in enumerate(sizes):
        batcher.add(piece(rows, tag), 0.0)
    while len(batcher):
        expected = batcher.next_windows
        batch = batcher.take(0.0, more_follows=False)
        assert batch is not None
        windows = sum(one.size for one in batch.pieces)
        assert windows == expected
        assert windows <= most or len(batch.pieces) == 1
        out += tags(batch)
    assert out == list(range(len(sizes)))
    assert batcher.windows == 0
