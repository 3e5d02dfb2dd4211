"""Links of the azure dialect: the greeting, what may come over one, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import msgspec
import pytest

from moorage.wire.azure import tunnel_frames
from tests.support.app_link import AppServer, tunnel_token
from tests.support.rawhttp import Polling, clients
from tests.support.rawws import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, WebSocket, frame
from tests.support.service import MoorageProcess


def target(service: MoorageProcess, hub: str, token: str) -> str:
    """A tunnel's request target."""
    return f"/server/tunnel?hub={hub}&access_token={token}"


@pytest.fixture
async def link(service: MoorageProcess, hub: str) -> AsyncIterator[WebSocket]:
    """A link made by hand; its greeting is read."""
    token = tunnel_token(service, hub, "by-hand")
    async with await WebSocket.open(service.url, target(service, hub, token)) as socket:
        assert (await socket.binary())[4:6] == b"\x93\x0a"
        yield socket


async def test_the_first_frame_is_the_greeting(service: MoorageProcess, hub: str, app: AppServer) -> None:
    assert int.from_bytes(app.greeting[:4], "little") == len(app.greeting) - 4
    kind, text, content = msgspec.msgpack.decode(app.greeting[4:])
    greeting = json.loads(text)
    assert (kind, content) == (10, None)
    assert greeting["Type"] == 10
    assert greeting["UserId"] == app.server_id
    assert greeting["ConnectionId"]


# -- what comes over it -----------------------------------------------------------------------------------


CALL = json.dumps(
    {
        "Type": 1,
        "AckId": 1,
        "HttpMethod": "POST",
        "Url": "https://host/api/hubs/x/:send?api-version=1",
        "Headers": {"Content-Type": ["text/plain"]},
    }
)


async def frames_of(link: WebSocket, count: int) -> list[Frame]:
    """The next frames, without keep-alives."""
    found: list[Frame] = []
    while len(found) < count:
        one = await link.frame()
        if one.payload != tunnel_frames.KEEPALIVE:
            found.append(one)
    return found


async def test_a_call_in_fragments(link: WebSocket) -> None:
    data = tunnel_frames.encode(tunnel_frames.REQUEST, CALL.encode(), b"2")
    await link.raw(frame(BINARY, data[:7], fin=False) + frame(PING, b"p"))
    await link.raw(frame(CONTINUATION, data[7:9], fin=False) + frame(CONTINUATION, data[9:]))
    pong, message = await frames_of(link, 2)
    assert pong == Frame(PONG, b"p")
    answer, _ = tunnel_frames.decode(message.payload)
    assert isinstance(answer, tunnel_frames.Response)
    assert (answer.ack_id, answer.status_code) == (1, 404), "x is not this link's hub"


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"hello"),
        frame(BINARY, b""),
        frame(BINARY, b"\x00\x00\x00\x00"),
        frame(BINARY, b"\x05\x00\x00\x00\x93\x01"),
        frame(BINARY, b"\xff\xff\xff\xff\x93\x01\xa0\xc0"),
        frame(BINARY, b"\x03\x00\x00\x00\xff\xff\xff"),
        frame(BINARY, tunnel_frames.encode(1, b"not json")),
        frame(BINARY, tunnel_frames.encode(1, b"{}")),
        frame(BINARY, tunnel_frames.encode(2, b'{"AckId":"x","StatusCode":200}')),
        frame(BINARY, tunnel_frames.encode(1, b"[" * 100_000)),
        frame(BINARY, b"\x07\x00\x00\x00\x93\x01\xa2\xff\xff\xc0\xc0"),
        frame(CONTINUATION, b"of nothing"),
    ],
    ids=[
        "text", "empty", "zero", "truncated", "length", "msgpack", "json", "no-fields", "wrong-types", "deep",
        "utf8", "continuation",
    ],
)  # fmt: skip
async def test_garbage_ends_the_link(service: MoorageProcess, hub: str, link: WebSocket, data: bytes) -> None:
    await link.raw(data * 20)
    texts, end = await link.ended()
    assert texts == []
    assert end.code == 1002
    record = await asyncio.to_thread(service.wait_record, event="link ended", hub=hub)
    assert record["reason"] == "link-bad-frame"
    said = [line for line in service.lines if '"bad frame"' in line and f'"{hub}"' in line]
    assert len(said) == 1, "one line, not 20"


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (frame(BINARY, b"x", masked=False), 1002, "link-bad-frame"),
        (frame(0x3, b"x"), 1002, "link-bad-frame"),
        (frame(PING, b"x" * 126), 1002, "link-bad-frame"),
        (frame(BINARY, b"", size=101 * 1024 * 1024), 1009, "link-frame-too-large"),
    ],
    ids=["unmasked", "opcode", "long-ping", "huge"],
)
async def test_broken_websocket_frames_end_the_link(
    service: MoorageProcess, hub: str, link: WebSocket, data: bytes, code: int, reason: str
) -> None:
    await link.raw(data)
    assert (await link.ended())[1].code == code
    record = await asyncio.to_thread(service.wait_record, event="link ended", hub=hub)
    assert record["reason"] == reason


async def test_frames_of_unknown_kinds_are_ignored(link: WebSocket) -> None:
    await link.send(tunnel_frames.encode(77, b"{}", b"whatever"))
    await link.send(tunnel_frames.encode(2, b'{"AckId":12345,"StatusCode":200}'))
    await link.send(tunnel_frames.encode(1, CALL.encode(), b"2"))
    (answer,) = await frames_of(link, 1)
    assert isinstance(tunnel_frames.decode(answer.payload)[0], tunnel_frames.Response)


# -- how it ends ------------------------------------------------------------------------------------------


async def test_the_app_server_closes(service: MoorageProcess, hub: str, link: WebSocket) -> None:
    await link.send(tunnel_frames.encode(1, CALL.encode(), b"2"))
    await link.raw(frame(CLOSE, b""))
    (answer,) = await frames_of(link, 1)
    assert answer.opcode == BINARY, "what was asked before is answered"
    assert (await link.ended())[1].code == 1000
    record = await asyncio.to_thread(service.wait_record, event="link ended", hub=hub)
    assert record["reason"] == "link-closed"


async def test_the_connection_breaks(service: MoorageProcess, hub: str, link: WebSocket) -> None:
    link.http.writer.transport.abort()
    record = await asyncio.to_thread(service.wait_record, event="link ended", hub=hub)
    assert record["reason"] == "link-lost"


async def test_a_link_that_comes_back_finds_its_clients(
    service: MoorageProcess, hub: str, app: AppServer
) -> None:
    async with await WebSocket.session(service.url, clients(hub)) as client:
        await app.hang_up()
        await client.send("42[1]")
        await client.send("42[2]")
        await app.dial()
        assert await client.text() == "42[1]"
        assert await client.text() == "42[2]"


async def test_an_app_server_that_stays_away_loses_its_clients() -> None:
    with MoorageProcess("--set", "links.grace=300ms") as service:
        async with AppServer(service, "app") as app:
            client = await WebSocket.session(service.url, "/socket.io/")
            polling = await Polling(service.url, "/socket.io/").open()
            await app.hang_up()
            async with client:
                assert (await client.ended())[1] == (1012, "app-lost")
            assert await polling.let_go() == "app-lost"
