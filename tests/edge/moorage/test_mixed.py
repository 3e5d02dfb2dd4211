"""One hub, two dialects: what app servers of either do to clients of the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from moorage.wire.groups import namespace_group, room_group
from moorage.wire.moorage import v1
from moorage.wire.moorage.v1 import To
from tests.support.app_link import AppServer, tunnel_token
from tests.support.rawhttp import Reply, clients, fetch
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess
from tests.support.tunnel_link import TunnelLink


@dataclass
class Fleet:
    """An app server of each dialect, and a client of each in `/`."""

    service: MoorageProcess
    hub: str
    azure: AppServer
    ours: TunnelLink
    azure_client: WebSocket
    our_client: WebSocket
    azure_sid: str
    our_sid: str
    number: int


async def connected(client: WebSocket) -> str:
    """Connect to `/`; the socket id."""
    await client.send("40")
    sid = json.loads((await client.text())[2:])["sid"]
    assert isinstance(sid, str)
    return sid


@pytest.fixture
async def fleet(service: MoorageProcess, hub: str) -> AsyncIterator[Fleet]:
    """Both are there, each has heard of its own client."""
    async with (
        AppServer(service, hub, "azure") as azure,
        await WebSocket.session(service.url, clients(hub)) as azure_client,
        TunnelLink(service, hub, "ours") as ours,
        # It has the fewest clients.
        await WebSocket.session(service.url, clients(hub)) as our_client,
    ):
        azure_sid, our_sid = await connected(azure_client), await connected(our_client)
        opened = await ours.next(v1.Open)
        assert opened.id == our_client.sid
        await azure.message(azure_client.sid)
        yield Fleet(service, hub, azure, ours, azure_client, our_client, azure_sid, our_sid, opened.client)


async def test_emits_reach_clients_of_both(fleet: Fleet) -> None:
    await fleet.azure.send_all("42[1]", f"'{namespace_group('/')}' in groups")
    done = await fleet.ours.ask(lambda ref: v1.Emit(ref, To("/"), 0, b"42[2]"), v1.Done)
    assert done.count == 2
    for client in (fleet.azure_client, fleet.our_client):
        assert [await client.text(), await client.text()] == ["42[1]", "42[2]"]


async def test_emits_of_the_other_dialect_while_a_client_is_away(service: MoorageProcess, hub: str) -> None:
    """Its socket gets them when it comes back, once and in order, as those of any app server."""
    ours = TunnelLink(service, hub, "ours")
    ours.recovery = 60_000
    path = clients(hub)
    async with (
        AppServer(service, hub, "azure") as azure,
        await WebSocket.session(service.url, path) as azure_client,
        ours,
    ):
        await connected(azure_client)
        async with await WebSocket.session(service.url, path) as client:
            await client.send("40")
            first = json.loads((await client.text())[2:])
            number = (await ours.next(v1.Open)).client
            await ours.ask(lambda ref: v1.Enter(ref, number, "/", ("r",)), v1.Done)
            await azure.send_all('42["had"]', f"'{namespace_group('/')}' in groups")
            offset = json.loads((await client.text())[2:])[-1]
        assert (await ours.next(v1.Closed)).client == number
        await ours.say(v1.Save("/", first["sid"], b"{}"))
        r, other = (f"'{room_group('/', name)}' in groups" for name in ("r", "other"))
        await azure.send_all('42["to all",1]', f"'{namespace_group('/')}' in groups")
        await azure.send_all('42["not for it"]', other)
        await azure.send_all('42["to its room",2]', f"{r} and not ({other})")
        await azure.send_all('42["not for it"]', f"'{namespace_group('/')}' in groups and not ({r})")
        await azure.send_all('451-["binary",{"_placeholder":true,"num":0}]\x1ebAAE=', r)
        async with await WebSocket.session(service.url, path) as client:
            await client.send("40" + json.dumps({"pid": first["pid"], "offset": offset}))
            asked = await ours.next(v1.Recover)
            assert (asked.sid, asked.rooms) == (first["sid"], ("r",))
            await ours.say(v1.Packet(asked.client, b'40{"sid":"%b"}' % asked.sid.encode()))
            assert json.loads((await client.text())[2:]) == {"sid": first["sid"], "pid": first["pid"]}
            for event in (["to all", 1], ["to its room", 2]):
                assert json.loads((await client.text())[2:])[:-1] == event
            assert json.loads((await client.text())[4:])[:-1] == ["binary", {"_placeholder": True, "num": 0}]
            assert await client.binary() == b"\0\1"


async def test_a_room_of_both(fleet: Fleet) -> None:
    assert await fleet.azure.join(fleet.azure_client.sid, room_group("/", "r")) == 200
    await fleet.ours.say(v1.Enter(0, fleet.number, "/", ("r",)))
    done = await fleet.ours.ask(lambda ref: v1.Emit(ref, To("/", ("r",)), 0, b"42[1]"), v1.Done)
    assert done.count == 2
    await fleet.azure.send_all("42[2]", f"'{room_group('/', 'r')}' in groups")
    for client in (fleet.azure_client, fleet.our_client):
        assert [await client.text(), await client.text()] == ["42[1]", "42[2]"]


async def test_moves_by_the_other_dialect_are_reported(fleet: Fleet) -> None:
    assert await fleet.azure.join(fleet.our_client.sid, room_group("/", "r")) == 200
    assert await fleet.ours.next(v1.Moved) == v1.Moved(fleet.number, "/", True, ("r",))
    # The azure dialect has no word for it; the room is joined all the same.
    to = To("/", (fleet.azure_sid,))
    assert (await fleet.ours.ask(lambda ref: v1.Join(ref, to, ("r",)), v1.Done)).count == 1
    await fleet.azure.send_all("42[1]", f"'{room_group('/', 'r')}' in groups")
    for client in (fleet.azure_client, fleet.our_client):
        assert await client.text() == "42[1]"


async def test_a_fetch_over_both(fleet: Fleet) -> None:
    await fleet.azure.join(fleet.azure_client.sid, room_group("/", "r"))
    await fleet.ours.say(v1.Fetch(1, To("/"), 5_000))
    frames = [await fleet.ours.next(v1.Sockets) for _ in range(2)]
    # Nobody is asked for data: the asker has its own, the azure dialect could not say.
    assert await fleet.ours.next(v1.Done) == v1.Done(1, 0)
    rows = {row.id: row for frame in frames for row in frame.rows}
    servers = {row.id: frame.servers[row.server] for frame in frames for row in frame.rows}
    assert servers[fleet.azure_sid] == "azure"
    assert rows[fleet.azure_sid].rooms == ("r",)
    shake = json.loads(rows[fleet.azure_sid].handshake)
    assert {"headers", "query", "claims"} <= shake.keys()
    assert shake["query"] == {"EIO": ["4"], "transport": ["websocket"]}
    assert shake["headers"] == {"sec-websocket-key": shake["headers"]["sec-websocket-key"]}
    (shared,) = [each for frame in frames for each in frame.headers]
    assert shared.number == rows[fleet.azure_sid].shared
    assert json.loads(shared.headers)["upgrade"] == ["websocket"]
    # It was told of its own when they came.
    assert rows[fleet.our_sid].handshake == b"{}"


@pytest.mark.parametrize("close", [False, True])
async def test_the_azure_sdks_disconnect_hits_one_of_ours(fleet: Fleet, close: bool) -> None:
    packet = f'41{{"close":{"true" if close else "false"}}}'
    await fleet.azure.send_all(packet, f"'{room_group('/', fleet.our_sid)}' in groups")
    assert await fleet.our_client.text() == "41", "the data was not for the client"
    assert await fleet.ours.next(v1.Left) == v1.Left(fleet.number, "/")
    if close:
        assert (await fleet.our_client.ended())[1].code == 1000
        closed = await fleet.ours.next(v1.Closed)
        assert (closed.client, closed.cause) == (fleet.number, "forced server close")
    else:
        # The connection lives, and may come again.
        await connected(fleet.our_client)


@pytest.mark.parametrize("close", [False, True])
async def test_our_disconnect_hits_one_of_the_azure_dialect(fleet: Fleet, close: bool) -> None:
    to = To("/", (fleet.azure_sid,))
    done = await fleet.ours.ask(lambda ref: v1.Disconnect(ref, to, close), v1.Done)
    assert done.count == 1
    assert await fleet.azure_client.text() == "41"
    if close:
        assert (await fleet.azure_client.ended())[1].code == 1000
        assert (await fleet.azure.event("disconnected")).connection == fleet.azure_client.sid
    else:
        # As if the client had left by itself: the only way to tell it in that dialect.
        assert await fleet.azure.message(fleet.azure_client.sid) == "41"


HOSTILE = ['40{"sid":"stolen"}', "41", "1", '44{"message":"x"}', "2", '42["x"]\x1e41', "6", '0{"sid":"x"}']
"""Packets that would rename, remove or close a socket, or confuse its client."""


@pytest.mark.repair(7)
@pytest.mark.parametrize("packet", HOSTILE)
async def test_our_emits_carry_events_and_acks_only(fleet: Fleet, packet: str) -> None:
    payload = packet.encode()
    for room in (fleet.azure_sid, fleet.our_sid):
        to = To("/", (room,))
        for frame in (v1.Emit(7, to, 0, payload), v1.Ask(7, to, 0, 99, payload)):
            await fleet.ours.say(frame)
            failed = await fleet.ours.next(v1.Failed)
            assert failed.reason in ("api-bad-payload", "bad-socketio-packet")
    await unharmed(fleet, fleet.azure_client, fleet.our_client)


@pytest.mark.repair(7)
@pytest.mark.parametrize("packet", HOSTILE)
async def test_the_azure_dialects_sends_harm_no_other_app_servers_clients(fleet: Fleet, packet: str) -> None:
    group = room_group("/", fleet.our_sid)
    await fleet.azure.send_all(packet, f"'{group}' in groups")
    await fleet.azure.call("POST", f"groups/{group}/:send?api-version=1", packet.encode())
    assert await fleet.azure.send(fleet.our_client.sid, packet) == 400
    await unharmed(fleet, fleet.our_client)


@pytest.mark.repair(7)
async def test_the_azure_dialect_sends_any_packet_to_its_own_clients(fleet: Fleet) -> None:
    await fleet.azure.send_all("2", f"'{namespace_group('/')}' in groups")
    assert await fleet.azure_client.text() == "2"
    assert await fleet.azure.send(fleet.azure_client.sid, "41") == 202
    assert await fleet.azure_client.text() == "41"
    assert await fleet.azure.send(fleet.azure_client.sid, "1") == 202
    assert (await fleet.azure_client.ended())[1].code == 1000
    await unharmed(fleet, fleet.our_client)


@pytest.mark.repair(7)
@pytest.mark.parametrize("packet", [packet for packet in HOSTILE if packet != "41"])
async def test_rest_sends_carry_events_and_acks_only(fleet: Fleet, packet: str) -> None:
    for path in (
        ":send",
        f"connections/{fleet.our_client.sid}/:send",
        f"groups/{namespace_group('/')}/:send",
    ):
        reply = await rest(fleet, path, packet)
        assert (reply.status, reply.json()["code"]) == (400, "api-bad-payload")
    await unharmed(fleet, fleet.azure_client, fleet.our_client)


@pytest.mark.repair(7)
@pytest.mark.parametrize("path", ["connections/{}/:send", "groups/{}/:send"])
async def test_a_rest_disconnect_is_told_to_the_app_server(fleet: Fleet, path: str) -> None:
    name = fleet.our_client.sid if path.startswith("connections") else room_group("/", fleet.our_sid)
    assert (await rest(fleet, path.format(name), "41")).status == 202
    assert await fleet.our_client.text() == "41"
    assert await fleet.ours.next(v1.Left) == v1.Left(fleet.number, "/")
    await connected(fleet.our_client)
    assert (await rest(fleet, "connections/nobody/:send", "41")).status == 404
    await unharmed(fleet, fleet.azure_client)


async def unharmed(fleet: Fleet, *sockets: WebSocket) -> None:
    """These are still in their namespace, under their own names, and have got nothing."""
    await fleet.ours.say(v1.Emit(0, To("/", (fleet.azure_sid, fleet.our_sid)), 0, b'42["unharmed"]'))
    for socket in sockets:
        assert await socket.text() == '42["unharmed"]'


async def rest(fleet: Fleet, path: str, payload: str) -> Reply:
    """A send through the REST API."""
    path = f"/api/hubs/{fleet.hub}/{path}"
    token = tunnel_token(fleet.service, fleet.hub, "rest", aud=f"{fleet.service.url}{path}")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/plain"}
    target = f"{path}?api-version=2024-12-01"
    return await fetch(fleet.service.url, target, method="POST", headers=headers, body=payload.encode())


async def test_questions_of_either_are_answered_by_clients_of_both(fleet: Fleet) -> None:
    await fleet.ours.say(v1.Ask(1, To("/"), 0, 5_000, b'42["q"]'))
    assert (await fleet.ours.next(v1.Asked)).count == 2
    for client in (fleet.azure_client, fleet.our_client):
        packet = await client.text()
        await client.send(f"43{packet[2 : packet.index('[')]}[1]")
    senders = {(await fleet.ours.next(v1.Answer)).sender for _ in range(2)}
    assert senders == {fleet.azure_sid, fleet.our_sid}
    assert await fleet.ours.next(v1.Done) == v1.Done(1, 2)


async def test_an_invoke_of_the_azure_dialect(fleet: Fleet) -> None:
    asking = asyncio.create_task(fleet.azure.invoke('42["q"]', f"'{namespace_group('/')}' in groups"))
    for client in (fleet.azure_client, fleet.our_client):
        packet = await client.text()
        await client.send(f"43{packet[2 : packet.index('[')]}[1]")
    assert len(await asking) == 2


async def test_app_servers_of_the_azure_dialect_are_listed_and_not_told(fleet: Fleet) -> None:
    servers = await fleet.ours.ask(v1.List, v1.Servers)
    assert {(row.id, row.dialect, row.up, row.clients) for row in servers.rows} == {
        ("azure", "azure", True, 1),
        ("ours", "moorage", True, 1),
    }
    done = await fleet.ours.ask(lambda ref: v1.Tell(ref, "/", 1_000, b'42["x"]'), v1.Done)
    assert (done.count, done.missing) == (0, ())


async def test_the_rest_api_reaches_ours_as_well(fleet: Fleet) -> None:
    path = f"/api/hubs/{fleet.hub}/connections/{fleet.our_client.sid}"
    audience = f"{fleet.service.url}{path}"
    token = tunnel_token(fleet.service, fleet.hub, "rest", aud=audience)
    headers = {"Authorization": f"Bearer {token}"}
    target = f"{path}?api-version=2024-12-01&reason=enough"
    reply = await fetch(fleet.service.url, target, method="DELETE", headers=headers)
    assert reply.status in (200, 204), reply
    closed = await fleet.ours.next(v1.Closed)
    assert (closed.reason, closed.cause) == ("api-closed", "forced server close")


async def test_each_keeps_its_own_heartbeat(service: MoorageProcess, hub: str) -> None:
    async with AppServer(service, hub) as azure:
        azure.options = {"pingInterval": 300, "pingTimeout": 300}
        async with (
            await WebSocket.session(service.url, clients(hub)) as azure_client,
            TunnelLink(service, hub) as ours,
        ):
            ours.terms = (300, 10_000, 1_000_000)
            async with await WebSocket.session(service.url, clients(hub)) as our_client:
                assert await our_client.text() == "2"
                # The app server of this one says nothing, and so does the service.
                await azure_client.send("3")
                assert await azure.message(azure_client.sid) == "3"
                await azure.send(azure_client.sid, "42[1]")
                assert await azure_client.text() == "42[1]"
