"""From packets to handlers in threads: order, ends, and what handlers must not be able to spoil."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio
from socketio.exceptions import ConnectionError as RefusedByServer
from socketio.exceptions import ConnectionRefusedError as Refuse

from moorage.sdk.threads import dispatch
from tests.sdk.conftest import until
from tests.sdk.threads.world import SECONDS, Record, World, event, new_server, next_of, world_of
from tests.support.service import MoorageProcess


@pytest.fixture
async def world(service: MoorageProcess) -> AsyncIterator[World]:
    async with world_of(service) as made:
        yield made


async def test_a_connect_handler_sees_what_a_wsgi_server_would_have_shown(world: World) -> None:
    sio, seen = new_server(), Record()

    @event(sio)
    def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
        seen(sid, environ, auth, threading.current_thread().name)

    await world.serve(sio)
    client = await world.client(headers={"X-Colour": "green"}, auth={"name": "Ada"})
    ((sid, environ, auth, thread),) = await seen.wait(1)
    assert sid == client.get_sid()
    assert auth == {"name": "Ada"}
    assert environ["HTTP_X_COLOUR"] == "green"
    assert "transport=polling" in environ["QUERY_STRING"]
    assert environ["PATH_INFO"] == f"/clients/socketio/hubs/{world.hub}/"
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("127.0.0.1", "http")
    assert environ["wsgi.multithread"] is True
    assert sio.get_environ(sid) is environ
    assert thread not in ("MainThread", "moorage-link"), "handlers have threads of their own"


@pytest.mark.repair(21)
async def test_the_transport_follows_the_client(world: World) -> None:
    sio, came = new_server(), Record()
    sio.on("connect", lambda sid, _environ: came(sio.transport(sid)))
    await world.serve(sio)
    polling = (await world.client(transports=["polling"])).get_sid()
    changes = (await world.client()).get_sid()
    async with asyncio.timeout(SECONDS):
        while sio.transport(changes) != "websocket":
            await asyncio.sleep(0.01)
    assert sio.transport(polling) == "polling"
    assert (await came.wait(2))[0] == "polling"


async def test_a_handler_that_refuses_is_told_to_the_client(world: World) -> None:
    sio = new_server()

    @event(sio)
    def connect(_sid: str, _environ: Any, auth: Any) -> bool | None:
        if auth == "no":
            raise Refuse("not you", {"code": 7})
        return None if auth == "yes" else False

    await world.serve(sio)
    await world.client(auth="yes")
    reasons = Record()
    for auth in ("no", "maybe"):
        with pytest.raises(RefusedByServer):
            await world.client(auth=auth, on={"connect_error": reasons})
    assert reasons.notes == [
        {"message": "not you", "data": {"code": 7}},
        {"message": "Connection rejected by server"},
    ]
    # python-socketio forgets a socket after it has sent the refusal.
    await until(lambda: len(sio.manager.rooms["/"][None]) == 1)


async def test_each_connect_has_one_disconnect_with_its_reason(world: World) -> None:
    sio, gone = new_server(), Record()

    @event(sio)
    def disconnect(sid: str, reason: str) -> None:
        gone(sid, reason, sio.rooms(sid), sio.get_session(sid))

    @event(sio)
    def leave(sid: str) -> None:
        sio.disconnect(sid)

    @event(sio)
    def note(sid: str, value: int) -> None:
        with sio.session(sid) as session:
            session["value"] = value

    await world.serve(sio)
    clients = [await world.client() for _ in range(3)]
    sids = [client.get_sid() for client in clients]
    for value, client in enumerate(clients):
        await client.call("note", value)
    await clients[0].eio.send("1")  # DISCONNECT; `disconnect()` closes at the same time
    await gone.wait(1)
    await clients[1].emit("leave")
    await gone.wait(2)
    await clients[2].eio.disconnect(abort=True)
    assert await gone.wait(3) == [
        (sids[0], "client disconnect", [sids[0]], {"value": 0}),
        (sids[1], "server disconnect", [sids[1]], {"value": 1}),
        (sids[2], "transport close", [sids[2]], {"value": 2}),
    ]
    await world.end()
    assert len(gone.notes) == 3
    assert (sio.manager.rooms, sio.environ, sio.eio.sockets) == ({}, {}, {})


async def test_two_threads_that_end_a_socket_tell_it_once(world: World) -> None:
    sio, gone = new_server(), Record()

    @event(sio)
    def disconnect(sid: str, _reason: str) -> None:
        gone(sid)

    await world.serve(sio)
    for _ in range(20):
        client = await world.client()
        sid = client.get_sid()
        await asyncio.gather(client.disconnect(), *(asyncio.to_thread(sio.disconnect, sid) for _ in range(4)))
    await world.client()  # behind all that came before
    await gone.wait(20)
    await world.end()
    assert len(gone.notes) == len(set(gone.notes)) == 21


async def test_namespaces_are_apart_and_classes_serve_them(world: World) -> None:
    class Shop(socketio.Namespace):  # type: ignore[misc]
        def on_connect(self, sid: str, _environ: Any) -> None:
            self.enter_room(sid, "customers")

        def on_order(self, sid: str, what: str, count: int) -> tuple[str, int]:
            self.emit("ordered", (what, count), to="customers")
            return what, count

        def on_rooms(self, sid: str) -> list[str]:
            return sorted(self.server.rooms(sid, namespace=self.namespace), key=len)

        def on_disconnect(self, sid: str, reason: str) -> None:
            gone(reason)

    sio, gone = new_server(), Record()
    sio.register_namespace(Shop("/shop"))
    await world.serve(sio)
    client = await world.client("/", "/shop")
    assert await client.call("order", ("tea", 2), namespace="/shop") == ("tea", 2)
    assert await next_of(client.heard) == ("ordered", "tea", 2)
    assert await client.call("rooms", namespace="/shop") == ["customers", client.get_sid("/shop")]
    await asyncio.to_thread(sio.disconnect, client.get_sid("/shop"), namespace="/shop")
    assert await gone.wait(1) == ["server disconnect"]
    assert client.connected, "the other namespace goes on"


async def test_events_answers_and_binary_go_both_ways(world: World) -> None:
    sio = new_server()
    sio.on("echo", lambda _sid, *data: data)
    sio.on("nothing", lambda _sid: None)
    sio.on("*", lambda event, _sid, *data: [event, *data])
    await world.serve(sio)
    client = await world.client()
    value = {"text": "Grüße 👋", "bytes": [b"\x00\x1e\xff", {"more": b""}], "number": 2**60, "none": None}
    assert await client.call("echo", value) == value
    assert await client.call("echo", (1, b"2")) == (1, b"2")
    assert await client.call("nothing") is None
    assert await client.call("unknown", 3) == ["unknown", 3]


async def test_handlers_that_block_hold_up_nobody_else(world: World) -> None:
    sio, go = new_server(), threading.Event()

    @event(sio)
    def connect(_sid: str, _environ: Any, auth: Any) -> None:
        if auth == "slow":
            assert go.wait(20)

    sio.on("wait", lambda _sid: go.wait(20))
    sio.on("quick", lambda _sid: "quick")
    await world.serve(sio)
    client = await world.client()
    waiting = asyncio.create_task(client.call("wait"))
    late = asyncio.create_task(world.client(auth="slow"))
    assert await client.call("quick") == "quick"
    assert not waiting.done() and not late.done()
    go.set()
    assert await waiting is True
    await late


async def test_events_wait_for_their_connect_handler(world: World) -> None:
    sio, go, order = new_server(always_connect=True), threading.Event(), Record()

    @event(sio)
    def connect(_sid: str, _environ: Any) -> None:
        assert go.wait(SECONDS)
        order("connect")

    sio.on("first", lambda _sid: order("first"))
    moorage = await world.serve(sio)
    client = await world.client()
    await client.emit("first")
    await client.emit("first")
    while not moorage._dispatcher.pending and not order.notes:
        await asyncio.sleep(0.01)
    go.set()
    assert (await order.wait(3))[0] == "connect"


async def test_without_async_handlers_one_clients_events_are_handled_one_by_one(world: World) -> None:
    sio, order = new_server(async_handlers=False), Record()

    @event(sio)
    def step(_sid: str, number: int) -> None:
        order(number)

    await world.serve(sio)
    client = await world.client()
    for number in range(200):
        await client.emit("step", number)
    assert await order.wait(200) == list(range(200))


BAD: list[str | bytes] = ['2["disconnect"]', '2["\\u0063onnect"]', "2[]", '2{"not":"a list"}', '2["no json']
BAD += ["51-[]", "4", "9", b"stray"]


@pytest.mark.parametrize("bad", BAD)
async def test_a_client_that_breaks_the_protocol_is_closed_and_nobody_else(
    world: World, bad: str | bytes
) -> None:
    sio, calls = new_server(), Record()
    for name in ("connect", "disconnect"):
        sio.on(name, lambda *_args, name=name: calls(name))
    await world.serve(sio)
    other, client = await world.client(), await world.client()
    await client.eio.send(bad)
    if bad == "51-[]":
        await client.eio.send('2["no attachment"]')
    await calls.wait(3)
    await world.end()
    assert sorted(calls.notes) == ["connect"] * 2 + ["disconnect"] * 2
    assert calls.notes[:3] == ["connect", "connect", "disconnect"]
    assert not other.connected


async def test_a_client_that_outruns_its_handlers_is_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "CLIENT_QUEUE", 100_000)
    sio, go, gone = new_server(async_handlers=False), threading.Event(), Record()
    sio.on("slow", lambda _sid, _data: go.wait(SECONDS))
    sio.on("disconnect", lambda sid, _reason: gone(sid))
    moorage = await world.serve(sio)
    client = await world.client()
    ended = asyncio.Event()
    client.on("disconnect", ended.set)
    for _ in range(20):
        await client.emit("slow", "x" * 10_000)
    await asyncio.wait_for(ended.wait(), SECONDS)
    go.set()
    await gone.wait(1)
    assert moorage._dispatcher.pending == 0, "what was refused does not wait"


async def test_one_event_may_be_larger_than_what_may_wait(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "CLIENT_QUEUE", 10_000)
    sio = new_server(async_handlers=False)
    sio.on("size", lambda _sid, data: len(data))
    await world.serve(sio)
    client = await world.client()
    assert await client.call("size", "x" * 50_000) == 50_000


async def test_a_disconnect_handler_keeps_session_and_environ_until_it_is_done(world: World) -> None:
    sio, go, seen = new_server(), threading.Event(), Record()

    @event(sio)
    def disconnect(sid: str, reason: str) -> None:
        seen(reason)
        assert go.wait(SECONDS)
        seen(sio.get_session(sid), sio.get_environ(sid) is not None)

    await world.serve(sio)
    client = await world.client()
    sid = client.get_sid()
    sio.save_session(sid, {"name": "Ada"})
    leaving = asyncio.create_task(asyncio.to_thread(sio.disconnect, sid))
    await seen.wait(1)
    # Meanwhile the client goes altogether, which other threads are told of.
    await client.disconnect()
    await world.client(auth="behind it")
    go.set()
    await leaving
    assert await seen.wait(2) == ["server disconnect", ({"name": "Ada"}, True)]
    go.set()
    await world.end()
    assert (sio.environ, sio.eio.sockets) == ({}, {})


async def test_handlers_that_exit_end_neither_threads_nor_clients(world: World) -> None:
    sio, reasons, gone = new_server(), Record(), Record()

    @event(sio)
    def connect(_sid: str, _environ: Any, auth: Any) -> None:
        if auth == "exit":
            sys.exit("out of the handler")

    @event(sio)
    def disconnect(sid: str, _reason: str) -> None:
        gone(sid)
        sys.exit("out of the handler")

    sio.on("exit", sys.exit)
    sio.on("good", lambda _sid: "fine")
    await world.serve(sio, threads=1)
    client = await world.client()
    await client.emit("exit")
    assert await client.call("good") == "fine"
    with pytest.raises(RefusedByServer):
        await world.client(auth="exit", on={"connect_error": reasons})
    assert reasons.notes == [{"message": "Unable to connect"}]
    sid = client.get_sid()
    await client.disconnect()
    assert await gone.wait(1) == [sid]
    await world.end()
    assert (sio.manager.rooms, sio.environ, sio.eio.sockets) == ({}, {}, {})


async def test_a_disconnect_handler_that_fails_leaves_nothing_behind(world: World) -> None:
    sio, gone = new_server(), Record()

    @event(sio)
    def disconnect(sid: str, reason: str) -> None:
        gone(sid, reason)
        raise RuntimeError("out of the handler")

    moorage = await world.serve(sio)
    client = await world.client()
    sid = client.get_sid()
    with pytest.raises(RuntimeError, match="out of the handler"):
        await asyncio.to_thread(sio.disconnect, sid)
    await world.end()
    assert gone.notes == [(sid, "server disconnect")]
    assert (moorage._manager.rooms, sio.environ, moorage._engine.sockets) == ({}, {}, {})
