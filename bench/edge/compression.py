"""(compression) Broadcasts of JSON to clients that all take compression, with and without it in the service:
CPU of a delivery, and bytes on the wire."""

from __future__ import annotations

from contextlib import ExitStack

from bench.edge.secure import OFFER, wait_frames
from bench.edge.targets import PLAIN, with_flags
from bench.figures import Figure
from bench.fleet import Fleet
from bench.measures import costs
from bench.run import Joined, Run
from bench.servers import MOORAGE

SIZES = (2_000, 20_000)


def compression(run: Run) -> list[Figure]:
    """Two services side by side, and each size in turn."""
    plan, figures = run.plan, []
    with ExitStack() as stack:
        joined = []
        for name, flags in ((MOORAGE, ("--set=server.compression.enabled=true",)), (PLAIN, ())):
            with run.caught("compression", name):
                logs = run.logs_of(f"compression {name}")
                target = stack.enter_context(with_flags(logs, *flags))
                fleet = stack.enter_context(Fleet(target.address, headers=(OFFER,)))
                fleet.open(plan.tls_clients)
                joined.append(Joined(name, target, fleet))
        for size in SIZES:

            def once(one: Joined, size: int = size) -> dict[str, float]:
                before = one.target.cpu()
                total = 0
                for _ in range(plan.tls_ticks):
                    one.target.broadcast(1, size, json=1)
                    total += wait_frames(one.fleet, 1)
                count = plan.tls_ticks * len(one.fleet.clients)
                return {**costs(one.target, one.target.cpu().since(before), count), "bytes": total / count}

            rounds = run.alternate("compression", joined, once, count=plan.tls_rounds)
            for title, unit, of in (("service CPU", "us", "service"), ("bytes", "B", "bytes")):
                what = f"{title} per delivery of {size:,} bytes of JSON"
                with_it, without = (rounds.of(of).get(name, []) for name in (MOORAGE, PLAIN))
                figures += [
                    Figure("compression", what, unit, {MOORAGE: with_it}),
                    Figure("compression", f"without compression: {title}", unit, {MOORAGE: without}),
                ]
    return figures
