"""Upgrade requests, and the contract with picows' undocumented `WSProtocol`: the tests here fail if a
new version changes what `edge/http/takeover.py` needs."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import ssl
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from picows import WSCloseCode, WSFrame, WSMsgType, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from moorage.edge.http.refusals import HINT, error_body
from moorage.edge.http.takeover import MAX_READ, ClientProtocol, _unbuffered, descriptor_of, tcp_of
from moorage.edge.http.upgrade import MAX_EARLY, UpgradeRequest, parse_query
from moorage.edge.relay.tunnel import Side
from moorage.wire.errors import PeerError
from moorage.wire.reasons import UNKNOWN_HUB, UNKNOWN_SID
from tests.support.certificates import Authority
from tests.support.http_port import UPGRADE, Listener, Port
from tests.support.rawhttp import HttpConnection, request_bytes
from tests.support.rawws import CLOSE, PING, PONG, TEXT, Frame, WebSocket, frame


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
        assert request.header("upgrade") == "websocket"
        assert request.header("x-other") == ""
        request.refuse(PeerError(UNKNOWN_SID), ((b"x-extra", b"1"),))
        reply = await socket.http.reply()
        assert (reply.status, reply.json()["code"], reply.headers["x-extra"]) == (400, 1, "1")
        assert await socket.http.rest() == b""


async def test_accepting_answers_101_and_hands_over(port: Port) -> None:
    socket, request = await upgraded(port, frame(TEXT, b"early"))
    async with socket:
        listener = Listener()
        request.accept(listener, max_frame=1000, first=b"\x81\x05first")
        reply = await socket.http.reply()
        assert reply.status == 101
        assert await socket.text() == "first"
        assert reply.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert reply.headers["upgrade"].lower() == "websocket"
        assert listener.told[0] == "connected"
        await socket.send("late")
        await listener.until(lambda: len(listener.frames) == 2)
        assert listener.frames == [(WSMsgType.TEXT, b"early"), (WSMsgType.TEXT, b"late")]
        tcp_of(listener.transport).write(b"\x81\x02hi")
        assert await socket.text() == "hi"
        await socket.raw(frame(PING, b"?"))
        await listener.until(lambda: len(listener.frames) == 3)
        assert listener.frames[-1] == (WSMsgType.PING, b"?"), "whether it is answered is ours to say"
        listener.transport.send_pong(b"?")
        assert await socket.frame() == Frame(PONG, b"?")
        listener.transport.send_close(WSCloseCode.OK, b"enough")
        assert listener.transport.is_close_frame_sent
        assert await socket.frame() == Frame(CLOSE, b"\x03\xe8enough")
        listener.transport.disconnect()
        await listener.until(lambda: "disconnected" in listener.told)


async def test_nothing_of_the_request_stays_in_memory(port: Port) -> None:
    socket, request = await upgraded(port)
    async with socket:
        listener, kept = Listener(), weakref.ref(request)
        request.accept(listener, max_frame=1000)
        assert (await socket.http.reply()).status == 101
        del request
        gc.collect()
        assert kept() is None, "uvloop keeps it"
        assert not hasattr(listener.transport.request, "headers"), "picows keeps them"


@pytest.mark.alone
async def test_a_client_in_a_hurry_does_not_grow_the_buffer(port: Port) -> None:
    """picows would double it with every full read, and keep it for the connection's life."""
    socket, request = await upgraded(port)
    async with socket:
        listener = Listener()
        request.accept(listener, max_frame=1000)
        await socket.raw(frame(TEXT, b"x") * 300_000)
        await listener.until(lambda: len(listener.frames) == 300_000)
        protocol = tcp_of(listener.transport).get_protocol()
        assert isinstance(protocol, WSProtocol)
        assert len(protocol.get_buffer(-1)) <= MAX_READ
        assert len(WSProtocol.get_buffer(protocol, -1)) <= 3 * MAX_READ


def buffer_of(listener: Listener) -> int:
    """Bytes of picows' buffer, when it is empty."""
    return len(WSProtocol.get_buffer(tcp_of(listener.transport).get_protocol(), -1))


async def told(listener: Listener, what: str, times: int) -> None:
    """Wait until it was told something so many times."""
    await listener.until(lambda: listener.told.count(what) == times)


class Shrinking(Listener):
    """Gives the buffer back after a large frame, as clients' listener does."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.payload_size > MAX_READ and frame.tail_size == 0:
            protocol = tcp_of(transport).get_protocol()
            assert isinstance(protocol, ClientProtocol)
            protocol.shrink()
        super().on_ws_frame(transport, frame)


@pytest.mark.repair(10)
async def test_the_buffer_of_a_large_message_is_given_back(port: Port) -> None:
    socket, request = await upgraded(port)
    async with socket:
        listener = Shrinking()
        request.accept(listener, max_frame=1_000_000)
        assert (await socket.http.reply()).status == 101
        for count in range(1, 4):
            await socket.send("x" * 990_000)
            await told(listener, "connected", count + 1)
            assert buffer_of(listener) <= 4096
            # The connection is as it was, in both directions.
            listener.transport.send(WSMsgType.TEXT, b"hi")
            assert await socket.text() == "hi"
        listener.transport.send_close(WSCloseCode.OK, b"enough")
        assert await socket.frame() == Frame(CLOSE, b"\x03\xe8enough")
        listener.transport.disconnect()
        await listener.until(lambda: "disconnected" in listener.told)
        assert listener.told.count("disconnected") == 1


@pytest.mark.repair(10)
async def test_giving_a_buffer_back_loses_and_reorders_nothing(port: Port) -> None:
    """Whatever stands behind a large message, and however it is cut."""
    sizes = [90_000, 3, 70_000, 0, 990_000, 125, 65_537, 65_536, 80_000, 80_001, 7]
    payloads = [bytes([65 + number]) * size for number, size in enumerate(sizes * 3)]
    data = b"".join(frame(TEXT, payload) for payload in payloads)
    for step in (len(data), 65_536, 50_000, 7_777):
        socket, request = await upgraded(port)
        async with socket:
            listener = Shrinking()
            request.accept(listener, max_frame=1_000_000)
            for start in range(0, len(data), step):
                await socket.raw(data[start : start + step])
            await told(listener, "frame", len(payloads))
            assert [found for _, found in listener.frames] == payloads


@pytest.mark.repair(10)
async def test_no_buffer_is_given_back_after_the_end(port: Port) -> None:
    socket, request = await upgraded(port)
    async with socket:
        listener = Shrinking()
        request.accept(listener, max_frame=1_000_000)
        await socket.raw(frame(TEXT, b"x" * 90_000) + frame(CLOSE, b"\x03\xe8"))
        await listener.until(lambda: len(listener.frames) == 2)
        listener.transport.send_close(WSCloseCode.OK)
        listener.transport.disconnect()
        await listener.until(lambda: "disconnected" in listener.told)
        assert listener.told.count("connected") == 1


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
        tcp = tcp_of(listener.transport)
        while "pause" not in listener.told:
            tcp.write(bytes([0x82, 126, 0xFF, 0xFF]) + b"x" * 0xFFFF)
            await asyncio.sleep(0)
        reading = asyncio.create_task(socket.ended())
        await listener.until(lambda: "resume" in listener.told)
        listener.transport.disconnect(graceful=False)
        await reading


async def test_a_clients_transport_buffers_nothing_while_it_takes_data(port: Port) -> None:
    """So others may write to its descriptor."""
    socket, request = await upgraded(port)
    async with socket:
        listener = Listener()
        request.accept(listener, max_frame=1000)
        await socket.http.reply()
        tcp, descriptor = tcp_of(listener.transport), descriptor_of(listener.transport)
        # The end of what is sent: a frame that was cut would not end.
        sent, last = 0, bytes([0x81, 1]) + b"z"
        while "pause" not in listener.told:
            assert tcp.get_write_buffer_size() == 0
            tcp.write(bytes([0x82, 126, 0xFF, 0xFF]) + b"x" * 0xFFFF)
            sent += 1
        assert tcp.get_write_buffer_size() > 0
        got = [await socket.frame() for _ in range(sent)]
        await listener.until(lambda: "resume" in listener.told)
        assert tcp.get_write_buffer_size() == 0
        assert os.write(descriptor, last) == len(last)
        assert [len(each.payload) for each in got] == [0xFFFF] * sent
        assert (await socket.frame()).payload == b"z"


class Encrypting(asyncio.Transport):
    """Writes something else than it is given."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self if name == "ssl_object" else default

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


def test_nobody_writes_past_tls() -> None:
    assert _unbuffered(Encrypting()) == -1


async def test_links_have_no_descriptor_to_write_to(port: Port) -> None:
    socket, request = await upgraded(port)
    async with socket:
        listener = Listener()
        request.accept(listener, max_frame=1000, ping=True)
        assert descriptor_of(listener.transport) == -1


async def test_a_connection_that_is_closing_can_be_accepted(port: Port) -> None:
    """The client may leave in the very moment in which the app server takes it."""
    socket, request = await upgraded(port)
    async with socket:
        listener = Listener()
        request._transport.close()
        request.accept(listener, max_frame=1000)
        await listener.until(lambda: "disconnected" in listener.told)
        assert listener.told[0] == "connected"


async def just_lost(port: Port, tmp_path: Path, call: Callable[[UpgradeRequest], object]) -> None:
    """Make a call with the request of a TLS connection that is lost: uvloop has told nobody of the end yet,
    and has no socket any more."""
    authority = Authority(tmp_path)
    pair = authority.make()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(port.acceptor, "127.0.0.1", 0, ssl=context)
    trusted = ssl.create_default_context(cafile=authority.file)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=trusted)
    writer.write(request_bytes("GET", "/ws", UPGRADE))
    async with asyncio.timeout(10):
        request = await port.upgrades.get()
    called = loop.create_future()

    def call_when_lost() -> None:
        if request.transport.get_extra_info("socket") is not None:
            loop.call_soon(call_when_lost)
            return
        call(request)
        called.set_result(None)

    call_when_lost()
    writer.transport.abort()
    async with asyncio.timeout(10):
        await called
    server.close()


async def test_a_tls_connection_that_has_just_been_lost_can_be_accepted(port: Port, tmp_path: Path) -> None:
    listener = Listener()
    await just_lost(port, tmp_path, lambda request: request.accept(listener, max_frame=1000))
    await listener.until(lambda: "disconnected" in listener.told)
    assert listener.told == ["connected", "disconnected"]


async def test_a_tls_connection_that_has_just_been_lost_can_be_given_away(port: Port, tmp_path: Path) -> None:
    ended = asyncio.Event()
    side = Side(lambda _: ended.set())

    def give(request: UpgradeRequest) -> None:
        transport, _ = request.release()
        transport.set_protocol(side)
        request.succeed(side)

    await just_lost(port, tmp_path, give)
    async with asyncio.timeout(10):
        await ended.wait()


async def test_a_client_that_leaves_before_the_answer_is_reported_once(port: Port) -> None:
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


async def test_the_file_descriptor_is_the_sockets(port: Port) -> None:
    """picows writes its own small frames past the transport, on this descriptor."""
    socket, request = await upgraded(port)
    async with socket:
        listener = Listener()
        request.accept(listener, max_frame=1000)
        bare = listener.transport.underlying_transport
        assert (
            bare.get_extra_info("socket").fileno()
            == tcp_of(listener.transport).get_extra_info("socket").fileno()
        )
        assert bare.get_extra_info("ssl_object") is None
