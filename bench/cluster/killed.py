"""(s): a node with a quarter of the clients is killed."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Final

from bench.cluster.crowd import Crowds, crowds, ticks_of
from bench.cluster.machines import nodes
from bench.errors import BenchError
from bench.figures import Bar, Figure, Rounds
from bench.process import Process
from bench.run import Run
from bench.servers import MOORAGE, app, node

_NODES: Final = 4
_PATIENCE: Final = 40.0
_PAUSE: Final = 1.0
"""Seconds between two broadcasts."""
_LEAD: Final = 3
"""Broadcasts before the kill."""


def killed(run: Run) -> list[Figure]:
    """(s) Four nodes; one of them is killed while the app server emits to all once a second."""
    clients, rounds = run.plan.killed_clients, Rounds()
    with run.caught("s", MOORAGE):
        rounds.add(MOORAGE, _once(run, clients))
    what = f"a node with {clients // _NODES:,} of {clients:,} clients is killed"
    return [
        Figure("s", f"until all of them are back, {what}", "s", rounds.of("back"), (Bar(15),)),
        Figure("s", "other clients that were disconnected", "", rounds.of("disconnected"), (Bar(0),)),
        Figure(
            "s", "other clients that missed an event, or got one twice", "", rounds.of("missed"), (Bar(0),)
        ),
        Figure("s", "events to each of them meanwhile", "", rounds.of("events")),
        Figure("s", "CPU of the other nodes", "s", rounds.of("service")),
        Figure("s", "CPU of the app", "s", rounds.of("app")),
    ]


def _once(run: Run, clients: int) -> dict[str, float]:
    logs = run.logs_of("s")
    with ExitStack() as stack:
        service = stack.enter_context(nodes(logs, _NODES))
        speaker = stack.enter_context(app(logs, node("app/sdk.mjs"), service.string, BENCH_NODES=str(_NODES)))
        crowd = stack.enter_context(crowds(logs, clients, service.nodes))
        victim, *others = reversed(service.parts)
        assert isinstance(victim, Process)
        events = 0
        for _ in range(_LEAD):
            events = _emit(speaker, events)
        before = sum(part.cpu() for part in others)
        app_before = speaker.cpu()
        began = time.monotonic()
        victim.kill()
        back = 0.0
        while not back or events < 2 * _LEAD:
            if time.monotonic() - began > _PATIENCE:
                raise BenchError(f"not all clients were back in {_PATIENCE:.0f} s: {crowd.report()}")
            events = _emit(speaker, events)
            reports = crowd.report()
            if sum(report.connected for report in reports) == clients and any(r.lost for r in reports):
                back = max(report.returned_at for report in reports) - began
        spent = sum(part.cpu() for part in others) - before
        app_spent = speaker.cpu() - app_before
        lost = sum(report.lost for report in crowd.report())
        return {
            "back": back,
            "disconnected": lost - clients // _NODES,
            "missed": _missed(crowd, events),
            "events": events,
            "service": spent / 1e9,
            "app": app_spent / 1e9,
        }


def _emit(speaker: Process, events: int) -> int:
    speaker.send({"times": 1, "bytes": 100})
    time.sleep(_PAUSE)
    return events + 1


def _missed(crowd: Crowds, events: int) -> int:
    """Clients that were there all the time and have not got each event once."""
    return sum(clients for got, clients in ticks_of(crowd.report()).items() if got != events)
