"""Clients of a `socketio.AsyncServer` on Moorage: handshake, sessions, ends; and what stands in `sio.eio`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import engineio
import pytest
import socketio

from moorage.auth import AccessKeys, sign
from moorage.sdk import Moorage
from moorage.sdk.link.session import CONGESTED_BYTES
from moorage.wire.moorage import v1
from tests.sdk.conftest import Heard, World, until
from tests.sdk.linked import emit, serving
from tests.sdk.service_peer import ServicePeer


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def moorage(world: World, heard: Heard) -> Moorage:
    """An app server that tells of connects and disconnects."""
    sio = socketio.AsyncServer(async_mode="asgi", namespaces=["/", "/chat"])

    async def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
        heard("connect", sid, environ, auth)

    async def disconnect(sid: str, reason: str) -> None:
        heard("disconnect", sid, reason)

    for namespace in ("/", "/chat"):
        sio.on("connect", connect, namespace=namespace)
        sio.on("disconnect", disconnect, namespace=namespace)
    return await world.app(sio)


async def test_the_environ_holds_the_handshake(world: World, moorage: Moorage, heard: Heard) -> None:
    client = await world.client(auth={"token": "t"}, headers={"X-Test": "yes", "Cookie": "a=1"})
    _, sid, environ, auth = await heard.next()
    assert (sid, auth) == (client.get_sid(), {"token": "t"})
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["PATH_INFO"].rstrip("/") == world.path
    assert "EIO=4" in environ["QUERY_STRING"]
    assert (environ["HTTP_X_TEST"], environ["HTTP_COOKIE"]) == ("yes", "a=1")
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert world.service.url.endswith(environ["SERVER_PORT"])
    assert environ["moorage.user_id"] is None
    assert moorage.sio.get_environ(sid) is environ
    assert moorage.sio.transport(sid) == "websocket"


@pytest.mark.repair(21)
async def test_the_transport_follows_the_client(world: World, moorage: Moorage) -> None:
    sio = moorage.sio
    polling = (await world.client(transports=["polling"])).get_sid()
    changes = (await world.client(transports=["polling", "websocket"])).get_sid()
    await until(lambda: sio.transport(changes) == "websocket")
    assert sio.transport(polling) == "polling"


async def test_the_environ_holds_the_user_and_claims(world: World, moorage: Moorage, heard: Heard) -> None:
    """An access token's user and claims."""
    audience = f"{world.service.url}{world.path}"
    token = sign(
        AccessKeys(world.service.key), audience, time.time(), 60, user="ann", extra={"team": ["a", "b"]}
    )
    client = await world.raw(f"&access_token={token}")
    await client.send('40{"x":1}')
    _, _, environ, auth = await heard.next()
    assert (environ["moorage.user_id"], auth) == ("ann", {"x": 1})
    assert environ["moorage.claims"]["team"] == ["a", "b"]
    assert token not in str(environ)


async def test_each_socket_has_a_session(world: World, moorage: Moorage, heard: Heard) -> None:
    client = await world.client("/", "/chat")
    sio, sid, chat = moorage.sio, client.get_sid("/"), client.get_sid("/chat")
    await sio.save_session(sid, {"name": "ann"})
    async with sio.session(sid) as session:
        session["age"] = 7
    async with sio.session(chat, namespace="/chat") as session:
        session["other"] = True
    assert await sio.get_session(sid) == {"name": "ann", "age": 7}
    assert await sio.get_session(chat, namespace="/chat") == {"other": True}
    with pytest.raises(KeyError):
        await sio.get_session("nobody")


async def test_the_session_outlives_the_connection(world: World, moorage: Moorage) -> None:
    """Disconnect handlers look into it."""
    left = Heard()

    async def disconnect(sid: str, reason: str) -> None:
        left(await moorage.sio.get_session(sid), moorage.sio.rooms(sid))

    moorage.sio.on("disconnect", disconnect)
    client = await world.client()
    sid = client.get_sid()
    await moorage.sio.save_session(sid, {"name": "ann"})
    await moorage.sio.enter_room(sid, "room")
    await client.disconnect()
    session, rooms = await left.next()
    assert (session, set(rooms)) == ({"name": "ann"}, {sid, "room"})
    await until(lambda: not moorage.sio.eio.sockets)
    assert (moorage.sio.environ, moorage.sio.manager.rooms) == ({}, {})


async def test_the_reason_of_each_disconnect(world: World, moorage: Moorage, heard: Heard) -> None:
    sio = moorage.sio

    async def gone(client: Any) -> str:
        await client.send("40")
        sid = (await heard.next())[1]
        assert sid in await client.text()
        return str(sid)

    one = await world.raw()
    sid = await gone(one)
    await one.send("41")
    assert await heard.next() == ("disconnect", sid, sio.reason.CLIENT_DISCONNECT)
    sid = await gone(one)
    await one.http.close()
    assert await heard.next() == ("disconnect", sid, sio.reason.TRANSPORT_CLOSE)
    two = await world.raw()
    sid = await gone(two)
    await sio.disconnect(sid)
    assert await heard.next() == ("disconnect", sid, sio.reason.SERVER_DISCONNECT)
    assert await two.text() == "41"
    sid = await gone(two)
    await sio.eio.disconnect(sio.manager.eio_sid_from_sid(sid, "/"))
    assert await heard.next() == ("disconnect", sid, sio.reason.SERVER_DISCONNECT)
    _, end = await two.ended()
    assert end.code == 1000
    assert heard.empty


async def test_one_disconnect_for_each_namespace(world: World, moorage: Moorage, heard: Heard) -> None:
    client = await world.client("/", "/chat")
    connected = {(await heard.next())[1] for _ in range(2)}
    await client.eio.disconnect(abort=True)
    gone = await heard.some(2)
    assert {sid for _, sid, _ in gone} == connected
    await until(lambda: not moorage.sio.environ)
    assert heard.empty


async def test_it_is_an_engineio_server(moorage: Moorage) -> None:
    eio = moorage.sio.eio
    assert isinstance(eio, engineio.AsyncServer)
    assert len({eio.generate_id() for _ in range(100)}) == 100
    task = moorage.sio.start_background_task(asyncio.sleep, 0, "result")
    assert await task == "result"
    await moorage.sio.sleep(0)
    assert isinstance(eio.create_event(), asyncio.Event)
    assert isinstance(eio.create_queue(), asyncio.Queue)
    await moorage.sio.shutdown()


async def test_messages_of_the_engine_reach_the_client(world: World, moorage: Moorage, heard: Heard) -> None:
    client = await world.raw()
    await until(lambda: bool(moorage.sio.eio.sockets))
    eio, (sid,) = moorage.sio.eio, moorage.sio.eio.sockets
    await eio.send(sid, '2["text"]')
    await eio.send(sid, {"a": 1})
    await eio.send(sid, '51-["e",{"_placeholder":true,"num":0}]')
    await eio.send(sid, b"\x01")
    await eio.send_packet(sid, engineio.packet.Packet(engineio.packet.MESSAGE, "packet"))
    await eio.send_packet(sid, engineio.packet.Packet(engineio.packet.NOOP))
    await eio.send("nobody", "x")
    assert [await client.text() for _ in range(3)] == [
        '42["text"]',
        '4{"a":1}',
        '451-["e",{"_placeholder":true,"num":0}]',
    ]
    assert await client.binary() == b"\x01"
    assert await client.text() == "4packet"
    await eio.send_packet(sid, engineio.packet.Packet(engineio.packet.CLOSE))
    assert (await client.ended())[1].code == 1000


async def test_no_other_event_comes_between_an_event_and_its_attachments(peer: ServicePeer) -> None:
    """Whoever waits for a long queue waits before its attachments, or behind them."""
    peer.takes, peer.window = False, 1000
    sio = socketio.AsyncServer(async_mode="asgi")
    moorage = await serving(peer, sio)
    await moorage.sio.eio.send("client", "2" + "x" * 2000)
    await peer.frame(v1.Packet)
    moorage.link.send(emit("x" * CONGESTED_BYTES))
    acks = [sio.packet_class(3, data=[data], id=1, namespace="/") for data in (b"a", b"b")]
    sending = [asyncio.ensure_future(sio._send_packet("client", ack)) for ack in acks]
    await asyncio.sleep(0)
    peer.takes = True
    await peer.acknowledge()
    await asyncio.gather(*sending)
    await peer.frame(v1.Emit)
    head = b'461-1[{"_placeholder":true,"num":0}]\x1eb'
    assert [(await peer.frame(v1.Packet)).payload for _ in acks] == [head + b"YQ==", head + b"Yg=="]
    await moorage.close()


async def test_clients_of_the_old_address_are_told_where_to_connect(moorage: Moorage) -> None:
    """The app's own web server has the old address still."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/socket.io/",
        "query_string": b"EIO=4&transport=polling",
        "headers": [],
    }
    await socketio.ASGIApp(moorage.sio)(scope, receive, send)
    assert sent[0]["status"] == 400
    assert f"/clients/socketio/hubs/{moorage.hub}" in sent[1]["body"].decode()
