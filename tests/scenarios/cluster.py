"""The processes of a cluster: nodes, and one nats-server or three that form a cluster."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from types import TracebackType
from typing import Any, Final, Self
from urllib.error import URLError

from tests.support.nats_server import NatsServer
from tests.support.programs import free_port
from tests.support.service import ROOT, MoorageProcess

PATIENCE: Final = 90.0
"""Timeout in seconds, which only ends a scenario that hangs."""
ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
_names: Final = count(1)


def until(check: Callable[[], Any], what: str, patience: float = PATIENCE) -> float:
    """Repeat `check` until it holds. Returns how long it took. Processes have no event for it."""
    begun = time.monotonic()
    while not check():
        assert time.monotonic() - begun < patience, f"waited {patience} s: {what}"
        time.sleep(0.05)  # between two questions
    return time.monotonic() - begun


def nats_servers(number: int) -> list[NatsServer]:
    """One server, or several that form a cluster. None is started."""
    if number == 1:
        return [NatsServer()]
    return nats_cluster(*[("127.0.0.1", ())] * number)


def nats_cluster(*places: tuple[str, tuple[str, ...]]) -> list[NatsServer]:
    """Servers that form a cluster, each at an address and with something in front of its command."""
    routes = [f"nats://{host}:{free_port()}" for host, _ in places]
    flags = ("--cluster_name", "scenario", "--routes", ",".join(routes))
    return [
        NatsServer(*flags, "--cluster", route, host=host, inside=inside)
        for route, (host, inside) in zip(routes, places, strict=True)
    ]


class Cluster:
    """Use as a context manager. Node number n uses the NATS server number n, as far as there are so many."""

    def __init__(self, nats: int | list[NatsServer] = 1) -> None:
        self.nats = nats_servers(nats) if isinstance(nats, int) else nats
        self.nodes: dict[str, MoorageProcess] = {}
        self._flags: dict[str, list[str]] = {}
        self._urls: dict[str, str] = {}
        self._key = secrets.token_hex(16)
        self._name = f"scenario{next(_names)}"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for server in self.nats:
            self._stack.callback(server.end)
            server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for name, node in self.nodes.items():
                print(f"-- {name}", *node.lines[-40:], sep="\n")
        self._stack.close()

    def launch(
        self,
        name: str,
        *settings: str,
        advertise: bool = True,
        shown: str = "",
        host: str = "127.0.0.1",
        inside: tuple[str, ...] = (),
    ) -> MoorageProcess:
        """Start a node without waiting for it. App servers cover it if it has an address of its own. `shown`
        is the node's name if it is not `name`, and `inside` goes in front of the command."""
        nats, port = self.nats[len(self.nodes) % len(self.nats)], free_port()
        given = (
            f"cluster.nats_url={nats.url}",
            f"cluster.name={self._name}",
            f"cluster.node_name={shown or name}",
            f"cluster.advertise={f'http://{host}:{port}' if advertise else ''}",
            "shutdown.grace=0",
            "shutdown.spread=0",
            *settings,
        )
        flags = [part for each in given for part in ("--set", each)]
        flags += [f"--host={host}", f"--port={port}"]
        self._flags[name] = flags
        self._urls[name] = f"http://{host}:{port}"
        return self._run(name, inside)

    def _run(self, name: str, inside: tuple[str, ...] = ()) -> MoorageProcess:
        node = MoorageProcess(*self._flags[name], command="serve", key=self._key, inside=inside)
        node.url = self._urls[name]
        self._stack.callback(self._end, node)
        self.nodes[name] = node
        return node

    def drain(self, name: str, *, seen: bool = False) -> None:
        """Drain a node with the command, and wait for its end; `seen`: until then it is not ready, for which
        it needs some seconds (`shutdown.lb_wait`)."""
        node = self.nodes[name]
        command = [sys.executable, "-m", "moorage", "drain", str(node.pid), "--no-wait"]
        subprocess.run(command, check=True, timeout=PATIENCE, cwd=ROOT, env=ENVIRONMENT)
        if seen:
            until(lambda: ready(node) == "draining", "it is not ready")
        assert node.wait_exit() == 0

    def again(self, name: str) -> None:
        """Start a node that has ended, with the same settings and address, and wait until it is ready."""
        self._run(name).__enter__()
        self.together()

    @staticmethod
    def _end(node: MoorageProcess) -> None:
        node.signal(signal.SIGCONT)
        node.kill()

    def start(self, *names: str, advertise: bool = True, settings: tuple[str, ...] = ()) -> None:
        """Start nodes at the same time, and wait until all are ready and hear each other."""
        for node in [self.launch(name, *settings, advertise=advertise) for name in names]:
            node.__enter__()
        self.together()

    def together(self, *names: str) -> float:
        """Wait until these nodes, or all, are ready and hear as many. Returns how long it took."""
        chosen = [self.nodes[name] for name in names or self.nodes]
        return until(
            lambda: all(ready(node) == "ready" and heard(node) == len(chosen) for node in chosen),
            "all nodes hear each other",
        )

    def counts(self, metric: str) -> set[float]:
        """The values of `moorage_cluster_...` at all nodes."""
        return {node.metric(f"moorage_cluster_{metric}") for node in self.nodes.values()}


def ready(node: MoorageProcess) -> str:
    """The answer of `/readyz`: `ready`, or why not; `silent` without an answer."""
    try:
        status, body = node.get("/readyz")
    except (URLError, TimeoutError):
        return "silent"
    return "ready" if status == 200 else str(json.loads(body)["reason"])


def heard(node: MoorageProcess) -> float:
    """How many nodes it hears, itself included; 0 if it does not answer."""
    try:
        return node.metric("moorage_cluster_nodes")
    except (URLError, TimeoutError):
        return 0
