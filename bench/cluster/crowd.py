"""Clients in processes of their own that stay, answer heartbeats, count events, and return if they are lost.

Run as `python -m bench.cluster.crowd SOURCE PATH COUNT PORT...`. Each line on standard input is answered with
the `Report` of this moment. A client that is lost waits as long as a stock client (0.5 to 1.5 s) and then
connects to the next port; a port that refuses it costs no time, because a load balancer would not use it."""

from __future__ import annotations

import heapq
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, cycle
from pathlib import Path
from typing import Final

import msgspec

from bench.errors import BenchError
from bench.fleet import READY, Client, Fleet
from bench.frames import TICK
from bench.process import Process, ready_facts
from bench.servers import Address, environment, python

_EACH: Final = 18_000
"""Clients of one process, which may have 20,000 open files on many systems."""
_WAIT: Final = (0.5, 1.5)
"""Seconds until a lost client connects again."""
_TURN: Final = 0.05
_CONNECTING: Final = 50
"""Clients of one process that connect at a time."""


class Report(msgspec.Struct):
    """What the clients of a process have seen."""

    number: int
    connected: int
    lost: int
    """Connections that broke, so far."""
    returned_at: float
    """When the last one was back, on the monotonic clock of the machine."""
    ticks: dict[int, int]
    """Events that a client has got -> number of such clients, among those that were never lost."""


class Crowd:
    """The clients of one process."""

    def __init__(self, fleet: Fleet, addresses: Sequence[Address]) -> None:
        self._fleet = fleet
        self._addresses = cycle(addresses)
        self._faithful = set(fleet.clients)
        self._connecting: set[Client] = set()
        self._due: list[float] = []
        """When lost clients connect again, the next one first."""
        self._lost = 0
        self._returned_at = 0.0

    def turn(self) -> None:
        """Look at what has arrived, and connect those whose time has come."""
        now = time.monotonic()
        while self._due and self._due[0] <= now and len(self._connecting) < _CONNECTING:
            heapq.heappop(self._due)
            self._dial()
        for client in self._fleet.ready(_TURN):
            try:
                self._look(client)
            except BenchError:
                self._lose(client)

    def report(self, number: int) -> Report:
        """The state of this moment."""
        waiting = len(self._connecting) + len(self._due)
        ticks = Counter(client.got for client in self._faithful)
        connected = len(self._fleet.clients) - len(self._connecting)
        assert connected + waiting == len(self._fleet.clients) + len(self._due)
        return Report(number, connected, self._lost, self._returned_at, ticks)

    def _dial(self) -> None:
        self._fleet.aim(next(self._addresses))
        self._connecting.add(self._fleet.dial())

    def _look(self, client: Client) -> None:
        if client.state != READY:
            self._fleet.advance(client)
            if client.state == READY:
                self._connecting.discard(client)
                self._returned_at = time.monotonic()
            return
        for packet in self._fleet.packets(client, self._fleet.receive(client)):
            client.got += packet.startswith(TICK)

    def _lose(self, client: Client) -> None:
        self._fleet.forget(client)
        if client in self._connecting:
            self._connecting.discard(client)
            self._dial()
            return
        self._lost += 1
        self._faithful.discard(client)
        heapq.heappush(self._due, time.monotonic() + random.uniform(*_WAIT))


def main() -> None:
    """Connect, report it, and stay until standard input ends."""
    source, path, wanted, *ports = sys.argv[1:]
    addresses = [Address(int(port), path) for port in ports]
    with Fleet(addresses[0], source=source) as fleet:
        total = int(wanted)
        for at, address in enumerate(addresses):
            fleet.aim(address)
            share = total * (at + 1) // len(addresses) - total * at // len(addresses)
            fleet.open(share, parallel=_CONNECTING, seconds=220)
        crowd = Crowd(fleet, addresses)
        print('{"ready":true}', flush=True)
        os.set_blocking(0, False)
        while True:
            crowd.turn()
            try:
                command = os.read(0, 4096)
            except BlockingIOError:
                continue
            if not command:
                return
            for line in command.splitlines():
                report = crowd.report(json.loads(line)["report"])
                print(msgspec.json.encode(report).decode(), flush=True)


class Crowds:
    """Several such processes."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes
        self._numbers = count(1)

    def report(self) -> list[Report]:
        """The report of each."""
        number = next(self._numbers)
        for process in self._processes:
            process.send({"report": number})
        return [
            process.wait_line(lambda line: _report(line, number), seconds=30) for process in self._processes
        ]

    def cpu(self) -> int:
        """Nanoseconds on a CPU."""
        return sum(process.cpu() for process in self._processes)


def _report(line: str, number: int) -> Report | None:
    if not line.startswith('{"number":'):
        return None
    report = msgspec.json.decode(line, type=Report)
    return report if report.number == number else None


@contextmanager
def crowds(logs: Path, clients: int, addresses: Sequence[Address], seconds: float = 230) -> Iterator[Crowds]:
    """So many clients, connected to these addresses in equal parts, in as few processes as can have them."""
    number = -(-clients // _EACH)
    path = addresses[0].path
    ports = [str(address.port) for address in addresses]
    with ExitStack() as stack:
        processes = []
        for at in range(number):
            share = clients * (at + 1) // number - clients * at // number
            argv = [*python("cluster.crowd"), f"127.0.1.{at + 1}", path, str(share), *ports]
            process = Process(argv, log=logs / f"crowd-{at}.log", env=environment())
            stack.callback(process.stop)
            processes.append(process)
        for process in processes:
            process.wait_line(ready_facts, seconds=seconds)
        yield Crowds(processes)


def ticks_of(reports: Sequence[Report]) -> dict[int, int]:
    """`Report.ticks` of all."""
    total: Counter[int] = Counter()
    for report in reports:
        total.update(report.ticks)
    return dict(total)


if __name__ == "__main__":
    main()
