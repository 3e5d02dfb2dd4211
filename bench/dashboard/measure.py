"""Service CPU and latency with 10,000 clients and 5,000 messages a second, while nobody, one or a hundred
dashboards are open; and the time that each list takes meanwhile."""

from __future__ import annotations

import re
import time
from array import array
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from bench.dashboard.viewers import Viewer, Viewers
from bench.errors import BenchError
from bench.figures import Bar, Figure, Rounds
from bench.fleet import Fleet
from bench.loads import PATIENCE, Trips, echo_frames
from bench.measures import EVENT
from bench.run import Joined, Run
from bench.servers import MOORAGE

PER_SECOND: Final = 2_500
"""Echoes a second: each is a message from a client, and one to it."""
TICK_SECONDS: Final = 0.01
OPEN, HUNDRED = "1 dashboard", "100 dashboards"
COUNTS: Final = {MOORAGE: 0, OPEN: 1, HUNDRED: 100}
LISTS: Final = (
    "nodes",
    "history",
    "hubs",
    "apps",
    "connections?limit=50",
    "connections?limit=50&user=nobody",
    "connections?limit=50&address=127.0.0.1",
    "connections?limit=50&min_queued=1",
    "rooms?limit=100",
    "rooms?limit=100&prefix=x",
    "disconnects?limit=200",
    "audit?limit=200",
)
"""The requests of all pages."""
LIST_TIMES: Final = 10
LIST_BAR: Final = 50.0
"""Milliseconds."""


def open_dashboards(run: Run) -> list[Figure]:
    """Windows with and without open dashboards in turn, on one service with the same clients."""
    plan = run.plan
    starts = {name: start for name, start in run.peers.node().items() if name == MOORAGE}
    rounds = Rounds()
    lists: dict[str, list[float]] = {}
    with ExitStack() as stack:
        for joined in run.connect(stack, "dashboard", plan.watched_clients, starts=starts):
            with run.caught("dashboard", MOORAGE):
                key = key_of(run.logs_of(f"dashboard {MOORAGE}") / "moorage.log")
                port = joined.target.address.port
                viewers = {
                    name: stack.enter_context(Viewers(port, key, count))
                    for name, count in COUNTS.items()
                    if count
                }
                rounds = _alternate(run, joined, viewers)
                lists = _lists(joined.fleet, Viewer(port, key), plan.watched_seconds)
    return _figures(rounds, lists, plan.watched_clients)


def key_of(log: Path) -> str:
    """The operate key that `moorage dev` has printed."""
    found = re.search(r"/dashboard#key=(\S+)", log.read_text())
    if found is None:
        raise BenchError("the service printed no dashboard key")
    return found[1]


def _alternate(run: Run, joined: Joined, viewers: dict[str, Viewers]) -> Rounds:
    """As `Run.alternate`, for one target in several states. The first round is not kept."""
    rounds = Rounds()
    order = list(COUNTS)
    for number in range(run.plan.watched_rounds + 1):
        order.reverse()
        for name in order:
            row = _window(joined, viewers.get(name), run.plan.watched_seconds)
            if number:
                rounds.add(name, row)
    return rounds


def _window(joined: Joined, viewers: Viewers | None, seconds: float) -> dict[str, float]:
    before = joined.target.cpu()
    if viewers is not None:
        viewers.watch()
    done = paced_trips(joined.fleet, PER_SECOND, seconds)
    if viewers is not None:
        viewers.rest()
    cost = joined.target.cpu().since(before)
    messages = 2 * len(done.latencies)
    return {
        "service": cost.service / messages / 1000,
        "p50": done.quantile(0.50) / 1e6,
        "p99": done.quantile(0.99) / 1e6,
    }


def _lists(fleet: Fleet, viewer: Viewer, seconds: float) -> dict[str, list[float]]:
    """Milliseconds of each list, while the load goes on."""

    def ask() -> dict[str, list[float]]:
        return {path: [viewer.ask(path)[1] * 1000 for _ in range(LIST_TIMES)] for path in LISTS}

    with closing(viewer), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        paced_trips(fleet, PER_SECOND, seconds)
        return asked.result()


def paced_trips(fleet: Fleet, per_second: int, seconds: float) -> Trips:
    """Acked round trips that begin at a fixed rate, the clients of a fleet in turn. Raises `BenchError` if an
    ack is wrong or does not arrive."""
    (ask, *_), _ = echo_frames(EVENT)
    answer = b'4310["%s"]' % (b"x" * EVENT)
    latencies = array("q")
    clock = time.perf_counter_ns
    began = clock()
    end = began + int(seconds * 1e9)
    sent, under_way = 0, 0
    while (now := clock()) < end or under_way:
        due = 0 if now >= end else int((now - began) * per_second / 1e9) - sent
        for _ in range(due):
            client = fleet.clients[sent % len(fleet.clients)]
            client.sent_at = clock()
            client.socket.send(ask)
            sent += 1
            under_way += 1
        ready = fleet.ready(TICK_SECONDS if now < end else PATIENCE)
        if not ready and now >= end:
            raise BenchError(f"{under_way} acks did not arrive")
        for client in ready:
            for packet in fleet.packets(client, fleet.receive(client)):
                if packet != answer:
                    raise BenchError(f"a wrong ack: {packet[:60]!r}")
                latencies.append(clock() - client.sent_at)
                under_way -= 1
    return Trips((clock() - began) / 1e9, array("q", sorted(latencies)))


def _figures(rounds: Rounds, lists: dict[str, list[float]], clients: int) -> list[Figure]:
    cpu, p99 = rounds.of("service"), rounds.of("p99")
    what = f"{clients:,} clients, {2 * PER_SECOND:,} messages/s"

    def figure(title: str, unit: str, by: dict[str, list[float]], name: str, bar: tuple[Bar, ...]) -> Figure:
        pair = {MOORAGE: by.get(name, []), "closed": by.get(MOORAGE, [])}
        return Figure("dashboard", title, unit, {k: v for k, v in pair.items() if v}, bar)

    return [
        figure(f"service CPU per message, {what}, 1 dashboard", "us", cpu, OPEN, (Bar(1.05, "closed"),)),
        figure("the same, 100 dashboards", "us", cpu, HUNDRED, ()),
        figure("round trip p99, 1 dashboard", "ms", p99, OPEN, ()),
        figure("the same, 100 dashboards", "ms", p99, HUNDRED, (Bar(2.0, "closed"),)),
        *(
            Figure("dashboard", f"GET {path}", "ms", {MOORAGE: times} if times else {}, (Bar(LIST_BAR),))
            for path, times in lists.items()
        ),
    ]
