"""The measurements of our SDKs, (g) to (i) and (k), each with its native peer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

from bench.fastloop import fast_round_trips
from bench.figures import Bar, Figure, Rounds
from bench.fleet import Fleet
from bench.loads import Trips, round_trips
from bench.measures import EVENT, broadcast, costs
from bench.run import Joined, Run
from bench.servers import BUN, MOORAGE, NATIVE, Cpu

_JSONS: Final = ("json", "orjson")


_ORJSON: Final = "orjson"
"""The JSON library for the Python bars, on both sides."""


def of_pair(rounds: Rounds, ours: str, theirs: str, variant: str = "") -> dict[str, list[float]]:
    """Rounds of Moorage's `ours` beside native's `theirs`: native has no app process of its own. An older
    checkout in native's place has one."""
    peer = f"{NATIVE} {variant}".strip()
    found = {
        MOORAGE: rounds.of(ours).get(f"{MOORAGE} {variant}".strip()),
        NATIVE: rounds.of(ours).get(peer) or rounds.of(theirs).get(peer),
        BUN: rounds.of(theirs).get(BUN),
    }
    return {target: values for target, values in found.items() if values}


@contextmanager
def _two_cores() -> Iterator[None]:
    """Everything that starts within, this process included, shares two cores: a larger machine would
    give two processes more than one, and say nothing of what they do with the same."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def node_trips(run: Run) -> list[Figure]:
    """(g) Acked round trips through our Node.js SDK.

    One client leaves a core free, so the generator of (c) serves. Beside it stands what the loop in C
    says, which answers faster than any real client: the ratio is worse the less the client does."""
    with _two_cores(), ExitStack() as stack:
        joined = run.connect(stack, "g", 100, starts=run.peers.node())
        many = _alternate(run, "g", joined, partial(_in_c, run, 100))
        one = _alternate(run, "g", joined, partial(_in_python, run, 1))
        lean = _alternate(run, "g", joined, partial(_in_c, run, 1))
    p50 = Figure("g", "round trip p50, Node.js, 1 client in C", "us", of_pair(lean, "p50", "p50"))
    return [
        *_trip_figures("g", "Node.js, 100 clients", many, rate=1.2, service=0.8, app=0.5),
        *_trip_figures("g", "Node.js, 1 client", one, p50=3.0),
        p50,
    ]


def python_trips(run: Run) -> list[Figure]:
    """(h) Acked round trips through our Python SDK, on the library's own JSON and on orjson."""
    starts = {**run.peers.python("json"), **run.peers.python("orjson")}
    with _two_cores(), ExitStack() as stack:
        joined = run.connect(stack, "h", 100, starts=starts)
        rounds = _alternate(run, "h", joined, partial(_in_c, run, 100))
    figures = []
    for codec in _JSONS:
        bars = (Bar(4.0, NATIVE, at_least=True),) if codec == _ORJSON else ()
        pair = of_pair(rounds, "per app second", "per app second", codec)
        title = f"round trips per second of app CPU, Python, {codec}"
        figures.append(Figure("h", title, "1/s", pair, bars))
        figures += _trip_figures("h", f"Python, {codec}, 100 clients", rounds, codec)
    return figures


Load = Callable[[Fleet], Trips]


def _in_c(run: Run, clients: int, fleet: Fleet) -> Trips:
    return fast_round_trips(fleet, clients, seconds=run.plan.short_seconds, size=EVENT, build=run.logs)


def _in_python(run: Run, clients: int, fleet: Fleet) -> Trips:
    return round_trips(fleet, clients, seconds=run.plan.short_seconds, size=EVENT)


def _alternate(run: Run, section: str, joined: list[Joined], load: Load) -> Rounds:
    """Many short rounds, because other load on the machine changes within seconds."""
    return run.alternate(section, joined, partial(_trips, load), count=run.plan.short_rounds)


def _trips(load: Load, joined: Joined) -> dict[str, float]:
    target = joined.target
    before = target.cpu()
    done = load(joined.fleet)
    row = costs(target, target.cpu().since(before), len(done.latencies))
    return {
        **row,
        "per app second": 1e6 / row.get("app", row["service"]),
        "rate": done.per_second,
        "p50": done.quantile(0.50) / 1000,
        "p99": done.quantile(0.99) / 1000,
    }


def _trip_figures(
    section: str,
    what: str,
    rounds: Rounds,
    codec: str = "",
    *,
    rate: float | None = None,
    service: float | None = None,
    app: float | None = None,
    p50: float | None = None,
) -> list[Figure]:
    """The figures of a section of round trips; the numbers are bars, as multiples of native."""

    def figure(title: str, unit: str, key: str, limit: float | None, native_key: str = "") -> Figure:
        bars = () if limit is None else (Bar(limit, NATIVE, at_least=key == "rate"),)
        pair = of_pair(rounds, key, native_key or key, codec)
        return Figure(section, f"{title}, {what}", unit, pair, bars)

    return [
        figure("round trips per second", "1/s", "rate", rate),
        figure("service CPU per round trip", "us", "service", service),
        figure("app CPU per round trip", "us", "app", app, "service"),
        figure("generator CPU per round trip", "us", "generator", None),
        figure("round trip p50", "us", "p50", p50),
        figure("round trip p99", "us", "p99", None),
    ]


_AT_REST: Final = 0.02
"""Seconds between two empty commands."""


def broadcasts(run: Run) -> list[Figure]:
    """(i) CPU of one broadcast in the process that runs the app, without the cost of the command
    be asked for it: waking up and reading a command is more than half of what ours does."""
    plan = run.plan

    def once(joined: Joined, ticks: int) -> dict[str, float]:
        asked = _app_cost(joined, broadcast(joined, ticks, 1), ticks)
        asking = _app_cost(joined, _nothing(joined, ticks), ticks)
        return {"app": asked - asking, "asking": asking}

    figures = []
    for language, codec in (("Node.js", ""), ("Python", _ORJSON)):
        section, chosen = f"i {language}", run.peers.python(codec) if codec else run.peers.node()
        ticks, starts, count = plan.app_ticks, plan.app_starts, plan.app_rounds
        if codec and run.peers.before is None:
            # Native Python takes most of a second per broadcast.
            ticks, starts, count = 3, 1, 3
        rounds = Rounds()
        for _ in range(starts):
            with ExitStack() as stack:
                joined = run.connect(stack, section, plan.app_clients, starts=chosen)
                rounds.extend(run.alternate(section, joined, partial(once, ticks=ticks), count=count))
        title = f"app process CPU per broadcast, {language}, {plan.app_clients:,} clients"
        bars = () if codec else (Bar(0.005, NATIVE),)
        figures += [
            Figure("i", title, "us", of_pair(rounds, "app", "app", codec), bars),
            Figure("i", f"to be asked for it, {language}", "us", of_pair(rounds, "asking", "asking", codec)),
        ]
    return figures


def _app_cost(joined: Joined, cost: Cpu, count: int) -> float:
    row = costs(joined.target, cost, count)
    return row.get("app", row["service"])


def _nothing(joined: Joined, times: int) -> Cpu:
    """CPU of the same number of commands that broadcast nothing."""
    before = joined.target.cpu()
    for _ in range(times):
        joined.target.broadcast(0, EVENT)
        time.sleep(_AT_REST)
    return joined.target.cpu().since(before)


def sdk_connects(run: Run) -> list[Figure]:
    """(k) Connections to the first namespace joined, 50 under way."""
    count = run.plan.sdk_connects

    def once(joined: Joined) -> dict[str, float]:
        before = joined.target.cpu()
        with Fleet(joined.target.address) as fleet:
            seconds = fleet.open(count)
            cost = joined.target.cpu().since(before)
        # Wait until this target has cleaned up its lost clients.
        joined.target.cpu()
        return {**costs(joined.target, cost, count), "rate": count / seconds}

    with ExitStack() as stack:
        joined = run.connect(stack, "k", 1, starts={**run.peers.node(), **run.peers.python(_ORJSON)})
        rounds = run.alternate("k", joined, once)
    figures = []
    for language, codec in (("Node.js", ""), ("Python", _ORJSON)):
        figures += [
            Figure("k", f"connects per second, {language}", "1/s", of_pair(rounds, "rate", "rate", codec)),
            Figure(
                "k",
                f"service CPU per connect, {language}",
                "us",
                of_pair(rounds, "service", "service", codec),
            ),
            Figure("k", f"app CPU per connect, {language}", "us", of_pair(rounds, "app", "service", codec)),
        ]
    return figures
