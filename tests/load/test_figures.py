from __future__ import annotations

import itertools
from collections import Counter

import pytest

from tests.load.figures import growth, latencies, percentile, slope
from tests.load.offered import schedule
from tests.load.plot import as_svg


def test_the_schedule_is_even_and_mixes_by_weight() -> None:
    messages = schedule(50, 60, {"image": 3, "text": 1}, seed=1)
    assert len(messages) == 3000
    steps = {round(after.at_s - before.at_s, 6) for before, after in itertools.pairwise(messages)}
    assert steps == {0.02}
    assert Counter(each.topic for each in messages)["image"] == pytest.approx(2250, abs=150)
    assert schedule(50, 60, {"image": 3, "text": 1}, seed=1) == messages


def test_percentiles_are_by_nearest_rank() -> None:
    ordered = [float(number) for number in range(1, 101)]
    assert [percentile(ordered, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([7.0], 0.5) == 7.0


def test_latency_runs_from_when_a_message_was_due_and_leaves_out_what_never_came() -> None:
    due = {("image", 0, 0): 100.0, ("image", 0, 1): 101.0, ("text", 0, 0): 100.0}
    seen = {("image", 0, 0): 103.0, ("image", 0, 1): 103.0, ("image", 0, 9): 103.0}
    found = latencies(due, seen)
    assert set(found) == {"image", "all"}
    assert (found["image"].messages, found["image"].p50_s, found["image"].max_s) == (2, 2.0, 3.0)


def test_memory_that_grows_only_at_the_start_has_no_slope() -> None:
    levelled = [(float(second), 1e6 * min(second, 100)) for second in range(600)]
    assert growth(levelled).slope_mb_h == pytest.approx(0)
    assert growth(levelled[:300]).slope_mb_h is None, "too short to say"
    assert growth(levelled).peak_mb == 100
    assert slope([(0.0, 0.0), (3600.0, 5e6)]) * 3600 == pytest.approx(5e6)
    assert slope([(1.0, 5.0)]) == 0


def test_the_plot_is_one_file_with_a_chart_each() -> None:
    picture = as_svg("load", {"latency, s": {"p50 & p99": [(0.0, 1.0), (1.0, 2.0)]}, "empty": {}})
    assert picture.count("<polyline") == 1
    assert "p50 &amp; p99" in picture
