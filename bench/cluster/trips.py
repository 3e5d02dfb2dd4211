"""(o): acked round trips on two nodes, beside one, and through a second node."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from bench.cluster.fan_out import measured
from bench.cluster.machines import forwarded, ours
from bench.fastloop import fast_round_trips
from bench.figures import Bar, Figure, Rounds
from bench.measures import EVENT
from bench.run import Joined, Run
from bench.servers import MOORAGE, Start, moorage, node

_CLIENTS: Final = 100
_TWO: Final = f"{MOORAGE} two"
_VARIANTS: Final = {
    f"{MOORAGE} one": "1 node",
    _TWO: "2 workers, covered",
    f"{MOORAGE} forwarded": "through a second node, our SDK",
    f"{MOORAGE} azure": "through a second node, Azure's SDK",
}


def _starts() -> dict[str, Start]:
    starts = (
        moorage(node("app/sdk.mjs")),
        ours(2),
        forwarded("app/sdk.mjs"),
        forwarded("app/azure.mjs"),
    )
    return dict(zip(_VARIANTS, starts, strict=True))


def trips(run: Run) -> list[Figure]:
    """(o) Acked round trips of 100 clients through our Node.js SDK."""

    def once(joined: Joined) -> dict[str, float]:
        before = joined.target.clocks()
        seconds = run.plan.short_seconds
        done = fast_round_trips(joined.fleet, _CLIENTS, seconds=seconds, size=EVENT, build=run.logs)
        return {
            **measured(joined, len(done.latencies), before),
            "rate": done.per_second,
            "p50": done.quantile(0.50) / 1000,
        }

    with ExitStack() as stack:
        joined = run.connect(stack, "o", _CLIENTS, starts=_starts())
        rounds = run.alternate("o", joined, once, count=run.plan.short_rounds)
    counted = rounds.of("counted")
    pair = zip(counted.get(_TWO, ()), counted.get(f"{MOORAGE} one", ()), strict=False)
    what = "CPU of service and app per round trip, 2 workers to 1 node"
    return [
        Figure("o", what, "x", _values([two / one for two, one in pair]), (Bar(1.25),)),
        *(figure for name, title in _VARIANTS.items() for figure in _of(rounds, name, title)),
    ]


def _of(rounds: Rounds, name: str, title: str) -> list[Figure]:
    kinds = {
        "counted": ("CPU of service and app per round trip", "us"),
        "service": ("CPU of the service per round trip", "us"),
        "nats": ("CPU of NATS per round trip", "us"),
        "rate": ("round trips per second", "1/s"),
        "p50": ("round trip p50", "us"),
    }
    return [
        Figure("o", f"{what}, {title}", unit, _values(rounds.of(key).get(name, ())))
        for key, (what, unit) in kinds.items()
    ]


def _values(values: Sequence[float]) -> dict[str, Sequence[float]]:
    return {MOORAGE: values} if values else {}
