"""Turns a node's numbers into the client library's families."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from moorage.metrics.catalogue import METRICS, PREFIX
from moorage.metrics.histogram import Histogram

Rows = dict[str, dict[tuple[str, ...], float]]


class Numbers(Protocol):
    """The numbers of `Metrics`."""

    def samples(self) -> Rows:
        """All counters and gauges: metric name -> label values -> value."""

    def histograms(self) -> dict[str, dict[tuple[str, ...], Histogram]]:
        """All histograms, in the same shape."""


class Collector:
    """A collector of the client library, asked at each scrape."""

    def __init__(self, metrics: Numbers) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Any]:
        """The families of all metrics."""
        samples, histograms = self._metrics.samples(), self._metrics.histograms()
        for metric in METRICS:
            name, labels = f"{PREFIX}{metric.name}", metric.labels
            if metric.kind == "histogram":
                family = HistogramMetricFamily(name, metric.help, labels=labels)
                for values, found in histograms[metric.name].items():
                    family.add_metric(values, found.buckets(), found.total)
                yield family
                continue
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            plain = kind(name, metric.help, labels=labels)
            for values, value in samples[metric.name].items():
                plain.add_metric(values, value)
            yield plain
