"""Whether a node sends traces and metrics."""

from __future__ import annotations

import subprocess
import sys

import pytest

from moorage.app import telemetry
from moorage.metrics.metrics import Metrics
from tests.support.pages import ROOT

AT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


async def test_nothing_is_sent_unless_a_variable_asks_for_it() -> None:
    assert telemetry.sender({}, Metrics("1"), node="n", incarnation="i") is None
    found = telemetry.sender(AT, Metrics("1"), node="n", incarnation="i")
    assert found is not None
    assert found.spans is not None
    await found.stop()


async def test_without_the_extra_the_service_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "NEEDED", ("opentelemetry_is_missing.sdk", "json"))
    assert telemetry.sender(AT, Metrics("1"), node="n", incarnation="i") is None


def test_a_service_without_telemetry_loads_nothing_of_it() -> None:
    code = "import sys, moorage.app.service; print([name for name in sys.modules if 'opentelemetry' in name])"
    shown = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT / "src", text=True)
    assert shown == "[]\n"
