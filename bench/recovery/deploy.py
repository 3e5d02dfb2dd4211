"""Two app servers are replaced one after the other while all clients emit events with acks.

The clients are the stock `socket.io-client`, in a process of their own. They count what is not answered, or
out of order, their disconnects, and how long each answer takes.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.figures import Bar, Figure, Rounds
from bench.process import Process, ready_facts
from bench.recovery.crowd import reported
from bench.run import Run
from bench.servers import MOORAGE, Address, app, environment, node, service

_EVERY: Final = 2.0
"""Seconds between two events of one client."""
_QUIET: Final = 4.0
"""Seconds of traffic before, between and after the hand-overs."""
_ANSWERS: Final = 10.0
"""Seconds for the last answers."""
_REPLACED: Final = 2


def deploy(run: Run) -> list[Figure]:
    """Two app servers of our Node.js SDK, and two that take their places."""
    rounds = Rounds()
    clients = run.plan.deploy_clients
    logs = run.logs_of("deploy")
    with run.caught("deploy", MOORAGE):
        rounds.add(MOORAGE, _row(logs, clients))

    def figure(title: str, unit: str, row: str, *bars: Bar) -> Figure:
        return Figure("deploy", title, unit, rounds.of(row), bars)

    return [
        figure(
            f"disconnects; {clients:,} clients, {_REPLACED} app servers replaced", "count", "gone", Bar(0)
        ),
        figure("events that were not answered", "count", "lost", Bar(0)),
        figure("answers out of order", "count", "misordered", Bar(0)),
        figure("clients that could not move", "count", "missing", Bar(0)),
        figure("longest wait for an answer", "ms", "longest", Bar(1000)),
        figure("p99 while clients move", "ms", "p99"),
        figure("longest wait without a hand-over", "ms", "longest_before"),
        figure("p99 without a hand-over", "ms", "p99_before"),
        figure("time of the longer hand-over", "s", "seconds"),
        figure("events in all", "count", "events"),
    ]


def _row(logs: Path, count: int) -> dict[str, float]:
    with ExitStack() as stack:
        _, address, string = stack.enter_context(service(logs))

        def start() -> Process:
            return stack.enter_context(app(logs, node("app/sdk.mjs"), string))

        old = [start(), start()]
        clients = stack.enter_context(_Clients(logs, address, count))
        clients.send(emit=1)
        time.sleep(_QUIET)
        before = clients.report()
        handed = [_replace(start, one) for one in old]
        time.sleep(_QUIET)
        during = clients.report()
        clients.send(emit=0)
        seen = clients.answered()
    return {
        "gone": seen["disconnects"] + count - seen["connected"],
        "lost": seen["sent"] - seen["answered"],
        "misordered": seen["misordered"],
        "missing": sum(one["missing"] for one in handed),
        "longest": max(during["longest"], seen["longest"]),
        "p99": during["p99"],
        "longest_before": before["longest"],
        "p99_before": before["p99"],
        "seconds": max(one["ms"] for one in handed) / 1000,
        "events": seen["sent"],
    }


def _replace(start: Any, old: Process) -> dict[str, Any]:
    """Start another app server, then hand the clients of `old` over and end it."""
    start()
    old.send({"handover": 1})
    facts: dict[str, Any] = old.wait_line(_handed_over, seconds=60)
    old.stop()
    time.sleep(_QUIET)
    return facts


def _handed_over(line: str) -> dict[str, Any] | None:
    return json.loads(line) if line.startswith('{"handed":') else None


class _Clients:
    """The clients' process."""

    def __init__(self, logs: Path, address: Address, count: int) -> None:
        every = str(round(_EVERY * 1000))
        argv = [*node("recovery/deploy.mjs"), str(address.port), address.path, str(count), every]
        self._process = Process(argv, log=logs / "clients.log", env=environment())
        self._reports = 0

    def __enter__(self) -> _Clients:
        self._process.wait_line(ready_facts, seconds=60)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    def send(self, **command: int) -> None:
        """A command."""
        self._process.send(command)

    def report(self) -> dict[str, Any]:
        """What all have seen so far; times since the last report."""
        self._reports += 1
        self.send(report=self._reports)
        return self._process.wait_line(partial(reported, number=self._reports))

    def answered(self) -> dict[str, Any]:
        """The same, once all events are answered, or it has taken too long."""
        deadline = time.monotonic() + _ANSWERS
        longest = 0.0
        while True:
            seen = self.report()
            longest = max(longest, seen["longest"])
            if seen["answered"] == seen["sent"] or time.monotonic() > deadline:
                return {**seen, "longest": longest}
            time.sleep(0.2)
