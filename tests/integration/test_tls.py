"""Links and clients over TLS with every SDK: a private authority, and certificates that must be refused."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import socketio

from moorage.sdk import LinkRefused, use_moorage, use_moorage_sync
from tests.integration.test_any_worker import total
from tests.support.app_link import AppServer
from tests.support.certificates import DAY, Authority, Pair
from tests.support.programs import Program, running
from tests.support.python_client import PATIENCE, leave
from tests.support.rawhttp import Polling, fetch
from tests.support.rawws import WebSocket
from tests.support.service import ROOT, MoorageProcess
from tests.support.two_nodes import two_nodes

pytestmark = [pytest.mark.node, pytest.mark.timeout(120)]
APP = str(ROOT / "tests" / "integration" / "tls_app.mjs")
PATH = "/clients/socketio/hubs/app"
BAD = {
    "expired": ({"begin": -9 * DAY, "end": -DAY}, "certificate has expired", "expired or not yet valid"),
    "other": ({"hosts": ("other.example",)}, "is not valid for|IP address mismatch", "for other host names"),
}
"""What is wrong, how Python's and how our Node.js SDK put it."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Nobody trusts it by itself."""
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def service(authority: Authority) -> Iterator[MoorageProcess]:
    with MoorageProcess(*authority.make().flags) as running_:
        yield running_


@pytest.fixture(scope="module", params=list(BAD))
def bad(request: pytest.FixtureRequest, authority: Authority) -> Iterator[tuple[MoorageProcess, str, str]]:
    """A service with a certificate that clients must refuse, and how it is told."""
    change, in_python, in_node = BAD[request.param]
    pair: Pair = authority.make(request.param, **change)  # type: ignore[arg-type]
    with MoorageProcess(*pair.flags) as running_:
        yield running_, in_python, in_node


@asynccontextmanager
async def app(
    service: MoorageProcess, kind: str, *, ca_file: Path | None = None, env: dict[str, str] | None = None
) -> AsyncIterator[Program]:
    """The program with the link and clients of one SDK."""
    options = {"hub": "app", "connectionString": service.connection_string, "url": service.url, "path": PATH}
    if ca_file is not None:
        options["caFile"] = str(ca_file)
    arguments = [APP, kind, json.dumps(options)]
    async with running("node", *arguments, env=env or {}, cwd=ROOT) as program:
        yield program


@pytest.mark.parametrize("kind", ["node", "node-ca", "azure"])
async def test_node_sdks(service: MoorageProcess, authority: Authority, kind: str) -> None:
    env = {} if kind == "node-ca" else {"NODE_EXTRA_CA_CERTS": str(authority.file)}
    ca_file = authority.file if kind == "node-ca" else None
    async with app(service, kind.removesuffix("-ca"), ca_file=ca_file, env=env) as program:
        await program.line_with("linked")
        secure = "true" if kind != "azure" else "(?:true|false|undefined)"
        for transport in ("websocket", "polling", "websocket"):
            line = await program.line_with(f"{transport}: ")
            assert line.endswith(" 100000")
            assert kind == "azure" or line == f"{transport}: {secure} 100000"


@pytest.mark.parametrize("kind", ["node", "azure"])
async def test_node_sdks_refuse(
    bad: tuple[MoorageProcess, str, str], authority: Authority, kind: str
) -> None:
    service, _, told = bad
    before = len(service.lines)
    async with app(service, kind, env={"NODE_EXTRA_CA_CERTS": str(authority.file)}) as program:
        if kind == "node":
            line = await program.line_with("failed: ")
            assert told in line, line
        # Azure's SDK says nothing and tries again, so only the service can tell.
        await asyncio.to_thread(_handshake_failed, service, before)
        assert "linked" not in program.output


def _handshake_failed(service: MoorageProcess, before: int) -> None:
    service.wait_line(lambda line: '"tls-handshake"' in line and line in service.lines[before:])


async def test_an_authority_that_nobody_knows(service: MoorageProcess) -> None:
    async with app(service, "node") as program:
        assert "NODE_EXTRA_CA_CERTS" in await program.line_with("failed: ")
    sio = socketio.AsyncServer(async_mode="asgi")
    with pytest.raises(LinkRefused, match=r"ssl_context"):
        await use_moorage(sio, hub="app", connection_string=service.connection_string)


@pytest.mark.parametrize("by", ["ssl_context", "SSL_CERT_FILE"])
async def test_python_asyncio(
    service: MoorageProcess, authority: Authority, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context(cafile=str(authority.file))
    if by == "SSL_CERT_FILE":
        monkeypatch.setenv(by, str(authority.file))
    sio = socketio.AsyncServer(async_mode="asgi")
    sio.on("echo", lambda _sid, value: len(value))
    given: dict[str, Any] = {"ssl_context": context} if by == "ssl_context" else {}
    async with await use_moorage(sio, hub="app", connection_string=service.connection_string, **given):
        await echoed(service, context)


@pytest.mark.parametrize("by", ["ssl_context", "SSL_CERT_FILE"])
async def test_python_threads(
    service: MoorageProcess, authority: Authority, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context(cafile=str(authority.file))
    if by == "SSL_CERT_FILE":
        monkeypatch.setenv(by, str(authority.file))
    sio = socketio.Server(async_mode="threading")
    sio.on("echo", lambda _sid, value: len(value))
    given: dict[str, Any] = {"ssl_context": context} if by == "ssl_context" else {}
    moorage = await asyncio.to_thread(
        use_moorage_sync, sio, hub="app", connection_string=service.connection_string, **given
    )
    await echoed(service, context)
    await asyncio.to_thread(moorage.close)


async def test_python_sdks_refuse(bad: tuple[MoorageProcess, str, str], authority: Authority) -> None:
    service, told, _ = bad
    context = ssl.create_default_context(cafile=str(authority.file))
    where: dict[str, Any] = {
        "hub": "app",
        "connection_string": service.connection_string,
        "ssl_context": context,
    }
    with pytest.raises(LinkRefused, match=told):
        await use_moorage(socketio.AsyncServer(async_mode="asgi"), **where)
    with pytest.raises(LinkRefused, match=told):
        await asyncio.to_thread(use_moorage_sync, socketio.Server(async_mode="threading"), **where)


async def echoed(service: MoorageProcess, context: ssl.SSLContext) -> None:
    """A stock Python client sends something and gets it back, over each transport."""
    for transport in ("websocket", "polling"):
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
        client = socketio.AsyncClient(http_session=session)
        await client.connect(service.url, transports=[transport], socketio_path=PATH, wait_timeout=PATIENCE)
        assert await client.call("echo", "x" * 100_000) == 100_000
        await leave(client)
        await session.close()


async def test_a_stock_client_connects_in_a_flood_of_handshakes(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with MoorageProcess(*authority.make("flood").flags, "--set=server.header_timeout=30") as service:
        port = urlsplit(service.url).port
        assert port is not None
        context = ssl.create_default_context(cafile=str(authority.file))
        sio = socketio.AsyncServer(async_mode="asgi")
        sio.on("echo", lambda _sid, value: len(value))
        link: dict[str, Any] = {"connection_string": service.connection_string, "ssl_context": context}
        async with await use_moorage(sio, hub="app", **link):
            # The whole flood is in front of the client.
            os.kill(service.pid, signal.SIGSTOP)
            flood = [
                socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0))
                for _ in range(400)
            ]
            for sock in flood[::2]:
                sock.sendall(client_hello())
            os.kill(service.pid, signal.SIGCONT)
            await echoed(service, context)
        for sock in flood:
            sock.close()
        assert service.metric("moorage_faults_total") == 0


def client_hello() -> bytes:
    """The first message of a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1").do_handshake()
    return outgoing.read()


async def test_workers_relay_to_the_owner(authority: Authority) -> None:
    env = {"NODE_EXTRA_CA_CERTS": str(authority.file), "SSL_CERT_FILE": str(authority.file)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority.file))
        with MoorageProcess(*authority.make().flags, "--workers=2") as service:
            assert service.url.startswith("https://")
            # Each run has a polling client and an upgrade, whose requests come to any worker.
            for _ in range(6):
                async with app(service, "node", env=env) as program:
                    await program.line_with("linked")
                    for transport in ("websocket", "polling", "websocket"):
                        assert await program.line_with(": ") == f"{transport}: true 100000"
                if await asyncio.to_thread(total, service, "moorage_cluster_relays_total"):
                    break
            assert await asyncio.to_thread(total, service, "moorage_cluster_relays_total") > 0
            assert await asyncio.to_thread(total, service, "moorage_cluster_passed_connections_total") == 0


@pytest.mark.parametrize("knows", ["from the start", "after a reload", "never"])
async def test_nodes_relay_to_each_other(authority: Authority, tmp_path: Path, knows: str) -> None:
    file = authority.file if knows == "from the start" else Authority(tmp_path).file
    flags = [*authority.make().flags, f"--set=server.tls.ca_file={file if knows != 'never' else ''}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority.file))
        # The nodes themselves know the authority by the setting alone.
        env = {"SSL_CERT_FILE": str(authority.folder / "none")}
        # Only `serve` reads its settings again.
        with two_nodes(*flags, env=env, scheme="https", command="serve") as nodes:
            first, second = nodes
            async with AppServer(first, "app"):
                client = await Polling(first.url, f"{PATH}/").open()
                await client.post("42[1]")
                poll = f"{PATH}/?EIO=4&transport=polling&sid={client.sid}"
                if knows == "after a reload":
                    assert (await fetch(second.url, poll)).json()["reason"] == "unknown-sid"
                    file.write_bytes(authority.file.read_bytes())
                    os.kill(second.pid, signal.SIGHUP)
                    await asyncio.to_thread(second.wait_record, event="reloaded")
                reply = await fetch(second.url, poll)
                target = f"{PATH}/?EIO=4&transport=websocket&sid={client.sid}"
                client_socket, answer = await WebSocket.ask(second.url, target)
                async with client_socket:
                    if knows == "never":
                        assert reply.json()["reason"] == answer.json()["reason"] == "unknown-sid"
                        return
                    assert (reply.status, reply.text, answer.status) == (200, "42[1]", 101)
                    await client_socket.send("2probe")
                    assert await client_socket.text() == "3probe"
                    await client_socket.send("5")
                    await client_socket.send("42[2]")
                    assert await client_socket.text() == "42[2]"


def test_workers_take_a_new_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, key = Authority(tmp_path), "k" * 32
    pair = authority.make("live")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    tls = f"{{cert_file: {pair.cert}, key_file: {pair.key}}}"
    config = tmp_path / "moorage.yaml"
    config.write_text(f"keys: {{primary: {key}}}\nserver: {{port: 0, tls: {tls}}}\nworkers: 2\n")
    with MoorageProcess("-c", str(config), command="serve", key=key) as service:
        old = {serial(service) for _ in range(8)}
        authority.make("live")
        os.kill(service.pid, signal.SIGHUP)
        service.wait_record(event="reloaded")
        deadline = time.monotonic() + 60
        # The kernel gives each connection to any of the two.
        while old & {serial(service) for _ in range(8)}:
            assert time.monotonic() < deadline


def serial(service: MoorageProcess) -> object:
    """The number of the certificate that a new client sees."""
    url = urlsplit(service.url)
    context = ssl.create_default_context()
    with (
        socket.create_connection((url.hostname, url.port)) as tcp,
        context.wrap_socket(tcp, server_hostname=url.hostname) as tls,
    ):
        return (tls.getpeercert() or {})["serialNumber"]
