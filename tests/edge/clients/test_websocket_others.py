"""WebSocket clients in other languages, and what browsers insist on."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from tests.support.app_link import AppServer
from tests.support.rawhttp import HttpConnection, Polling, clients, request_bytes
from tests.support.rawws import CLOSE, PING, TEXT, Frame, WebSocket, frame
from tests.support.service import MoorageProcess
from tests.support.tunnel_link import TunnelLink

OFFER = "Sec-WebSocket-Protocol"
OPEN = "?EIO=4&transport=websocket"


async def frames(socket: WebSocket) -> list[Frame]:
    """All frames until the connection ends."""
    found: list[Frame] = []
    try:
        while True:
            found.append(await socket.frame())
    except (EOFError, ConnectionError):
        return found


@pytest.mark.repair(18)
@pytest.mark.parametrize(
    ("offered", "selected"),
    [("chat", "chat"), ("chat, superchat", "chat"), (" v1.x ,v2", "v1.x"), ("moorage.v1", "moorage.v1")],
)
async def test_the_first_subprotocol_is_selected(
    service: MoorageProcess, hub: str, app: AppServer, offered: str, selected: str
) -> None:
    socket, reply = await WebSocket.ask(service.url, clients(hub) + OPEN, {OFFER: offered})
    async with socket:
        assert (reply.status, reply.headers.get(OFFER.lower())) == (101, selected)
        assert (await socket.text())[0] == "0"


@pytest.mark.repair(18)
async def test_a_subprotocol_is_selected_in_a_transport_upgrade(
    service: MoorageProcess, hub: str, app: AppServer
) -> None:
    polling = await Polling(service.url, clients(hub)).open()
    target = f"{clients(hub)}{OPEN}&sid={polling.sid}"
    socket, reply = await WebSocket.ask(service.url, target, {OFFER: "a, b"})
    async with socket:
        assert (reply.status, reply.headers[OFFER.lower()]) == (101, "a")


@pytest.mark.repair(18)
async def test_no_subprotocol_is_selected_if_none_is_offered(
    service: MoorageProcess, hub: str, app: AppServer
) -> None:
    socket, reply = await WebSocket.ask(service.url, clients(hub) + OPEN)
    async with socket:
        assert OFFER.lower() not in reply.headers


@pytest.mark.repair(18)
@pytest.mark.parametrize("offered", ["", "a b", "a,,b", "a, ", "(x)", "a, a"])
async def test_a_broken_offer_is_refused(
    service: MoorageProcess, hub: str, app: AppServer, offered: str
) -> None:
    reply = await WebSocket.refused(service.url, clients(hub) + OPEN, {OFFER: offered})
    assert (reply.status, reply.json()["reason"]) == (400, "bad-upgrade")


@pytest.mark.repair(17)
@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_many_query_parameters(
    service: MoorageProcess, hub: str, app: AppServer, link: TunnelLink, transport: str
) -> None:
    names = {f"p{number}": [str(number)] for number in range(300)}
    query = "".join(f"&{name}={value}" for name, [value] in names.items())
    for _ in range(2):
        # One for each app server.
        if transport == "polling":
            await Polling(service.url, clients(hub), query).open()
        else:
            async with await WebSocket.session(service.url, clients(hub), query):
                pass
    assert names.items() <= (await app.event("connect")).json()["query"].items()


@pytest.mark.repair(17)
async def test_a_stray_upgrade_packet_is_ignored(service: MoorageProcess, hub: str, app: AppServer) -> None:
    async with await WebSocket.session(service.url, clients(hub)) as client:
        for packet in ("5", "6", '42["still here"]'):
            await client.send(packet)
        assert await client.text() == '42["still here"]'


@pytest.mark.repair(17)
@pytest.mark.parametrize(
    "end", [frame(TEXT, b"abc"), frame(TEXT, b"1"), frame(CLOSE, b"\x03\xe8"), frame(CLOSE, b"")]
)
@pytest.mark.parametrize("before", [b"", frame(PING, b"w")])
async def test_nothing_follows_a_close_frame(
    service: MoorageProcess, hub: str, app: AppServer, before: bytes, end: bytes
) -> None:
    async with await WebSocket.session(service.url, clients(hub)) as client:
        more = frame(PING, b"x") * 3 + frame(TEXT, b"42[1]") + frame(CLOSE, b"\x03\xe8") + frame(PING, b"y")
        await client.raw(before + end + more)
        kinds = [found.opcode for found in await frames(client)]
    assert kinds.count(CLOSE) == 1
    assert kinds[-1] == CLOSE


@pytest.mark.repair(17)
async def test_nothing_follows_the_close_of_the_app_server(
    service: MoorageProcess, hub: str, app: AppServer
) -> None:
    async with await WebSocket.session(service.url, clients(hub)) as client:
        await app.send(client.sid, '42["last"]\x1e1')
        found = [await client.frame()]
        while found[-1].opcode != CLOSE:
            found.append(await client.frame())
        with suppress(ConnectionError):
            await client.raw(frame(PING, b"x") * 3 + frame(TEXT, b"42[1]"))
        assert await frames(client) == []


@pytest.mark.repair(17)
async def test_nothing_follows_the_close_of_a_refused_upgrade(
    service: MoorageProcess, hub: str, app: AppServer
) -> None:
    polling = await Polling(service.url, clients(hub)).open()
    async with await WebSocket.open(service.url, f"{clients(hub)}{OPEN}&sid={polling.sid}") as socket:
        await socket.raw(
            frame(TEXT, b"nonsense") + frame(PING, b"x") + frame(TEXT, b"2probe") + frame(TEXT, b"5")
        )
        kinds = [found.opcode for found in await frames(socket)]
    assert kinds == [CLOSE]
    await polling.send('42["by polling"]')
    async with asyncio.timeout(10):
        assert await polling.poll() == '42["by polling"]'


@pytest.mark.repair(17)
@pytest.mark.parametrize("early", [frame(TEXT, b"abc"), frame(TEXT, b"1"), frame(CLOSE, b"\x03\xe8")])
async def test_a_session_that_ends_while_it_opens_ends_with_a_close_frame(
    service: MoorageProcess, hub: str, app: AppServer, early: bytes
) -> None:
    """The client's first packets came in one piece with its request."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with await HttpConnection.open(service.url) as http:
        await http.send(request_bytes("GET", clients(hub) + OPEN, headers) + early + frame(PING, b"x"))
        assert (await http.reply()).status == 101
        kinds = [found.opcode for found in await frames(WebSocket(http))]
    assert kinds[-1] == CLOSE
    assert kinds.count(CLOSE) == 1
