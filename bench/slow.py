"""One client of many stops reading: measures the delay of the others, its end, and the memory."""

from __future__ import annotations

import time
from array import array
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from statistics import median

from bench.errors import BenchError
from bench.figures import Bar, Figure, Rounds
from bench.fleet import Fleet
from bench.loads import Deliveries, quantile
from bench.plan import Plan
from bench.run import Joined, Run
from bench.servers import HOST, MOORAGE, Target

_AT_ONCE = 4
"""Events per broadcast, so that the queue fills in a quarter of the time."""
_WINDOW = 10
"""Broadcasts between two samples of metrics and memory."""
_MOST_SECONDS = 90.0
_MEMORY_BAR = 32.0
"""MiB: twice the bytes sent during `limits.slow_after` (our queue and the transport's), for allocators."""


@dataclass
class Watch:
    """Memory and the state of the slow client, sampled between broadcasts."""

    target: Target
    peak: int = 0

    def look(self) -> bool:
        """Sample the memory. Returns True once the service has closed a slow client."""
        self.peak = max(self.peak, self.target.service.rss())
        return _slow_closes(self.target.address.port) > 0


def slow_client(run: Run) -> list[Figure]:
    """Measures only Moorage: native Socket.IO keeps a client that does not read until its heartbeat fails."""
    rounds = Rounds()
    others = tuple(name for name in run.starts if name != MOORAGE)
    with ExitStack() as stack:
        for joined in run.connect(stack, "slow", run.plan.clients - 1, skip=others):
            with run.caught("slow", MOORAGE):
                rounds.add(MOORAGE, _slow(joined, run.plan))
    return [
        Figure("slow", "p99 of the others: with a slow one / without", "x", rounds.of("ratio"), (Bar(2),)),
        Figure("slow", "p99 of the others without it", "ms", rounds.of("without")),
        Figure("slow", "p99 of the others with it", "ms", rounds.of("with")),
        Figure("slow", "the same, worst window without it", "ms", rounds.of("worst without")),
        Figure("slow", "the same, worst window with it", "ms", rounds.of("worst with")),
        Figure("slow", "slow clients not ended as slow-client", "count", rounds.of("left"), (Bar(0),)),
        Figure("slow", "service RSS growth meanwhile", "MiB", rounds.of("growth"), (Bar(_MEMORY_BAR),)),
    ]


def _slow(joined: Joined, plan: Plan) -> dict[str, float]:
    """Broadcasts without a slow client, with one until it is closed, and without it again."""
    watch = Watch(joined.target)
    deliveries = Deliveries(joined.fleet, plan.slow_event)

    def window() -> float:
        return _window(joined.target, deliveries, plan.slow_event)

    _warm_up, *calm = [window() for _ in range(plan.slow_windows)]
    watch.look()
    before = watch.peak
    tense: list[float] = []
    ended, deadline = False, time.monotonic() + _MOST_SECONDS
    with Fleet(joined.target.address, narrow=True) as stopped:
        # This fleet is not polled again, so its client does not read.
        stopped.open(1)
        while not ended and time.monotonic() < deadline:
            tense.append(window())
            ended = watch.look()
    calm += [window() for _ in range(plan.slow_windows)]
    return {
        "ratio": median(tense) / median(calm),
        "without": median(calm),
        "with": median(tense),
        "worst without": max(calm),
        "worst with": max(tense),
        "left": 0.0 if ended else 1.0,
        "growth": (watch.peak - before) / 2**20,
    }


def _window(target: Target, deliveries: Deliveries, size: int) -> float:
    """The p99, in milliseconds, of the deliveries of a few broadcasts, one after another. The median
    of such windows is what is judged: one pause of a shared machine would decide a p99 of them all."""
    latencies: array[int] = array("q")
    for _ in range(_WINDOW):
        since = time.perf_counter_ns()
        target.broadcast(_AT_ONCE, size)
        deliveries.wait(_AT_ONCE, latencies, since)
    return quantile(array("q", sorted(latencies)), 0.99) / 1e6


def _slow_closes(port: int) -> float:
    """`moorage_disconnects_total{reason="slow-client"}`, over all its other labels."""
    connection = HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except (OSError, HTTPException) as error:
        raise BenchError(f"no metrics: {error}") from error
    finally:
        connection.close()
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("moorage_disconnects_total{") and 'reason="slow-client"' in line
    )
