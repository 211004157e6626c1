from __future__ import annotations

import pickle
import re
from typing import Any, ClassVar

import pytest

from pipeline.observe import metrics
from pipeline.observe.metrics import METRICS, ClassExporter, Label, MetricKind, Metrics, Sample


def test_every_declaration_is_sound() -> None:
    names = [metric.name for metric in METRICS]
    assert len(METRICS) > 20
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch(r"mediatok_[a-z][a-z_]*", metric.name)
        assert (metric.kind == MetricKind.COUNTER) == metric.name.endswith("_total")
        assert (metric.kind == MetricKind.HISTOGRAM) == bool(metric.buckets)
        assert list(metric.buckets) == sorted(set(metric.buckets))
        assert all(bucket > 0 for bucket in metric.buckets)
        assert all(isinstance(label, Label) for label in metric.labels)
        assert metric.help
        assert not metric.help.endswith(".")


def test_counters_add_up_gauges_keep_the_last_and_histograms_everything() -> None:
    registry = Metrics()
    registry.count(metrics.ITEMS, 3, lane="image", stage="tokenize")
    registry.count(metrics.ITEMS, lane="image", stage="tokenize")
    registry.count(metrics.ITEMS, 5, lane="text", stage="tokenize")
    registry.count(metrics.MESSAGES, 0, lane="text")
    registry.set(metrics.LAG, 7, lane="image")
    registry.set(metrics.LAG, 4, lane="image")
    registry.observe(metrics.COMMIT_DURATION, 0.5)
    registry.observe(metrics.COMMIT_DURATION, 1.5)
    assert set(registry.drain()) == {
        Sample(metrics.ITEMS, ("image", "tokenize"), (4.0,)),
        Sample(metrics.ITEMS, ("text", "tokenize"), (5.0,)),
        Sample(metrics.LAG, ("image",), (4.0,)),
        Sample(metrics.COMMIT_DURATION, (), (0.5, 1.5)),
    }
    assert registry.drain() == ()


def test_samples_travel() -> None:
    sample = Sample(metrics.ITEMS, ("image", "tokenize"), (4.0,))
    assert pickle.loads(pickle.dumps(sample)) == sample
    assert sample.tags == {"lane": "image", "stage": "tokenize"}


def test_misuse_is_refused() -> None:
    registry = Metrics()
    with pytest.raises(ValueError, match="is a counter, not a gauge"):
        registry.set(metrics.ITEMS, 1, lane="image", stage="tokenize")
    with pytest.raises(ValueError, match="has the labels lane, stage, not lane"):
        registry.count(metrics.ITEMS, lane="image")
    with pytest.raises(ValueError, match="can't go back"):
        registry.count(metrics.MESSAGES, -1, lane="image")


def test_labels_without_bound_end_up_in_other() -> None:
    registry = Metrics()
    for number in range(metrics.MAX_SERIES + 50):
        registry.count(metrics.MESSAGES, lane=f"lane-{number}")
    samples = registry.drain()
    assert len(samples) == metrics.MAX_SERIES + 1
    assert samples[-1] == Sample(metrics.MESSAGES, ("other",), (50.0,))
    registry.count(metrics.MESSAGES, lane="lane-0")
    assert registry.drain() == (Sample(metrics.MESSAGES, ("lane-0",), (1.0,)),)


class Instrument:
    """Takes the arguments that the classes of ray.util.metrics take, with their checks."""

    made: ClassVar[list[Instrument]]

    def __init__(self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None, **more: Any) -> None:
        self.name, self.tag_keys, self.more = name, tag_keys or (), more
        self.calls: list[tuple[float, dict[str, str]]] = []
        type(self).made.append(self)

    def record(self, value: float, tags: dict[str, str] | None = None) -> None:
        assert set(tags or {}) == set(self.tag_keys)
        assert all(type(part) is str for part in [*self.tag_keys, *(tags or {}).values()])
        self.calls.append((value, tags or {}))


class Counter(Instrument):
    made: ClassVar[list[Instrument]] = []
    inc = Instrument.record


class Gauge(Instrument):
    made: ClassVar[list[Instrument]] = []
    set = Instrument.record


class Histogram(Instrument):
    made: ClassVar[list[Instrument]] = []
    observe = Instrument.record


def test_the_exporter_makes_each_instrument_once() -> None:
    registry, exporter = Metrics(), ClassExporter(Counter, Gauge, Histogram)
    for round_ in (1.0, 2.0):
        registry.count(metrics.ITEMS, round_, lane="image", stage="tokenize")
        registry.set(metrics.LAG, round_, lane="image")
        registry.observe(metrics.COMMIT_DURATION, round_)
        registry.observe(metrics.COMMIT_DURATION, round_ + 1)
        exporter.export(registry.drain())
    (counter,), (gauge,), (histogram,) = Counter.made, Gauge.made, Histogram.made
    assert [value for value, _ in counter.calls] == [1.0, 2.0]
    assert gauge.calls == [(1.0, {"lane": "image"}), (2.0, {"lane": "image"})]
    assert [value for value, _ in histogram.calls] == [1.0, 2.0, 2.0, 3.0]
    assert histogram.more == {"boundaries": list(metrics.COMMIT_DURATION.buckets)}
