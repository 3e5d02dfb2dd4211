"""What stands in `sio.eio`: what the library and its users reach for is there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio

from tests.sdk.threads.world import SECONDS, Record, World, new_server, next_of, world_of
from tests.support.service import MoorageProcess


@pytest.fixture
async def world(service: MoorageProcess) -> AsyncIterator[World]:
    async with world_of(service) as made:
        yield made


async def test_background_tasks_are_threads_of_their_own(world: World) -> None:
    sio = new_server()
    await world.serve(sio)
    client = await world.client()

    def tick() -> None:
        for number in range(3):
            sio.sleep(0)
            sio.emit("tick", number)

    thread = sio.start_background_task(tick)
    assert [await next_of(client.heard) for _ in range(3)] == [("tick", number) for number in range(3)]
    thread.join(10)
    assert not thread.is_alive()


async def test_clients_that_come_to_the_app_server_are_told_where_to_go(world: World) -> None:
    sio, started = new_server(), list[Any]()
    await world.serve(sio)
    app = socketio.WSGIApp(sio)
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/socket.io/",
        "QUERY_STRING": "EIO=4&transport=polling",
        "HTTP_ORIGIN": "http://page",
        "HTTP_HOST": "page",
        "wsgi.url_scheme": "http",
    }
    body = b"".join(app(environ, lambda status, headers: started.append((status, dict(headers)))))
    assert world.service.url in body.decode()
    assert f"/clients/socketio/hubs/{world.hub}" in body.decode()
    ((status, headers),) = started
    assert status.startswith("400")
    assert headers["Access-Control-Allow-Origin"] == "http://page"


async def test_sessions_belong_to_a_socket_and_end_with_it(world: World) -> None:
    sio = new_server(namespaces=["/", "/shop"])
    await world.serve(sio)
    client = await world.client("/", "/shop")
    first, second = client.get_sid("/"), client.get_sid("/shop")
    sio.save_session(first, {"a": 1})
    with sio.session(second, namespace="/shop") as session:
        session["b"] = 2
    assert sio.get_session(first) == {"a": 1}
    assert sio.get_session(second, namespace="/shop") == {"b": 2}
    assert sio.eio.get_session(sio.manager.eio_sid_from_sid(first, "/")) == {"/": {"a": 1}, "/shop": {"b": 2}}
    await client.disconnect()
    await world.end()
    with pytest.raises(KeyError):
        sio.get_session(first)


async def test_a_connection_can_be_ended_as_with_engineio(world: World) -> None:
    sio, gone = new_server(), Record()
    sio.on("disconnect", gone)
    sio.on("disconnect", gone, namespace="/shop")
    await world.serve(sio)
    client = await world.client("/", "/shop")
    ended = asyncio.Event()
    client.on("disconnect", ended.set)
    sids = {client.get_sid("/"), client.get_sid("/shop")}
    sio.eio.disconnect(sio.manager.eio_sid_from_sid(client.get_sid("/"), "/"))
    assert set(await gone.wait(2)) == {(sid, "server disconnect") for sid in sids}
    await asyncio.wait_for(ended.wait(), SECONDS)


async def test_a_packet_and_its_attachments_stay_together(world: World) -> None:
    sio = new_server()
    await world.serve(sio)
    client = await world.client()
    sid = sio.manager.eio_sid_from_sid(client.get_sid(), "/")

    first_half, other_sent = threading.Event(), threading.Event()

    def send_slowly() -> None:
        # As `Server._send_packet` does it: one piece after the other.
        sio.eio.send(sid, '52-["slow",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
        sio.eio.send(sid, b"one")
        first_half.set()
        assert other_sent.wait(SECONDS)
        sio.eio.send(sid, b"two")

    def send_between() -> None:
        assert first_half.wait(SECONDS)
        sio.eio.send(sid, '51-["between",{"_placeholder":true,"num":0}]')
        sio.eio.send(sid, b"three")
        sio.eio.send(sid, '2["text"]')
        other_sent.set()

    await asyncio.gather(asyncio.to_thread(send_slowly), asyncio.to_thread(send_between))
    assert [await next_of(client.heard) for _ in range(3)] == [
        ("between", b"three"), ("text",), ("slow", b"one", b"two"),
    ]  # fmt: skip
