"""Clients in a bad network: each loses its TCP connection again and again while the app sends messages.

The clients are the stock `socket.io-client`, in a process of their own. They count what arrives, and check
that each message arrives once and in order.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.cluster.machines import ours
from bench.figures import Bar, Figure, Rounds
from bench.plan import Plan
from bench.process import Observed, Together
from bench.recovery.crowd import Crowd, crowd
from bench.run import Run
from bench.servers import HERE, MOORAGE, NATIVE, Start, Target, moorage, native, node

_RATE: Final = 2.0
"""Messages a second."""
_SETTLED: Final = 12.0
"""Seconds for the last clients to return: two waits of at most 5 seconds, and their connects."""
_WORKERS: Final = 3
RESULTS: Final = HERE / "results"


@dataclass(frozen=True)
class Trial:
    """One section: how many clients lose their connections how often."""

    section: str
    clients: int
    messages: int
    cuts: float
    """Seconds between two cuts of one client, about."""
    silent: bool = False
    """The server does not notice a cut."""
    judged: bool = True
    kills: bool = False
    """One of the workers is killed halfway."""

    @property
    def expected(self) -> int:
        """How many messages arrive if nothing is lost."""
        return self.clients * self.messages


def jitter(run: Run) -> list[Figure]:
    """One server of each kind, both with recovery."""
    return _figures(run, _trial("jitter", run.plan), _both(recovery="1"))


def jitter_off(run: Run) -> list[Figure]:
    """The same without recovery, for comparison."""
    return _figures(run, _trial("jitter-off", run.plan, judged=False), _both(recovery=""))


def jitter_silent(run: Run) -> list[Figure]:
    """Fewer clients that come back while the server still has their old connections."""
    plan = run.plan
    trial = Trial(
        "jitter-silent", plan.jitter_clients // 4, plan.jitter_messages // 2, plan.jitter_cuts, silent=True
    )
    return _figures(run, trial, _both(recovery="1"))


def jitter_workers(run: Run) -> list[Figure]:
    """Three workers behind one port: a client that returns comes to any of them."""
    start = ours(_WORKERS, BENCH_READERS="1", BENCH_RECOVERY="1")
    return _figures(run, _trial("jitter-workers", run.plan), {MOORAGE: start})


def jitter_lost(run: Run) -> list[Figure]:
    """Three workers that store what recovery needs on JetStream. One is killed halfway."""
    start = ours(_WORKERS, "recovery.store=jetstream", BENCH_READERS="1", BENCH_RECOVERY="1")
    return _figures(run, _trial("jitter-lost", run.plan, kills=True), {MOORAGE: start})


def _trial(section: str, plan: Plan, *, judged: bool = True, kills: bool = False) -> Trial:
    clients, messages, cuts = plan.jitter_clients, plan.jitter_messages, plan.jitter_cuts
    return Trial(section, clients, messages, cuts, judged=judged, kills=kills)


def _both(recovery: str) -> dict[str, Start]:
    return {
        MOORAGE: moorage(node("app/sdk.mjs"), BENCH_READERS="1", BENCH_RECOVERY=recovery),
        NATIVE: native(node("native/server.mjs"), BENCH_READERS="1", BENCH_RECOVERY=recovery),
    }


def _figures(run: Run, trial: Trial, starts: Mapping[str, Start]) -> list[Figure]:
    rounds = Rounds()
    for name, start in run.chosen(starts).items():
        logs = run.logs_of(f"{trial.section} {name}")
        with run.caught(trial.section, name), start(logs, 0) as target:
            rounds.add(name, _row(target, trial, logs, f"{trial.section}-{name}"))

    def figure(title: str, unit: str, row: str, *bars: Bar) -> Figure:
        return Figure(trial.section, title, unit, rounds.of(row), bars if trial.judged else ())

    what = f"{trial.clients:,} clients, cut every {trial.cuts:g} s"
    return [
        figure(f"messages not delivered, of {trial.expected:,}; {what}", "count", "missing", Bar(0)),
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


def _row(target: Target, trial: Trial, logs: Path, name: str) -> dict[str, float]:
    """What one target costs and its clients see."""
    with crowd(logs, target.address, trial.clients) as clients:
        before = _clocks(target, trial, clients)
        seen = _shaken(target, trial, clients)
        after = _clocks(target, trial, clients)
    if seen["examples"]:
        # The first clients that missed a message, or got one twice or out of order: what each got, and when.
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}-faults.json").write_text(json.dumps(seen["examples"]) + "\n")
    row = {
        **{name: (clock - before[name]) / 1e9 for name, clock in after.items()},
        "missing": trial.expected - seen["delivered"],
        "delivered": 100 * seen["delivered"] / trial.expected,
        "twice": seen["twice"],
        "misordered": seen["misordered"],
        "reconnects": seen["reconnects"],
        "fresh": 100 * (1 - seen["resumed"] / max(1, seen["reconnects"])),
    }
    if seen["replays"]:
        row |= {"p50": seen["replay_p50"], "p99": seen["replay_p99"], "longest": seen["replay_max"]}
    return row


def _clocks(target: Target, trial: Trial, clients: Crowd) -> dict[str, int]:
    """CPU so far. That of a killed process cannot be known."""
    return {"clients": clients.process.cpu()} | ({} if trial.kills else target.clocks())


def _shaken(target: Target, trial: Trial, clients: Crowd) -> dict[str, Any]:
    """Send the messages while the clients are cut, and wait until all are back."""
    app = next(target.speakers)
    # A client that has got nothing yet has no offset, with which native would not resume.
    app.send({"news": 0})
    clients.settled(1, _SETTLED)
    clients.cut(trial.cuts, silent=trial.silent)
    began = time.monotonic()
    for number in range(1, trial.messages):
        time.sleep(max(0.0, began + number / _RATE - time.monotonic()))
        if trial.kills and number == trial.messages // 2:
            assert isinstance(target.service, Together)
            (first, *_) = target.service.parts
            assert isinstance(first, Observed)
            os.kill(first.pid, signal.SIGKILL)
        app.send({"news": number})
    clients.cut(0)
    return clients.settled(trial.messages, _SETTLED)
