"""The measurements (a) to (f): each starts its targets, runs its rounds, and returns figures."""

from __future__ import annotations

from contextlib import ExitStack

from bench.figures import Bar, Figure, Rounds
from bench.fleet import Fleet
from bench.loads import Deliveries, round_trips
from bench.plan import Plan
from bench.run import Joined, Run
from bench.servers import C_LOOP, NATIVE, Cpu, Target

EVENT = 100
"""Bytes of the string that an event or an echo carries."""

_BURST = 50


def fan_out(run: Run) -> list[Figure]:
    """(a) One broadcast per tick."""
    bars = (Bar(0.60, NATIVE), Bar(1.35, C_LOOP))
    return _fan_out(run, "a", f"delivery, {run.plan.clients} clients", run.plan.ticks, 1, bars)


def burst(run: Run) -> list[Figure]:
    """(b) Broadcasts back to back. The C loop sends all frames for a client in one call."""
    what = f"delivery, {_BURST} back to back"
    return _fan_out(run, "b", what, run.plan.bursts, _BURST, (Bar(0.35, NATIVE),))


def _fan_out(
    run: Run, section: str, what: str, ticks: int, times: int, bars: tuple[Bar, ...]
) -> list[Figure]:
    def once(joined: Joined) -> dict[str, float]:
        cost = broadcast(joined, ticks, times)
        return costs(joined.target, cost, ticks * times * len(joined.fleet.clients))

    with ExitStack() as stack:
        joined = run.connect(stack, section, run.plan.clients, skip=())
        rounds = run.alternate(section, joined, once, count=run.plan.short_rounds)
    return cost_figures(section, what, rounds, bars)


def broadcast(joined: Joined, ticks: int, times: int) -> Cpu:
    """CPU of `ticks` times `times` broadcasts; a tick begins when the last one has reached everybody."""
    deliveries = Deliveries(joined.fleet, EVENT)
    before = joined.target.cpu()
    for _ in range(ticks):
        joined.target.broadcast(times, EVENT)
        deliveries.wait(times)
    return joined.target.cpu().since(before)


def costs(target: Target, cost: Cpu, count: int) -> dict[str, float]:
    """Microseconds of CPU for each of `count` things done, by process."""
    row = {"service": cost.service / count / 1000, "generator": cost.generator / count / 1000}
    return row if target.app is None else {**row, "app": cost.app / count / 1000}


def cost_figures(section: str, what: str, rounds: Rounds, bars: tuple[Bar, ...]) -> list[Figure]:
    return [
        Figure(section, f"service CPU per {what}", "us", rounds.of("service"), bars),
        Figure(section, f"app CPU per {what}", "us", rounds.of("app")),
        Figure(section, f"generator CPU per {what}", "us", rounds.of("generator")),
    ]


def trips(run: Run) -> list[Figure]:
    """(c) Acked round trips, one at a time per client. Many short rounds, because other load on the machine
    comes and goes in seconds."""
    figures = []
    with ExitStack() as stack:
        joined = run.connect(stack, "c", 100, skip=(C_LOOP,))
        for clients, at in ((1, "1 client"), (100, "100 clients")):
            # The default argument binds this turn's value: a closure would see the last one.
            def once(one: Joined, clients: int = clients) -> dict[str, float]:
                return _trips(one, clients, run.plan.short_seconds)

            rounds = run.alternate("c", joined, once, count=run.plan.short_rounds)
            figures += cost_figures("c", f"round trip, {at}", rounds, (Bar(2.5, NATIVE),))
            figures += [
                Figure("c", f"round trips per second, {at}", "1/s", rounds.of("rate")),
                Figure("c", f"round trip p50, {at}", "us", rounds.of("p50")),
                Figure("c", f"round trip p99, {at}", "us", rounds.of("p99")),
            ]
    return figures


def _trips(joined: Joined, clients: int, seconds: float) -> dict[str, float]:
    before = joined.target.cpu()
    done = round_trips(joined.fleet, clients, seconds=seconds, size=EVENT)
    cost = joined.target.cpu().since(before)
    row = costs(joined.target, cost, len(done.latencies))
    return {
        **row,
        "rate": done.per_second,
        "p50": done.quantile(0.50) / 1000,
        "p99": done.quantile(0.99) / 1000,
    }


def idle_memory(run: Run) -> list[Figure]:
    """(d) Resident memory of an idle connection, with a fresh server for every round."""
    rounds = Rounds()
    for _ in range(run.plan.idle_rounds):
        for name, start in run.starts.items():
            if name != C_LOOP:
                with run.caught("d", name), start(run.logs, 0) as target:
                    rounds.add(name, idle(target, run.plan))
    what = f"RSS per idle connection, {run.plan.idle:,} of them"
    return [
        Figure("d", f"service {what}", "KB", rounds.of("service"), (Bar(13), Bar(1.0, NATIVE))),
        Figure("d", f"app {what}", "KB", rounds.of("app")),
    ]


def idle(target: Target, plan: Plan) -> dict[str, float]:
    """KB of each process. The first connections load code and grow pools, so they end before
    the first reading."""
    processes = {"service": target.service}
    if target.app is not None:
        processes["app"] = target.app
    with Fleet(target.address) as fleet:
        fleet.open(100)
    plan.pause()
    before = {name: process.rss() for name, process in processes.items()}
    with Fleet(target.address) as fleet:
        fleet.open(plan.idle, seconds=120)
        plan.pause()
        after = {name: process.rss() for name, process in processes.items()}
    return {name: (after[name] - before[name]) / plan.idle / 1024 for name in processes}


def connects(run: Run) -> list[Figure]:
    """(e) Connections to the first namespace joined, 50 under way."""
    count = run.plan.connects

    def once(joined: Joined) -> dict[str, float]:
        before = joined.target.cpu()
        with Fleet(joined.target.address) as fleet:
            seconds = fleet.open(count)
            cost = joined.target.cpu().since(before)
        # Wait until this target has cleaned up its lost clients.
        joined.target.cpu()
        return {**costs(joined.target, cost, count), "rate": count / seconds}

    with ExitStack() as stack:
        joined = run.connect(stack, "e", 1, skip=(C_LOOP,))
        rounds = run.alternate("e", joined, once, count=run.plan.connect_rounds)
    return [
        *cost_figures("e", "connect", rounds, (Bar(1.0, NATIVE),)),
        Figure("e", "connects per second, 50 at a time", "1/s", rounds.of("rate")),
    ]


def app_cost(run: Run) -> list[Figure]:
    """(f) CPU of one broadcast in the process that runs the app; native's also writes to the clients."""
    ticks, clients = run.plan.app_ticks, run.plan.app_clients

    def once(joined: Joined) -> dict[str, float]:
        cost = broadcast(joined, ticks, 1)
        return {"app": (cost.app if joined.target.app is not None else cost.service) / ticks / 1000}

    with ExitStack() as stack:
        rounds = run.alternate("f", run.connect(stack, "f", clients, skip=(C_LOOP,)), once)
    title = f"app process CPU per broadcast, {clients:,} clients"
    return [Figure("f", title, "us", rounds.of("app"), (Bar(0.02, NATIVE),))]
