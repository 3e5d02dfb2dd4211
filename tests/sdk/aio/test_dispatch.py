"""Packets of clients, sane and insane, and the order of one client's affairs."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
import socketio

from moorage.sdk import Moorage
from moorage.sdk.aio import dispatch
from moorage.wire.moorage import v1
from tests.sdk.conftest import Heard, World, until
from tests.sdk.linked import emit, serving
from tests.sdk.service_peer import ServicePeer
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess


def server(**options: Any) -> Any:
    """A server with an echo."""
    sio = socketio.AsyncServer(async_mode="asgi", namespaces=["/", "/chat"], **options)
    sio.on("echo", lambda sid, *data: data)
    return sio


@pytest.fixture
async def moorage(world: World) -> Moorage:
    return await world.app(server())


async def connected(world: World, *before: str) -> tuple[WebSocket, str]:
    """A raw client in `/`, and its socket id. `before`: what it hears first."""
    client = await world.raw()
    await client.send("40")
    assert [await client.text() for _ in before] == [*before]
    return client, (await client.text()).split('"')[3]


# -- connecting -------------------------------------------------------------------------------------


async def test_handlers_serve_their_own_namespace(world: World, moorage: Moorage) -> None:
    client = await world.raw()
    await client.send('40/chat,{"token":1}')
    assert (await client.text()).startswith('40/chat,{"sid":"')
    await client.send("40/unknown,")
    assert await client.text() == '44/unknown,"Unable to connect"'
    await client.send("40/chat?token=x,")
    _, end = await client.ended()
    assert end[1] == "duplicate-connect"


async def test_a_refused_client_gets_the_reason(world: World) -> None:
    sio = server()

    def connect(sid: str, environ: Any, auth: Any) -> Any:
        match auth and auth.get("do"):
            case "false":
                return False
            case "refuse":
                raise socketio.exceptions.ConnectionRefusedError("no", {"code": 1})
            case "builtin":
                raise ConnectionRefusedError
            case "break":
                raise ZeroDivisionError
        return None

    sio.on("connect", connect)
    await world.app(sio)
    client = await world.raw()
    for do, answer in (
        ("false", '44{"message":"Connection rejected by server"}'),
        ("refuse", '44{"message":"no","data":{"code":1}}'),
        ("builtin", '44{"message":"Connection refused by server"}'),
        ("break", '44{"message":"Unable to connect"}'),
    ):
        await client.send(f'40{{"do":"{do}"}}')
        assert await client.text() == answer
    assert sio.manager.rooms == {}
    await client.send("40")
    assert (await client.text()).startswith('40{"sid":"')


async def test_with_always_connect_the_answer_comes_before_the_handler(world: World) -> None:
    sio = server(always_connect=True)

    async def connect(sid: str, environ: Any, auth: Any) -> Any:
        await sio.emit("early", to=sid)
        if auth == {"break": 1}:
            raise ZeroDivisionError
        return auth is None

    sio.on("connect", connect)
    await world.app(sio)
    client = await world.raw()
    await client.send("40")
    assert (await client.text()).startswith('40{"sid":"')
    assert await client.text() == '42["early"]'
    await client.send("41")
    for refused in ("x", "break"):
        await client.send(f'40{{"{refused}":1}}')
        assert (await client.text()).startswith('40{"sid":"')
        assert await client.text() == '42["early"]'
        assert (await client.text()).startswith("41")
        assert sio.manager.rooms == {}


async def test_a_connect_handler_may_enter_rooms_and_emit(world: World) -> None:
    """What is entered there is entered when the client hears that it is connected."""
    sio = server()

    async def connect(sid: str, environ: Any) -> None:
        await sio.enter_room(sid, "room")
        await sio.save_session(sid, {"x": 1})
        await sio.emit("joined", sid, room="room", skip_sid=sid)

    sio.on("connect", connect)
    await world.app(sio)
    one = await world.client()
    two = await world.client()
    assert await one.heard.next() == ("joined", two.get_sid())
    await sio.emit("x", room="room")
    assert await two.heard.next() == ("x",)


async def test_a_connect_handlers_emit_to_all_reaches_its_own_socket(world: World) -> None:
    """They reach their own socket as well, as with the library, and once."""
    sio, gate = server(), asyncio.Event()

    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await sio.emit("count")
        await sio.emit("others", skip_sid=sid)
        await sio.emit("several", to=[sid, "nobody"])
        await sio.enter_room(sid, "room")
        await sio.emit("several", to=[sid, "room"])
        if auth:
            await gate.wait()

    sio.on("connect", connect)
    await world.app(sio)
    waiting = await world.raw()
    await waiting.send('40{"wait":1}')
    own = ['42["count"]', '42["several"]', '42["several"]']
    assert [await waiting.text() for _ in own] == own
    await sio.emit("elsewhere", namespace="/chat")
    client, _ = await connected(world, *own)
    others = ['42["count"]', '42["others"]', '42["several"]']
    assert [await waiting.text() for _ in others] == others
    gate.set()
    assert (await waiting.text()).startswith("40")
    await sio.emit("now")
    assert [await waiting.text(), await client.text()] == ['42["now"]', '42["now"]']


async def test_an_answer_to_connect_that_cannot_be_queued(peer: ServicePeer) -> None:
    """Its client is closed: it would wait for the answer for ever."""
    sio = server()

    async def connect(sid: str, environ: Any) -> None:
        for _ in range(20):
            app.link.send(emit("x" * 30))

    sio.on("connect", connect)
    app = await serving(peer, sio, max_queue_bytes=200)
    await peer.send(v1.Packet(1, b"40"))
    while not isinstance(frame := await asyncio.wait_for(peer.frames.get(), 10), v1.Close):
        assert isinstance(frame, v1.Emit)
    assert sio.manager.rooms == {}
    await app.close()


async def test_a_bad_packet_of_a_lost_session_closes_no_client_of_the_next(peer: ServicePeer) -> None:
    """Its number belongs to somebody else now."""
    sio, gate = server(), asyncio.Event()

    async def connect(sid: str, environ: Any) -> None:
        await gate.wait()

    sio.on("connect", connect)
    moorage = await serving(peer, sio)
    await peer.send(v1.Packet(1, b"40"), v1.Packet(1, b"42junk"))
    await until(lambda: any(client.queued for client in sio.eio.by_number.values()))
    peer.forget()
    peer.cut()
    await until(lambda: bool(moorage.link.session.id == "session2"))
    gate.set()
    await until(lambda: not sio.environ)
    await sio.emit("last")
    assert isinstance(await asyncio.wait_for(peer.frames.get(), 10), v1.Emit)
    await moorage.close()


@pytest.mark.parametrize("async_handlers", [True, False])
async def test_a_handler_that_awaits_a_cancelled_future_ends_alone(
    world: World, async_handlers: bool
) -> None:
    """A function that looks into one raises what is no `Exception`; it concerns nobody else."""
    sio, lost, gate = server(async_handlers=async_handlers), Heard(), asyncio.Event()

    def cancelled(sid: str, *_: Any) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        future.result()

    async def wait(sid: str) -> None:
        await gate.wait()

    sio.on("cancelled", cancelled)
    sio.on("wait", wait)
    sio.on("disconnect", cancelled)
    sio.on("connect", cancelled, namespace="/chat")
    moorage = await world.app(sio)
    moorage.on("link_lost", lost)
    client, sid = await connected(world)
    await client.send("40/chat,")
    assert await client.text() == '44/chat,{"message":"Unable to connect"}'
    await client.send('42["wait"]')
    await client.send('42["cancelled"]')
    gate.set()
    await client.send('421["echo",1]')
    assert await client.text() == "431[1]"
    await sio.emit("ask", to=sid, callback=cancelled)
    assert await client.text() == '421["ask"]'
    await client.send("431[]")
    await client.send("41")
    await client.send("40")
    assert (await client.text()).startswith("40")
    assert lost.empty


async def test_packets_wait_while_the_connect_handler_runs(world: World) -> None:
    """It waits, but acks do not: the handler may be waiting for one."""
    sio, heard, gate = server(), Heard(), asyncio.Event()

    async def connect(sid: str, environ: Any) -> None:
        await gate.wait()

    async def ask(sid: str) -> None:
        heard("answer", await sio.call("question", to=sid, timeout=10))

    sio.on("connect", connect, namespace="/chat")
    sio.on("ask", ask)
    sio.on("note", lambda sid, value: heard(value))
    sio.on("note", lambda sid, value: heard("chat", value), namespace="/chat")
    await world.app(sio)
    client, _ = await connected(world)
    await client.send('42["ask"]')
    assert await client.text() == '421["question"]'
    await client.send("40/chat,")
    await client.send('42["note",1]')
    await client.send('42/chat,["note",2]')
    await client.send('431["now"]')
    assert await heard.next() == ("answer", "now")
    assert heard.empty
    gate.set()
    assert await heard.some(2) == [(1,), ("chat", 2)]


async def test_a_client_may_go_while_its_connect_handler_runs(world: World) -> None:
    sio, heard, gate = server(), Heard(), asyncio.Event()

    async def connect(sid: str, environ: Any) -> None:
        heard("connect", sid)
        await gate.wait()

    sio.on("connect", connect)
    sio.on("disconnect", lambda sid, reason: heard("disconnect", sid))
    moorage = await world.app(sio)
    client = await world.raw()
    await client.send("40")
    _, sid = await heard.next()
    await client.http.close()
    await until(lambda: all(one.gone for one in moorage.sio.eio.sockets.values()))
    gate.set()
    assert await heard.next() == ("disconnect", sid)
    await until(lambda: not sio.manager.rooms)


# -- disconnecting ----------------------------------------------------------------------------------


async def test_a_disconnect_handler_that_raises_still_ends_the_socket(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    sio = server()

    def disconnect(sid: str) -> None:
        """The old form without a reason, too."""
        raise ZeroDivisionError

    sio.on("disconnect", disconnect)
    await world.app(sio)
    client, _ = await connected(world)
    await client.send("41")
    await client.send("40")
    assert (await client.text()).startswith("40")
    await client.http.close()
    await until(lambda: not sio.environ)
    assert sio.manager.rooms == {}
    assert caplog.text.count("the disconnect handler of / failed") == 2


async def test_events_before_the_end_are_handled_before_the_end(world: World) -> None:
    sio, heard = server(), Heard()
    sio.on("note", lambda sid, value: heard(value))
    sio.on("disconnect", lambda sid, reason: heard(reason))
    await world.app(sio)
    client, _ = await connected(world)
    for value in range(50):
        await client.send(f'42["note",{value}]')
    await client.send("41")
    await client.send('42["note","after"]')
    assert await heard.some(51) == [*((value,) for value in range(50)), ("client disconnect",)]
    await client.http.close()
    await until(lambda: not sio.environ)
    assert heard.empty


# -- packets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "answer"),
    [
        ('420["echo"]', "430[]"),
        ('42999999999["echo",1]', "43999999999[1]"),
        ('427["echo","[",{"a":"[1,2]"}]', '437["[",{"a":"[1,2]"}]'),
        ('42/,1["echo",1]', "431[1]"),
        ('421["echo",123456789012345678901234567890]', "431[123456789012345678901234567890]"),
        ('421["echo",NaN]', "431[null]"),
    ],
)
async def test_all_forms_of_events_reach_their_handler(
    world: World, moorage: Moorage, packet: str, answer: str
) -> None:
    client, _ = await connected(world)
    await client.send(packet)
    assert await client.text() == answer


async def test_binary_events_and_acks_go_both_ways(world: World, moorage: Moorage) -> None:
    client, _ = await connected(world)
    await client.send('452-3["echo",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]')
    await client.send(b"\x00")
    await client.send(b"\x01")
    assert await client.text() == '462-3[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    assert [await client.binary(), await client.binary()] == [b"\x01", b"\x00"]


async def test_an_event_in_pieces() -> None:
    """Above 4 MiB a packet and its attachments come in frames of their own."""
    limits = ("limits.max_payload=16MiB", "limits.outbox_bytes=64MiB")
    with MoorageProcess(*(part for limit in limits for part in ("--set", limit))) as roomy:
        world = World(roomy)
        await world.app(server(max_http_buffer_size=16 << 20))
        client = await world.client()
        answer = await client.call("echo", (b"x" * (3 << 20), b"y" * (3 << 20)), timeout=15)
        assert [len(part) for part in answer] == [3 << 20, 3 << 20]
        assert await client.call("echo", 1, timeout=10) == 1
        await world.end()


async def test_a_polling_payload_of_many_packets(world: World, moorage: Moorage) -> None:
    """One POST, one frame: several events, one of them with an attachment."""
    client = await world.client(transports=["polling"])
    heard = Heard()
    calls = [client.emit("echo", (number, b"x" * number), callback=heard) for number in range(10)]
    await asyncio.gather(*calls)
    assert sorted(await heard.some(10)) == [(number, b"x" * number) for number in range(10)]


@pytest.mark.parametrize(
    "packet",
    [
        '42{"no":"list"}',
        "42[]",
        "42[null]",
        '42[["echo"]]',
        '42["echo"',
        "42",
        '42["connect",{}]',
        '42["disconnect"]',
        '421["connect_error"]',
        '42["*","somebody else"]',
        '431{"no":"list"}',
        '431["x"',
        "42" + "[" * 20000,
        '451-["echo",{"_placeholder":true,"num":1}]|AAAA',
    ],
)
async def test_a_bad_packet_ends_its_client_and_no_other(
    world: World, moorage: Moorage, packet: str, caplog: pytest.LogCaptureFixture
) -> None:
    bystander, _ = await connected(world)
    client, sid = await connected(world)
    gone = Heard()
    moorage.sio.on("disconnect", lambda sid, reason: gone(sid))
    text, _, attachment = packet.partition("|")
    await client.send(text)
    if attachment:
        await client.send(base64.b64decode(attachment))
    await client.ended()
    assert await gone.next() == (sid,)
    await bystander.send('421["echo","still here"]')
    assert await bystander.text() == '431["still here"]'
    assert "Traceback" not in caplog.text, "strangers must not fill the log"


async def test_a_client_that_floods_a_slow_handler(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One client's queue is bounded, and the others do not notice."""
    monkeypatch.setattr(dispatch, "CLIENT_QUEUE", 100_000)
    sio, gate = server(async_handlers=False), asyncio.Event()

    async def slow(sid: str, value: str) -> None:
        await gate.wait()

    sio.on("slow", slow)
    await world.app(sio)
    bystander, _ = await connected(world)
    client, _ = await connected(world)
    for _ in range(12):
        await client.send(f'42["slow","{"x" * 10_000}"]')
    await client.ended()
    await bystander.send('421["echo","still here"]')
    assert await bystander.text() == '431["still here"]'
    gate.set()
    await until(lambda: len(sio.environ) == 1)
