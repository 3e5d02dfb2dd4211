"""The limit on the TCP connections of one address: with and without a session, behind PROXY and TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.edge.http.forwarded import TrustedProxies
from moorage.edge.tcp.counted import AddressLimit, CountedSocket
from moorage.edge.tcp.header import Source, proxy_header
from moorage.wire.errors import PeerError
from tests.support.app_link import AppServer
from tests.support.certificates import Authority
from tests.support.rawhttp import HttpConnection, clients, request_bytes
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess

MOST = 3
HEALTH = request_bytes("GET", "/healthz")
METRIC = 'moorage_refusals_total{door="http",reason="too-many-tcp-connections"}'


@pytest.fixture(scope="module")
def service() -> Iterator[MoorageProcess]:
    """A plain port. The address of these tests may have few connections; the metrics come from another."""
    with MoorageProcess(
        f"--set=server.max_tcp_per_address={MOST}",
        "--set=server.host=0.0.0.0",
        "--set=server.header_timeout=30",
    ) as running:
        yield running


def port_of(service: MoorageProcess) -> int:
    return int(service.url.rpartition(":")[2])


def connect(service: MoorageProcess, address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(service)), timeout=20, source_address=(address, 0))


def answer(sock: socket.socket, request: bytes = HEALTH) -> bytes:
    sock.sendall(request)
    return sock.recv(65536)


def test_connections_that_send_nothing_count_and_end(service: MoorageProcess) -> None:
    before = service.metric(METRIC)
    idle = [connect(service, "127.0.0.7") for _ in range(MOST)]
    with connect(service, "127.0.0.7") as more:
        refused = more.recv(65536)
        assert refused.startswith(b"HTTP/1.1 429 ")
        assert b'"too-many-tcp-connections"' in refused and b'"number":2124' in refused
    assert service.metric(METRIC) == before + 1
    with connect(service, "127.0.0.8") as other:
        assert answer(other).startswith(b"HTTP/1.1 200 ")
    idle.pop().close()
    assert eventually_admitted(service, "127.0.0.7")
    for sock in idle:
        sock.close()


def eventually_admitted(service: MoorageProcess, address: str) -> bool:
    """The service notices a closed connection in one of its next loop turns."""
    for _ in range(200):
        with connect(service, address) as sock:
            try:
                if answer(sock).startswith(b"HTTP/1.1 200 "):
                    return True
            except ConnectionError:
                continue
    return False


async def test_a_websocket_counts_until_its_end(service: MoorageProcess) -> None:
    # The link of the app server counts, too.
    async with AppServer(service, "main"):
        async with (
            await WebSocket.session(service.url, clients("main")),
            await WebSocket.session(service.url, clients("main")),
            await HttpConnection.open(service.url) as http,
        ):
            assert b'"too-many-tcp-connections"' in await http.rest()
        assert await asyncio.to_thread(eventually_admitted, service, "127.0.0.1")


def test_a_client_that_a_proxy_names_counts_and_its_proxy_does_not(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.create_default_context(cafile=str(authority.file))
    flags = ("--set=server.trusted_proxies=127.0.0.1", "--set=server.proxy_protocol=true")
    limit = f"--set=server.max_tcp_per_address={MOST}"

    def secure(sock: socket.socket, client: str) -> bytes:
        sock.sendall(proxy_header(Source(client, 4711)))
        with context.wrap_socket(sock, server_hostname="127.0.0.1") as tls:
            return answer(tls)

    with MoorageProcess(*authority.make().flags, *flags, limit) as service:
        held = []
        for _ in range(MOST):
            sock = connect(service, "127.0.0.1")
            sock.sendall(proxy_header(Source("192.0.2.7", 1)))
            held.append(sock)
        with connect(service, "127.0.0.1") as more:
            more.sendall(proxy_header(Source("192.0.2.7", 2)))
            assert more.recv(65536) == b"", "a client that speaks TLS could not read an answer"
        with connect(service, "127.0.0.1") as other:
            assert secure(other, "192.0.2.8").startswith(b"HTTP/1.1 200 ")
        for sock in held:
            sock.close()


def test_customers_of_ipv6_have_a_network_and_proxies_no_limit() -> None:
    limit = AddressLimit(1, TrustedProxies(["10.0.0.0/8"]))
    first, second, *others = (CountedSocket(socket.socket(), limit) for _ in range(5))
    limit.count(first, "2001:db8::1")
    with pytest.raises(PeerError, match=r"server\.max_tcp_per_address: 1"):
        limit.count(second, "2001:db8::2")
    first.close()
    first.close()
    limit.count(second, "2001:db8::2")
    socket.close(second.detach())
    limit.count(others[0], "2001:db8::3")
    for sock in others[1:]:
        limit.count(sock, "10.0.0.1")
    for sock in others:
        sock.close()
