from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scale.forecast import Beside, Forecast, Limit, Station, forecast
from pipeline.scale.packing import Node

MANY = 1000


def lane(expected: Forecast, name: str = "image") -> tuple[float, str, Limit]:
    found = expected.lanes[name]
    return found.rate_hz, found.bottleneck, found.limit


def test_a_fused_pool_has_a_worker_a_cpu() -> None:
    expected = forecast({"image/workers": Station("image", 0.02, max_workers=MANY)}, [Node(4)])
    assert expected.workers == {"image/workers": 4}
    assert lane(expected) == (pytest.approx(200), "image/workers", Limit.CPUS)


def test_the_configured_most_is_said_to_be_the_limit() -> None:
    expected = forecast({"image/workers": Station("image", 0.02, max_workers=2)}, [Node(4)])
    assert lane(expected) == (pytest.approx(100), "image/workers", Limit.MOST_WORKERS)
    assert "max" in expected.lanes["image"].limit.explanation


def test_stages_are_made_equally_fast_and_the_slower_one_is_named() -> None:
    stations = {
        "image/workers": Station("image", 0.01, max_workers=MANY),
        "image/tokenize": Station("image", 0.03, max_workers=MANY),
    }
    expected = forecast(stations, [Node(8)])
    assert expected.workers == {"image/workers": 2, "image/tokenize": 6}
    assert lane(expected)[0] == pytest.approx(200)


def test_gpus_that_are_used_up_are_the_limit() -> None:
    stations = {
        "image/workers": Station("image", 0.01, max_workers=MANY),
        "image/tokenize": Station("image", 0.002, gpu_s=0.002, gpus=1, max_workers=MANY),
    }
    expected = forecast(stations, [Node(16, 1)])
    assert expected.workers == {"image/workers": 5, "image/tokenize": 1}
    assert lane(expected) == (pytest.approx(500), "image/tokenize", Limit.GPUS)


def test_workers_on_one_gpu_take_turns() -> None:
    halves = forecast({"a/w": Station("a", 0.004, gpu_s=0.004, gpus=0.5, max_workers=MANY)}, [Node(8, 1)])
    whole = forecast({"a/w": Station("a", 0.004, gpu_s=0.004, gpus=1, max_workers=MANY)}, [Node(8, 1)])
    assert halves.workers["a/w"] == 2
    assert halves.lanes["a"].rate_hz == pytest.approx(whole.lanes["a"].rate_hz)


def test_fused_workers_on_a_shared_gpu_decode_while_others_have_it() -> None:
    whole = forecast({"a/w": Station("a", 0.008, gpu_s=0.004, gpus=1, max_workers=MANY)}, [Node(8, 1)])
    halves = forecast({"a/w": Station("a", 0.008, gpu_s=0.004, gpus=0.5, max_workers=MANY)}, [Node(8, 1)])
    assert (whole.lanes["a"].rate_hz, halves.lanes["a"].rate_hz) == (pytest.approx(125), pytest.approx(250))


def test_a_worker_that_is_counted_with_half_of_its_cpus_is_half_as_fast() -> None:
    expected = forecast({"a/w": Station("a", 0.01, cpus=0.5, uses_cpus=1.0)}, [Node(4)])
    assert expected.lanes["a"].rate_hz == pytest.approx(50)


def test_what_the_work_costs_beside_its_workers_is_taken_off() -> None:
    beside = Beside({"image": 0.005}, coordinator_s=1e-4, idle_cpus=0.2)
    expected = forecast({"image/workers": Station("image", 0.015, max_workers=MANY)}, [Node(2)], beside)
    assert lane(expected) == (pytest.approx(1.8 / 0.02), "", Limit.SHARED_CPUS)
    assert expected.busy_cpus == pytest.approx(2.0)


def test_a_lane_that_wants_little_is_not_slowed_by_one_that_wants_all() -> None:
    stations = {"image/w": Station("image", 0.01, max_workers=1), "text/w": Station("text", 1e-4, max_workers=1)}
    expected = forecast(stations, [Node(3)], Beside({"text": 4e-4}, coordinator_s=0.0, idle_cpus=0.0))
    assert lane(expected) == (pytest.approx(100), "image/w", Limit.MOST_WORKERS)
    assert lane(expected, "text") == (pytest.approx(2 / 5e-4), "", Limit.SHARED_CPUS)


def test_one_coordinator_is_a_limit_and_no_worker_is_added_beyond_it() -> None:
    beside = Beside({}, coordinator_s=1e-4, idle_cpus=0.0)
    expected = forecast({"text/w": Station("text", 2e-4, max_workers=MANY)}, [Node(64)], beside)
    assert lane(expected, "text") == (pytest.approx(10_000), "", Limit.COORDINATOR)
    assert expected.workers["text/w"] == 3


STATIONS = st.dictionaries(
    st.sampled_from(["a/w", "a/t", "b/w", "b/t"]),
    st.tuples(st.floats(1e-4, 1.0), st.sampled_from([0.0, 0.5, 1.0]), st.integers(1, 50)),
    min_size=1,
)


@given(STATIONS, st.integers(1, 4))
def test_more_machines_never_make_the_slowest_lane_slower(
    drawn: dict[str, tuple[float, float, int]], nodes: int
) -> None:
    stations = {
        name: Station(name[0], service, gpus=gpus, gpu_s=service if gpus else 0.0, max_workers=most)
        for name, (service, gpus, most) in drawn.items()
    }
    machines = [Node(8, 4)] * nodes
    few, many = forecast(stations, machines), forecast(stations, [*machines, *machines])
    for name, each in few.lanes.items():
        assert each.rate_hz > 0
        assert many.lanes[name].rate_hz >= each.rate_hz * (1 - 1e-9) or len(few.lanes) > 1
    assert few.busy_cpus <= 8 * nodes + 1e-6
