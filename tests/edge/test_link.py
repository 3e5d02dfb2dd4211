"""Links of app servers: who may open one, what may come over it, how it ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import jwt
import msgspec
import pytest

from moorage.wire.azure import tunnel_frames
from moorage.wire.moorage import v1
from tests.support.app_link import AppServer, tunnel_token, tunnel_url
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


# -- opening ----------------------------------------------------------------------------------------------


async def test_the_first_frame_is_the_greeting(service: MoorageProcess, hub: str, app: AppServer) -> None:
    assert int.from_bytes(app.greeting[:4], "little") == len(app.greeting) - 4
    kind, text, content = msgspec.msgpack.decode(app.greeting[4:])
    greeting = json.loads(text)
    assert (kind, content) == (10, None)
    assert greeting["Type"] == 10
    assert greeting["UserId"] == app.server_id
    assert greeting["ConnectionId"]


async def test_no_subprotocol_and_no_extension_is_chosen(service: MoorageProcess, hub: str) -> None:
    token = tunnel_token(service, hub, "s")
    headers = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
    socket, reply = await WebSocket.ask(service.url, target(service, hub, token), headers)
    async with socket:
        assert reply.status == 101
        assert not {"sec-websocket-protocol", "sec-websocket-extensions"} & reply.headers.keys()


async def test_the_token_may_come_as_a_header(service: MoorageProcess, hub: str) -> None:
    headers = {"Authorization": f"Bearer {tunnel_token(service, hub, 's')}"}
    async with await WebSocket.open(service.url, f"/server/tunnel?hub={hub}", headers) as socket:
        assert await socket.binary()


async def test_a_target_belongs_to_the_audience(service: MoorageProcess, hub: str) -> None:
    audience = tunnel_url(service, hub) + "&target=node-2"
    token = tunnel_token(service, hub, "s", aud=audience)
    async with await WebSocket.open(service.url, target(service, hub, token) + "&target=node-2") as socket:
        assert await socket.binary()
    reply = await WebSocket.refused(service.url, target(service, hub, token))
    assert (reply.status, reply.json()["reason"]) == (401, "token-audience")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1_000_000_000}, "token-expired"),
        ({"exp": None}, "token-claims"),
        ({"iat": 9_000_000_000}, "token-not-yet"),
        ({"sub": None}, "token-claims"),
        ({"sub": ["x"]}, "token-claims"),
        ({"aud": "ws://elsewhere.example/server/tunnel?hub=x"}, "token-audience"),
    ],
)
async def test_stale_and_foreign_tokens(
    service: MoorageProcess, hub: str, claims: dict[str, object], reason: str
) -> None:
    counter = f'moorage_refusals_total{{door="link",reason="{reason}"}}'
    before = service.metric(counter)
    token = tunnel_token(service, hub, "s", **claims)
    reply = await WebSocket.refused(service.url, target(service, hub, token))
    assert (reply.status, reply.json()["reason"]) == (401, reason)
    assert service.metric(counter) == before + 1


@pytest.mark.repair(30)
@pytest.mark.parametrize("protocol", [{}, {"Sec-WebSocket-Protocol": v1.SUBPROTOCOL}])
async def test_a_link_by_the_public_address_or_by_the_internal_one(protocol: dict[str, str]) -> None:
    with MoorageProcess("--set", "server.public_endpoint=https://rt.example") as service:
        health = service.wait_line(lambda line: line.startswith("Health")).split()[1]
        service.url = health.removesuffix("/healthz")
        internal = tunnel_url(service, "x")
        for at, audience, status in (
            ("", internal, 101),
            ("", "wss://rt.example/server/tunnel?hub=x", 101),
            ("", "wss://other.example/server/tunnel?hub=x", 401),
            ("proxy.example", "wss://rt.example/server/tunnel?hub=x", 101),
            ("proxy.example", internal, 401),
            ("other.example/server/tunnel", "wss://other.example/server/tunnel?hub=x", 401),
        ):
            token = tunnel_token(service, "x", f"by {at} {audience}", aud=audience)
            headers = protocol | ({"Host": at} if at else {})
            socket, reply = await WebSocket.ask(service.url, target(service, "x", token), headers)
            await socket.http.close()
            assert reply.status == status, (at, audience)


@pytest.mark.repair(8)
async def test_a_host_that_is_none_is_refused_after_the_token() -> None:
    with MoorageProcess("--set", "server.public_endpoint=https://rt.example") as service:
        health = service.wait_line(lambda line: line.startswith("Health")).split()[1]
        service.url = health.removesuffix("/healthz")
        for audience, status in (("wss://rt.example", 400), ("wss://other.example", 401)):
            token = tunnel_token(service, "x", "one", aud=f"{audience}/server/tunnel?hub=x")
            reply = await WebSocket.refused(service.url, target(service, "x", token), {"Host": "x/y"})
            assert reply.status == status


async def test_forged_tokens(service: MoorageProcess, hub: str) -> None:
    claims = {"sub": "s", "exp": int(time.time()) + 60, "aud": tunnel_url(service, hub)}
    forged = jwt.encode(claims, "another key, of the right length.", "HS256")
    reply = await WebSocket.refused(service.url, target(service, hub, forged))
    assert (reply.status, reply.json()["reason"]) == (401, "token-signature")
    reply = await WebSocket.refused(service.url, target(service, hub, "x.y.z"))
    assert (reply.status, reply.json()["reason"]) == (401, "token-malformed")
    reply = await WebSocket.refused(service.url, f"/server/tunnel?hub={hub}")
    assert (reply.status, reply.json()["reason"]) == (401, "token-missing")


async def test_a_clients_token_opens_no_link(service: MoorageProcess, hub: str) -> None:
    audience = f"{service.url}/clients/socketio/hubs/{hub}"
    token = tunnel_token(service, hub, "s", aud=audience)
    assert (await WebSocket.refused(service.url, target(service, hub, token))).status == 401


async def test_a_refusal_tells_the_time(service: MoorageProcess, hub: str) -> None:
    # Whose clock is wrong can tell by how much.
    reply = await WebSocket.refused(service.url, target(service, hub, tunnel_token(service, hub, "s", exp=1)))
    told = parsedate_to_datetime(reply.headers["date"]).timestamp()
    assert abs(told - time.time()) < 60


async def test_refusals_before_the_token(service: MoorageProcess, hub: str) -> None:
    token = tunnel_token(service, hub, "s")
    reply = await WebSocket.refused(
        service.url, target(service, hub, token), {"Sec-WebSocket-Protocol": "json.x"}
    )
    assert (reply.status, reply.json()["reason"]) == (400, "link-unknown-dialect")
    reply = await WebSocket.refused(service.url, target(service, "1", token))
    assert (reply.status, reply.json()["reason"]) == (404, "unknown-hub")
    reply = await WebSocket.refused(service.url, "/server/tunnel?" + "a=1&" * 1_100)
    assert (reply.status, reply.json()["reason"]) == (400, "bad-request")


async def test_links_of_one_server_are_counted() -> None:
    with MoorageProcess("--set", "links.max_links_per_server=2") as service:
        async with AppServer(service, "a", "one"), AppServer(service, "a", "one"):
            token = tunnel_token(service, "a", "one")
            reply = await WebSocket.refused(service.url, target(service, "a", token))
            assert (reply.status, reply.json()["reason"]) == (503, "link-too-many")
            async with AppServer(service, "a", "two"), AppServer(service, "b", "one"):
                assert service.metric('moorage_tunnel_connections{dialect="azure",hub="a"}') == 3
                assert service.metric('moorage_app_servers{hub="a"}') == 2


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
