"""(tester): how much load one process of `moorage bench` can make."""

from __future__ import annotations

import asyncio
from typing import Final

from bench.errors import BenchError
from bench.figures import Bar, Figure, Rounds
from bench.measures import EVENT
from bench.process import Process, ready_facts
from bench.run import Run
from bench.servers import HOST, MOORAGE, environment, moorage, node, python
from bench.tester.tool import CAPACITY, CLIENTS
from moorage.load.plan import Plan
from moorage.load.result import Result
from moorage.load.run import LoadError
from moorage.load.run import Run as Load

_HELD: Final = 15_000
"""Clients that one process must be able to hold."""


def capacity(run: Run) -> list[Figure]:
    """Round trips against a peer in C, which is faster than the load tester, and a service's idle clients."""
    rounds = Rounds()
    with run.caught("tester", "peer in C"):
        _trips(run, rounds)
    with run.caught("tester", MOORAGE):
        _idle(run, rounds)
    what = f"{CLIENTS} clients, one event under way each, a peer in C"
    held = run.plan.tester_clients
    return [
        Figure(
            "tester",
            f"round trips per second, {what}",
            "1/s",
            rounds.of("rate"),
            (Bar(CAPACITY, at_least=True),),
        ),
        Figure(
            "tester", "load tester CPU per round trip", "us", rounds.of("generator"), (Bar(1e6 / CAPACITY),)
        ),
        Figure(
            "tester",
            "clients of Moorage that one process holds",
            "",
            rounds.of("held"),
            (Bar(min(held, _HELD), at_least=True),),
        ),
        Figure("tester", "connect p99 meanwhile, 50 at a time", "ms", rounds.of("connect")),
    ]


def _trips(run: Run, rounds: Rounds) -> None:
    logs = run.logs_of("tester responder")
    argv = [*python("tester.responder"), str(logs)]
    responder = Process(argv, log=logs / "responder.log", env=environment())
    try:
        port = int(str(responder.wait_line(ready_facts)["port"]))
        for number in range(run.plan.rounds + 1):
            result = _load(
                Plan(
                    scenario="echo",
                    url=f"http://{HOST}:{port}",
                    clients=CLIENTS,
                    size=EVENT,
                    warmup=0.2,
                    duration=run.plan.tester_seconds,
                )
            )
            if result.figures["lost"] or result.figures["errors"]:
                raise BenchError(f"lost answers or errors: {result.errors}")
            rate = result.figures["rate"]
            if number:
                rounds.add(MOORAGE, {"rate": rate, "generator": result.generator_cpu[0] / rate * 1e6})
    finally:
        responder.stop()


def _idle(run: Run, rounds: Rounds) -> None:
    held = run.plan.tester_clients
    start = moorage(node("app/sdk.mjs"))
    with start(run.logs_of("tester held"), held) as target:
        result = _load(
            Plan(
                scenario="idle",
                url=f"http://{HOST}:{target.address.port}",
                path=target.address.path,
                clients=held,
                duration=run.plan.tester_seconds,
            )
        )
        if result.figures["disconnects"]:
            raise BenchError(f"clients were lost: {result.errors}")
        rounds.add(MOORAGE, {"held": float(result.connected), "connect": result.connect["p99"]})


def _load(plan: Plan) -> Result:
    try:
        return asyncio.run(Load(plan, 1)())
    except LoadError as error:
        raise BenchError(str(error)) from None
