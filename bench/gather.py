"""(j) `fetchSockets` over two app servers: ours on one hub, native ones with Redis."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from bench.errors import BenchError
from bench.figures import Bar, Figure, Rounds
from bench.process import Process, ready_facts
from bench.run import Run
from bench.servers import (
    CHECKOUT,
    HOST,
    MOORAGE,
    NATIVE,
    Address,
    app,
    environment,
    free_port,
    node,
    python,
    service,
)

_PATIENCE: Final = 60.0


@dataclass(frozen=True)
class Cluster:
    """Servers with clients on all of them; `asker` is the app process that fetches."""

    name: str
    asker: Process
    other: Process
    service: Process
    """The service, or Redis."""

    def fetch(self, first: int, expected: int, times: int) -> dict[str, float]:
        """`times` times `fetchSockets`, numbered from `first`: milliseconds of one, and those of CPU of each
        process and of all together. Garbage is collected in some of them only, so one would tell little.

        Raises `BenchError` when one does not name `expected` sockets, each whole."""
        everybody = {"asker": self.asker, "other": self.other, "service": self.service}
        for process in everybody.values():
            process.settle()
        before = {name: process.cpu() for name, process in everybody.items()}
        answers = [self._once(number, expected) for number in range(first, first + times)]
        for process in everybody.values():
            process.settle()
        row = {name: (process.cpu() - before[name]) / times / 1e6 for name, process in everybody.items()}
        times_of = {name: median([answer[name] for answer in answers]) for name in ("ms", "read")}
        return {**row, **times_of, "cpu": sum(row.values())}

    def _once(self, number: int, expected: int) -> dict[str, float]:
        self.asker.send({"fetch": number})
        answer = self.asker.wait_line(lambda line: fetched(line, number), seconds=_PATIENCE)
        if answer["sockets"] != expected:
            raise BenchError(f"{answer['sockets']:.0f} of {expected} sockets came back whole")
        return answer


def fetched(line: str, number: int) -> dict[str, float] | None:
    """The app's answer to fetch `number`, if this line is it."""
    if not line.startswith('{"fetched":'):
        return None
    facts: dict[str, float] = json.loads(line)
    return facts if facts["fetched"] == number else None


@contextmanager
def _ours(run: Run, clients: int, name: str = MOORAGE, checkout: Path = CHECKOUT) -> Iterator[Cluster]:
    """Two app servers on one hub; the service distributes the clients."""
    logs = run.logs_of(f"j {name}")
    argv = node("app/sdk.mjs", checkout)
    with ExitStack() as stack:
        process, address, string = stack.enter_context(service(logs, checkout))
        apps = [
            stack.enter_context(
                app(run.logs_of(f"j {name} {n}"), argv, string, checkout=checkout, BENCH_REMEMBER="1")
            )
            for n in (1, 2)
        ]
        _hold(stack, logs, address, clients)
        yield Cluster(name, apps[0], apps[1], process)


@contextmanager
def _native(run: Run, clients: int) -> Iterator[Cluster]:
    """Two servers and Redis, half of the clients on each."""
    with ExitStack() as stack:
        redis, port = stack.enter_context(redis_server(run.logs_of("j redis")))
        servers = []
        for n in (1, 2):
            env = {**environment(), "BENCH_REDIS_PORT": str(port), "BENCH_REMEMBER": "1"}
            logs = run.logs_of(f"j native {n}")
            process = Process(node("native/redis.mjs"), log=logs / "app.log", env=env)
            stack.callback(process.stop)
            address = Address(int(str(process.wait_line(ready_facts)["port"])), "/socket.io/")
            _hold(stack, logs, address, clients // 2)
            servers.append(process)
        yield Cluster(NATIVE, servers[0], servers[1], redis)


def _hold(stack: ExitStack, logs: Path, address: Address, clients: int) -> None:
    """Connect idle clients in a separate process."""
    argv = [*python("holder"), str(address.port), address.path, str(clients)]
    process = Process(argv, log=logs / "clients.log", env=environment())
    stack.callback(process.stop)
    process.wait_line(ready_facts, seconds=130)


@contextmanager
def redis_server(logs: Path) -> Iterator[tuple[Process, int]]:
    """A Redis server that keeps nothing on disk. Raises `BenchError` if Redis is missing."""
    program = shutil.which("redis-server")
    if program is None:
        raise BenchError("NOT MEASURED: no redis-server here; `make bench` installs it where it can")
    port = free_port()
    options = ("--save", "", "--appendonly", "no", "--dir", str(logs))
    argv = [program, "--bind", HOST, "--port", str(port), *options]
    process = Process(argv, log=logs / "redis.log")
    try:
        process.wait_line(lambda line: True if "Ready to accept connections" in line else None)
        yield process, port
    finally:
        process.stop()


def _starts(run: Run) -> Mapping[str, Callable[[Run, int], AbstractContextManager[Cluster]]]:
    if run.peers.before is None:
        return {MOORAGE: _ours, NATIVE: _native}
    return {MOORAGE: _ours, NATIVE: partial(_ours, name=NATIVE, checkout=run.peers.before)}


def fetch_sockets(run: Run) -> list[Figure]:
    """(j) All sockets of a namespace: ids, rooms, handshake and data."""
    clients = run.plan.fetch_clients
    first, later = Rounds(), Rounds()
    for _ in range(run.plan.fetch_starts):
        with ExitStack() as stack:
            clusters = []
            for name, start in _starts(run).items():
                if name in run.starts:
                    with run.caught("j", name):
                        clusters.append(stack.enter_context(start(run, clients)))
            _alternate(run, first, later, clusters)
    what = f"fetchSockets, Node.js, {clients:,} sockets of 2 app servers"
    return [
        Figure("j", what, "ms", later.of("ms"), (Bar(0.25, NATIVE),)),
        Figure("j", "the same, and every field of every socket read", "ms", later.of("read")),
        Figure("j", "its CPU, all processes together", "ms", later.of("cpu")),
        Figure("j", "its CPU, the app server that asks", "ms", later.of("asker")),
        Figure("j", "its CPU, the other app server", "ms", later.of("other")),
        Figure("j", "its CPU, the service (native: Redis)", "ms", later.of("service")),
        Figure("j", "the first one after the connects, CPU, all together", "ms", first.of("cpu")),
        Figure("j", "the first one after the connects, CPU, the service", "ms", first.of("service")),
    ]


def _alternate(run: Run, first: Rounds, later: Rounds, clusters: list[Cluster]) -> None:
    """Like `Run.alternate`. The first fetch is kept apart. It and two windows are warm-up, because the first
    answers grow the heaps."""
    times, expected = run.plan.fetch_times, run.plan.fetch_clients
    for number in range(run.plan.fetch_rounds + 3):
        clusters.reverse()
        for cluster in tuple(clusters):
            clusters.remove(cluster)
            with run.caught("j", cluster.name):
                row = cluster.fetch(1 + number * times, expected, times if number else 1)
                clusters.append(cluster)
                if number == 0:
                    first.add(cluster.name, row)
                elif number > 2:
                    later.add(cluster.name, row)
