"""compose.yaml without Docker: its nodes, NATS server and nginx as processes with the same settings."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import aiohttp
import pytest
import socketio

from tests.deploy.checks import DEPLOY, compose_file
from tests.support.app_link import AppServer
from tests.support.nats_server import NatsServer
from tests.support.pages import ROOT
from tests.support.programs import free_port, running
from tests.support.python_client import PATIENCE, leave
from tests.support.service import MoorageProcess

NODES = ("moorage-1", "moorage-2", "moorage-3")
KEY = "0123456789abcdef" * 2
SECONDS = 60.0

pytestmark = pytest.mark.timeout(180)


def health(*more: str) -> int:
    """The exit code of the image's health check. A container has one service, which needs no further
    arguments."""
    found = re.search(r"HEALTHCHECK.*?CMD (\[.*?\])\n", (DEPLOY / "Dockerfile").read_text(), re.S)
    assert found
    _, *arguments = json.loads(found[1])
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, *arguments, *more]
    return subprocess.run(command, check=False, capture_output=True, env=env).returncode


@pytest.fixture(name="nodes", scope="module")
def _nodes() -> Iterator[list[MoorageProcess]]:
    services = compose_file()["services"]
    ports = {name: free_port() for name in NODES}
    with ExitStack() as stack:
        nats = stack.enter_context(NatsServer("--auth", "token"))
        nodes = []
        for name in NODES:
            changes = {
                r"\$\{ACCESS_KEY[^}]*\}": KEY,
                r"\$\{NATS_TOKEN[^}]*\}@nats:4222": f"token@127.0.0.1:{nats.port}",
                rf"{name}:8080": f"127.0.0.1:{ports[name]}",
                r"^172\.30\.77\.0/24$": "127.0.0.0/8",
            }
            env = {}
            for setting, value in services[name]["environment"].items():
                for old, new in changes.items():
                    value = re.sub(old, new, value)
                env[setting] = value
            flags = ("--port", str(ports[name]))
            nodes.append(stack.enter_context(MoorageProcess(*flags, command="serve", env=env, key=KEY)))
        yield nodes


async def ready(nodes: list[MoorageProcess]) -> None:
    """Wait until all nodes know each other."""
    async with asyncio.timeout(SECONDS):
        for node in nodes:
            while node.get("/readyz")[0] != 200 or node.metric("moorage_cluster_nodes") != len(NODES):
                await asyncio.sleep(0.05)  # between two questions, not instead of them


async def test_the_health_check_passes_once_a_node_is_ready(nodes: list[MoorageProcess]) -> None:
    await ready(nodes)
    assert [health(str(node.pid)) for node in nodes] == [0, 0, 0]
    assert health("--set", f"server.port={free_port()}") == 1


async def test_clients_come_through_nginx(nodes: list[MoorageProcess], tmp_path: Path) -> None:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    await ready(nodes)
    port = free_port()
    site = (DEPLOY / "nginx.conf").read_text().replace("listen 8080;", f"listen 127.0.0.1:{port};")
    for name, node in zip(NODES, nodes, strict=True):
        site = site.replace(f"{name}:8080", node.url.removeprefix("http://"))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"{kind}_temp_path {tmp_path / kind};" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (tmp_path / "nginx.conf").write_text(
        f"{user}daemon off;\npid {tmp_path / 'nginx.pid'};\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{paths}\n{site}\n}}\n"
    )
    command = (program, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"))
    async with AsyncExitStack() as stack:
        for node in nodes:
            await stack.enter_async_context(AppServer(node, "chat"))
        nginx = await stack.enter_async_context(running(*command, env={}, cwd=ROOT))
        try:
            await served(f"http://127.0.0.1:{port}")
            await echo_to_each_node(f"http://127.0.0.1:{port}")
        finally:
            nginx.signal(signal.SIGTERM)  # its workers would outlive it otherwise
            await nginx.end()


async def served(url: str) -> None:
    """Wait until nginx listens; it keeps what is for operators to itself."""
    async with asyncio.timeout(SECONDS), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/metrics") as answer:
                    assert answer.status == 403
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)  # between two tries, not instead of them


async def echo_to_each_node(url: str) -> None:
    """Clients that begin with polling: their requests reach all nodes in turn."""
    clients = [socketio.AsyncClient() for _ in NODES]
    for client in clients:
        await client.connect(url, socketio_path="/clients/socketio/hubs/chat", wait_timeout=PATIENCE)
        assert await client.call("echo", "hello", timeout=SECONDS) == "hello"
    assert len({client.eio.sid[:8] for client in clients}) > 1, "nginx distributes them"
    for client in clients:
        await leave(client)
