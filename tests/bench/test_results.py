from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench.plots import curves, thinned
from tests.bench.results import Figure, Results, Wish, ratio


@pytest.mark.parametrize(
    ("wish", "value", "met"),
    [
        (Wish.AT_LEAST, 1.3, True),
        (Wish.AT_LEAST, 1.29, False),
        (Wish.AT_MOST, 1.3, True),
        (Wish.AT_MOST, 1.31, False),
        (None, 0.0, None),
    ],
)
def test_a_figure_knows_whether_it_is_as_wanted(wish: Wish | None, value: float, met: bool | None):
    assert Figure("b", "w", value, wish=wish, wanted=1.3).met is met


def test_a_ratio_to_nothing_is_infinite_and_says_so():
    assert ratio("b", "w", 5.0, 0.0, 1.3).value == float("inf")


def test_what_was_measured_is_on_disk_after_each_figure(tmp_path: Path):
    results = Results(tmp_path)
    results.add(ratio("rivals", "ours / <theirs>", 90.0, 45.0, 1.3))
    results.curve("memory", "Memory & time", "MiB", {"store": [(0.0, 1.0), (1.0, 2.0)]}, budget=4.0)
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["figures"][0]["value"] == 2.0
    assert found["figures"][0]["met"] is True
    for name in ("ratios.svg", "memory.svg"):
        assert ElementTree.parse(tmp_path / name).getroot().tag.endswith("svg")


def test_a_plot_without_a_point_is_one_still():
    assert ElementTree.fromstring(curves("nothing", "MiB", {"store": []})).tag.endswith("svg")


def test_thinning_keeps_the_highest_point():
    line = [(float(t), 1.0 if t == 777 else 0.0) for t in range(10_000)]
    assert len(thinned(line, 100)) == 100
    assert (777.0, 1.0) in thinned(line, 100)
