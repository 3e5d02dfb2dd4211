"""The targets: Moorage with an app behind the Azure SDK, native Socket.IO, and the C loop.

Each is started fresh for a measurement, on a port of its own on loopback, and stopped after it.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Final, NamedTuple

from bench.compiler import compiled
from bench.process import Measured, Process, ready_facts

HERE: Final = Path(__file__).parent
CHECKOUT: Final = HERE.parent
"""The source tree that this file belongs to."""
HOST = "127.0.0.1"
HUB = "bench"
MOORAGE, NATIVE, BUN, C_LOOP = "moorage", "native", "bun", "c"
NAMES = (MOORAGE, NATIVE, BUN, C_LOOP)

_CONNECTION_STRING = re.compile(r"Connection string\s+(Endpoint=\S+)")


class Address(NamedTuple):
    """The address for clients; an empty path means bare TCP without a handshake."""

    port: int
    path: str
    headers: tuple[str, ...] = ()
    """Added to every handshake, such as the cookie that names a server behind a balancer."""


class Cpu(NamedTuple):
    """Nanoseconds on a CPU."""

    service: int
    """CPU of the process that holds the clients."""
    app: int
    """CPU of the app process; 0 if there is none."""
    generator: int
    """CPU of this process, which runs the clients."""

    def since(self, before: Cpu) -> Cpu:
        """The difference between this reading and `before`."""
        return Cpu(*(now - then for now, then in zip(self, before, strict=True)))


@dataclass(frozen=True)
class Target:
    """A running server under test."""

    name: str
    address: Address
    service: Measured
    app: Measured | None
    speakers: Iterator[Process]
    """Who emits the next broadcast: the app, or several in turn."""
    beside: Mapping[str, Measured] = field(default_factory=dict)
    """Other processes that it needs, such as Redis. Their CPU is never part of `service` or `app`."""
    nodes: tuple[Address, ...] = ()
    """The address of each node, if there are several."""

    def broadcast(self, times: int, size: int, **more: int | str) -> None:
        """Make the app emit `times` events of a `size`-byte string to all clients, back to back. `more` is a
        `room`, and a `rate` a second."""
        next(self.speakers).send({"times": times, "bytes": size, **more})

    def cpu(self) -> Cpu:
        """The CPU clocks, read when all processes are idle, so that work after a delivery counts."""
        clocks = self.clocks()
        return Cpu(clocks["service"], clocks.get("app", 0), clocks["generator"])

    def clocks(self) -> dict[str, int]:
        """The same by name, with those of the processes beside it."""
        measured = {"service": self.service, **self.beside}
        if self.app is not None:
            measured["app"] = self.app
        for process in measured.values():
            process.settle()
        return {name: process.cpu() for name, process in measured.items()} | {
            "generator": time.process_time_ns()
        }


Start = Callable[[Path, int], AbstractContextManager[Target]]
"""Starts a target, given a directory for logs and the number of clients (used only by the C loop)."""


def install(checkout: Path = CHECKOUT) -> None:
    """Install the Node.js packages of `checkout` as locked, and build its Node.js SDK, where missing."""
    for folder in (checkout / "bench", checkout / "sdk-node"):
        if not (folder / "node_modules" / ".package-lock.json").exists():
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=300)
    if not (checkout / "sdk-node" / "dist").exists():
        argv = ["npm", "run", "build", "--silent"]
        subprocess.run(argv, cwd=checkout / "sdk-node", check=True, timeout=300)


def native(argv: Sequence[str], name: str = NATIVE, **env: str) -> Start:
    """A server that holds the clients and runs the app in one process; `env` is added to its own."""

    @contextmanager
    def start(logs: Path, clients: int) -> Iterator[Target]:
        process = Process(argv, log=logs / f"{name}.log", env={**environment(), **env})
        try:
            facts = process.wait_line(ready_facts)
            address = Address(int(str(facts["port"])), "/socket.io/")
            yield Target(name, address, process, None, repeat(process))
        finally:
            process.stop()

    return start


@contextmanager
def c_loop(logs: Path, clients: int) -> Iterator[Target]:
    """`send()` in a loop."""
    program = compiled(HERE / "c" / "sendloop.c", logs / "sendloop")
    process = Process([str(program), str(clients)], log=logs / "c.log")
    try:
        facts = process.wait_line(ready_facts)
        yield Target(C_LOOP, Address(int(str(facts["port"])), ""), process, None, repeat(process))
    finally:
        process.stop()


def moorage(
    argv: Sequence[str], *, checkout: Path = CHECKOUT, flags: Sequence[str] = (), **env: str
) -> Start:
    """The service of `checkout`, with further flags, and an app process beside it."""

    @contextmanager
    def start(logs: Path, clients: int) -> Iterator[Target]:
        with (
            service(logs, checkout, flags=flags) as (process, address, string),
            app(logs, argv, string, checkout=checkout, **env) as beside,
        ):
            yield Target(MOORAGE, address, process, beside, repeat(beside))

    return start


@contextmanager
def service(
    logs: Path,
    checkout: Path = CHECKOUT,
    env: Mapping[str, str] | None = None,
    *,
    flags: Sequence[str] = (),
) -> Iterator[tuple[Process, Address, str]]:
    """The service of `checkout` alone: its process, where its clients connect, and its connection string.
    `env` instead of the usual environment; `flags` are added to the command line."""
    port = free_port()
    argv = [_interpreter(checkout), "-m", "moorage", "dev", "--host", HOST, "--port", str(port)]
    process = Process(
        [*argv, "--access-key", secrets.token_urlsafe(32), *flags],
        log=logs / "moorage.log",
        env=dict(env or environment(checkout)),
    )
    try:
        string = process.wait_line(_connection_string)
        yield process, Address(port, f"/clients/socketio/hubs/{HUB}/"), string
    finally:
        process.stop()


@contextmanager
def app(
    logs: Path, argv: Sequence[str], string: str, *, checkout: Path = CHECKOUT, **env: str
) -> Iterator[Process]:
    """One app process that has joined the service."""
    facts = {"BENCH_HUB": HUB, "BENCH_CONNECTION_STRING": string}
    process = Process(argv, log=logs / "app.log", env={**environment(checkout), **facts, **env})
    try:
        process.wait_line(ready_facts)
        yield process
    finally:
        process.stop()


def _interpreter(checkout: Path) -> str:
    """The Python of `checkout`. An older one may need packages that today's environment does not have."""
    own = checkout / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def node(script: str, checkout: Path = CHECKOUT) -> list[str]:
    """The command line of one of the Node.js programs of `checkout`."""
    return ["node", str(checkout / "bench" / script)]


def bun(script: str, checkout: Path = CHECKOUT) -> list[str]:
    """The same, run by Bun."""
    return [str(checkout / "bench" / "node_modules" / ".bin" / "bun"), str(checkout / "bench" / script)]


def python(module: str, checkout: Path = CHECKOUT) -> list[str]:
    """The same for Python."""
    return [_interpreter(checkout), "-m", f"bench.{module}"]


def free_port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def environment(checkout: Path = CHECKOUT) -> dict[str, str]:
    """The environment of this process, in which `moorage` and `bench` are imported from `checkout`, and
    nothing stands between a log line and its file."""
    path = [str(checkout / "src"), str(checkout), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"}


def _connection_string(line: str) -> str | None:
    found = _CONNECTION_STRING.search(line)
    return found[1] if found else None
