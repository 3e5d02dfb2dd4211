"""One client of many stops reading: do the others notice, is it ended, does memory stay bounded?"""

from __future__ import annotations

import time
from array import array
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from itertools import count, islice

from bench.errors import BenchError
from bench.figures import Bar, Figure, Rounds
from bench.fleet import Fleet
from bench.loads import Deliveries, quantile
from bench.plan import Plan
from bench.run import Joined, Run
from bench.servers import HOST, MOORAGE, Target

_AT_ONCE = 4
"""Events of one broadcast: the queue fills in a quarter of the time."""
_LOOK = 10
"""Broadcasts between two looks at metrics and memory."""
_MOST_SECONDS = 90.0
_MEMORY_BAR = 32.0
"""MiB: the outbox's 4 MiB twice over (our queue and the transport's), and as much again for allocators."""


@dataclass
class Watch:
    """Memory and the fate of the slow client, sampled between broadcasts."""

    target: Target
    peak: int = 0

    def look(self) -> bool:
        """Sample memory; true once the service says that it ended a slow client."""
        self.peak = max(self.peak, self.target.service.rss())
        return _slow_closes(self.target.address.port) > 0


def slow_client(run: Run) -> list[Figure]:
    """Of Moorage alone: native Socket.IO keeps a client that does not read until its heartbeat fails."""
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
        Figure("slow", "slow clients not ended as slow-client", "count", rounds.of("left"), (Bar(0),)),
        Figure("slow", "service RSS growth meanwhile", "MiB", rounds.of("growth"), (Bar(_MEMORY_BAR),)),
    ]


def _slow(joined: Joined, plan: Plan) -> dict[str, float]:
    """Broadcasts without a slow client, with one until it is ended, and without it again."""
    watch = Watch(joined.target)
    ticks, size = plan.slow_ticks, plan.slow_event
    calm: array[int] = array("q")
    _broadcast(joined, calm, size, ticks=ticks)
    del calm[: len(calm) // 4]  # compilers and windows warm up
    watch.look()
    before = watch.peak
    tense: array[int] = array("q")
    with Fleet(joined.target.address, narrow=True) as stopped:
        # Nobody polls this fleet again, so its client does not read.
        stopped.open(1)
        ended = _broadcast(joined, tense, size, watch=watch)
    _broadcast(joined, calm, size, ticks=ticks)
    without, with_it = (quantile(array("q", sorted(each)), 0.99) / 1e6 for each in (calm, tense))
    return {
        "ratio": with_it / without,
        "without": without,
        "with": with_it,
        "left": 0.0 if ended else 1.0,
        "growth": (watch.peak - before) / 2**20,
    }


def _broadcast(
    joined: Joined,
    latencies: array[int],
    size: int,
    *,
    ticks: int | None = None,
    watch: Watch | None = None,
) -> bool:
    """`ticks` broadcasts one after another, or until `watch` has seen the end; was it seen in time?"""
    deliveries = Deliveries(joined.fleet, size)
    deadline = time.monotonic() + _MOST_SECONDS
    for number in islice(count(1), ticks):
        since = time.perf_counter_ns()
        joined.target.broadcast(_AT_ONCE, size)
        deliveries.wait(_AT_ONCE, latencies, since)
        if watch is not None and number % _LOOK == 0 and watch.look():
            return True
        if time.monotonic() > deadline:
            break
    return False


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
