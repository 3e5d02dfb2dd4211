"""What a cut, a restart and a stop of the service mean for an app: clients, calls under way, events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import socketio

from moorage.sdk import LinkRefused, Moorage, SessionLost, use_moorage
from moorage.sdk.app_server import EVENTS
from moorage.wire.moorage import v1
from tests.sdk.conftest import Heard, World, until
from tests.sdk.service_peer import ServicePeer
from tests.support.service import MoorageProcess


async def app_of(peer: ServicePeer, sio: Any = None) -> Moorage:
    """An app server linked to a scripted service."""
    sio = sio or socketio.AsyncServer(async_mode="asgi")
    return await use_moorage(sio, hub="app", connection_string=peer.connection_string)


def listen(moorage: Moorage) -> Heard:
    """Everything that happens to its link."""
    heard = Heard()
    for name in EVENTS:
        moorage.on(name, lambda *arguments, name=name: heard(name, *map(str, arguments)))
    return heard


async def test_after_a_restart_of_the_service_clients_come_again() -> None:
    """Clients end, each with one disconnect; what was asked fails; what can still be sent is."""
    ends, connects = Heard(), Heard()
    sio = socketio.AsyncServer(async_mode="asgi")
    sio.on("connect", lambda sid, environ: connects(sid))
    sio.on("disconnect", ends)
    with MoorageProcess() as first:
        port, key = first.url.rpartition(":")[2], first.key
        world = World(first)
        moorage = await world.app(sio)
        heard = listen(moorage)
        await world.client()
        (sid,) = await connects.next()
        first.kill()
        assert (await heard.next())[0] == "link_lost"
    assert not moorage.up
    await sio.emit("while", "away")
    await sio.emit("to the dead", to=sid)
    await moorage.emit("volatile", volatile=True)
    waiting = asyncio.create_task(moorage.fetch_sockets())
    with MoorageProcess("--port", port, "--access-key", key) as second:
        assert (await heard.next())[0] == "session_lost"
        assert await heard.next() == ("link_restored",)
        assert await ends.next() == (sid, sio.reason.TRANSPORT_CLOSE)
        with pytest.raises(SessionLost):
            await waiting
        assert (sio.environ, sio.manager.rooms, sio.eio.sockets) == ({}, {}, {})
        world.service = second
        again = await world.client()
        await sio.emit("hello")
        assert await again.heard.next() == ("hello",)
        await world.end()
    assert ends.queue.qsize() == 1, "of the second client, by close()"


async def test_nothing_of_a_dead_session_reaches_the_next() -> None:
    """Client numbers begin anew: an answer of a slow handler must not go to a stranger."""
    async with ServicePeer() as peer:
        sio, gate = socketio.AsyncServer(async_mode="asgi"), asyncio.Event()
        begun, done = Heard(), Heard()

        async def slow(sid: str) -> str:
            begun()
            await gate.wait()
            await sio.emit("x", to=sid)
            await sio.enter_room(sid, "room")
            done()
            return "too late"

        sio.on("slow", slow)
        moorage = await app_of(peer, sio)
        dead = await _connect(peer, 1)
        await peer.send(v1.Packet(1, b'421["slow"]'))
        await begun.next()
        peer.forget()
        peer.cut()
        await until(lambda: not sio.environ)
        await until(lambda: moorage.up)
        sid = await _connect(peer, 1)
        gate.set()
        assert (await peer.frame(v1.Emit)).to.rooms == (dead,), "who is in no room"
        join = await peer.frame(v1.Join)
        await peer.send(v1.Done(join.ref, 0))
        await done.next()
        await sio.emit("fence", to=sid)
        fence = await peer.frame(v1.Packet)
        assert fence.payload == b'42["fence"]'
        await moorage.close()


async def _connect(peer: ServicePeer, number: int) -> str:
    """A client comes and joins `/`; its socket id."""
    await peer.send(v1.Open(number, f"c{number}", None, b"{}"), v1.Packet(number, b"40"))
    await peer.frame(v1.Opened)
    answer = await peer.frame(v1.Packet)
    return answer.payload.decode().split('"')[3]


async def test_frames_that_cannot_be_handled_do_not_stop_the_others() -> None:
    """A service that speaks of clients that are not there harms nobody."""
    async with ServicePeer() as peer:
        sio = socketio.AsyncServer(async_mode="asgi")
        sio.on("echo", lambda sid, *data: data)
        moorage = await app_of(peer, sio)
        heard = listen(moorage)
        await peer.send(
            v1.Packet(9, b'42["x"]'),
            v1.Closed(9, 1001, "transport-lost", "transport close"),
            v1.Left(9, "/"),
            v1.Moved(9, "/", True, ("a",)),
            v1.Done(99, 1),
            v1.Told(0, "other", "/", b"junk"),
            v1.Query(3, "/", ("nobody",)),
        )
        assert await peer.frame(v1.Facts) == v1.Facts(3, (v1.Chunk(1, b"[{}]"),))
        sid = await _connect(peer, 1)
        await peer.send(
            v1.Left(1, "/other"),
            v1.Moved(1, "/other", True, ("a",)),
            v1.Moved(1, "/", True, ("a", "b")),
            v1.Packet(1, b'427["echo"]'),
        )
        assert (await peer.frame(v1.Packet)).payload == b"437[]"
        assert set(sio.rooms(sid)) == {sid, "a", "b"}
        await peer.send(v1.Failed(0, 2010, "too-many-groups", "no"), v1.Drain(5.0))
        assert await heard.some(2) == [("error", "2010 too-many-groups: no"), ("draining", "5.0")]
        await moorage.close()


async def test_a_link_refused_for_good_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    """The key was changed while the service was down."""
    with MoorageProcess() as first:
        port = first.url.rpartition(":")[2]
        moorage = await World(first).app()
        heard = listen(moorage)
        first.kill()
        assert (await heard.next())[0] == "link_lost"
    with MoorageProcess("--port", port, "--access-key", "another"):
        names = [name for name, *_ in await heard.some(2)]
        assert sorted(names) == ["link_failed", "session_lost"]
    with pytest.raises(LinkRefused, match="token-signature"):
        await moorage.sio.emit("x")
    assert "the link is given up" in caplog.text
    await moorage.close()


async def test_listeners_that_raise_do_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    async with ServicePeer() as peer:
        moorage = await app_of(peer)
        heard = Heard()

        @moorage.on("draining")
        def fail(seconds: float) -> None:
            raise ZeroDivisionError("in a function")

        @moorage.on("draining")
        async def also(seconds: float) -> None:
            heard(seconds)
            raise ZeroDivisionError("in a coroutine")

        @moorage.on("draining")
        @moorage.on("link_lost")
        def cancelled(_: object) -> None:
            raise asyncio.CancelledError("in a cancelled future")

        moorage.on("draining", heard)
        moorage.on("link_restored", heard)
        await peer.send(v1.Drain(1.0))
        assert await heard.some(2) == [(1.0,), (1.0,)]
        peer.cut()
        assert await heard.next() == ()
        await until(lambda: "in a coroutine" in caplog.text)
        assert "in a function" in caplog.text
        with pytest.raises(Exception, match="no such event: 'lost'; there are link_lost"):
            moorage.on("lost", print)
        await moorage.close()
