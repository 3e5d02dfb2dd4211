"""Socket.IO 5 packets between a client and an app server, over both transports, byte by byte.

It covers the ground of the protocol's own conformance suite. What stock clients make of it is tested
with those clients.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from itertools import count
from typing import Protocol

import pytest

from moorage.wire.groups import namespace_group, room_group
from tests.support.app_link import AppServer, Event
from tests.support.rawhttp import Polling, clients
from tests.support.rawws import TEXT, WebSocket
from tests.support.service import MoorageProcess

_numbers = count(1)


class Client(Protocol):
    """One client on any transport; packets are in text form."""

    sid: str

    async def send(self, *packets: str) -> None:
        """Send packets."""

    async def end(self, *packets: str) -> None:
        """Send packets that end the session."""

    async def next(self) -> str:
        """The next packet."""


class ByWebSocket:
    """A client on a WebSocket."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.sid = socket.sid

    async def send(self, *packets: str) -> None:
        for packet in packets:
            await self.socket.send(packet)

    end = send

    async def next(self) -> str:
        frame = await self.socket.frame()
        if frame.opcode == TEXT:
            return frame.payload.decode()
        return "binary " + frame.payload.hex()


class ByPolling:
    """A client on long-polling."""

    def __init__(self, polling: Polling) -> None:
        self.polling = polling
        self.sid = polling.sid
        self._waiting: list[str] = []

    async def send(self, *packets: str) -> None:
        await self.polling.send("\x1e".join(packets))

    async def end(self, *packets: str) -> None:
        assert (await self.polling.post("\x1e".join(packets))).status == 400

    async def next(self) -> str:
        while not self._waiting:
            self._waiting = (await self.polling.poll()).split("\x1e")
        packet = self._waiting.pop(0)
        return "binary " + _hex(packet) if packet[0] == "b" else packet


def _hex(packet: str) -> str:
    return base64.b64decode(packet[1:]).hex()


@pytest.fixture
def hub() -> str:
    """A name that no other test uses."""
    return f"clients_{next(_numbers)}"


@pytest.fixture
async def app(service: MoorageProcess, hub: str) -> AsyncIterator[AppServer]:
    """An app server that echoes."""
    async with AppServer(service, hub) as running:
        yield running


@pytest.fixture(params=["websocket", "polling"])
async def client(
    request: pytest.FixtureRequest, service: MoorageProcess, hub: str, app: AppServer
) -> AsyncIterator[Client]:
    """A client with a session and no namespace yet."""
    if request.param == "polling":
        yield ByPolling(await Polling(service.url, clients(hub)).open())
    else:
        async with await WebSocket.session(service.url, clients(hub)) as socket:
            yield ByWebSocket(socket)


async def enter(client: Client, namespace: str = "") -> str:
    """Connect a namespace (`/x,`). Returns the socket id."""
    await client.send(f"40{namespace}")
    answer = await client.next()
    assert answer.startswith(f"40{namespace}{{"), answer
    return str(json.loads(answer[2 + len(namespace) :])["sid"])


# -- connect ------------------------------------------------------------------------------------------


async def test_connect_to_the_main_namespace(client: Client) -> None:
    sid = await enter(client)
    assert sid != client.sid


async def test_connect_carries_its_payload(client: Client, app: AppServer) -> None:
    await client.send('40{"token":"123"}', '40/admin,{"token":"456"}')
    seen = await app.message(client.sid)
    while "456" not in seen:
        seen += "\x1e" + await app.message(client.sid)
    assert seen == '40{"token":"123"}\x1e40/admin,{"token":"456"}'


async def test_several_namespaces_on_one_connection(
    client: Client, hub: str, service: MoorageProcess
) -> None:
    sids = {await enter(client), await enter(client, "/admin,"), await enter(client, "/é,")}
    assert len(sids) == 3
    assert service.metric(f'moorage_sockets{{hub="{hub}"}}') == 3
    await client.send('42/admin,["a"]')
    assert await client.next() == '42/admin,["a"]'
    await client.send('42["b"]')
    assert await client.next() == '42["b"]'


async def test_a_refused_namespace(client: Client, app: AppServer) -> None:
    def refuse(event: Event) -> int:
        for packet in event.content.split("\x1e"):
            if packet.startswith("40/random"):
                app._later(app.send(event.connection, '44/random,{"message":"Invalid namespace"}'))
        return 200

    app.on_message = refuse
    await client.send("40/random,")
    assert await client.next() == '44/random,{"message":"Invalid namespace"}'
    await client.send("40/random,")
    assert (await client.next())[:2] == "44", "it may try again"


async def test_a_namespace_connected_twice_ends_the_session(
    service: MoorageProcess, client: Client, app: AppServer
) -> None:
    await enter(client)
    await client.end("40")
    record = await asyncio.to_thread(service.wait_record, event="disconnect", connection=client.sid)
    assert record["reason"] == "duplicate-connect"
    assert (await app.event("disconnected")).connection == client.sid


async def test_two_connects_in_one_go_end_the_session(service: MoorageProcess, client: Client) -> None:
    """The SDK would open two sockets, because the second packet arrives before its first answer."""
    await client.end("40", "40")
    record = await asyncio.to_thread(service.wait_record, event="disconnect", connection=client.sid)
    assert record["reason"] == "duplicate-connect"


# -- events and acks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    ['42["message"]', '42["message",1,"2",{"3":[true,null]}]', '42["é€😀","\\u0000"]', '42/x,["message",{}]'],
)
async def test_events_are_echoed_unchanged(client: Client, event: str) -> None:
    await enter(client, "/x,")
    await client.send(event)
    assert await client.next() == event


async def test_the_client_requests_an_ack(client: Client) -> None:
    await enter(client)
    await client.send('42456["message",1,"2",{"3":[true]}]')
    assert await client.next() == '43456[1,"2",{"3":[true]}]'
    await client.send('421073741999["high"]')
    assert await client.next() == "431073741999[]", "event ids are the client's own, whatever their size"


async def test_the_app_server_requests_an_ack(client: Client, app: AppServer) -> None:
    await enter(client)
    await app.event("message")
    await app.send(client.sid, '42789["are you there"]')
    assert await client.next() == '42789["are you there"]'
    await client.send('43789["yes"]')
    assert await app.message(client.sid) == '43789["yes"]'


async def test_binary_events(client: Client, app: AppServer) -> None:
    await enter(client)
    event = '452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    await client.send(event, "bAQID", "b//79")
    assert [await client.next() for _ in range(3)] == [event, "binary 010203", "binary fffefd"]


async def test_binary_acks(client: Client, app: AppServer) -> None:
    await enter(client)
    await client.send('451-789["message",{"_placeholder":true,"num":0}]', "bAQID")
    assert await client.next() == '461-789[{"_placeholder":true,"num":0}]'
    assert await client.next() == "binary 010203"
    await app.event("message")
    while not app.events.empty():
        app.events.get_nowait()
    await client.send('461-5[{"_placeholder":true,"num":0}]', "bAQID")
    got = await app.message(client.sid)
    if "\x1e" not in got:
        got += "\x1e" + await app.message(client.sid)
    assert got == '461-5[{"_placeholder":true,"num":0}]\x1ebAQID'


async def test_an_emit_with_acks_from_all(client: Client, app: AppServer) -> None:
    await enter(client)
    asking = asyncio.create_task(app.invoke('42["q"]'))
    packet = await client.next()
    ack_id = int(packet[2:].partition("[")[0])
    assert packet == f'42{ack_id}["q"]'
    assert 2**30 <= ack_id < 2**31, "outside the app server's own, inside what every client reads"
    await client.send("435[]", f'43{ack_id}["a"]')
    assert await asking == [f'43{ack_id}["a"]']
    assert await app.message(client.sid) == "40"
    assert await app.message(client.sid) == "435[]", "and nothing else reached the app server"


async def test_a_binary_ack_to_an_emit_to_all(client: Client, app: AppServer) -> None:
    await enter(client)
    asking = asyncio.create_task(app.invoke('451-["q",{"_placeholder":true,"num":0}]\x1ebAQID'))
    packet = await client.next()
    assert await client.next() == "binary 010203"
    ack_id = packet[4:].partition("[")[0]
    await client.send(f'461-{ack_id}[{{"_placeholder":true,"num":0}}]', "bBAU=")
    (payload,) = await asking
    assert payload == f'461-{ack_id}[{{"_placeholder":true,"num":0}}]\x1ebBAU='


@pytest.mark.parametrize("ack_id", ["1073741824", "2147483647", "9007199254740993"])
async def test_an_unexpected_ack_is_dropped(
    service: MoorageProcess, client: Client, app: AppServer, ack_id: str
) -> None:
    before = service.metric("moorage_late_answers_total")
    await client.send(f"43{ack_id}[]", f"461-{ack_id}[]", "bAQID", '42["after"]')
    assert await client.next() == '42["after"]'
    assert await app.message(client.sid) == '42["after"]'
    assert service.metric("moorage_late_answers_total") == before + 2


# -- rooms -------------------------------------------------------------------------------------------------


async def test_a_namespace_is_a_room_of_all_its_sockets(client: Client, app: AppServer) -> None:
    await enter(client, "/a,")
    everyone = namespace_group("/a")
    await app.send_all('42/a,["1"]', f"'{everyone}' in groups")
    await app.send_all('42/b,["2"]', f"'{namespace_group('/b')}' in groups")
    await app.send_all('42/a,["3"]', f"'{everyone}' in groups and not ('{everyone}' in groups)")
    await app.send_all('42/a,["4"]', f"'{everyone}' in groups")
    assert [await client.next() for _ in range(2)] == ['42/a,["1"]', '42/a,["4"]']


async def test_a_sockets_own_room(client: Client, app: AppServer) -> None:
    sid = await enter(client)
    await app.send_all('42["1"]', f"'{room_group('/', sid)}' in groups")
    assert await client.next() == '42["1"]'


async def test_rooms_end_with_the_namespace(client: Client, app: AppServer) -> None:
    await enter(client)
    await enter(client, "/a,")
    for namespace in ("/", "/a"):
        assert await app.join(client.sid, room_group(namespace, "r")) == 200
    await client.send("41/a,", '42["sync"]')
    assert await client.next() == '42["sync"]'
    both = f"'{room_group('/', 'r')}' in groups or '{room_group('/a', 'r')}' in groups"
    await app.send_all('42/a,["x"]', f"'{room_group('/a', 'r')}' in groups")
    await app.send_all('42["y"]', both)
    assert await client.next() == '42["y"]', "and once, though two rooms were named"


# -- disconnect ----------------------------------------------------------------------------------------------


async def test_the_client_leaves_a_namespace(client: Client, app: AppServer) -> None:
    await enter(client)
    await enter(client, "/a,")
    await client.send("41")
    await client.send('42/a,["still"]')
    assert await client.next() == '42/a,["still"]'
    await enter(client)


async def test_the_app_server_ends_a_socket(client: Client, app: AppServer) -> None:
    await enter(client)
    await enter(client, "/a,")
    await app.send(client.sid, "41")
    assert await client.next() == "41"
    await app.send(client.sid, "41")
    await app.send_all('42/a,["still"]')
    assert await client.next() == '42/a,["still"]', "a second end of the same socket is nothing"


async def test_the_sdks_disconnect_of_many_sockets(client: Client, app: AppServer) -> None:
    """Its data is for the service; a client would treat it as a broken packet. The app server's own socket
    waits to hear that the client has left."""
    sid = await enter(client)
    await app.event("message")
    await app.send_all('41{"close":false}', f"'{room_group('/', sid)}' in groups")
    assert await client.next() == "41"
    assert await app.message(client.sid) == "41"
    await enter(client)


async def test_the_sdks_disconnect_of_many_connections(client: Client, app: AppServer) -> None:
    await enter(client)
    await enter(client, "/a,")
    await app.send_all('41/a,{"close":true}', f"'{namespace_group('/a')}' in groups")
    assert [await client.next() for _ in range(2)] == ["41/a,", "41"], "all its sockets, as natively"
    assert await client.next() in ("1", "6"), "the close of the transport follows"
    assert (await app.event("disconnected")).connection == client.sid


# -- two clients ---------------------------------------------------------------------------------------------


async def test_each_of_many_gets_an_emit_once_and_in_order(
    service: MoorageProcess, hub: str, app: AppServer, client: Client
) -> None:
    other = ByPolling(await Polling(service.url, clients(hub)).open())
    for one in (client, other):
        await enter(one)
        await app.join(one.sid, room_group("/", "a"), room_group("/", "b"))
    both = f"'{room_group('/', 'a')}' in groups or '{room_group('/', 'b')}' in groups"
    for number in range(20):
        assert await app.send_all(f'42["n",{number}]', both) == 202
    for one in (client, other):
        assert [await one.next() for _ in range(20)] == [f'42["n",{number}]' for number in range(20)]


async def test_hubs_share_nothing(service: MoorageProcess, hub: str, app: AppServer, client: Client) -> None:
    await enter(client)
    async with AppServer(service, hub + "_b") as stranger:
        await stranger.send_all('42["x"]')
        assert await stranger.send(client.sid, '42["x"]') == 404
    await app.send_all('42["y"]')
    assert await client.next() == '42["y"]'
