"""The exact replica against what queueing theory says of it."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.simulate.scaling.optimum import least_drain_s
from pipeline.simulate.scaling.theory import LAWS, Check, Law, drain, little, mean_wait, single_server, two_stations


def assert_near(check: Check, rel: float) -> None:
    print(f"{check.what}: {check.measured:.4g}, {check.theory:.4g}")
    assert check.measured == pytest.approx(check.theory, rel=rel)


def test_a_lane_with_one_worker_makes_each_reference_wait_as_long_as_a_single_server_queue_does() -> None:
    waits, expected = single_server(0.8, LAWS[-1].draw(np.random.default_rng(2), 1500).tolist())
    assert len(waits) == 1500
    assert waits == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_the_mean_wait_is_pollaczek_and_khinchines(law: Law, rho: float) -> None:
    assert_near(mean_wait(law, rho), rel=0.05)


def test_as_many_are_in_the_lane_as_come_in_the_time_that_one_stays() -> None:
    assert_near(little(400), rel=0.03)


@pytest.mark.parametrize("slots", [0, 1, 2, 6])
def test_two_equal_exponential_stations_with_b_slots_between_do_b_plus_2_over_b_plus_3(slots: int) -> None:
    assert_near(two_stations(slots, count=3000), rel=0.04)


def test_a_backlog_is_never_gone_sooner_than_capacity_allows() -> None:
    assert least_drain_s(1000.0, capacity_hz=30.0, arrivals_hz=10.0, start_s=5.0) == 55.0
    with pytest.raises(ValueError, match="never gone"):
        least_drain_s(1.0, capacity_hz=10.0, arrivals_hz=10.0, start_s=0.0)


@pytest.mark.soak
def test_the_fleet_drains_no_faster_than_that_and_hardly_slower() -> None:
    check = drain()
    # A thousandth may be left when it is gone.
    assert -1e-3 <= check.error <= 0.1
