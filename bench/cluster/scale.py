"""`python -m bench.cluster.scale`: 100,000 idle WebSocket clients over the workers of one machine.

The exit code is 1 if a bar is missed. Clients come from several processes and loopback addresses, because a
process may have 20,000 open files on many systems, and an address has 28,000 ports for one server."""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench import servers
from bench.cluster.crowd import Crowds, crowds, ticks_of
from bench.cluster.machines import Service, workers
from bench.errors import BenchError
from bench.process import Process, Together
from bench.servers import app, node

_KB_BAR: Final = 12.0
_US_BAR: Final = 3.0
_EACH_WORKER: Final = 17_500
"""Clients of a worker on average: the kernel does not distribute them evenly."""
_PING: Final = 25.0
_WARM: Final = 200
"""Clients that come and go before the first reading: they load code and grow pools."""
_MEMORY: Final = 0.85
"""Share of the memory that may be in use."""
_PATIENCE: Final = 60.0


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster.scale", description=__doc__)
    parser.add_argument("--clients", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=2 * _PING, help="how long the clients are idle")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    servers.install()
    with tempfile.TemporaryDirectory(prefix="moorage-bench-") as folder:
        return _measure(Path(folder), options.clients, options.seconds)


def _measure(logs: Path, clients: int, seconds: float) -> int:
    count = max(2, -(-clients // _EACH_WORKER))
    with _started(logs, count) as (service, speaker):
        nodes = Together(service.parts)
        with crowds(logs, _WARM, [service.address]):
            pass
        nodes.settle()
        empty, empty_app = nodes.rss(), speaker.rss()
        _row("workers, each with its own process", count, "")
        _row("service without clients", empty / 2**20, "MB")
        began = time.monotonic()
        with crowds(logs, clients, [service.address]) as crowd:
            took = time.monotonic() - began
            _row("connects per second", clients / took, "1/s")
            time.sleep(_PING)  # one heartbeat of each client, and the end of all work for the connects
            _row("memory in use", _memory_in_use() * 100, "%")
            idle = _idle(nodes, speaker, crowd, clients, seconds)
            kb = (nodes.rss() - empty) / clients / 1024
            app_kb = (speaker.rss() - empty_app) / clients / 1024
            late = _broadcast(speaker, crowd, clients)
        met = [
            _row("RSS of the workers per client", kb, "KB", bar=_KB_BAR),
            _row("CPU of the workers per client", idle, "us/s", bar=_US_BAR),
            _row("clients that the broadcast did not reach once", late, "", bar=0),
        ]
        _row("RSS of the app per client", app_kb, "KB")
    return 0 if all(met) else 1


@contextmanager
def _started(logs: Path, count: int) -> Iterator[tuple[Service, Process]]:
    argv = node("app/sdk.mjs")
    # 100,000 sockets of socket.io need more than V8 allows itself by default.
    argv.insert(1, "--max-old-space-size=8192")
    nodes, ping = str(count), str(int(_PING * 1000))
    with (
        workers(logs, count) as service,
        app(logs, argv, service.string, BENCH_NODES=nodes, BENCH_PING=ping) as speaker,
    ):
        yield service, speaker


def _idle(nodes: Together, speaker: Process, crowd: Crowds, clients: int, seconds: float) -> float:
    """Microseconds of CPU that the workers use for each client in a second."""
    before, app_before, crowd_before = nodes.cpu(), speaker.cpu(), crowd.cpu()
    began = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    spent = (nodes.cpu() - before) / took
    _row("CPU of all workers", spent / 1e7, "% of a core")
    _row("CPU of the app", (speaker.cpu() - app_before) / took / 1e7, "% of a core")
    _row("CPU of the clients' processes", (crowd.cpu() - crowd_before) / took / 1e7, "% of a core")
    return spent / clients / 1000


def _broadcast(speaker: Process, crowd: Crowds, clients: int) -> int:
    """Emit to all. Returns how many have not got it exactly once."""
    began = time.monotonic()
    speaker.send({"times": 1, "bytes": 100})
    while True:
        reports = crowd.report()
        reached = ticks_of(reports).get(1, 0)
        if reached == clients:
            _row("until the broadcast had reached all", time.monotonic() - began, "s")
            return 0
        if time.monotonic() - began > _PATIENCE:
            lost = sum(report.lost for report in reports)
            print(f"{lost} clients were disconnected", file=sys.stderr)
            return clients - reached
        time.sleep(0.1)


def _memory_in_use() -> float:
    """The share of the machine's memory. Raises `BenchError` if it is too much."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    share = 1 - kilobytes["MemAvailable"] / kilobytes["MemTotal"]
    if share > _MEMORY:
        raise BenchError(f"{share:.0%} of the memory are in use, more than {_MEMORY:.0%}")
    return share


def _row(title: str, value: float, unit: str, bar: float | None = None) -> bool:
    met = bar is None or value <= bar
    verdict = "" if bar is None else f"  <= {bar:g}  {'pass' if met else 'MISS'}"
    print(f"{title:48}{value:12,.2f} {unit:12}{verdict}".rstrip(), flush=True)
    return met


if __name__ == "__main__":
    sys.exit(main())
