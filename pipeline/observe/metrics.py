"""The metrics of a run, declared in one place, and how they get out.

Components count into a `Metrics`; once a second somebody drains it into an `Exporter`. Values of labels are bounded:
lanes, stages and products stand in the configuration, reasons are enums and error codes; what exceeds `MAX_SERIES`
becomes "other".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

MAX_SERIES = 500
"""Combinations of label values a metric may have before further ones are folded into "other"."""


class MetricKind(StrEnum):
    """What may be done with a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Label(StrEnum):
    """The only labels there are."""

    LANE = "lane"
    STAGE = "stage"
    PRODUCT = "product"
    REASON = "reason"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's declaration.

    Attributes:
        name: in Prometheus' style, unit last (counters: before "_total").
        help: one line.
        buckets: upper bounds of a histogram, ascending, > 0.
    """

    name: str
    kind: MetricKind
    help: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()


_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_LATENCIES = (0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21600.0)
_STAGE = (Label.LANE, Label.STAGE)
_PRODUCT = (Label.LANE, Label.PRODUCT)


def _counter(name: str, text: str, *labels: Label) -> Metric:
    return Metric(f"mediatok_{name}_total", MetricKind.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: Label) -> Metric:
    return Metric(f"mediatok_{name}", MetricKind.GAUGE, text, labels)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: Label) -> Metric:
    return Metric(f"mediatok_{name}", MetricKind.HISTOGRAM, text, labels, buckets)


MESSAGES = _counter("messages", "Messages read from the source", Label.LANE)
ITEMS = _counter("items", "Items finished by a stage", *_STAGE)
STAGE_BUSY = _counter("stage_busy_seconds", "Worker-seconds of work on finished items", *_STAGE)
FETCHED = _counter("fetched_bytes", "Bytes of media fetched", Label.LANE)
ROWS = _counter("rows", "Rows committed", *_PRODUCT)
TOKENS = _counter("tokens", "Tokens committed", *_PRODUCT)
STORED = _counter("stored_bytes", "Bytes of shards committed", *_PRODUCT)
LETTERS = _counter("letters", "Dead letters committed, by error code", *_PRODUCT, Label.REASON)
EMPTIES = _counter("empties", "Items without rows committed", *_PRODUCT, Label.REASON)
VOIDS = _counter("voids", "Void items committed", *_PRODUCT, Label.REASON)
COMMITS = _counter("commits", "Commits to the lake's log that were settled")
COMMIT_DURATION = _histogram("commit_duration_seconds", "Time of one commit, conflicts included", _SECONDS)
COMMITTED_VERSION = _gauge("committed_version", "Newest version of the lake's log that this process made")
WORKER_DEATHS = _counter("worker_deaths", "Workers lost", *_STAGE, Label.REASON)
LAG = _gauge("lag_messages", "Messages in the source that have not been read", Label.LANE)
IN_FLIGHT = _gauge("in_flight_items", "Items between admission and commit", Label.LANE)
IN_FLIGHT_BYTES = _gauge("in_flight_bytes", "Memory that the lane's items hold", Label.LANE)
CREDIT_BYTES = _gauge("credit_bytes", "Memory that the lane may still take", Label.LANE)
PAUSED = _gauge("paused_partitions", "Partitions paused because the lane is full", Label.LANE)
QUEUED = _gauge("queued_items", "Items waiting before a stage", *_STAGE)
WORKERS = _gauge("workers", "Workers by state: ready, starting, draining, wanted", *_STAGE, Label.REASON)
WAITED = _counter("waited_seconds", "Time a lane waited, by what for", Label.LANE, Label.REASON)
OLDEST_AGE = _gauge("oldest_item_age_seconds", "Age of the oldest item in flight", Label.LANE)
PUBLISH_TO_COMMIT = _histogram(
    "publish_to_commit_seconds",
    "From a message's timestamp to the commit that covers it; evenly spread samples, so its count is no rate",
    _LATENCIES,
    Label.LANE,
)
SPILLED = _gauge("spilled_bytes", "Bytes that Ray's object store wrote to disk since the run began; any are too many")
OUTAGES = _gauge("outages", "Buckets and hosts that are down", Label.LANE)
HELD_LETTERS = _gauge("held_letters", "Letters that wait until their share has been judged", Label.LANE)
STALLED = _gauge("stalled", "1 while work is queued and a slot is free, but nothing finishes", Label.LANE)

METRICS: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them, in the order above."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What happened to one series since the last drain; plain, so that actors can send it along with an answer.

    Attributes:
        labels: in the metric's order.
        values: of a counter the increase, of a gauge the last value, of a histogram everything observed.
    """

    metric: Metric
    labels: tuple[str, ...]
    values: tuple[float, ...]

    @property
    def tags(self) -> dict[str, str]:
        """Label names and values."""
        return {str(name): value for name, value in zip(self.metric.labels, self.labels, strict=True)}


class Exporter(Protocol):
    """Takes samples to wherever they are scraped from."""

    def export(self, samples: Iterable[Sample]) -> None:
        """Called about once a second, by one thread."""
        ...


class Metrics:
    """What one process has counted since the last drain. For one thread; cheap enough for every batch."""

    def __init__(self) -> None:
        self._values: dict[tuple[Metric, tuple[str, ...]], list[float]] = {}
        self._series: dict[Metric, set[tuple[str, ...]]] = {}

    def count(self, metric: Metric, value: float = 1.0, **labels: str) -> None:
        """Add to a counter.

        Raises:
            ValueError: not a counter, other labels than declared, or a negative value.
        """
        if value < 0:
            raise ValueError(f"{metric.name} can't go back by {value}")
        values = self._of(metric, MetricKind.COUNTER, labels)
        values[:] = [sum(values) + value]

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge.

        Raises:
            ValueError: not a gauge, or other labels than declared.
        """
        self._of(metric, MetricKind.GAUGE, labels)[:] = [value]

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Put a value into a histogram.

        Raises:
            ValueError: not a histogram, or other labels than declared.
        """
        self._of(metric, MetricKind.HISTOGRAM, labels).append(value)

    def drain(self) -> tuple[Sample, ...]:
        """Everything since the last drain; counters that stood still and gauges not set again are left out."""
        samples = tuple(
            Sample(metric, labels, tuple(values))
            for (metric, labels), values in self._values.items()
            if metric.kind != MetricKind.COUNTER or values[0] > 0
        )
        self._values.clear()
        return samples

    def _of(self, metric: Metric, kind: MetricKind, labels: Mapping[str, str]) -> list[float]:
        """The values of one series."""
        if metric.kind != kind:
            raise ValueError(f"{metric.name} is a {metric.kind}, not a {kind}")
        if set(labels) != {str(name) for name in metric.labels}:
            raise ValueError(f"{metric.name} has the labels {', '.join(metric.labels)}, not {', '.join(labels)}")
        key = tuple(str(labels[name]) for name in metric.labels)
        seen = self._series.setdefault(metric, set())
        if key not in seen:
            if len(seen) < MAX_SERIES:
                seen.add(key)
            else:
                key = ("other",) * len(key)
        return self._values.setdefault((metric, key), [])


class _Counter(Protocol):
    def inc(self, value: float = 1.0, tags: dict[str, str] | None = None) -> None: ...


class _Gauge(Protocol):
    def set(self, value: float, tags: dict[str, str] | None = None) -> None: ...


class _Histogram(Protocol):
    def observe(self, value: float, tags: dict[str, str] | None = None) -> None: ...


class ClassExporter:
    """An `Exporter` on classes like those of `ray.util.metrics`, which the caller hands in.

    `ClassExporter(ray.util.metrics.Counter, ray.util.metrics.Gauge, ray.util.metrics.Histogram)`
    """

    def __init__(
        self,
        counter: Callable[..., _Counter],
        gauge: Callable[..., _Gauge],
        histogram: Callable[..., _Histogram],
    ) -> None:
        self._make = (counter, gauge, histogram)
        self._counters: dict[Metric, _Counter] = {}
        self._gauges: dict[Metric, _Gauge] = {}
        self._histograms: dict[Metric, _Histogram] = {}

    def export(self, samples: Iterable[Sample]) -> None:
        """Make what is not there yet, then count, set and observe."""
        for sample in samples:
            metric, tags = sample.metric, sample.tags
            for value in sample.values:
                if metric.kind == MetricKind.COUNTER:
                    self._counter(metric).inc(value, tags=tags)
                elif metric.kind == MetricKind.GAUGE:
                    self._gauge(metric).set(value, tags=tags)
                else:
                    self._histogram(metric).observe(value, tags=tags)

    def _counter(self, metric: Metric) -> _Counter:
        if metric not in self._counters:
            self._counters[metric] = self._make[0](metric.name, description=metric.help, tag_keys=_keys(metric))
        return self._counters[metric]

    def _gauge(self, metric: Metric) -> _Gauge:
        if metric not in self._gauges:
            self._gauges[metric] = self._make[1](metric.name, description=metric.help, tag_keys=_keys(metric))
        return self._gauges[metric]

    def _histogram(self, metric: Metric) -> _Histogram:
        if metric not in self._histograms:
            self._histograms[metric] = self._make[2](
                metric.name, description=metric.help, boundaries=list(metric.buckets), tag_keys=_keys(metric)
            )
        return self._histograms[metric]


def _keys(metric: Metric) -> tuple[str, ...]:
    """Label names as plain strings."""
    return tuple(str(name) for name in metric.labels)
