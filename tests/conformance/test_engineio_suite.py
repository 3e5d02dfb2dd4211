"""The 25 cases of Engine.IO's public suite (protocol 4), e01 to e25 in its order, and those of the first
16 cases of Socket.IO's suite (protocol 5) that are the same (s01 to s13). An app server answers where the
suite has an echo of its own, so messages are Socket.IO events here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.conformance.suite import INTERVAL, MAX_PAYLOAD, TIMEOUT, Place, closed, event, fetch_until
from tests.support.rawhttp import HttpConnection, Polling, Reply, fetch, request_bytes
from tests.support.rawws import WebSocket

pytestmark = pytest.mark.repair(11)

TERMS = {"pingInterval": INTERVAL * 1000, "pingTimeout": TIMEOUT * 1000, "maxPayload": MAX_PAYLOAD}
NO_VERSION, BAD_VERSION = "transport={0}", "EIO=abc&transport={0}"
NO_TRANSPORT, BAD_TRANSPORT = "EIO=4", "EIO=4&transport=abc"


async def entered(server: Place) -> Polling:
    """A polling client with a socket in the main namespace."""
    client = await server.polling()
    await client.send("40")
    assert (await fetch_until(client, 2))[1] == '42["auth",{}]'
    return client


async def refused_upgrade(server: Place, query: str) -> None:
    socket, reply = await WebSocket.ask(server.url, server.target(query.format("websocket")))
    async with socket:
        # Stock `socket.io` writes its 400 after a 101.
        assert reply.status == (101 if server.sdk == "native" and "EIO=4" not in query else 400)
        assert b'"sid"' not in await socket.http.rest()


async def before_the_ping(server: Place, act: Callable[[Polling], Awaitable[None]]) -> Polling:
    """Do something with a new session before its first ping, as often as a busy machine needs for that."""
    loop = asyncio.get_running_loop()
    while True:
        begun = loop.time()
        client = await server.polling()
        try:
            await act(client)
        except AssertionError:
            if loop.time() - begun < INTERVAL:
                raise
        else:
            if loop.time() - begun < INTERVAL:
                return client


async def read(server: Place) -> None:
    """Return when the server has read what was sent before: it has answered another request."""
    assert (await fetch(server.url, server.target(NO_VERSION.format("polling")))).status == 400


# -- handshake ------------------------------------------------------------------------------------


async def test_e01_s01_a_session_opens_by_polling(server: Place) -> None:
    client = await server.polling()
    sid = client.info.pop("sid")
    assert isinstance(sid, str)
    assert client.info == {"upgrades": ["websocket"], **TERMS}


@pytest.mark.parametrize("query", [NO_VERSION, BAD_VERSION])
async def test_e02_s02_polling_without_the_version(server: Place, query: str) -> None:
    assert (await fetch(server.url, server.target(query.format("polling")))).status == 400


@pytest.mark.parametrize("query", [NO_TRANSPORT, BAD_TRANSPORT])
async def test_e03_s03_polling_without_the_transport(server: Place, query: str) -> None:
    assert (await fetch(server.url, server.target(query))).status == 400


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_e04_s04_a_session_opens_by_get_only(server: Place, method: str) -> None:
    target = server.target("EIO=4&transport=polling")
    reply = await fetch(server.url, target, method=method, headers={"Content-Length": "0"})
    assert reply.status == 400


async def test_e05_s05_a_session_opens_by_websocket(server: Place) -> None:
    async with await server.websocket() as socket:
        assert isinstance(socket.info.pop("sid"), str)
        assert socket.info == {"upgrades": [], **TERMS}


@pytest.mark.parametrize("query", [NO_VERSION, BAD_VERSION])
async def test_e06_s06_a_websocket_without_the_version(server: Place, query: str) -> None:
    await refused_upgrade(server, query)


@pytest.mark.parametrize("query", [NO_TRANSPORT, BAD_TRANSPORT])
async def test_e07_s07_a_websocket_without_the_transport(server: Place, query: str) -> None:
    await refused_upgrade(server, query)


# -- messages -------------------------------------------------------------------------------------


async def test_e08_one_text_by_polling(server: Place) -> None:
    client = await entered(server)
    reply = await client.post('42["message","hello"]')
    assert (reply.status, reply.text) == (200, "ok")
    assert await fetch_until(client, 1) == ['42["message-back","hello"]']


async def test_e09_several_texts_by_polling(server: Place) -> None:
    client = await entered(server)
    reply = await client.post("\x1e".join(f'42["message","test{number}"]' for number in (1, 2, 3)))
    assert (reply.status, reply.text) == (200, "ok")
    assert await fetch_until(client, 3) == [f'42["message-back","test{number}"]' for number in (1, 2, 3)]


async def test_e10_text_and_binary_by_polling(server: Place) -> None:
    client = await entered(server)
    reply = await client.post('451-["message","hello",{"_placeholder":true,"num":0}]\x1ebAQIDBA==')
    assert (reply.status, reply.text) == (200, "ok")
    assert await fetch_until(client, 2) == [
        '451-["message-back","hello",{"_placeholder":true,"num":0}]',
        "bAQIDBA==",
    ]


async def test_e11_a_broken_packet_by_polling(server: Place) -> None:
    client = await server.polling()
    reply = await client.post("abc")
    # Stock `socket.io` answers before it checks the payload.
    assert reply.status == (200 if server.sdk == "native" else 400)
    assert (await client.get()).status == 400


async def test_e12_two_polls_at_once(server: Place) -> None:
    async def poll_twice(client: Polling) -> None:
        async with (
            await HttpConnection.open(client.base) as first,
            await HttpConnection.open(client.base) as second,
        ):
            await first.send(request_bytes("GET", client.target))
            await read(server)
            await second.send(request_bytes("GET", client.target))
            waiting, later = await first.reply(), await second.reply()
        assert (waiting.status, waiting.text) == (200, "1")
        assert later.status in (400, 500)

    client = await before_the_ping(server, poll_twice)
    assert (await client.get()).status == 400


async def test_e13_an_aborted_poll(server: Place) -> None:
    async def abort(client: Polling) -> None:
        async with await HttpConnection.open(client.base) as http:
            await http.send(request_bytes("GET", client.target))
            await read(server)
        await read(server)

    client = await before_the_ping(server, abort)
    assert (await client.get()).status == 400


async def test_e14_one_text_by_websocket(server: Place) -> None:
    async with await server.entered() as socket:
        await socket.send('42["message","hello"]')
        assert await event(socket) == '42["message-back","hello"]'


async def test_e15_binary_by_websocket(server: Place) -> None:
    async with await server.entered() as socket:
        await socket.send('451-["message",{"_placeholder":true,"num":0}]')
        await socket.send(b"\x01\x02\x03\x04")
        assert await event(socket) == '451-["message-back",{"_placeholder":true,"num":0}]'
        assert await socket.binary() == b"\x01\x02\x03\x04"


async def test_e16_a_broken_packet_by_websocket(server: Place) -> None:
    async with await server.websocket() as socket:
        await socket.send("abc")
        await closed(socket)


# -- heartbeat ------------------------------------------------------------------------------------


async def test_e17_s08_pings_by_polling(server: Place) -> None:
    client = await server.polling()
    for _ in range(3):
        assert await client.poll() == "2"
        assert (await client.post("3")).status == 200


async def test_e18_s09_no_pong_by_polling(server: Place) -> None:
    client = await server.polling()
    # The public case has no tolerance, which works with stock `socket.io` only on an idle machine.
    await asyncio.sleep(INTERVAL + TIMEOUT + 0.1)
    # A busy server sends its ping late, so the end is late as well. With Azure's SDK the app server runs the
    # timeout, and its close is sent over the link.
    while (reply := await client.get()).status == 200:
        assert reply.text in ("2", "1", "6\x1e1")
    assert reply.status == 400


async def test_e19_s10_pings_by_websocket(server: Place) -> None:
    async with await server.websocket() as socket:
        for _ in range(3):
            assert await socket.text() == "2"
            await socket.send("3")


async def test_e20_s11_no_pong_by_websocket(server: Place) -> None:
    loop = asyncio.get_running_loop()
    # A busy client gets the ping late, and would measure less than the time that it has for its pong.
    began = loop.time()
    async with await server.websocket() as socket:
        assert await socket.text() == "2"
        await closed(socket)
        assert loop.time() - began > INTERVAL + TIMEOUT - 0.1


# -- close ----------------------------------------------------------------------------------------


async def test_e21_s12_the_client_closes_by_polling(server: Place) -> None:
    async def close(client: Polling) -> None:
        async with await HttpConnection.open(client.base) as http:
            await http.send(request_bytes("GET", client.target))
            await read(server)
            goodbye = await client.post("1")
            poll: Reply = await http.reply()
        assert goodbye.status == 200
        assert (poll.status, poll.text) == (200, "6")

    client = await before_the_ping(server, close)
    assert (await client.get()).status == 400


async def test_e22_s13_the_client_closes_by_websocket(server: Place) -> None:
    async with await server.websocket() as socket:
        await socket.send("1")
        await closed(socket)


# -- upgrade --------------------------------------------------------------------------------------


async def test_e23_an_upgrade(server: Place) -> None:
    client = await server.polling()
    async with await server.upgrade(client.sid) as socket:
        await socket.send("2probe")
        assert await socket.text() == "3probe"
        while (packet := await client.poll()) == "2":
            await client.send("3")
        assert packet == "6"
        await socket.send("5")
        await socket.send("40")
        assert (await event(socket)).startswith("40{")


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_e24_e25_requests_after_an_upgrade(server: Place, transport: str) -> None:
    client = await server.polling()
    async with await server.upgrade(client.sid) as socket:
        await socket.send("2probe")
        assert await socket.text() == "3probe"
        await socket.send("5")
        if transport == "polling":
            assert (await client.get()).status == 400
        else:
            await second_websocket(server, client.sid)
        await socket.send("40")
        assert (await event(socket)).startswith("40{")
        assert await event(socket) == '42["auth",{}]'


async def second_websocket(server: Place, sid: str) -> None:
    """Check that the request is refused, or closed without an answer."""
    query = f"EIO=4&transport=websocket&sid={sid}"
    other, reply = await WebSocket.ask(server.url, server.target(query))
    async with other:
        if reply.status == 101:
            assert await closed(other) == []
