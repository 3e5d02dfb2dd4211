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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.errors import BenchError
from bench.process import Process, ready_facts

HERE = Path(__file__).parent
HOST = "127.0.0.1"
HUB = "bench"
MOORAGE, NATIVE, C_LOOP = "moorage", "native", "c"
NAMES = (MOORAGE, NATIVE, C_LOOP)

_CONNECTION_STRING = re.compile(r"Connection string\s+(Endpoint=\S+)")


class Address(NamedTuple):
    """Where clients connect; an empty path means bare TCP without a handshake."""

    port: int
    path: str


class Cpu(NamedTuple):
    """Nanoseconds on a CPU."""

    service: int
    """Of the process that holds the clients."""
    app: int
    """Of the app process beside it; 0 where there is none."""
    generator: int
    """Of this process, which is the clients."""

    def since(self, before: Cpu) -> Cpu:
        """What was spent from the reading `before` to this one."""
        return Cpu(*(now - then for now, then in zip(self, before, strict=True)))


@dataclass(frozen=True)
class Target:
    """A running server under test."""

    name: str
    address: Address
    service: Process
    app: Process | None

    def broadcast(self, times: int, size: int) -> None:
        """Have the app emit `times` events of a `size`-byte string to everybody, back to back."""
        (self.app or self.service).send({"times": times, "bytes": size})

    def cpu(self) -> Cpu:
        """CPU clocks, once both processes are idle, so that what trails a delivery is counted too."""
        self.service.settle()
        if self.app is not None:
            self.app.settle()
        app = 0 if self.app is None else self.app.cpu()
        return Cpu(self.service.cpu(), app, time.process_time_ns())


Start = Callable[[Path, int], AbstractContextManager[Target]]
"""Takes a directory for logs and the number of clients to come (only the C loop has to know)."""


def install() -> None:
    """Install the Node.js packages as locked, when they are missing."""
    if not (HERE / "node_modules" / ".package-lock.json").exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True, timeout=300)


def compile_loop(directory: Path) -> Path:
    """Compile the C loop into `directory`. Raises `BenchError` without a working compiler."""
    program = directory / "sendloop"
    argv = ["cc", "-O2", "-Wall", "-o", str(program), str(HERE / "c" / "sendloop.c")]
    try:
        subprocess.run(argv, check=True, timeout=60, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchError(f"the C loop does not compile: {error}") from error
    return program


@contextmanager
def native(logs: Path, clients: int) -> Iterator[Target]:
    """`socket.io` with `ws` on Node.js: clients and app in one process."""
    process = Process(["node", str(HERE / "native" / "server.mjs")], log=logs / "native.log")
    try:
        facts = process.wait_line(ready_facts)
        yield Target(NATIVE, Address(int(str(facts["port"])), "/socket.io/"), process, None)
    finally:
        process.stop()


@contextmanager
def c_loop(logs: Path, clients: int) -> Iterator[Target]:
    """`send()` in a loop."""
    process = Process([str(compile_loop(logs)), str(clients)], log=logs / "c.log")
    try:
        facts = process.wait_line(ready_facts)
        yield Target(C_LOOP, Address(int(str(facts["port"])), ""), process, None)
    finally:
        process.stop()


@contextmanager
def moorage(logs: Path, clients: int) -> Iterator[Target]:
    """The service, and the app process that `@azure/web-pubsub-socket.io` joins to it."""
    port = _free_port()
    argv = [sys.executable, "-m", "moorage", "dev", "--host", HOST, "--port", str(port)]
    service = Process(
        [*argv, "--access-key", secrets.token_urlsafe(32)], log=logs / "moorage.log", env=_environment()
    )
    try:
        string = service.wait_line(_connection_string)
        env = {**os.environ, "BENCH_HUB": HUB, "BENCH_CONNECTION_STRING": string}
        app = Process(["node", str(HERE / "app" / "azure.mjs")], log=logs / "app.log", env=env)
        try:
            app.wait_line(ready_facts)
            yield Target(MOORAGE, Address(port, f"/clients/socketio/hubs/{HUB}/"), service, app)
        finally:
            app.stop()
    finally:
        service.stop()


STARTS: dict[str, Start] = {MOORAGE: moorage, NATIVE: native, C_LOOP: c_loop}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _environment() -> dict[str, str]:
    """Ours, with the source tree importable and no buffering between a log line and its file."""
    path = [str(HERE.parent / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"}


def _connection_string(line: str) -> str | None:
    found = _CONNECTION_STRING.search(line)
    return found[1] if found else None
