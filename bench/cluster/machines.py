"""The targets with several nodes: ours, and native servers that find each other through Redis."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle, repeat
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from bench.errors import BenchError
from bench.gather import redis_server
from bench.process import Observed, Process, Together, ready_facts
from bench.servers import (
    CHECKOUT,
    HOST,
    HUB,
    MOORAGE,
    NATIVE,
    Address,
    Start,
    Target,
    app,
    environment,
    free_port,
    node,
)

PATH: Final = f"/clients/socketio/hubs/{HUB}/"
_PROGRAMS: Final = ("/usr/sbin", "/usr/bin", "/usr/local/sbin")
_HAPROXY: Final = """
global
    maxconn 9000
defaults
    mode http
    timeout connect 2s
    timeout client 700s
    timeout server 700s
    timeout tunnel 700s
frontend clients
    bind {host}:{port}
    default_backend servers
backend servers
    balance roundrobin
    cookie server insert indirect nocache
{servers}
"""


@dataclass(frozen=True)
class Workers:
    """A service with several workers on one port."""

    process: Process
    address: Address
    string: str
    nodes: tuple[Address, ...]
    """Each worker's own port."""
    parts: tuple[Observed, ...]
    """The workers themselves."""
    beside: Mapping[str, Observed]
    """The supervisor and its NATS server."""


@contextmanager
def workers(logs: Path, count: int, *settings: str, checkout: Path = CHECKOUT) -> Iterator[Workers]:
    """The service alone: `moorage serve --workers COUNT`."""
    key, port = secrets.token_urlsafe(32), free_port()
    argv = [sys.executable, "-m", "moorage", "serve", "--host", HOST, "--port", str(port)]
    given = (f"keys.primary={key}", "shutdown.lb_wait=0", "shutdown.timeout=1", *settings)
    flags = [part for each in given for part in ("--set", each)]
    process = Process(
        [*argv, "--workers", str(count), *flags], log=logs / "moorage.log", env=environment(checkout)
    )
    try:
        process.wait_line(lambda line: _record(line).get("event") == "ready" or None, seconds=60)
        started = [record for line in process.lines() if (record := _record(line)).get("pid")]
        parts = tuple(Observed(int(record["pid"]), str(record["node"])) for record in started)
        yield Workers(
            process,
            Address(port, PATH),
            f"Endpoint=http://{HOST}:{port};AccessKey={key};Version=1.0;",
            tuple(Address(urlsplit(str(record["url"])).port or 0, PATH) for record in started),
            parts,
            _beside(process, {part.pid for part in parts}),
        )
    finally:
        process.stop()


def _record(line: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
    return record


def _beside(supervisor: Process, known: set[int]) -> dict[str, Observed]:
    """The supervisor and its children that are not workers: the NATS server."""
    children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()
    others = [Observed(int(pid), "nats") for pid in children if int(pid) not in known]
    return {"supervisor": supervisor, **{other.name: other for other in others}}


def ours(count: int, *, script: str = "app/sdk.mjs", checkout: Path = CHECKOUT, name: str = MOORAGE) -> Start:
    """A service with workers, and an app server that covers all of them (Azure's SDK covers none)."""

    @contextmanager
    def start(logs: Path, clients: int) -> Iterator[Target]:
        argv = node(script, checkout)
        with (
            workers(logs, count, checkout=checkout) as service,
            app(logs, argv, service.string, checkout=checkout, BENCH_NODES=str(count)) as beside,
        ):
            yield Target(
                name,
                service.address,
                Together(service.parts),
                beside,
                repeat(beside),
                service.beside,
                service.nodes,
            )

    return start


def native_servers(count: int) -> Start:
    """Native servers with the Redis adapter behind HAProxy, which keeps a client at its server by a cookie.
    They take turns in what the app emits."""

    @contextmanager
    def start(logs: Path, clients: int) -> Iterator[Target]:
        with ExitStack() as stack:
            redis, redis_port = stack.enter_context(redis_server(logs))
            servers, ports = [], []
            for number in range(count):
                env = {**environment(), "BENCH_REDIS_PORT": str(redis_port)}
                server = Process(node("native/redis.mjs"), log=logs / f"server-{number}.log", env=env)
                stack.callback(server.stop)
                servers.append(server)
                ports.append(int(str(server.wait_line(ready_facts)["port"])))
            port, balancer = _haproxy(stack, logs, ports)
            yield Target(
                NATIVE,
                Address(port, "/socket.io/"),
                Together(tuple(servers)),
                None,
                cycle(servers),
                {"redis": redis, "haproxy": balancer},
                tuple(Address(port, "/socket.io/", (f"Cookie: server=s{at}",)) for at in range(count)),
            )

    return start


def _haproxy(stack: ExitStack, logs: Path, ports: list[int]) -> tuple[int, Process]:
    """HAProxy in front of native servers: its port and process."""
    program = shutil.which("haproxy") or next(
        (f"{folder}/haproxy" for folder in _PROGRAMS if Path(folder, "haproxy").exists()), None
    )
    if program is None:
        raise BenchError("NOT MEASURED: no haproxy here; `make bench` installs it where it can")
    port = free_port()
    servers = "\n".join(
        f"    server s{at} {HOST}:{one} cookie s{at} check inter 500ms" for at, one in enumerate(ports)
    )
    config = logs / "haproxy.cfg"
    config.write_text(_HAPROXY.format(host=HOST, port=port, servers=servers))
    # -db: in the foreground, so that this is the process with the threads and the clock.
    process = Process([program, "-db", "-f", str(config)], log=logs / "haproxy.log")
    stack.callback(process.stop)
    process.wait_open((HOST, port))
    return port, process
