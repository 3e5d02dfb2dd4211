"""What recovery costs while nobody loses a connection: CPU of a broadcast and memory of an idle client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.figures import Bar, Figure, Rounds
from bench.measures import broadcast, costs, idle
from bench.run import Joined, Run
from bench.servers import MOORAGE, NATIVE, Start, Target, moorage, native, node

_ON, _OFF, _STORED = "on", "off", "stored"
_BARE: Final = "without"
"""Heads the rounds of our own service without recovery, against which its figure with recovery is judged."""


def recovery_cost(run: Run) -> list[Figure]:
    """One broadcast per tick, with and without recovery in alternate rounds."""
    ticks, clients = run.plan.ticks, run.plan.clients

    def once(joined: Joined) -> dict[str, float]:
        return costs(joined.target, broadcast(joined, ticks, 1), ticks * clients)

    with ExitStack() as stack:
        joined = run.connect(stack, "recovery", clients, starts={**_ours(), **_native()})
        rounds = run.alternate("recovery", joined, once, count=run.plan.short_rounds)
    service, app = rounds.of("service"), rounds.of("app")
    what = f"CPU per delivery, {clients:,} clients"
    return [
        Figure("recovery", f"service {what}, recovery on", "us", _with(service), (Bar(1.10, _BARE),)),
        Figure("recovery", "the same, off", "us", _without(service)),
        Figure("recovery", f"app {what}, recovery on", "us", _with(app)),
        Figure("recovery", "the same, off", "us", _without(app)),
    ]


def recovery_stored(run: Run) -> list[Figure]:
    """One broadcast per tick, with `recovery.store: file` and `memory` in alternate rounds."""
    ticks, clients = run.plan.ticks, run.plan.clients

    def once(joined: Joined) -> dict[str, float]:
        return costs(joined.target, broadcast(joined, ticks, 1), ticks * clients)

    starts = {f"{MOORAGE} {_STORED}": _stored, f"{MOORAGE} {_ON}": _ours()[f"{MOORAGE} {_ON}"]}
    with ExitStack() as stack:
        joined = run.connect(stack, "recovery-stored", clients, starts=starts)
        rounds = run.alternate("recovery-stored", joined, once, count=run.plan.short_rounds)
    service = rounds.of("service")
    what = f"CPU per delivery, {clients:,} clients"
    names = ((f"service {what}, recovery.store: file", _STORED), ("the same, memory", _ON))
    return [
        Figure("recovery-stored", title, "us", {MOORAGE: service[f"{MOORAGE} {name}"]})
        for title, name in names
        if f"{MOORAGE} {name}" in service
    ]


@contextmanager
def _stored(logs: Path, clients: int) -> Iterator[Target]:
    with TemporaryDirectory() as folder:
        flags = ("--set=recovery.store=file", f"--set=recovery.folder={folder}")
        start = moorage(node("app/sdk.mjs"), flags=flags, BENCH_RECOVERY="1")
        with start(logs, clients) as target:
            yield target


def recovery_memory(run: Run) -> list[Figure]:
    """Resident memory of an idle connection, with a fresh server for every round."""
    rounds = Rounds()
    for _ in range(run.plan.idle_rounds):
        for name, start in run.chosen(_ours()).items():
            with run.caught("recovery-memory", name), start(run.logs_of(name), 0) as target:
                rounds.add(name, idle(target, run.plan))
    service, app = rounds.of("service"), rounds.of("app")
    what = f"RSS per idle connection, {run.plan.idle:,} of them"
    return [
        Figure("recovery-memory", f"service {what}, recovery on", "KB", _with(service)),
        Figure("recovery-memory", "the same, off", "KB", _without(service)),
        Figure("recovery-memory", f"app {what}, recovery on", "KB", _with(app)),
        Figure("recovery-memory", "the same, off", "KB", _without(app)),
    ]


def _ours() -> dict[str, Start]:
    argv = node("app/sdk.mjs")
    return {f"{MOORAGE} {_ON}": moorage(argv, BENCH_RECOVERY="1"), f"{MOORAGE} {_OFF}": moorage(argv)}


def _native() -> dict[str, Start]:
    argv = node("native/server.mjs")
    return {f"{NATIVE} {_ON}": native(argv, BENCH_RECOVERY="1"), f"{NATIVE} {_OFF}": native(argv)}


def _with(rounds: dict[str, list[float]]) -> dict[str, list[float]]:
    names = {MOORAGE: f"{MOORAGE} {_ON}", NATIVE: f"{NATIVE} {_ON}", _BARE: f"{MOORAGE} {_OFF}"}
    return {title: rounds[name] for title, name in names.items() if name in rounds}


def _without(rounds: dict[str, list[float]]) -> dict[str, list[float]]:
    names = {MOORAGE: f"{MOORAGE} {_OFF}", NATIVE: f"{NATIVE} {_OFF}"}
    return {title: rounds[name] for title, name in names.items() if name in rounds}
