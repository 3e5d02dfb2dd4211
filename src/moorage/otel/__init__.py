"""Traces and metrics over OTLP. Needs the extra `otel`; without it, and without the standard environment
variables of OpenTelemetry, nothing here is loaded."""
