"""The metrics of a node in the form that the OTLP exporter takes. The meters of OpenTelemetry are not used:
they would count a second time what `Metrics` counts, and on another thread."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from moorage import __version__
from moorage.metrics.catalogue import METRICS, PREFIX
from moorage.metrics.catalogue import Metric as Described
from moorage.metrics.histogram import Histogram as Counted
from moorage.metrics.metrics import Metrics
from moorage.otel.spans import SCOPE

_CUMULATIVE = AggregationTemporality.CUMULATIVE


def metrics_data(metrics: Metrics, resource: Resource, since: int, now: int) -> MetricsData:
    """All metrics. `since`: the start of the process; both in nanoseconds since the epoch. Call it on the
    event loop, where the counters are written."""
    samples, histograms = metrics.samples(), metrics.histograms()
    found = [
        _histogram(metric, histograms[metric.name], since, now)
        if metric.kind == "histogram"
        else _plain(metric, samples[metric.name].items(), since, now)
        for metric in METRICS
    ]
    scope = ScopeMetrics(InstrumentationScope(SCOPE, __version__), found, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _unit(metric: Described) -> str:
    if metric.name.endswith("_seconds"):
        return "s"
    return "By" if "bytes" in metric.name else "1"


def _plain(metric: Described, rows: Iterable[tuple[tuple[str, ...], float]], since: int, now: int) -> Metric:
    points = [
        NumberDataPoint(dict(zip(metric.labels, values, strict=True)), since, now, value)
        for values, value in rows
    ]
    data = Sum(points, _CUMULATIVE, is_monotonic=True) if metric.kind == "counter" else Gauge(points)
    return Metric(f"{PREFIX}{metric.name}", metric.help, _unit(metric), data)


def _histogram(metric: Described, rows: dict[tuple[str, ...], Counted], since: int, now: int) -> Metric:
    points = [
        HistogramDataPoint(
            attributes=dict(zip(metric.labels, values, strict=True)),
            start_time_unix_nano=since,
            time_unix_nano=now,
            count=sum(found.counts),
            sum=found.total,
            bucket_counts=list(found.counts),
            explicit_bounds=list(found.bounds),
            # The extremes are not counted. The exporter leaves None out, and a zero would be a value.
            min=None,  # type: ignore[arg-type]
            max=None,  # type: ignore[arg-type]
        )
        for values, found in rows.items()
    ]
    return Metric(f"{PREFIX}{metric.name}", metric.help, _unit(metric), Histogram(points, _CUMULATIVE))
