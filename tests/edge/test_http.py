"""The HTTP layer of the client port: its limits, and the contract with what it stands on.

Two libraries are used below their documented surface, `picows.picows.WSProtocol` and uvicorn's
httptools protocol. The tests here fail if a new version of either changes what `edge/http.py` needs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from moorage.edge.http import (
    HINT,
    MAX_EARLY,
    MAX_HEADERS,
    HttpProtocol,
    UpgradeRequest,
    error_body,
    parse_query,
    sweep,
)
from moorage.edge.settings import ServerSettings
from moorage.metrics import Metrics
from moorage.wire.errors import PeerError
from moorage.wire.reasons import UNKNOWN_HUB, UNKNOWN_SID
from tests.support.rawhttp import HttpConnection, Reply, request_bytes
from tests.support.rawws import CLOSE, PING, PONG, TEXT, Frame, WebSocket, frame

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Listener(WSListener):
    """Writes down what picows tells it."""

    def __init__(self) -> None:
        self.frames: list[tuple[WSMsgType, bytes]] = []
        self.told: list[str] = []
        self.heard: asyncio.Event = asyncio.Event()
        self.transport: WSTransport

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self.heard.set()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self._tell("connected")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.frames.append((frame.msg_type, frame.get_payload_as_bytes()))
        self._tell("frame")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._tell("disconnected")

    def pause_writing(self) -> None:
        self._tell("pause")

    def resume_writing(self) -> None:
        self._tell("resume")

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something it is told."""
        async with asyncio.timeout(10):
            while not true():
                self.heard.clear()
                await self.heard.wait()


class Port:
    """An `HttpProtocol` listener with a small application behind it."""

    def __init__(self) -> None:
        self.settings = ServerSettings(max_header_bytes=4096)
        self.metrics = Metrics("test")
        self.state = ServerState()
        self.upgrades: asyncio.Queue[UpgradeRequest] = asyncio.Queue()
        self.served: list[tuple[str, bytes]] = []
        self.url = ""

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers with the length of what it got."""
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message.get("more_body"):
                break
        self.served.append((scope["path"], body))
        answer = b"%d" % len(body)
        head = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": answer})

    def protocol(self) -> HttpProtocol:
        """One connection's protocol, set up as `ClientPort` does it."""
        made = HttpProtocol(self.config, self.state, {})
        made.settings, made.metrics, made.upgrades = self.settings, self.metrics, self._upgrade
        return made

    def _upgrade(self, request: UpgradeRequest) -> None:
        self.upgrades.put_nowait(request)

    async def serve(self) -> asyncio.Server:
        """Listen on a free port."""
        self.config = Config(
            app=self.app, http="httptools", ws="none", lifespan="off", interface="asgi3", log_config=None
        )
        self.config.load()
        self.config.ws_protocol_class = UpgradeRequest
        server = await asyncio.get_running_loop().create_server(self.protocol, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    def refusals(self, reason: str) -> int:
        """How often this door refused for `reason`."""
        return self.metrics.refusals["http", reason]


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    """A listener on loopback."""
    made = Port()
    server = await made.serve()
    yield made
    server.close()
    for connection in tuple(made.state.connections):
        connection.transport.abort()


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


def test_uvicorn_still_has_what_we_use() -> None:
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
    async with await HttpConnection.open(port.url) as http:
        await http.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        await asyncio.sleep(0)
        while not port.state.connections:
            await asyncio.sleep(0)
        now = asyncio.get_running_loop().time()
        sweep(port.state.connections, now + 9)
        assert port.refusals("header-timeout") == 0
        sweep(port.state.connections, now + 11)
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
async def test_what_is_not_http_is_refused(port: Port, request_: bytes) -> None:
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


def test_a_query_of_many_fields() -> None:
    assert parse_query("a=1&a=2&b=") == {"a": ["1", "2"], "b": [""]}
    with pytest.raises(PeerError) as found:
        parse_query("a=1&" * 1000)
    assert found.value.reason.name == "bad-request"


def test_the_error_body() -> None:
    assert json.loads(error_body(PeerError(UNKNOWN_SID, "x"))) == {
        "code": 1,
        "message": "Session ID unknown: x",
        "reason": "unknown-sid",
        "number": 2101,
    }
    assert json.loads(error_body(PeerError(UNKNOWN_HUB)))["hint"] == HINT


# -- the contract with picows ---------------------------------------------------------------------------


async def upgraded(port: Port, early: bytes = b"") -> tuple[WebSocket, UpgradeRequest]:
    """A client that has asked for an upgrade, and its request."""
    http = await HttpConnection.open(port.url)
    await http.send(request_bytes("GET", "/ws?a=%20b&a=2", UPGRADE) + early)
    async with asyncio.timeout(10):
        return WebSocket(http), await port.upgrades.get()


async def test_the_upgrade_request_shows_what_was_asked(port: Port) -> None:
    socket, request = await upgraded(port)
    async with socket:
        assert (request.path, request.query_string) == ("/ws", "a=%20b&a=2")
        assert request.query == {"a": [" b", "2"]}
        assert request.header(b"upgrade") == "websocket"
        assert request.header(b"x-other") == ""
        request.refuse(PeerError(UNKNOWN_SID), ((b"x-extra", b"1"),))
        reply = await socket.http.reply()
        assert (reply.status, reply.json()["code"], reply.headers["x-extra"]) == (400, 1, "1")
        assert await socket.http.rest() == b""


async def test_accepting_answers_101_and_hands_over(port: Port) -> None:
    socket, request = await upgraded(port, frame(TEXT, b"early"))
    async with socket:
        listener = Listener()
        request.accept(listener, max_frame=1000)
        reply = await socket.http.reply()
        assert reply.status == 101
        assert reply.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert reply.headers["upgrade"].lower() == "websocket"
        assert listener.told[0] == "connected"
        await socket.send("late")
        await listener.until(lambda: len(listener.frames) == 2)
        assert listener.frames == [(WSMsgType.TEXT, b"early"), (WSMsgType.TEXT, b"late")]
        listener.transport.underlying_transport.write(b"\x81\x02hi")
        assert await socket.text() == "hi"
        await socket.raw(frame(PING, b"?"))
        assert await socket.frame() == Frame(PONG, b"?")
        listener.transport.send_close(WSCloseCode.OK, b"enough")
        assert listener.transport.is_close_frame_sent
        assert await socket.frame() == Frame(CLOSE, b"\x03\xe8enough")
        listener.transport.disconnect()
        await listener.until(lambda: "disconnected" in listener.told)


async def test_much_data_before_the_answer(port: Port) -> None:
    payloads = [b"x" * 900 for _ in range(60)]
    socket, request = await upgraded(port, frame(TEXT, payloads[0]))
    async with socket:
        for payload in payloads[1:]:
            await socket.raw(frame(TEXT, payload))
        listener = Listener()
        request.accept(listener, max_frame=1000)
        await listener.until(lambda: len(listener.frames) == len(payloads))
        assert [data for _, data in listener.frames] == payloads


async def test_a_client_that_talks_on_before_the_answer_is_held_back(port: Port) -> None:
    socket, request = await upgraded(port)
    async with socket:
        packet = frame(TEXT, b"x" * 900)
        count = 40 * MAX_EARLY // len(packet)
        sending = asyncio.create_task(socket.raw(packet * count))
        while request._transport.is_reading():
            await asyncio.sleep(0)
        assert len(request._early) < MAX_EARLY + 256 * 1024
        listener = Listener()
        request.accept(listener, max_frame=1000)
        await listener.until(lambda: len(listener.frames) == count)
        await sending


async def test_a_frame_above_the_limit_ends_with_1009(port: Port) -> None:
    socket, request = await upgraded(port)
    async with socket:
        listener = Listener()
        request.accept(listener, max_frame=1000)
        await socket.http.reply()
        await socket.raw(frame(TEXT, b"", size=1001))
        _, end = await socket.ended()
        assert end.code == 1009
        await listener.until(lambda: "disconnected" in listener.told)
        handshake = listener.transport.close_handshake
        assert handshake is not None
        assert handshake.sent is not None
        assert handshake.sent.code is WSCloseCode.MESSAGE_TOO_BIG


async def test_back_pressure_reaches_the_listener(port: Port) -> None:
    socket, request = await upgraded(port)
    async with socket:
        listener = Listener()
        request.accept(listener, max_frame=1000)
        await socket.http.reply()
        tcp = listener.transport.underlying_transport
        while "pause" not in listener.told:
            tcp.write(bytes([0x82, 126, 0xFF, 0xFF]) + b"x" * 0xFFFF)
            await asyncio.sleep(0)
        reading = asyncio.create_task(socket.ended())
        await listener.until(lambda: "resume" in listener.told)
        listener.transport.disconnect(graceful=False)
        await reading


async def test_a_connection_that_is_closing_can_be_accepted(port: Port) -> None:
    """The client may leave in the very moment in which the app server takes it."""
    socket, request = await upgraded(port)
    async with socket:
        listener = Listener()
        request._transport.close()
        request.accept(listener, max_frame=1000)
        await listener.until(lambda: "disconnected" in listener.told)
        assert listener.told[0] == "connected"


async def test_who_leaves_before_the_answer_is_reported_once(port: Port) -> None:
    socket, request = await upgraded(port)
    lost = asyncio.Event()
    request.on_lost = lost.set
    async with socket:
        pass
    async with asyncio.timeout(10):
        await lost.wait()
    request.refuse(PeerError(UNKNOWN_SID))


async def test_an_upgrade_to_something_else_is_plain_http(port: Port) -> None:
    async with await HttpConnection.open(port.url) as http:
        await http.send(request_bytes("GET", "/plain", {"Connection": "Upgrade", "Upgrade": "h2c"}))
        assert (await http.reply()).status == 200


def test_the_constructor_of_picows_protocol_is_the_one_we_call() -> None:
    """Fifteen arguments by position; a sixteenth, or a reordering, would go unnoticed otherwise."""
    with pytest.raises(TypeError, match=r"takes .* 15 positional arguments"):
        WSProtocol(*range(16))
