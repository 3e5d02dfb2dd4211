"""Service CPU with 10,000 clients and 5,000 messages a second, while one of the connections is traced, and
while nobody watches."""

from __future__ import annotations

import http.client
import threading
from contextlib import ExitStack, nullcontext
from types import TracebackType
from typing import Final

from bench.dashboard.measure import PER_SECOND, key_of, paced_trips
from bench.errors import BenchError
from bench.figures import Bar, Figure, Rounds
from bench.run import Joined, Run
from bench.servers import HOST, MOORAGE

TRACED: Final = "traced"
AGAIN: Final = "again"
"""A second window without a trace: its ratio to the first one shows how much the machine adds by itself."""
STATES: Final = (MOORAGE, TRACED, AGAIN)
_WATCHING: Final = b"event: watching\n"
_PACKET: Final = b"event: packet\n"
_SHOWN_SECONDS: Final = 5.0


class Watcher:
    """Somebody who traces one connection, as a context manager."""

    def __init__(self, port: int, key: str, connection: str) -> None:
        self._packets = 0
        self._both = threading.Event()
        self._http = http.client.HTTPConnection(HOST, port, timeout=60)
        path = f"/api/v1/trace?connection={connection}"
        self._http.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        self._answer = self._http.getresponse()
        if self._answer.status != 200:
            body = self._answer.read(200)
            self._http.close()
            raise BenchError(f"no trace: {self._answer.status} {body!r}")
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Watcher:
        while self._answer.readline() != _WATCHING:
            pass
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The service sees the end of the connection, and the thread does, too.
        connection = self._http.sock
        if connection is not None:
            connection.shutdown(2)
        self._thread.join(timeout=10)
        self._http.close()

    def check(self) -> None:
        """Raises `BenchError` unless the trace shows an event and its ack."""
        if not self._both.wait(_SHOWN_SECONDS):
            raise BenchError("the trace did not show the event and its ack")

    def _read(self) -> None:
        try:
            while line := self._answer.readline():
                self._packets += line == _PACKET
                if self._packets > 1:
                    self._both.set()
        except (OSError, http.client.HTTPException):
            return


def traced(run: Run) -> list[Figure]:
    """(trace) Windows in turn on one service with the same clients. The load takes the clients in turn, so
    the traced one has its part of it and no more."""
    plan = run.plan
    starts = {name: start for name, start in run.peers.node().items() if name == MOORAGE}
    rounds = Rounds()
    with ExitStack() as stack:
        for joined in run.connect(stack, "trace", plan.watched_clients, starts=starts):
            with run.caught("trace", MOORAGE):
                key = key_of(run.logs_of(f"trace {MOORAGE}") / "moorage.log")
                order = list(STATES)
                for number in range(plan.pairs + 1):
                    order.reverse()
                    for state in order:
                        row = _window(joined, key, state, plan.pair_seconds)
                        if number:
                            rounds.add(state, row)
    what = f"service CPU per message, {plan.watched_clients:,} clients, {2 * PER_SECOND:,} messages/s"
    cpu = rounds.of("service")
    closed = cpu.get(MOORAGE, [])
    return [
        _ratio(f"{what}, 1 connection traced to nobody watches", cpu.get(TRACED, []), closed, (Bar(1.02),)),
        _ratio("the same, of two windows in which nobody watches", cpu.get(AGAIN, []), closed),
        Figure("trace", f"{what}, nobody watches", "us", {MOORAGE: closed} if closed else {}),
    ]


def _window(joined: Joined, key: str, state: str, seconds: float) -> dict[str, float]:
    first = joined.fleet.clients[0]
    port = joined.target.address.port
    with Watcher(port, key, first.sid) if state == TRACED else nullcontext() as watcher:
        before = joined.target.cpu()
        done = paced_trips(joined.fleet, PER_SECOND, seconds)
        cost = joined.target.cpu().since(before)
        if watcher is not None:
            watcher.check()
    return {"service": cost.service / (2 * len(done.latencies)) / 1000}


def _ratio(title: str, rows: list[float], closed: list[float], bars: tuple[Bar, ...] = ()) -> Figure:
    ratios = [one / other for one, other in zip(rows, closed, strict=False)]
    return Figure("trace", title, "x", {MOORAGE: ratios} if ratios else {}, bars)
