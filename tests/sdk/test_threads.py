"""`use_moorage_sync` and what it returns: real service, stock clients."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio

from moorage.sdk.errors import LinkRefused, LinkUnavailable, UsageError
from tests.sdk.threads_world import World, new_server, world_of
from tests.support.service import MoorageProcess

NOBODY = "Endpoint=http://127.0.0.1:9;AccessKey=x;Version=1.0;"


@pytest.fixture
async def world(service: MoorageProcess) -> AsyncIterator[World]:
    async with world_of(service) as made:
        yield made


class Packed(socketio.packet.Packet):  # type: ignore[misc]
    """A packet of some other form than text."""

    uses_binary_events = False


async def test_wrong_arguments_are_named_at_once(world: World) -> None:
    right = world.service.connection_string
    wrong: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (new_server(), {"connection_string": ""}, UsageError, "connection string is empty"),
        (new_server(), {"hub": "no hub!"}, UsageError, "no hub name"),
        (new_server(serializer=Packed), {}, UsageError, "its own serializer"),
        (new_server(client_manager=socketio.PubSubManager()), {}, UsageError, "client_manager"),
        (socketio.AsyncServer(), {}, UsageError, "await use_moorage"),
        (object(), {}, UsageError, "a socketio.Server"),
        (new_server(), {"connection_string": right.replace("Key=", "Key=x")}, LinkRefused, "AccessKey"),
        (new_server(), {"connection_string": NOBODY}, LinkUnavailable, "127.0.0.1:9"),
    ]
    for server, options, kind, words in wrong:
        with pytest.raises(kind, match=words):
            await world.serve(server, **options)
    assert threading.active_count() < 30, "no thread is left behind"


async def test_a_server_that_could_not_be_linked_is_as_before(world: World) -> None:
    sio = new_server()
    eio, manager = sio.eio, sio.manager
    with pytest.raises(LinkUnavailable):
        await world.serve(sio, connection_string=NOBODY)
    assert (sio.eio, sio.manager) == (eio, manager)
    await world.serve(sio)
    with pytest.raises(UsageError, match="uses Moorage already"):
        await world.serve(sio)
