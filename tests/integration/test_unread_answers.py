"""A stranger who sends requests and never reads does not affect memory, time or other clients."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support.app_link import AppServer
from tests.support.rawhttp import HttpConnection, Polling, clients, fetch, request_bytes
from tests.support.service import MoorageProcess

GROWTH = 8 * 1024 * 1024
"""Memory that one attempt may leave in the interpreter. These requests once took 24 MB."""
REQUESTS = 40_000
CUT = 'moorage_refusals_total{door="http",reason="answer-timeout"}'
OPEN = clients("x") + "?EIO=4&transport=polling"


@pytest.fixture(scope="module")
def service() -> Iterator[MoorageProcess]:
    """A service that closes such connections within two seconds."""
    with MoorageProcess("--set", "server.answer_timeout=1s") as running:
        yield running


async def send_all(client: socket.socket, data: bytes) -> bool:
    """Send everything. Returns False if the service closed the connection before."""
    try:
        async with asyncio.timeout(60):
            await asyncio.get_running_loop().sock_sendall(client, data)
    except ConnectionError:
        return False
    return True


@pytest.mark.repair(3)
@pytest.mark.parametrize(
    "request_",
    [
        request_bytes("GET", "/healthz"),
        request_bytes("GET", "/metrics"),
        request_bytes("GET", OPEN),
        request_bytes("POST", "/api/hubs/x/:send?api-version=2024-12-01", body=b"4"),
        request_bytes("GET", "/nowhere"),
    ],
    ids=["healthz", "metrics", "polling", "rest", "nowhere"],
)
async def test_unread_answers(service: MoorageProcess, request_: bytes) -> None:
    async with AppServer(service, "calm"):
        polling = await Polling(service.url, clients("calm")).open()
        cut = service.metric(CUT)
        before = service.memory("VmRSS")
        with closing(socket.socket()) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            port = int(service.url.rsplit(":", 1)[1])
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
            sending = asyncio.create_task(send_all(client, request_ * REQUESTS))
            for number in range(5):
                await polling.send(f"42[{number}]")
                assert await polling.poll() == f"42[{number}]"
            if not await sending:
                assert service.metric(CUT) == cut + 1
            assert service.memory("VmRSS") < before + GROWTH
        assert service.memory("VmRSS") < before + GROWTH
        assert not [line for line in service.lines if '"level": "error"' in line or "Traceback" in line]


@pytest.mark.repair(3)
async def test_requests_behind_a_waiting_poll(service: MoorageProcess) -> None:
    async with AppServer(service, "calm"):
        polling = await Polling(service.url, clients("calm")).open()
        before = service.memory("VmRSS")
        async with await HttpConnection.open(service.url) as http:
            sending = asyncio.create_task(
                http.send(request_bytes("GET", polling.target) + request_bytes("GET", "/healthz") * REQUESTS)
            )
            assert (await fetch(service.url, "/healthz")).status == 200
            assert service.memory("VmRSS") < before + GROWTH
            await polling.send("42[1]")
            assert [(await http.reply()).status for _ in range(100)] == [200] * 100
            sending.cancel()


@pytest.mark.repair(8)
@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("POST /api/hubs/x/:send?api-version=2024-12-01 HTTP/1.1\r\nHost: x", 401),
        ("POST /api/hubs/x/:send?api-version=2024-12-01 HTTP/1.1\r\nHost: x\r\nConnection: close", 401),
        (f"POST {OPEN}&sid=x HTTP/1.1\r\nHost: x", 400),
        (f"POST {OPEN} HTTP/1.1\r\nHost: x", 400),
        ("POST /healthz HTTP/1.1\r\nHost: x", 405),
        ("POST /nowhere HTTP/1.0\r\nHost: x", 404),
        ("POST /api/hubs/x/:send HTTP/1.1\r\nHost: x\r\nExpect: 100-continue", 401),
    ],
)
async def test_a_refusal_before_the_body_is_read_ends_cleanly(
    service: MoorageProcess, head: str, status: int
) -> None:
    async with await HttpConnection.open(service.url) as http:
        await http.send(f"{head}\r\nContent-Length: 8000000\r\n\r\n".encode())
        for _ in range(80):
            await http.send(b"x" * 100_000)
        reply = await http.reply()
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert await http.reader.read() == b"", "an end, no reset"
