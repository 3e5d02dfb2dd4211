"""The table of a result."""

from __future__ import annotations

import pytest

from moorage.load.plan import ScenarioName
from moorage.load.report.table import ms, table
from moorage.load.result import Verdict
from tests.load.results import HOSTILE, result


@pytest.mark.parametrize("scenario", ["echo", "fanout", "idle", "connects", "jitter", "avalanche"])
def test_every_scenario_has_one(scenario: ScenarioName) -> None:
    text = table(result(scenario, latency={} if scenario == "idle" else result().latency))
    assert text.startswith(f"{scenario}  http://localhost:3000/socket.io/  namespace /  websocket\n")
    assert max(map(len, text.splitlines())) < 100


def test_its_parts() -> None:
    text = table(result(verdicts=[Verdict("p99>50ms", 55.5, True), Verdict("lost>5", 2.0, False)]))
    assert "answers per second" in text
    assert "25%, 50%" in text
    assert "10.0 KiB" in text
    assert "round trip, ms  1.00  2.00  3.00  3.00    55.5    600  1,234" in text
    assert f"warning: {HOSTILE}" in text
    assert f"error: 2 x {HOSTILE}" in text
    assert text.endswith("FAILED  --fail-if p99>50ms  (it is 55.5)\npassed  --fail-if lost>5  (it is 2)\n")


def test_two_rows_have_two_names() -> None:
    text = table(result("connects"))
    assert text.count("\nconnect, ms") == 1
    assert "the same, once begun, ms" in text


def test_little_to_show() -> None:
    text = table(
        result(
            "idle", latency={}, connect={}, server={}, warnings=[], errors={}, connected=0, interrupted=True
        )
    )
    assert "interrupted" in text
    assert "p50" not in text


def test_milliseconds() -> None:
    assert [ms(value) for value in (1234.5, 12.345, 1.2345, 0.01234)] == ["1,234", "12.3", "1.23", "0.0123"]
