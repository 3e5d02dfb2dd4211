"""The targets with several nodes: ours, and native servers that find each other through Redis."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle, repeat
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import urlopen

from bench.errors import BenchError
from bench.gather import redis_server
from bench.process import Measured, Observed, Process, Together, ready_facts
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
from moorage.cluster.nats import server as nats_server

_SERVE: Final = (sys.executable, "-m", "moorage", "serve")
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
class Service:
    """Several nodes of one service."""

    address: Address
    """Of all nodes; of the first one, if they share none."""
    string: str
    nodes: tuple[Address, ...]
    parts: tuple[Observed, ...]
    """The nodes' processes."""
    beside: Mapping[str, Measured]
    """NATS, and the supervisor if there is one."""

    def target(self, name: str, app: Process, address: Address | None = None) -> Target:
        """This service with an app server."""
        nodes = Together(self.parts)
        return Target(name, address or self.address, nodes, app, repeat(app), self.beside, self.nodes)


@contextmanager
def workers(logs: Path, count: int, *settings: str, checkout: Path = CHECKOUT) -> Iterator[Service]:
    """`moorage serve --workers COUNT`."""
    key, port = secrets.token_urlsafe(32), free_port()
    flags = ["--workers", str(count), *_flags(key, port, *settings)]
    process = Process([*_SERVE, *flags], log=logs / "moorage.log", env=environment(checkout))
    try:
        _ready(process)
        started = [record for line in process.lines() if (record := _record(line)).get("pid")]
        parts = tuple(Observed(int(record["pid"]), str(record["node"])) for record in started)
        yield Service(
            Address(port, PATH),
            _string(key, port),
            tuple(Address(urlsplit(str(record["url"])).port or 0, PATH) for record in started),
            parts,
            _beside(process, {part.pid for part in parts}),
        )
    finally:
        process.stop()


def _beside(supervisor: Process, known: set[int]) -> dict[str, Measured]:
    """The supervisor and its children that are not workers: the NATS server."""
    children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()
    others = [Observed(int(pid), "nats") for pid in children if int(pid) not in known]
    return {"supervisor": supervisor, **{other.name: other for other in others}}


@contextmanager
def nodes(logs: Path, count: int, *settings: str, nats: int = 1, advertise: bool = True) -> Iterator[Service]:
    """Single nodes that form a cluster over one NATS server, or over a cluster of them. Without `advertise`
    an app server can reach only the one node whose address it has."""
    key = secrets.token_urlsafe(32)
    with ExitStack() as stack:
        urls, brokers = nats_servers(stack, logs, nats)
        ports = [free_port() for _ in range(count)]
        processes = []
        for number, port in enumerate(ports):
            own = (
                f"cluster.nats_url={urls[number % nats]}",
                f"cluster.node_name=n{number}",
                *([f"cluster.advertise=http://{HOST}:{port}"] if advertise else []),
            )
            argv = [*_SERVE, *_flags(key, port, *own, *settings)]
            process = Process(argv, log=logs / f"node-{number}.log", env=environment())
            stack.callback(process.stop)
            processes.append(process)
        for process in processes:
            _ready(process)
        for port in ports:
            _hears(port, count)
        addresses = tuple(Address(port, PATH) for port in ports)
        string = _string(key, ports[0])
        yield Service(addresses[0], string, addresses, tuple(processes), {"nats": brokers})


def nats_servers(stack: ExitStack, logs: Path, count: int) -> tuple[list[str], Together]:
    """NATS servers that form a cluster: their URLs and processes."""
    program, brokers, urls = nats_server.find(), [], []
    routes = [f"nats://{HOST}:{free_port()}" for _ in range(count)]
    for number, route in enumerate(routes):
        port = free_port()
        argv = [program, "-a", HOST, "-p", str(port), "--cluster_name", "bench"]
        argv += ["--cluster", route, "--routes", ",".join(routes)]
        broker = Process(argv, log=logs / f"nats-{number}.log")
        stack.callback(broker.stop)
        brokers.append(broker)
        urls.append(f"nats://{HOST}:{port}")
    for broker in brokers:
        broker.wait_line(lambda line: True if "Server is ready" in line else None)
    return urls, Together(tuple(brokers))


def _ready(process: Process) -> None:
    process.wait_line(lambda line: True if _record(line).get("event") == "ready" else None, seconds=60)


def _hears(port: int, count: int) -> None:
    """Wait until a node takes clients and hears all nodes."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError):
            urlopen(f"http://{HOST}:{port}/readyz", timeout=5).close()
            if metric(port, "moorage_cluster_nodes") == count:
                return
        time.sleep(0.05)
    raise BenchError(f"a node does not hear all {count}")


def metric(port: int, name: str) -> float:
    """A value that a node shows in `/metrics`."""
    with urlopen(f"http://{HOST}:{port}/metrics", timeout=5) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
    return 0.0


def _flags(key: str, port: int, *settings: str) -> list[str]:
    given = (f"keys.primary={key}", "shutdown.lb_wait=0", "shutdown.timeout=1", *settings)
    return ["--host", HOST, "--port", str(port), *(part for each in given for part in ("--set", each))]


def _string(key: str, port: int) -> str:
    return f"Endpoint=http://{HOST}:{port};AccessKey={key};Version=1.0;"


def _record(line: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
    return record


def ours(count: int, *settings: str, checkout: Path = CHECKOUT, **env: str) -> Start:
    """A service of `checkout` with workers, and an app server that covers all of them."""

    @contextmanager
    def start(logs: Path, clients: int) -> Iterator[Target]:
        argv = node("app/sdk.mjs", checkout)
        with (
            workers(logs, count, *settings, checkout=checkout) as service,
            app(logs, argv, service.string, checkout=checkout, BENCH_NODES=str(count), **env) as beside,
        ):
            yield service.target(MOORAGE, beside)

    return start


def forwarded(script: str) -> Start:
    """Two nodes: the app server is linked to the first, and all clients connect to the second."""

    @contextmanager
    def start(logs: Path, clients: int) -> Iterator[Target]:
        with (
            nodes(logs, 2, advertise=False) as service,
            app(logs, node(script), service.string) as beside,
        ):
            yield service.target(MOORAGE, beside, service.nodes[1])

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
