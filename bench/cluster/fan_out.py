"""(l), (m) and (n): broadcasts, a room on one node, and connects, on several nodes."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

from bench.cluster.machines import native_servers, ours
from bench.figures import Bar, Figure, Rounds
from bench.fleet import Fleet
from bench.loads import Deliveries, enter
from bench.measures import EVENT
from bench.run import Joined, Run
from bench.servers import MOORAGE, NATIVE, Start

_BURST = 50


def _starts(run: Run, nodes: int) -> dict[str, Start]:
    before = run.peers.before
    theirs = native_servers(nodes) if before is None else ours(nodes, checkout=before)
    return {MOORAGE: ours(nodes), NATIVE: theirs}


def measured(joined: Joined, done: int, before: dict[str, int]) -> dict[str, float]:
    """Things done in a CPU second of the service and the app, and microseconds of each process for one."""
    spent = {name: cpu - before[name] for name, cpu in joined.target.clocks().items()}
    counted = spent["service"] + spent.get("app", 0)
    return {
        "per second": done / counted * 1e9,
        "counted": counted / done / 1000,
        **{name: cpu / done / 1000 for name, cpu in spent.items()},
    }


def figures_of(section: str, things: str, what: str, rounds: Rounds, bar: float | None) -> list[Figure]:
    """The figure with the bar, and one for each process."""
    bars = () if bar is None else (Bar(bar, NATIVE, at_least=True),)
    found = [
        Figure(section, f"{things} per CPU second, {what}", "1/s", rounds.of("per second"), bars),
        Figure(section, f"CPU of service and app, {what}", "us", rounds.of("counted")),
    ]
    names = ("service", "app", "supervisor", "nats", "redis", "haproxy", "generator")
    return found + [Figure(section, f"CPU of {name}, {what}", "us", rounds.of(name)) for name in names]


def broadcasts(run: Run) -> list[Figure]:
    """(l) 2,000 clients on two workers: broadcasts one at a time, and back to back."""
    clients, plan = run.plan.cluster_clients, run.plan

    def once(joined: Joined, ticks: int, times: int) -> dict[str, float]:
        deliveries = Deliveries(joined.fleet, EVENT)
        before = joined.target.clocks()
        for _ in range(ticks):
            joined.target.broadcast(times, EVENT)
            deliveries.wait(times)
        return measured(joined, ticks * times * clients, before)

    with ExitStack() as stack:
        joined = run.connect(stack, "l", clients, starts=_starts(run, 2))
        lone = run.alternate("l", joined, partial(once, ticks=plan.app_ticks, times=1))
        burst = run.alternate("l", joined, partial(once, ticks=1, times=_BURST))
    what = f"{clients:,} clients of 2 nodes"
    return [
        *figures_of("l", "deliveries", f"broadcast, {what}", lone, 2.0),
        *figures_of("l", "deliveries", f"{_BURST} back to back, {what}", burst, 2.0),
    ]


def room(run: Run) -> list[Figure]:
    """(m) Four nodes with 20 clients each; the room has those of one node. Emits at a steady rate, and back
    to back."""
    plan, size, nodes, rate = run.plan, 20, 4, 1000

    def steadily(joined: Joined) -> dict[str, float]:
        deliveries, times = Deliveries(joined.fleet, EVENT), rate * 2
        before = joined.target.clocks()
        joined.target.broadcast(times, EVENT, room="room", rate=rate)
        deliveries.wait(times)
        return measured(joined, times * size, before)

    def back_to_back(joined: Joined) -> dict[str, float]:
        deliveries = Deliveries(joined.fleet, EVENT)
        before = joined.target.clocks()
        for _ in range(plan.ticks):
            joined.target.broadcast(_BURST, EVENT, room="room")
            deliveries.wait(_BURST)
        return measured(joined, plan.ticks * _BURST * size, before)

    with ExitStack() as stack:
        joined = []
        for one in run.connect(stack, "m", 0, starts=_starts(run, nodes)):
            with run.caught("m", one.name):
                fleets = [stack.enter_context(Fleet(address)) for address in one.target.nodes]
                for fleet in fleets:
                    fleet.open(size)
                enter(fleets[0], "room")
                joined.append(Joined(one.name, one.target, fleets[0]))
        steady = run.alternate("m", joined, steadily)
        burst = run.alternate("m", joined, back_to_back)
    what = f"room of {size} on 1 of {nodes} nodes"
    return [
        *figures_of("m", "deliveries", f"{what}, {rate:,} emits/s", steady, 4.0),
        *figures_of("m", "deliveries", f"{what}, {_BURST} back to back", burst, 4.0),
    ]


def connects(run: Run) -> list[Figure]:
    """(n) Connections to the first namespace joined, 50 under way, on two nodes."""
    count = run.plan.sdk_connects

    def once(joined: Joined) -> dict[str, float]:
        before = joined.target.clocks()
        with Fleet(joined.target.address) as fleet:
            seconds = fleet.open(count)
            row = measured(joined, count, before)
        # Wait until this target has cleaned up its lost clients.
        joined.target.clocks()
        return {**row, "rate": count / seconds}

    with ExitStack() as stack:
        joined = run.connect(stack, "n", 1, starts=_starts(run, 2))
        rounds = run.alternate("n", joined, once)
    bars = (Bar(1.0, NATIVE, at_least=True),)
    return [
        Figure("n", "connects per second, 2 nodes", "1/s", rounds.of("rate"), bars),
        *figures_of("n", "connects", "connect, 2 nodes", rounds, None),
    ]
