"""The HTTP layer of the client port: its limits, and what it needs of uvicorn's httptools protocol."""

from __future__ import annotations

import asyncio
import socket

import pytest
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from moorage.edge.http.protocol import MAX_HEADERS, HttpProtocol, sweep
from tests.support.http_port import UPGRADE, Port
from tests.support.rawhttp import HttpConnection, Reply, request_bytes


async def exchange(port: Port, *parts: bytes) -> list[Reply]:
    """All answers to what is sent on one connection, which must then be closed by the service."""
    async with await HttpConnection.open(port.url) as http:
        for part in parts:
            await http.send(part)
        found = []
        while True:
            try:
                found.append(await http.reply())
            except (EOFError, ConnectionError):
                return found


# -- the contract with uvicorn --------------------------------------------------------------------------


def test_uvicorn_still_has_the_parts_we_use() -> None:
    for name in ("_should_upgrade", "_unset_keepalive_if_required", "shutdown", "on_body", "on_url"):
        assert callable(getattr(HttpToolsProtocol, name))
    assert STATUS_LINE[400] == b"HTTP/1.1 400 Bad Request\r\n"
    assert STATUS_LINE[431].startswith(b"HTTP/1.1 431 ")
    assert RequestResponseCycle.__init__.__annotations__["keep_alive"]


async def test_uvicorns_protocol_has_the_state_we_read(port: Port) -> None:
    made = port.protocol()
    assert not made.pipeline
    assert made.connections is port.state.connections
    async with await HttpConnection.open(port.url) as http:
        await http.send(request_bytes("POST", "/x", {"Content-Length": "5"}))
        await http.send(b"12")
        await http.send(b"345")
        assert (await http.reply()).body == b"5"
        (connection,) = port.state.connections
        assert isinstance(connection, HttpProtocol)
        assert connection.cycle.response_complete
        assert connection.cycle.response_started
        assert not connection.cycle.more_body
        assert connection.waiting_since is None


async def test_requests_on_one_connection(port: Port) -> None:
    async with await HttpConnection.open(port.url) as http:
        await http.send(request_bytes("GET", "/1") + request_bytes("POST", "/2", body=b"ab"))
        assert [(await http.reply()).body for _ in range(2)] == [b"0", b"2"]
        await http.send(request_bytes("GET", "/3"))
        assert (await http.reply()).body == b"0"
    assert [path for path, _ in port.served] == ["/1", "/2", "/3"]


# -- limits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        request_bytes("GET", "/", {"X-Long": "x" * 4100}),
        request_bytes("GET", "/" + "x" * 4100),
        request_bytes("GET", "/", {f"X-{n}": "" for n in range(MAX_HEADERS + 1)}),
        request_bytes("GET", "/", {"X" * 4100: ""}),
    ],
    ids=["value", "target", "count", "name"],
)
async def test_headers_are_bounded(port: Port, request_: bytes) -> None:
    (reply,) = await exchange(port, request_)
    assert (reply.status, reply.json()["reason"]) == (431, "headers-too-large")
    assert reply.headers["connection"] == "close"
    assert port.refusals("headers-too-large") == 1
    assert port.served == []


async def test_just_enough_headers_pass(port: Port) -> None:
    async with await HttpConnection.open(port.url) as http:
        await http.send(request_bytes("GET", "/", {f"X-{n}": "" for n in range(MAX_HEADERS - 1)}))
        assert (await http.reply()).status == 200
        await http.send(request_bytes("GET", "/", {"X": "x" * 4000}))
        assert (await http.reply()).status == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nX: ",
        b"GET / HTTP/1.1\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
    ],
    ids=["value", "name", "trailer"],
)
async def test_a_header_without_an_end_is_not_gathered(port: Port, head: bytes) -> None:
    async with await HttpConnection.open(port.url) as http:
        await http.send(head)
        sent = 0
        try:
            while sent < 64 * 1024 * 1024:
                await http.send(b"x" * 65536)
                sent += 65536
        except ConnectionError:
            pass
        assert sent < 64 * 1024 * 1024
    assert port.refusals("headers-too-large") == 1


async def test_a_header_may_come_byte_by_byte(port: Port) -> None:
    async with await HttpConnection.open(port.url) as http:
        for byte in request_bytes("POST", "/", {"X": "y" * 500}, b"body"):
            http.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await http.reply()).body == b"4"


async def test_half_a_request_is_given_up(port: Port) -> None:
    before = asyncio.get_running_loop().time()
    async with await HttpConnection.open(port.url) as http:
        await http.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        await asyncio.sleep(0)
        while not port.state.connections:
            await asyncio.sleep(0)
        sweep(port.state.connections, before + 9)
        assert port.refusals("header-timeout") == 0
        sweep(port.state.connections, asyncio.get_running_loop().time() + 11)
        reply = await http.reply()
        assert (reply.status, reply.json()["reason"]) == (408, "header-timeout")
        assert await http.rest() == b""


async def test_a_body_that_does_not_come_is_given_up(port: Port) -> None:
    async with await HttpConnection.open(port.url) as http:
        await http.send(request_bytes("POST", "/", {"Content-Length": "10"}) + b"123")
        while not port.state.tasks:
            await asyncio.sleep(0)
        now = asyncio.get_running_loop().time()
        sweep(port.state.connections, now + 11)
        assert port.refusals("header-timeout") == 0, "a body has longer"
        sweep(port.state.connections, now + 31)
        assert (await http.reply()).status == 408
    assert port.served == []


async def test_an_idle_connection_is_not_overdue(port: Port) -> None:
    async with await HttpConnection.open(port.url) as http:
        await http.send(request_bytes("GET", "/"))
        await http.reply()
        sweep(port.state.connections, asyncio.get_running_loop().time() + 1000)
        await http.send(request_bytes("GET", "/"))
        assert (await http.reply()).status == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nX : a\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n0123456789",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    ],
)
async def test_data_that_is_not_http_is_refused(port: Port, request_: bytes) -> None:
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    (reply,) = await exchange(port, request_ + smuggled)
    assert (reply.status, reply.json()["reason"]) == (400, "bad-http")
    assert port.refusals("bad-http") == 1
    assert port.served == []


async def test_garbage_behind_a_request_does_not_reach_its_answer(port: Port) -> None:
    async with await HttpConnection.open(port.url) as http:
        await http.send(request_bytes("GET", "/1") + b"\x00garbage\r\n\r\n")
        rest = await http.rest()
    assert rest.count(b"HTTP/1.1 ") <= 1, "never two answers for one request"
    assert port.refusals("bad-http") == 1


async def test_nothing_after_connection_close_is_served(port: Port) -> None:
    await exchange(port, request_bytes("GET", "/1", {"Connection": "close"}) + request_bytes("GET", "/2"))
    assert [path for path, _ in port.served] == ["/1"]


# -- pipelining, and answers that nobody reads ------------------------------------------------------------


@pytest.mark.repair(3)
async def test_thousands_of_pipelined_requests_are_answered_in_order(port: Port) -> None:
    count = 3_000
    requests = b"".join(request_bytes("POST", f"/{n}", body=b"x" * (n % 700)) for n in range(count))
    async with await HttpConnection.open(port.url) as http:
        sending = asyncio.create_task(http.send(requests))
        for n in range(count):
            assert (await http.reply()).body == b"%d" % (n % 700)
        await sending
        # And the connection is as good as new.
        await http.send(request_bytes("GET", "/last"))
        assert (await http.reply()).status == 200
    assert [path for path, _ in port.served] == [*(f"/{n}" for n in range(count)), "/last"]


@pytest.mark.repair(3)
async def test_few_requests_wait_for_their_turn(port: Port) -> None:
    async with await HttpConnection.open(port.url) as http:
        port.gate.clear()
        http.writer.write(request_bytes("GET", "/") * 50_000)
        while not port.state.tasks:
            await asyncio.sleep(0)
        for _ in range(1000):
            await asyncio.sleep(0)
        (connection,) = port.state.connections
        assert isinstance(connection, HttpProtocol)
        assert len(connection.pipeline) < 50
        port.gate.set()
        await http.reply()
        http.writer.transport.abort()


@pytest.mark.repair(3)
async def test_a_client_that_reads_no_answers_is_disconnected(port: Port) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", int(port.url.rsplit(":", 1)[1])))
        sending = loop.create_task(loop.sock_sendall(client, request_bytes("GET", "/large") * 2_000))
        while not any(isinstance(c, HttpProtocol) and c.flow.write_paused for c in port.state.connections):
            await asyncio.sleep(0)
        now = loop.time()
        assert len(port.served) < 100
        sweep(port.state.connections, now + 100)
        sweep(port.state.connections, now + 129)
        assert port.refusals("answer-timeout") == 0
        sweep(port.state.connections, now + 131)
        assert port.refusals("answer-timeout") == 1
        while port.state.connections or port.state.tasks:
            await asyncio.sleep(0)
        sending.cancel()


@pytest.mark.repair(3)
async def test_an_upgrade_behind_unanswered_requests_is_refused(port: Port) -> None:
    port.gate.clear()
    async with await HttpConnection.open(port.url) as http:
        await http.send(request_bytes("GET", "/1") + request_bytes("GET", "/2", UPGRADE))
        while not port.refusals("bad-upgrade"):
            await asyncio.sleep(0)
        port.gate.set()
        assert (await http.rest()).count(b" 101 ") == 0
    assert port.upgrades.empty()


# -- a clean end ------------------------------------------------------------------------------------------


@pytest.mark.repair(8)
@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n", 401),
        (b"POST /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4c4b40\r\n", 401),
        (b"POST /early HTTP/1.0\r\nContent-Length: 5000000\r\n\r\n", 401),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 8000 + b"\r\n", 431),
    ],
    ids=["length", "chunked", "http-1.0", "bad-length", "tls", "long-header"],
)
async def test_a_refusal_before_the_end_of_the_request_ends_cleanly(
    port: Port, head: bytes, status: int
) -> None:
    async with await HttpConnection.open(port.url) as http:
        # A peer that gets a reset loses what it has not read yet, or cannot even send to the end.
        await http.send(head)
        for _ in range(50):
            await http.send(b"x" * 100_000)
        reply = await http.reply()
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert await http.reader.read() == b""
        await http.send(b"more")


@pytest.mark.repair(8)
async def test_a_refusal_after_the_request_keeps_the_connection(port: Port) -> None:
    async with await HttpConnection.open(port.url) as http:
        await http.send(request_bytes("POST", "/early", body=b"12345"))
        reply = await http.reply()
        assert (reply.status, "connection" in reply.headers) == (401, False)
        await http.send(request_bytes("GET", "/"))
        assert (await http.reply()).status == 200


@pytest.mark.repair(8)
async def test_a_client_that_sends_after_the_end_is_disconnected(port: Port) -> None:
    async with await HttpConnection.open(port.url) as http:
        await http.send(request_bytes("POST", "/early", {"Content-Length": "999999999"}))
        await http.reply()
        with pytest.raises(ConnectionError):
            for _ in range(640):
                await http.send(b"x" * 100_000)
    async with await HttpConnection.open(port.url) as http:
        await http.send(request_bytes("POST", "/early", {"Content-Length": "999999999"}))
        await http.reply()
        now = asyncio.get_running_loop().time()
        sweep(port.state.connections, now)
        sweep(port.state.connections, now + 31)
        while port.state.connections:
            await asyncio.sleep(0)
