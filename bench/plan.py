"""The counts of a full run and of a smoke test."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Counts of one run. Every load is bounded by a count or by seconds."""

    rounds: int
    """Kept rounds of each measurement; a warm-up round comes before."""
    clients: int
    """(a), (b) and the slow client: WebSocket clients."""
    ticks: int
    """(a): broadcasts of a round."""
    bursts: int
    """(b): bursts of 50 of a round."""
    idle: int
    """(d): connections."""
    idle_rounds: int
    idle_pause: float
    """(d): seconds for a server to settle before its memory is read."""
    connects: int
    connect_rounds: int
    """(e): connects of a round, and rounds: they range over a factor of two."""
    app_clients: int
    app_ticks: int
    """(f), (i): clients, and broadcasts of a round."""
    app_starts: int
    app_rounds: int
    """(i): starts of all processes, and rounds after each start."""
    slow_windows: int
    """Slow client: windows of broadcasts in each of the two phases without it."""
    slow_event: int
    """Slow client: bytes of an event's string. 2,000 bytes fill a queue of 4 MiB after some 2,000 events."""
    short_rounds: int
    short_seconds: float
    """(a), (b), (c), (g), (h): many short rounds; (c), (g), (h): of so many seconds."""
    sdk_connects: int
    """(k): connects of a round."""
    cluster_clients: int
    """(l): clients of two nodes."""
    joins: int
    """(q): joins of a round."""
    publishes: int
    """(r): publishes of a round."""
    killed_clients: int
    """(s): clients of four nodes."""
    fetch_clients: int
    fetch_starts: int
    fetch_rounds: int
    fetch_times: int
    """(j): sockets, starts of all processes, windows after each start, and fetches of a window. The same
    program differs by up to a fifth from start to start."""
    jitter_clients: int
    jitter_messages: int
    jitter_cuts: float
    """jitter: clients, messages to each of them, two a second, and seconds between two cuts of one client."""
    deploy_clients: int
    """deploy: clients of two app servers."""
    watched_clients: int
    watched_seconds: float
    watched_rounds: int
    """dashboard: clients, seconds of a window, and windows of each state."""

    pairs: int
    pair_seconds: float
    pair_starts: int
    """otel, trace: windows of each state, and seconds of one. Ratios near 1 need many. otel: starts of all
    processes, with so many windows each, because the same program differs from start to start."""

    tester_clients: int
    tester_seconds: float
    """tester: clients that one process of the load tester holds, and seconds of a round."""

    tls_clients: int
    tls_ticks: int
    tls_rounds: int
    tls_idle: int
    tls_relayed: int
    """tls, compression: clients, broadcasts of a round, rounds, and connections that are idle; tls-workers:
    WebSockets of each kind."""

    def pause(self) -> None:
        """Wait for a server to settle."""
        time.sleep(self.idle_pause)


FULL = Plan(
    rounds=5,
    clients=1000,
    ticks=40,
    bursts=4,
    idle=10_000,
    idle_rounds=3,
    idle_pause=3.0,
    connects=2000,
    connect_rounds=11,
    app_clients=5000,
    app_ticks=10,
    app_starts=2,
    app_rounds=8,
    slow_windows=25,
    slow_event=2000,
    short_rounds=15,
    short_seconds=0.5,
    sdk_connects=1000,
    cluster_clients=2000,
    joins=3000,
    publishes=20_000,
    killed_clients=20_000,
    fetch_clients=10_000,
    fetch_starts=5,
    fetch_rounds=6,
    fetch_times=4,
    jitter_clients=2000,
    jitter_messages=120,
    jitter_cuts=15.0,
    deploy_clients=2000,
    watched_clients=10_000,
    watched_seconds=5.0,
    watched_rounds=3,
    pairs=24,
    pair_seconds=1.0,
    pair_starts=4,
    tester_clients=15_000,
    tester_seconds=3.0,
    tls_clients=500,
    tls_ticks=20,
    tls_rounds=7,
    tls_idle=2000,
    tls_relayed=100,
)

QUICK = Plan(
    rounds=1,
    clients=100,
    ticks=20,
    bursts=2,
    idle=300,
    idle_rounds=1,
    idle_pause=0.3,
    connects=200,
    connect_rounds=1,
    app_clients=300,
    app_ticks=5,
    app_starts=1,
    app_rounds=1,
    slow_windows=4,
    slow_event=16_000,
    short_rounds=1,
    short_seconds=0.2,
    sdk_connects=200,
    cluster_clients=200,
    joins=300,
    publishes=2000,
    killed_clients=800,
    fetch_clients=300,
    fetch_starts=1,
    fetch_rounds=1,
    fetch_times=2,
    jitter_clients=50,
    jitter_messages=20,
    jitter_cuts=5.0,
    deploy_clients=50,
    watched_clients=100,
    watched_seconds=0.3,
    watched_rounds=1,
    pairs=2,
    pair_seconds=0.2,
    pair_starts=1,
    tester_clients=300,
    tester_seconds=0.7,
    tls_clients=30,
    tls_ticks=3,
    tls_rounds=1,
    tls_idle=50,
    tls_relayed=5,
)
