"""The standard variables of OpenTelemetry."""

from __future__ import annotations

import pytest

from moorage.otel.settings import ENDPOINT, Batching, Telemetry, read
from moorage.wire.errors import UsageError

AT = {ENDPOINT: "http://127.0.0.1:4318"}
ALL = Telemetry(1.0, metrics=True, interval=60.0)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, None),
        ({"OTEL_SERVICE_NAME": "chat"}, None),
        (AT, ALL),
        (AT | {"OTEL_SDK_DISABLED": "True"}, None),
        (AT | {"OTEL_SDK_DISABLED": "false"}, ALL),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, Telemetry(1.0, metrics=False, interval=60.0)),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://h:1"}, Telemetry(0.0, metrics=True, interval=60.0)),
        (AT | {"OTEL_METRICS_EXPORTER": "none"}, ALL._replace(metrics=False)),
        (AT | {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}, None),
        (AT | {"OTEL_TRACES_SAMPLER": "always_off"}, ALL._replace(ratio=0.0)),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "always_off"}, None),
        (AT | {"OTEL_TRACES_SAMPLER": "traceidratio"}, ALL),
        (
            AT | {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"},
            ALL._replace(ratio=0.01),
        ),
        (AT | {"OTEL_METRIC_EXPORT_INTERVAL": "15000"}, ALL._replace(interval=15.0)),
        (AT | {"OTEL_BSP_SCHEDULE_DELAY": "500", "OTEL_BSP_MAX_QUEUE_SIZE": "100"},
         ALL._replace(batching=Batching(0.5, 100, 100))),
        (AT | {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64"}, ALL._replace(batching=Batching(batch=64))),
        (AT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, ALL),
        (AT | {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"},
         ALL._replace(ratio=0.0)),
    ],
)  # fmt: skip
def test_what_is_sent(variables: dict[str, str], wanted: Telemetry | None) -> None:
    assert read(variables) == wanted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "jaeger"),
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_TRACES_SAMPLER", "often"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "10"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "nan"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
    ],
)
def test_a_wrong_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"^{name}: "):
        read(AT | {name: value})


@pytest.mark.parametrize("value", ["1.5", "-1", "some", "inf"])
def test_a_wrong_ratio(value: str) -> None:
    with pytest.raises(UsageError, match="OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1"):
        read(AT | {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": value})
