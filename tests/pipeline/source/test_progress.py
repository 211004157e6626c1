from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.source.progress import Progress


@given(
    start=st.integers(0, 50),
    delivered=st.lists(st.integers(0, 100), max_size=60),
    tail=st.integers(0, 120),
)
def test_messages_and_holes_together_cover_every_offset_exactly_once(
    start: int, delivered: list[int], tail: int
) -> None:
    progress = Progress(start, start)
    covered: list[int] = []
    for offset in delivered:
        hole = progress.see(offset)
        if hole is None:
            assert offset < start or offset in covered, "only what was given before may be dropped"
            continue
        covered += [*range(*hole), offset]
    covered += range(*progress.reach(tail))
    assert covered == list(range(start, progress.expected))


def test_a_repeat_is_dropped() -> None:
    progress = Progress(10, 20)
    assert progress.see(10) == (10, 10)
    assert progress.see(10) is None
    assert progress.see(3) is None


def test_a_marker_at_the_end_is_a_hole_that_the_end_reveals() -> None:
    progress = Progress(0, 0)
    assert progress.see(0) == (0, 0)
    assert progress.reach(2) == (1, 2)
    assert progress.reach(2) == (2, 2)
    assert progress.lag == 0


def test_lag_counts_what_was_not_given() -> None:
    progress = Progress(5, 9)
    assert progress.lag == 4
    progress.see(7)
    assert progress.lag == 1


@given(
    steps=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 2)), min_size=1, max_size=40),
    asks=st.lists(st.integers(0, 250), max_size=20),
)
def test_the_leader_epoch_of_a_position_is_that_of_the_message_before_it(
    steps: list[tuple[int, int]], asks: list[int]
) -> None:
    progress, epochs, offset, epoch = Progress(0, 0), dict[int, int](), 0, 0
    for step, more in steps:
        offset, epoch = offset + step, epoch + more
        progress.see(offset, epoch)
        epochs[offset] = epoch
    for position in sorted(asks):
        below = [at for at in epochs if at < position]
        assert progress.leader_epoch(position) == (epochs[max(below)] if below else None)
