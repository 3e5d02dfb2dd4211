"""Socket.IO servers for the load tester: python-socketio in a thread, and the programs of the manual."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import socketio
import uvicorn

from tests.support.pages import ROOT, program

PAGE = "docs/howto/load-test.md"
NODE_MODULES = ROOT / "tests" / "node" / "node_modules"


@dataclass
class Behaviour:
    """What the server does wrong; all of it may be changed while it runs."""

    silent: bool = False
    """It does not acknowledge."""
    delay: float = 0.0
    """Seconds until an ack."""
    twice: bool = False
    """It sends each broadcast twice."""
    auths: list[object] = field(default_factory=list)
    """The `auth` of each connect."""


class Server:
    """python-socketio under uvicorn, with the handlers of the manual in "/" and "/admin"."""

    def __init__(self, sio: socketio.AsyncServer, port: int, behaviour: Behaviour) -> None:
        self.sio = sio
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.behaviour = behaviour


class _Web(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.listening.set()


@contextmanager
def python_server(ping: float = 25.0) -> Iterator[Server]:
    """A server on a free port. `ping` is the interval of its heartbeats in seconds."""
    sio = socketio.AsyncServer(async_mode="asgi", ping_interval=ping, ping_timeout=20)
    behaviour = Behaviour()
    for namespace in ("/", "/admin"):
        _handle(sio, namespace, behaviour)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    config = uvicorn.Config(socketio.ASGIApp(sio), log_config=None, ws_ping_interval=None)
    web = _Web(config)
    thread = threading.Thread(target=lambda: asyncio.run(web.serve([listener])))
    thread.start()
    try:
        # A test counts the sockets of this process: those of the server's event loop are there from now on.
        assert web.listening.wait(60)
        yield Server(sio, listener.getsockname()[1], behaviour)
    finally:
        web.should_exit = web.force_exit = True
        thread.join()
        listener.close()


def _handle(sio: socketio.AsyncServer, namespace: str, behaviour: Behaviour) -> None:
    async def connect(sid: str, environ: object, auth: object = None) -> bool | None:
        behaviour.auths.append(auth)
        return False if auth == {"token": "wrong"} else None

    async def echo(sid: str, value: str) -> str:
        if behaviour.silent:
            await asyncio.Event().wait()
        if behaviour.delay:
            await asyncio.sleep(behaviour.delay)
        return value

    async def publish(sid: str, text: str) -> None:
        for _ in range(1 + behaviour.twice):
            await sio.emit("news", text, namespace=namespace)

    for handler in (connect, echo, publish):
        sio.on(handler.__name__, handler=handler, namespace=namespace)


@contextmanager
def documented(name: str, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """One of the programs of the manual, `server.mjs` or `server.py`, on this port."""
    file = folder / name
    file.write_text(program(PAGE, name), encoding="utf-8")
    link = folder / "node_modules"
    if not link.exists():
        link.symlink_to(NODE_MODULES)
    argv = ["node", str(file)] if name.endswith(".mjs") else [sys.executable, str(file)]
    process = subprocess.Popen(argv, env={**os.environ, "PORT": str(port)})
    try:
        _wait_for(port, process)
        yield process
    finally:
        process.kill()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, "the server does not start"
            time.sleep(0.05)
