"""Clients in a bad network: each loses its TCP connection again and again while the app sends messages.

The clients are the stock `socket.io-client`, in a process of their own. They count what arrives, and check
that each message arrives once and in order.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.cluster.machines import ours
from bench.figures import Bar, Figure, Rounds
from bench.recovery.crowd import crowd
from bench.run import Run
from bench.servers import HERE, MOORAGE, NATIVE, Start, Target, moorage, native, node

_RATE: Final = 2.0
"""Messages a second."""
_SETTLED: Final = 12.0
"""Seconds for the last clients to return: two waits of at most 5 seconds, and their connects."""
_WORKERS: Final = 3
RESULTS: Final = HERE / "results"


def jitter(run: Run) -> list[Figure]:
    """One server of each kind, both with recovery."""
    return _jitter(run, "jitter", _both(recovery="1"), judged=True)


def jitter_off(run: Run) -> list[Figure]:
    """The same without recovery, for comparison."""
    return _jitter(run, "jitter-off", _both(recovery=""), judged=False)


def jitter_workers(run: Run) -> list[Figure]:
    """Three workers behind one port: a client that returns comes to any of them."""
    start = ours(_WORKERS, BENCH_READERS="1", BENCH_RECOVERY="1")
    return _jitter(run, "jitter-workers", {MOORAGE: start}, judged=True)


def _both(recovery: str) -> dict[str, Start]:
    return {
        MOORAGE: moorage(node("app/sdk.mjs"), BENCH_READERS="1", BENCH_RECOVERY=recovery),
        NATIVE: native(node("native/server.mjs"), BENCH_READERS="1", BENCH_RECOVERY=recovery),
    }


def _jitter(run: Run, section: str, starts: Mapping[str, Start], *, judged: bool) -> list[Figure]:
    rounds = Rounds()
    for name, start in run.chosen(starts).items():
        logs = run.logs_of(f"{section} {name}")
        with run.caught(section, name), start(logs, 0) as target:
            seen = _shaken(run, target, logs)
            rounds.add(name, seen.row)
            if seen.faults:
                RESULTS.mkdir(exist_ok=True)
                (RESULTS / f"{section}-{name}-faults.json").write_text(json.dumps(seen.faults) + "\n")
    expected = run.plan.jitter_clients * run.plan.jitter_messages
    what = f"{run.plan.jitter_clients:,} clients, cut every {run.plan.jitter_cuts:g} s"

    def figure(title: str, unit: str, row: str, *bars: Bar) -> Figure:
        return Figure(section, title, unit, rounds.of(row), bars if judged else ())

    return [
        figure(f"messages not delivered, of {expected:,}; {what}", "count", "missing", Bar(0)),
        figure("messages delivered twice", "count", "twice", Bar(0)),
        figure("messages out of order", "count", "misordered", Bar(0)),
        figure("messages delivered", "%", "delivered"),
        figure("reconnects", "count", "reconnects"),
        figure("reconnects that did not resume", "%", "fresh", Bar(0.1)),
        figure("replay p50, from the client's connect", "ms", "p50"),
        figure("replay p99", "ms", "p99", Bar(250)),
        figure("longest replay", "ms", "longest"),
        figure("service CPU of it all", "s", "service"),
        figure("CPU of its NATS server", "s", "nats"),
        figure("app CPU of it all", "s", "app"),
        figure("CPU of the clients", "s", "clients"),
    ]


@dataclass(frozen=True)
class _Seen:
    """What the clients of one target saw."""

    row: dict[str, float]
    faults: Sequence[object]
    """The first clients that missed a message, or got one twice or out of order: what each got, and when."""


def _shaken(run: Run, target: Target, logs: Path) -> _Seen:
    """Send the messages while the clients are cut, wait until all are back, and count."""
    plan = run.plan
    with crowd(logs, target.address, plan.jitter_clients) as clients:
        before = {"clients": clients.process.cpu(), **target.clocks()}
        app = next(target.speakers)
        # A client that has got nothing yet has no offset, with which native would not resume.
        app.send({"news": 0})
        clients.settled(1, _SETTLED)
        clients.cut(plan.jitter_cuts)
        began = time.monotonic()
        for number in range(1, plan.jitter_messages):
            time.sleep(max(0.0, began + number / _RATE - time.monotonic()))
            app.send({"news": number})
        clients.cut(0)
        seen = clients.settled(plan.jitter_messages, _SETTLED)
        after = {"clients": clients.process.cpu(), **target.clocks()}
    expected = plan.jitter_clients * plan.jitter_messages
    row = {
        **{name: (clock - before[name]) / 1e9 for name, clock in after.items()},
        "missing": expected - seen["delivered"],
        "delivered": 100 * seen["delivered"] / expected,
        "twice": seen["twice"],
        "misordered": seen["misordered"],
        "reconnects": seen["reconnects"],
        "fresh": 100 * (1 - seen["resumed"] / max(1, seen["reconnects"])),
    }
    if seen["replays"]:
        row |= {"p50": seen["replay_p50"], "p99": seen["replay_p99"], "longest": seen["replay_max"]}
    return _Seen(row, seen["examples"])
