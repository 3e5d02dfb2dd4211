"""(tls) The CPU of a delivery and of a connect, and the memory of a connection: with TLS in the service, and
with nginx in front of a service without it. The column of native is nginx and the service together."""

from __future__ import annotations

from contextlib import ExitStack

from bench.edge.secure import SecureFleet
from bench.edge.targets import PLAIN, starts
from bench.figures import Figure, Rounds
from bench.fleet import Fleet
from bench.measures import broadcast, costs
from bench.run import Joined, Run
from bench.servers import MOORAGE, NATIVE, Address


def tls(run: Run) -> list[Figure]:
    """All three on fresh processes, in alternate rounds."""
    plan = run.plan
    rounds = Rounds()
    with ExitStack() as stack:
        joined = []
        for name, start in starts().items():
            with run.caught("tls", name):
                target = stack.enter_context(start(run.logs_of(f"tls {name}"), plan.tls_clients))
                fleet = stack.enter_context(fleet_of(name, target.address))
                rounds.add(name, _connects(Joined(name, target, fleet), plan.tls_clients))
                joined.append(Joined(name, target, fleet))

        def once(one: Joined) -> dict[str, float]:
            cost = broadcast(one, plan.tls_ticks, 1)
            return costs(one.target, cost, plan.tls_ticks * len(one.fleet.clients))

        deliveries = run.alternate("tls", joined, once, count=plan.tls_rounds)
        for one in joined:
            with run.caught("tls", one.name):
                rounds.add(one.name, _memory(one, plan.tls_idle))
    clients = plan.tls_clients
    return [
        *_figures("CPU per delivery", "us", deliveries.of("service"), f"{clients} clients"),
        *_figures("CPU per connect", "us", rounds.of("connect"), f"{clients} clients"),
        *_figures("RSS per idle connection", "KB", rounds.of("memory"), f"{plan.tls_idle:,} of them"),
    ]


def _figures(what: str, unit: str, rounds: dict[str, list[float]], how: str) -> list[Figure]:
    pair = {name: values for name, values in rounds.items() if name != PLAIN}
    return [
        Figure("tls", f"{what}, {how}; native: nginx and the service", unit, pair),
        Figure("tls", f"the same without TLS: {what}", unit, {MOORAGE: rounds.get(PLAIN, [])}),
    ]


def fleet_of(name: str, address: Address) -> Fleet:
    """Clients for a target."""
    return SecureFleet(address) if name in (MOORAGE, NATIVE) else Fleet(address)


def _connects(one: Joined, count: int) -> dict[str, float]:
    with fleet_of(one.name, one.target.address) as warm:
        warm.open(50)
    before = one.target.cpu()
    one.fleet.open(count)
    return {"connect": costs(one.target, one.target.cpu().since(before), count)["service"]}


def _memory(one: Joined, count: int) -> dict[str, float]:
    one.target.service.settle()
    before = one.target.service.rss()
    with fleet_of(one.name, one.target.address) as fleet:
        fleet.open(count)
        one.target.service.settle()
        return {"memory": (one.target.service.rss() - before) / count / 1024}
