"""The outcome of a run: what the table, the JSON, the page and the thresholds show."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from moorage.load.histogram import Histogram, highest
from moorage.load.plan import Plan, ScenarioName
from moorage.load.tally import Totals
from moorage.load.watch import Usage

SHARES: Final = {"p50": 0.50, "p75": 0.75, "p90": 0.90, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1.0}

LATENCY: Final[dict[ScenarioName, str]] = {
    "echo": "round trip",
    "fanout": "delivery",
    "connects": "connect",
    "jitter": "time until a client is back",
    "avalanche": "time until a client is back",
}
"""The meaning of `latency` in each scenario. `idle` has none."""

FIGURES: Final[dict[ScenarioName, dict[str, str]]] = {
    "echo": {
        "sent": "events sent",
        "received": "answers",
        "lost": "events without an answer",
        "wrong": "wrong answers",
    },
    "fanout": {
        "sent": "broadcasts",
        "received": "deliveries",
        "lost": "deliveries that did not arrive",
        "repeated": "deliveries that arrived twice",
        "misordered": "deliveries out of order",
    },
    "idle": {},
    "connects": {"sent": "connects begun", "received": "connects done", "lost": "connects that failed"},
    "jitter": {
        "sent": "messages",
        "received": "deliveries",
        "lost": "deliveries that did not arrive",
        "repeated": "deliveries that arrived twice",
        "misordered": "deliveries out of order",
        "cuts": "connections cut",
        "reconnects": "reconnects",
        "recovered": "of them with recovered state",
        "unrecovered": "of them without",
        "missing": "clients that did not come back",
    },
    "avalanche": {
        "reconnects": "clients that came back",
        "recovered": "of them with recovered state",
        "attempts": "attempts",
        "errors": "attempts that failed",
        "missing": "clients that did not come back",
    },
}
"""The counters of each scenario, in the order of the table."""
ALWAYS: Final = {
    "failed": "connects that failed at the start",
    "disconnects": "lost connections",
    "errors": "errors",
}
RATED: Final[frozenset[ScenarioName]] = frozenset({"echo", "fanout", "connects"})
"""Scenarios for which `received` per second is a figure."""


class Second(msgspec.Struct):
    """One second of the run, from the beginning of the load on. Latencies in milliseconds."""

    second: int
    connected: int
    rate: int
    p50: float
    p99: float
    max: float
    disconnects: int


class Verdict(msgspec.Struct):
    """One threshold and what became of it."""

    condition: str
    value: float
    failed: bool


class Result(msgspec.Struct):
    """All figures of a run. Latencies in milliseconds."""

    version: str
    started: str
    plan: Plan
    processes: int
    seconds_measured: float
    connected: int
    """Clients that had joined when the load began."""
    interrupted: bool
    figures: dict[str, float]
    latency: dict[str, float]
    connect: dict[str, float]
    lag: dict[str, float]
    distribution: list[tuple[float, int]]
    """Buckets of the latency that are not empty: upper end in milliseconds, and count."""
    seconds: list[Second]
    errors: dict[str, int]
    generator_cpu: list[float]
    """For each process, the share of a core that it used while it sent."""
    server: dict[str, float]
    """Of the processes given by --server-pid: `cores`, `memory` in bytes, and `memory_per_client`."""
    warnings: list[str]
    verdicts: list[Verdict]

    @property
    def failed(self) -> bool:
        """True if a threshold is exceeded."""
        return any(verdict.failed for verdict in self.verdicts)


def figures(plan: Plan, totals: Totals, receivers: int, seconds: float) -> dict[str, float]:
    """The scenario's counters, and the rate where there is one. `receivers` is the number of clients that
    get each broadcast."""
    counts = dict(totals.counts)
    if plan.scenario in ("fanout", "jitter"):
        counts["lost"] = counts["sent"] * receivers - counts["received"]
    if plan.scenario == "jitter":
        # The others were not cut by the scenario.
        counts["disconnects"] -= counts["cuts"]
    counts["unrecovered"] = counts["reconnects"] - counts["recovered"]
    counts["errors"] = sum(totals.errors.values())
    found: dict[str, float] = {}
    if plan.scenario in RATED:
        found["rate"] = counts["received"] / seconds if seconds else 0.0
    found |= {name: counts[name] for name in (*FIGURES[plan.scenario], *ALWAYS)}
    return found


def summary(histogram: Histogram) -> dict[str, float]:
    """Quantiles, mean and count; empty if there is nothing."""
    count = len(histogram)
    if not count:
        return {}
    found = {"count": count, "min": histogram.smallest() / 1e6, "mean": histogram.mean() / 1e6}
    return found | {
        name: ms / 1e6 for name, ms in zip(SHARES, histogram.quantiles(SHARES.values()), strict=True)
    }


def distribution(histogram: Histogram) -> list[tuple[float, int]]:
    """The buckets that are not empty."""
    return [(highest(index) / 1e6, count) for index, count in histogram.buckets().items()]


def server_figures(before: Usage, after: Usage, seconds: float, clients: int) -> dict[str, float]:
    """What the watched processes used. `before` was read before the first client connected."""
    used = {"cores": after.cpu / seconds if seconds else 0.0, "memory": float(after.memory)}
    if clients:
        used["memory_per_client"] = (after.memory - before.memory) / clients
    return used


def document(result: Result) -> dict[str, Any]:
    """The JSON form."""
    made: dict[str, Any] = msgspec.to_builtins(result)
    made["failed"] = result.failed
    return made
