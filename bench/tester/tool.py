"""`moorage bench` itself as the generator, on the same targets: what users measure with it, and its costs."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from bench.errors import BenchError
from bench.figures import Bar, Figure
from bench.measures import EVENT, cost_figures, costs
from bench.run import Joined, Run
from bench.servers import HOST, NATIVE
from moorage.load.plan import Plan
from moorage.load.run import LoadError
from moorage.load.run import Run as Load

CLIENTS = 200
CAPACITY = 50_000
"""Acked round trips a second that one core of the load tester must be able to make."""


def tool(run: Run) -> list[Figure]:
    """(t) `moorage bench echo` with one process, without a rate: each client sends when it has its answer."""

    def once(joined: Joined) -> dict[str, float]:
        address, target = joined.target.address, joined.target
        seconds = max(1.0, run.plan.short_seconds)
        plan = Plan(
            scenario="echo",
            url=f"http://{HOST}:{address.port}",
            path=address.path,
            clients=CLIENTS,
            size=EVENT,
            warmup=0.2,
            duration=seconds,
        )
        before = target.cpu()
        try:
            result = asyncio.run(Load(plan, 1)())
        except LoadError as error:
            raise BenchError(str(error)) from None
        cost = target.cpu().since(before)
        if result.figures["lost"] or result.figures["errors"]:
            raise BenchError(f"lost answers or errors: {result.errors}")
        rate = result.figures["rate"]
        # The service also has the connects and the warm-up.
        whole = rate * (seconds + plan.warmup)
        return {
            **costs(target, cost, int(whole)),
            "generator": result.generator_cpu[0] / rate * 1e6,
            "rate": rate,
            "p50": result.latency["p50"],
            "p99": result.latency["p99"],
        }

    with ExitStack() as stack:
        joined = run.connect(stack, "t", 1, starts=run.peers.node())
        rounds = run.alternate("t", joined, once)
    what = f"round trip of moorage bench, {CLIENTS} clients"
    service, app, _ = cost_figures("t", what, rounds, (Bar(1.0, NATIVE),))
    return [
        service,
        app,
        Figure("t", f"load tester CPU per {what}", "us", rounds.of("generator"), (Bar(1e6 / CAPACITY),)),
        Figure("t", "round trips per second", "1/s", rounds.of("rate")),
        Figure("t", "round trip p50", "ms", rounds.of("p50")),
        Figure("t", "round trip p99", "ms", rounds.of("p99")),
    ]
