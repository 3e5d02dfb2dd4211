"""The standard environment variables of OpenTelemetry that decide what is sent. The exporters read all others
themselves: endpoints, headers, certificates, time-outs, compression, the service's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from moorage.wire.errors import UsageError

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_RATIOS: Final = {
    "always_on": 1.0,
    "always_off": 0.0,
    "parentbased_always_on": 1.0,
    "parentbased_always_off": 0.0,
}
"""Clients of Socket.IO send no trace context, so a sampler that asks for the parent always finds none."""
_BY_RATIO: Final = ("traceidratio", "parentbased_traceidratio")
INTERVAL_MS: Final = 60_000


class Batching(NamedTuple):
    """How spans are sent."""

    delay: float = 5.0
    """Seconds between two batches."""
    queue: int = 2_048
    """Spans that may wait. Further ones are dropped."""
    batch: int = 512
    """Most spans of one request."""


class Telemetry(NamedTuple):
    """The data that is sent over OTLP."""

    ratio: float
    """Part of the clients' events that is traced, 0 to 1."""
    metrics: bool
    interval: float
    """Seconds between two exports of the metrics."""
    batching: Batching = Batching()


def read(environment: Mapping[str, str]) -> Telemetry | None:
    """The settings of the variables; None if nothing is to be sent. Raises `UsageError` for a value that is
    not supported."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    traces, metrics = _is_on("TRACES", environment), _is_on("METRICS", environment)
    if not traces and not metrics:
        return None
    for signal in ("", *(["TRACES_"] if traces else []), *(["METRICS_"] if metrics else [])):
        name = f"OTEL_EXPORTER_OTLP_{signal}PROTOCOL"
        if environment.get(name, "").strip() not in ("", "http/protobuf"):
            raise UsageError(f"{name}: Moorage sends http/protobuf only; point {ENDPOINT} at port 4318")
    ratio = _ratio(environment) if traces else 0.0
    interval = _number("OTEL_METRIC_EXPORT_INTERVAL", environment, INTERVAL_MS, 1_000.0, 86_400_000.0) / 1000
    return Telemetry(ratio, metrics, interval, _batching(environment)) if ratio or metrics else None


def _batching(environment: Mapping[str, str]) -> Batching:
    default = Batching()
    queue = _number("OTEL_BSP_MAX_QUEUE_SIZE", environment, default.queue, 1, 1_000_000)
    return Batching(
        _number("OTEL_BSP_SCHEDULE_DELAY", environment, default.delay * 1000, 1.0, 3_600_000.0) / 1000,
        int(queue),
        # As the specification has it, a batch is no larger than the queue.
        int(min(queue, _number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", environment, default.batch, 1, 1_000_000))),
    )


def _is_on(signal: str, environment: Mapping[str, str]) -> bool:
    name = f"OTEL_{signal}_EXPORTER"
    exporter = environment.get(name, "").strip()
    if exporter not in ("", "otlp", "none"):
        raise UsageError(f"{name}: Moorage knows otlp and none, not {exporter[:64]!r}")
    endpoint = environment.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") or environment.get(ENDPOINT)
    return exporter == "otlp" or (exporter == "" and bool(endpoint))


def _ratio(environment: Mapping[str, str]) -> float:
    name, argument = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
    sampler = environment.get(name, "").strip() or "parentbased_always_on"
    if sampler in _BY_RATIO:
        return _number(argument, environment, 1.0, 0.0, 1.0)
    if sampler not in _RATIOS:
        raise UsageError(f"{name}: expected one of {', '.join([*_RATIOS, *_BY_RATIO])}")
    return _RATIOS[sampler]


def _number(name: str, environment: Mapping[str, str], default: float, least: float, most: float) -> float:
    text = environment.get(name, "").strip()
    try:
        number = float(text) if text else default
    except ValueError:
        number = -1.0
    if not least <= number <= most:
        raise UsageError(f"{name}: expected a number from {least:g} to {most:g}")
    return number
