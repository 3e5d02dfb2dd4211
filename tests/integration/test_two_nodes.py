"""Two whole services in one process, joined by a `MemoryNetwork`. Each has an app server and a client."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
import socketio
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from moorage.app.service import Service
from moorage.cluster.memory import MemoryNetwork
from moorage.config.load import load
from moorage.sdk import use_moorage
from moorage.wire.ids import incarnation_of
from tests.support.rawhttp import TIMEOUT, clients
from tests.support.rawws import WebSocket


class LiveNetwork(MemoryNetwork):
    """Delivers each message in the next turn of the event loop."""

    def carry(self, sender: str, receiver: str, data: bytes) -> None:
        super().carry(sender, receiver, data)
        asyncio.get_running_loop().call_soon(self.step)


class Place:
    """A node with its app server and one client."""

    def __init__(self, service: Service, key: str) -> None:
        self.service = service
        self.key = key
        self.sio = socketio.AsyncServer(async_mode="asgi")
        self.arrived: asyncio.Queue[str] = asyncio.Queue()
        self.gone: asyncio.Queue[str] = asyncio.Queue()
        self.sio.on("connect", self._connected)
        self.sio.on("disconnect", self._disconnected)
        self.url = ""
        self.sid = ""
        self.client: WebSocket

    async def _connected(self, sid: str, _environ: object) -> None:
        self.arrived.put_nowait(sid)

    async def _disconnected(self, sid: str, _reason: str) -> None:
        self.gone.put_nowait(sid)

    @property
    def connection_string(self) -> str:
        """What app servers and REST callers are given."""
        return f"Endpoint={self.url};AccessKey={self.key};Version=1.0;"

    async def listen(self) -> None:
        """Start the node. A client waits for all nodes on its node's list."""
        self.url = await self.service.start()

    async def start(self) -> None:
        """Link the app server, connect the client."""
        self.moorage = await use_moorage(self.sio, hub="app", connection_string=self.connection_string)
        self.client = await WebSocket.session(self.url, clients("app"))
        await self.client.send("40")
        assert (await self.client.text()).startswith("40{")
        self.sid = await self.arrived.get()

    async def stop(self) -> None:
        """All of it."""
        await self.client.http.close()
        await self.moorage.close()
        await self.service.stop(drain=False)

    async def rest(self, call: Callable[[WebPubSubServiceClient], Any]) -> Any:
        """Call the REST API of this node; the SDK is synchronous."""
        with WebPubSubServiceClient.from_connection_string(self.connection_string, hub="app") as made:
            return await asyncio.to_thread(call, made)


@pytest.fixture
async def places() -> AsyncIterator[tuple[Place, Place]]:
    network, key = LiveNetwork(), secrets.token_hex(16)
    config = load(None, {}, {"server.port": 0, "keys.primary": key, "hubs.default.anonymous": True})
    made = []
    for _ in range(2):
        service = Service(config, network.broker)
        made.append(Place(service, key))
    first, second = made
    first.service.router.add(second.service.incarnation, "second")
    second.service.router.add(first.service.incarnation, "first")
    async with asyncio.timeout(TIMEOUT):
        await first.listen()
        await second.listen()
        await first.start()
        await second.start()
        yield first, second
        await first.stop()
        await second.stop()


async def test_two_services_are_one(places: tuple[Place, Place]) -> None:
    for here, there in (places, places[::-1]):
        await here.sio.emit("to all", {"n": 1})
        assert await here.client.text() == await there.client.text() == '42["to all",{"n":1}]'
        await here.sio.emit("to one", to=there.sid)
        assert await there.client.text() == '42["to one"]'
        await there.sio.enter_room(there.sid, "room")
        await here.sio.emit("to a room", room="room")
        assert await there.client.text() == '42["to a room"]'
        await there.sio.leave_room(there.sid, "room")
        asked = asyncio.create_task(here.sio.call("question", to=there.sid))
        number = (await there.client.text())[2:].partition("[")[0]
        await there.client.send(f'43{number}["answer"]')
        assert await asked == "answer"


async def test_the_rest_api_of_one_node_reaches_the_clients_of_the_other(places: tuple[Place, Place]) -> None:
    here, there = places
    await here.rest(partial(send_text, text='42["rest"]'))
    assert await here.client.text() == await there.client.text() == '42["rest"]'
    assert await here.rest(lambda rest: rest.connection_exists(there.client.sid))
    await here.rest(lambda rest: rest.close_connection(there.client.sid))
    assert await there.gone.get() == there.sid
    assert not await here.rest(lambda rest: rest.connection_exists(there.client.sid))


def send_text(rest: WebPubSubServiceClient, text: str) -> None:
    """To everybody of the hub."""
    rest.send_to_all(text, content_type="text/plain")


async def test_a_session_id_names_its_node(places: tuple[Place, Place]) -> None:
    incarnations = [place.service.incarnation for place in places]
    assert len(set(incarnations)) == 2
    assert [incarnation_of(place.client.sid) for place in places] == incarnations
