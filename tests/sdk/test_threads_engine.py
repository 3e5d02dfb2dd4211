"""What stands in `sio.eio`: what the library and its users reach for is there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio

from tests.sdk.threads_world import World, new_server, next_of, world_of
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
