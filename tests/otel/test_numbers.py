"""The metrics in OTLP's form say what the Prometheus endpoint says."""

from __future__ import annotations

from typing import Any

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.resources import Resource

from moorage.metrics.catalogue import METRICS
from moorage.metrics.metrics import Metrics
from moorage.otel.numbers import metrics_data


def encoded(metrics: Metrics) -> dict[str, Any]:
    """The protocol's metrics by name."""
    data = metrics_data(metrics, Resource({"service.name": "moorage"}), since=1, now=2)
    (resource,) = encode_metrics(data).resource_metrics
    (scope,) = resource.scope_metrics
    return {metric.name: metric for metric in scope.metrics}


def labels(point: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in point.attributes}


def test_every_metric_is_there_once() -> None:
    found = encoded(Metrics("1.2.3"))
    assert sorted(found) == sorted(f"moorage_{metric.name}" for metric in METRICS)


def test_counters_are_sums_and_gauges_are_gauges() -> None:
    metrics = Metrics("1.2.3")
    metrics.connects = 7
    metrics.disconnects["client-closed"] = 3
    found = encoded(metrics)
    assert found["moorage_connects"].sum.is_monotonic
    assert found["moorage_connects"].sum.data_points[0].as_int == 7
    (point,) = found["moorage_disconnects"].sum.data_points
    assert (point.as_int, labels(point)) == (3, {"reason": "client-closed"})
    (build,) = found["moorage_build_info"].gauge.data_points
    assert labels(build) == {"version": "1.2.3"}
    assert found["moorage_connection_age_seconds"].unit == "s"
    assert found["moorage_bytes_sent"].unit == "By"


def test_histograms_have_their_buckets() -> None:
    metrics = Metrics("1.2.3")
    for seconds in (0.5, 30, 10**9):
        metrics.connection_age_seconds.observe(seconds)
    (point,) = encoded(metrics)["moorage_connection_age_seconds"].histogram.data_points
    assert (point.count, point.sum) == (3, 10**9 + 30.5)
    assert sum(point.bucket_counts) == 3
    assert point.bucket_counts[-1] == 1
    assert (point.start_time_unix_nano, point.time_unix_nano) == (1, 2)
    assert not point.HasField("min")
    assert not point.HasField("max")
