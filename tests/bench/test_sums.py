from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.sums import crossover, flatness, quantile, slope


def test_a_quantile_is_one_of_the_values():
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [quantile(values, share) for share in (0.0, 0.2, 0.5, 0.99, 1.0)] == [1.0, 1.0, 3.0, 5.0, 5.0]


def test_of_a_hundred_the_99th_is_the_last_but_one():
    assert quantile(list(range(1, 101)), 0.99) == 99


def test_no_values_have_no_quantile():
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 1))
def test_no_fewer_than_the_share_lie_at_or_below_a_quantile(values: list[float], share: float):
    found = quantile(values, share)
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_a_line_has_its_slope():
    assert slope([(x, 3 * x + 7) for x in range(10)]) == pytest.approx(3)


def test_a_point_has_none():
    assert (slope([]), slope([(1.0, 5.0)]), slope([(1.0, 5.0), (1.0, 9.0)])) == (0.0, 0.0, 0.0)


def test_a_curve_that_rises_at_first_and_then_stays_is_flat():
    curve = [(float(t), min(t, 30) * 10.0) for t in range(100)]
    assert flatness(curve).share == pytest.approx(0.0, abs=1e-9)
    assert flatness(curve).level == pytest.approx(300)


def test_a_curve_that_goes_on_rising_is_not():
    leak = flatness([(float(t), 100.0 + t) for t in range(91)])
    assert leak.rise == pytest.approx(60)
    assert leak.share == pytest.approx(60 / 160)


def test_a_curve_on_zero_is_flat():
    assert flatness([(0.0, 0.0), (1.0, 0.0)]).share == 0.0


def test_a_crossover_lies_between_the_points_on_either_side_of_one():
    assert crossover([(12, 0.5), (48, 2.0), (250, 9.0)]) == pytest.approx(math.sqrt(12 * 48))


def test_what_is_above_one_from_the_start_crosses_there():
    assert crossover([(48, 3.0), (12, 2.0)]) == 12


def test_what_stays_below_one_never_crosses():
    assert crossover([(12, 0.2), (250, 0.9)]) is None
