from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.errors import InvariantError
from pipeline.flow import coverage as coverage_module
from pipeline.flow.coverage import Coverage, bitmap_of, bitmap_overlap, bitmap_ranges
from pipeline.flow.ranges import difference, intersection, merged, size
from pipeline.records import Range, SourcePartition, ranges_of

LOG = SourcePartition("s", 0)
# Small offsets for dense overlaps; a few around the borders of roaring containers (2^16) and of 32 bits.
BASES = st.sampled_from([0, 0, 0, 65_530, (1 << 32) - 6])


@st.composite
def some_ranges(draw: st.DrawFn) -> tuple[Range, ...]:
    pairs = draw(st.lists(st.tuples(BASES, st.integers(0, 30), st.integers(0, 12)), max_size=6))
    return merged((base + start, base + start + length) for base, start, length in pairs)


def offsets(ranges: tuple[Range, ...]) -> set[int]:
    return {offset for start, end in ranges for offset in range(start, end)}


@given(some_ranges(), some_ranges())
def test_range_algebra_agrees_with_sets(left: tuple[Range, ...], right: tuple[Range, ...]) -> None:
    assert intersection(left, right) == ranges_of(offsets(left) & offsets(right))
    assert difference(left, right) == ranges_of(offsets(left) - offsets(right))
    assert merged((*left, *right)) == ranges_of(offsets(left) | offsets(right))
    assert size(left) == len(offsets(left))


@given(st.integers(0, 40), st.lists(some_ranges(), max_size=8), some_ranges(), st.integers(0, 60))
def test_coverage_agrees_with_a_set(
    start: int, added: list[tuple[Range, ...]], asked: tuple[Range, ...], at_least: int
) -> None:
    coverage, plain = Coverage.starting_at(start), set[int]()
    for ranges in added:
        coverage.add(ranges)
        plain |= offsets(ranges)
        assert all(coverage.covers(offset) for offset in range(coverage.start, min(coverage.watermark, 100)))
        assert not coverage.covers(coverage.watermark)
        assert all(not coverage.start <= offset < coverage.watermark for offset in coverage.aside)
    assert coverage.span(LOG).ranges == ranges_of(plain)
    assert coverage.count() == len(plain)
    assert coverage.overlap(asked) == ranges_of(offsets(asked) & plain)
    assert coverage.missing(asked) == ranges_of(offsets(asked) - plain)
    expected = at_least
    while expected in plain:
        expected += 1
    assert coverage.next_uncovered(at_least) == expected


@given(st.integers(0, 40), st.lists(some_ranges(), max_size=8), st.randoms())
def test_equal_coverage_has_equal_bytes_however_it_came_about(start: int, added: list[tuple[Range, ...]], rng) -> None:
    one, other = Coverage.starting_at(start), Coverage.starting_at(start)
    for ranges in added:
        one.add(ranges)
    singles = [(offset, offset + 1) for ranges in added for offset in offsets(ranges)]
    rng.shuffle(singles)
    other.add(singles)
    assert one.serialize() == other.serialize()
    again = Coverage.deserialize(one.serialize())
    assert again.serialize() == one.serialize()
    assert again.span(LOG) == one.span(LOG)


def test_a_billion_offsets_cost_a_few_bytes() -> None:
    coverage = Coverage.starting_at(5)
    coverage.add([(10, 10**9)])
    coverage.add([(5, 10)])
    assert coverage.watermark == 10**9
    assert len(coverage.serialize()) < 100


@pytest.mark.parametrize("data", [b"", b"short", b"\0" * 16, b"\0" * 16 + b"\xff" * 9])
def test_bytes_that_are_no_coverage_are_refused(data: bytes) -> None:
    with pytest.raises(InvariantError):
        Coverage.deserialize(data)


def test_negative_offsets_are_refused() -> None:
    with pytest.raises(InvariantError, match="-3"):
        Coverage.starting_at(0).add([(-3, 2)])


@given(some_ranges(), some_ranges())
def test_both_ways_through_a_bitmap_agree(held: tuple[Range, ...], asked: tuple[Range, ...]) -> None:
    bitmap, common = bitmap_of(held), intersection(held, asked)
    for members, ranges in ((0, 0), (0, 1 << 62), (1 << 62, 0), (1 << 62, 1 << 62)):
        with patch.multiple(coverage_module, _MANY_MEMBERS=members, _MANY_RANGES=1 if ranges == 0 else ranges):
            assert bitmap_ranges(bitmap) == held
            assert bitmap_overlap(bitmap, asked) == common


@pytest.mark.parametrize("beyond", [140_000, 2**32 + 5, 2**40])
def test_what_follows_a_run_that_ends_with_its_container_is_not_covered(beyond: int) -> None:
    coverage = Coverage.starting_at(0)
    coverage.add(((65_530, 65_536), (beyond, beyond + 1)))
    assert coverage.overlap(((65_530, 65_540),)) == ((65_530, 65_536),)
    assert coverage.next_uncovered(65_530) == 65_536
    assert coverage.missing(((65_530, 65_540),)) == ((65_536, 65_540),)
