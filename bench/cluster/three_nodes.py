"""(q) and (r): first joins of rooms, and publishes to rooms, on three nodes."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count as counter
from pathlib import Path
from typing import Final

from bench import loads
from bench.cluster.fan_out import measured
from bench.cluster.machines import nodes
from bench.fastloop import publishes as publishes_of
from bench.figures import Bar, Figure, Rounds
from bench.run import Joined, Run
from bench.servers import MOORAGE, Start, Target, app, node

_NODES: Final = 3
_JOIN_RATE: Final = 1000
_PUBLISH_RATE: Final = 5000
_CLIENTS: Final = 900
_ROOM: Final = 9


def _start(nats: int) -> Start:
    @contextmanager
    def start(logs: Path, clients: int) -> Iterator[Target]:
        with (
            nodes(logs, _NODES, nats=nats) as service,
            app(logs, node("app/sdk.mjs"), service.string, BENCH_NODES=str(_NODES)) as beside,
        ):
            yield service.target(MOORAGE, beside)

    return start


@contextmanager
def _connected(run: Run, section: str, nats: int) -> Iterator[list[Joined]]:
    """Clients on all nodes in turn."""
    with ExitStack() as stack:
        joined = run.connect(stack, section, 0, starts={MOORAGE: _start(nats)})
        for one in tuple(joined):
            joined.remove(one)
            with run.caught(section, MOORAGE):
                for address in one.target.nodes:
                    one.fleet.aim(address)
                    one.fleet.open(_CLIENTS // _NODES)
                joined.append(one)
        yield joined


def _quantiles(times: array[int]) -> dict[str, float]:
    """Milliseconds of sorted nanoseconds."""
    shares = {"p50": 0.5, "p99": 0.99, "longest": 1.0}
    return {name: loads.quantile(times, share) / 1e6 for name, share in shares.items()}


def joins(run: Run) -> list[Figure]:
    """(q) Joins of rooms that nobody has been in, while three NATS servers carry the news."""
    numbers = counter(1)

    def once(joined: Joined) -> dict[str, float]:
        number, speaker, count = next(numbers), next(joined.target.speakers), run.plan.joins
        before = joined.target.clocks()
        speaker.send({"joins": count, "rate": _JOIN_RATE, "number": number})
        times = speaker.wait_line(lambda line: _times(line, number), seconds=60)
        return {**measured(joined, count, before), **_quantiles(times)}

    with _connected(run, "q", 3) as joined:
        rounds = run.alternate("q", joined, once)
    what = f"first join of a room, {_NODES} nodes, 3 NATS servers, {_JOIN_RATE:,}/s"
    return _figures("q", what, rounds, Bar(10))


def _times(line: str, number: int) -> array[int] | None:
    """The sorted nanoseconds of the joins of a round, if this line has them."""
    if not line.startswith('{"joined":'):
        return None
    facts = json.loads(line)
    return array("q", sorted(int(ms * 1e6) for ms in facts["times"])) if facts["joined"] == number else None


def publishes(run: Run) -> list[Figure]:
    """(r) Clients publish to rooms with three members on each node."""
    count, size = run.plan.publishes, _CLIENTS // _ROOM
    rooms = [f"room-{number:03}" for number in range(size)]

    def once(joined: Joined) -> dict[str, float]:
        before = joined.target.clocks()
        times = publishes_of(joined.fleet, rooms, count=count, rate=_PUBLISH_RATE, each=_ROOM, build=run.logs)
        return {**measured(joined, count, before), **_quantiles(times)}

    with _connected(run, "r", 1) as joined:
        for one in joined:
            for number, room in enumerate(rooms):
                loads.enter(one.fleet, room, one.fleet.clients[number::size])
        rounds = run.alternate("r", joined, once)
    what = f"publish to {_ROOM} of {_CLIENTS} clients, {_NODES} nodes, {_PUBLISH_RATE:,}/s"
    return _figures("r", what, rounds, Bar(50))


def _figures(section: str, what: str, rounds: Rounds, bar: Bar) -> list[Figure]:
    spent = ("service", "app", "nats")
    return [
        Figure(section, f"p99, {what}", "ms", rounds.of("p99"), (bar,)),
        *(Figure(section, f"{name}, {what}", "ms", rounds.of(name)) for name in ("p50", "longest")),
        *(Figure(section, f"CPU of {name} for each", "us", rounds.of(name)) for name in spent),
    ]
