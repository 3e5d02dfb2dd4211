"""docs/howto/load-balancers.md: its snippets for nginx and HAProxy as they stand on the page, between real
nodes and stock clients."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import socketio

from tests.support.app_link import AppServer
from tests.support.pages import ROOT
from tests.support.programs import free_port, running
from tests.support.python_client import PATIENCE, leave
from tests.support.rawhttp import clients
from tests.support.service import MoorageProcess
from tests.support.two_nodes import two_nodes

PAGE = (ROOT / "docs/howto/load-balancers.md").read_text()
SECONDS = 60.0
COUNT = 8
HANDED_OVER = ("moorage_cluster_relays_total", "moorage_cluster_passed_connections_total")

pytestmark = pytest.mark.timeout(180)


def block(kind: str, having: str) -> str:
    """The only block of code of this kind with these words in it."""
    found = [text for text in re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.S | re.M) if having in text]
    assert len(found) == 1, (kind, having)
    return str(found[0])


def program(name: str) -> str:
    """A program of the system, or the test is skipped."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/bin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def replaced(text: str, changes: dict[str, str]) -> str:
    """The text with changes that must each apply."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def addresses(nodes: list[MoorageProcess]) -> dict[str, str]:
    """The page's nodes, and the test's."""
    return {f"10.0.0.1{n}:8080": node.url.removeprefix("http://") for n, node in enumerate(nodes, 1)}


def nginx(folder: Path, port: int, nodes: list[MoorageProcess], *, routed: bool, kept: bool) -> list[str]:
    """The page's nginx in a folder. Returns the command that starts it."""
    site = block("nginx", "listen 80")
    if routed:
        site = block("nginx", "$arg_sid") + replaced(
            site, {"        proxy_pass http://moorage;\n": block("nginx", "        proxy_pass http://$")}
        )
    site = replaced(site, addresses(nodes) | {"listen 80;": f"listen 127.0.0.1:{port};"})
    if not kept:
        site = replaced(site, {"    keepalive 64;\n": ""})
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"{kind}_temp_path {folder / kind};" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\npid {folder / 'nginx.pid'};\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{paths}\n{site}\n}}\n"
    )
    return [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, port: int, nodes: list[MoorageProcess], *, routed: bool, kept: bool) -> list[str]:
    """The page's HAProxy in a folder. Returns the command that starts it."""
    text = block("haproxy", "bind :80") + (block("haproxy", "use-server") if routed else "")
    text = replaced(text, addresses(nodes) | {"bind :80\n": f"bind 127.0.0.1:{port}\n"})
    if not kept:
        text = replaced(text, {"    mode http\n": "    mode http\n    option httpclose\n"})
    (folder / "haproxy.cfg").write_text(text)
    return [program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


BALANCERS = {"nginx": nginx, "haproxy": haproxy}


@pytest.fixture(scope="module", params=["relay", "pass"])
def nodes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[MoorageProcess]]:
    folder = {"MOORAGE_RUN_DIR": str(tmp_path_factory.mktemp("run"))} if request.param == "pass" else None
    with two_nodes(env=folder, each=lambda number: (f"--set=cluster.sid_prefix=n{number}",)) as started:
        yield started


@asynccontextmanager
async def balanced(
    balancer: str, folder: Path, nodes: list[MoorageProcess], *, routed: bool, kept: bool
) -> AsyncIterator[str]:
    """The balancer's URL."""
    port = free_port()
    command = BALANCERS[balancer](folder, port, nodes, routed=routed, kept=kept)
    check = {"nginx": "-t", "haproxy": "-c"}[balancer]
    subprocess.run([*command, check], check=True, capture_output=True)
    url = f"http://127.0.0.1:{port}"
    async with running(*command, env={}, cwd=folder) as master:
        try:
            await until_served(url)
            yield url
        finally:
            master.signal(signal.SIGTERM)  # its workers would outlive it otherwise
            await master.end()


async def until_served(url: str) -> None:
    """Wait until the balancer has found the nodes."""
    async with asyncio.timeout(SECONDS), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/socket.io/") as answer:
                    if answer.status == 400:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)  # between two tries, not instead of them


async def handed_over(nodes: list[MoorageProcess]) -> float:
    """What the nodes have handed over to each other so far."""
    return sum([await asyncio.to_thread(node.metric, name) for node in nodes for name in HANDED_OVER])


@pytest.mark.parametrize("kept", [True, False], ids=["keep-alive", "close"])
@pytest.mark.parametrize("routed", [False, True], ids=["round-robin", "routed"])
@pytest.mark.parametrize("balancer", BALANCERS)
async def test_stock_clients(
    balancer: str, routed: bool, kept: bool, nodes: list[MoorageProcess], tmp_path: Path
) -> None:
    hub = re.sub(r"\W", "_", tmp_path.name)
    async with AsyncExitStack() as stack:
        for node in nodes:
            await stack.enter_async_context(AppServer(node, hub))
        url = await stack.enter_async_context(balanced(balancer, tmp_path, nodes, routed=routed, kept=kept))
        before = await handed_over(nodes)
        script = [str(ROOT / "tests/examples/balanced_clients.mjs"), url, clients(hub), str(COUNT)]
        async with running("node", *script, str(kept).lower(), env={}, cwd=tmp_path) as program:
            line = await program.line_with("[")
        sids: list[str] = json.loads(line)
        assert len(set(sids)) == COUNT
        owners = Counter(sid[:2] for sid in sids)
        assert set(owners) == {"n1", "n2"}, owners
        if routed:
            assert await handed_over(nodes) == before
        else:
            assert await handed_over(nodes) > before


@pytest.mark.parametrize("transports", [["polling"], ["polling", "websocket"]])
@pytest.mark.parametrize("balancer", BALANCERS)
async def test_the_python_client(
    balancer: str, transports: list[str], nodes: list[MoorageProcess], tmp_path: Path
) -> None:
    hub = re.sub(r"\W", "_", tmp_path.name)
    async with AsyncExitStack() as stack:
        for node in nodes:
            await stack.enter_async_context(AppServer(node, hub))
        url = await stack.enter_async_context(balanced(balancer, tmp_path, nodes, routed=False, kept=True))
        for _ in range(2):
            client = socketio.AsyncClient(reconnection=False)
            await client.connect(
                url, transports=transports, socketio_path=clients(hub), wait_timeout=PATIENCE
            )
            for number in range(5):
                assert await client.call("echo", number, timeout=SECONDS) == number
            await leave(client)


@pytest.mark.parametrize("balancer", BALANCERS)
async def test_what_stays_inside(balancer: str, nodes: list[MoorageProcess], tmp_path: Path) -> None:
    async with (
        balanced(balancer, tmp_path, nodes, routed=False, kept=True) as url,
        aiohttp.ClientSession() as session,
    ):
        for path in ("/metrics", "/readyz", "/healthz", "/cluster/relay/socket.io/"):
            async with session.get(url + path) as answer:
                assert answer.status == 403, path
