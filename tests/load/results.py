"""A result with figures, for the tests of what is made from it."""

from __future__ import annotations

from typing import Any

from moorage.load.plan import Plan
from moorage.load.result import RATED, Result, Second

HOSTILE = "<script>alert('x')</script>"


def result(scenario: Any = "echo", **more: Any) -> Result:
    """The result of a run, in which the server's texts are hostile."""
    latency = {"count": 3.0, "min": 0.5, "mean": 2.0, "p50": 1.0, "p75": 2.0, "p90": 3.0, "p95": 3.0}
    latency |= {"p99": 55.5, "p99.9": 600.0, "max": 1234.0}
    given: dict[str, Any] = {
        "version": "0.1.0",
        "started": "2026-01-01T00:00:00+00:00",
        "plan": Plan(scenario=scenario, url="http://localhost:3000", auth={"name": HOSTILE}),
        "processes": 2,
        "seconds_measured": 10.0,
        "connected": 100,
        "interrupted": False,
        "figures": {
            **({"rate": 1000.0} if scenario in RATED else {}),
            "sent": 1000.0,
            **dict.fromkeys(
                ("received", "recovered", "reconnects", "unrecovered", "cuts", "attempts"), 998.0
            ),
            **dict.fromkeys(("lost", "wrong", "failed", "disconnects", "errors"), 2.0),
            **dict.fromkeys(("missing", "repeated", "misordered"), 0.0),
        },
        "latency": {} if scenario == "idle" else latency,
        "connect": {**latency, "p99": 0.0123},
        "lag": {},
        "distribution": [] if scenario == "idle" else [(0.5, 1), (1.0, 1), (1234.0, 1)],
        "seconds": [Second(number, 100, 100, 1.0, 2.0, 3.0, 0) for number in range(4)],
        "errors": {HOSTILE: 2},
        "generator_cpu": [0.25, 0.5],
        "server": {"cores": 0.5, "memory": 1e8, "memory_per_client": 10240.0},
        "warnings": [HOSTILE],
        "verdicts": [],
    }
    return Result(**{**given, **more})
