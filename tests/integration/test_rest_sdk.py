"""The data plane by PyPI's `azure-messaging-webpubsubservice`, unmodified, with real clients connected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.messaging.webpubsubservice import WebPubSubServiceClient

from moorage.wire.groups import room_group
from tests.support.app_link import AppServer
from tests.support.rawhttp import clients
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess

HUB = "RestHub"
ROOM = room_group("/", "r")


async def called(call: Callable[..., Any], *args: object, **options: object) -> Any:
    """Run the synchronous SDK in a thread."""
    return await asyncio.to_thread(partial(call, *args, **options))


@pytest.fixture
async def app(service: MoorageProcess) -> AsyncIterator[AppServer]:
    async with AppServer(service, HUB) as running:
        yield running


@pytest.fixture
async def rest(service: MoorageProcess, app: AppServer) -> AsyncIterator[WebPubSubServiceClient]:
    with WebPubSubServiceClient.from_connection_string(service.connection_string, hub=HUB) as made:
        yield made


async def joined(service: MoorageProcess, rest: WebPubSubServiceClient, user: str) -> WebSocket:
    """A client with a token that the SDK made, in the namespace `/`."""
    token = (await called(rest.get_client_access_token, user_id=user, client_protocol="SocketIO"))["token"]
    socket = await WebSocket.session(service.url, clients(HUB), f"&access_token={token}")
    await socket.send("40")
    assert (await socket.text()).startswith("40{")
    return socket


async def upto_fence(rest: WebPubSubServiceClient, *sockets: WebSocket) -> list[list[str]]:
    """The events that each client got before a final send to all."""
    await called(rest.send_to_all, '42["fence"]', content_type="text/plain")
    found: list[list[str]] = []
    for socket in sockets:
        packets: list[str] = []
        while (packet := await socket.text()) != '42["fence"]':
            packets.append(packet)
        found.append(packets)
    return found


async def test_sends_reach_their_recipients(service: MoorageProcess, rest: WebPubSubServiceClient) -> None:
    ada, bob = await joined(service, rest, "ada"), await joined(service, rest, "bob")
    async with ada, bob:
        send = partial(called, content_type="text/plain")
        await send(rest.send_to_all, '42["filtered"]', filter="userId eq 'ada'")
        await send(rest.send_to_all, '42["excluded"]', excluded=[ada.sid])
        await send(rest.send_to_user, "bob", '42["user"]')
        await send(rest.send_to_connection, ada.sid, '42["one"]')
        await called(rest.add_connection_to_group, ROOM, ada.sid)
        await send(rest.send_to_group, ROOM, '42["room"]')
        await called(rest.remove_connection_from_group, ROOM, ada.sid)
        await send(rest.send_to_group, ROOM, '42["empty"]')
        assert await upto_fence(rest, ada, bob) == [
            ['42["filtered"]', '42["one"]', '42["room"]'],
            ['42["excluded"]', '42["user"]'],
        ]


async def test_who_is_there(service: MoorageProcess, rest: WebPubSubServiceClient) -> None:
    ada, bob = await joined(service, rest, "ada"), await joined(service, rest, "bob")
    async with ada, bob:
        assert await called(rest.connection_exists, ada.sid)
        assert not await called(rest.connection_exists, "nobody")
        assert await called(rest.user_exists, "bob")
        assert not await called(rest.group_exists, ROOM)
        await called(rest.add_user_to_group, ROOM, "ada")
        assert await called(rest.group_exists, ROOM)
        await called(rest.remove_user_from_group, ROOM, "ada")
        assert not await called(rest.group_exists, ROOM)


async def test_close_commands(service: MoorageProcess, rest: WebPubSubServiceClient, app: AppServer) -> None:
    ada, bob = await joined(service, rest, "ada"), await joined(service, rest, "bob")
    async with ada, bob:
        await called(rest.close_connection, ada.sid, reason="enough")
        assert await ada.text() == "1"
        await called(rest.close_user_connections, "bob")
        assert await bob.text() == "1"
        gone = {(await app.event("disconnected")).connection for _ in range(2)}
        assert gone == {ada.sid, bob.sid}
        record = service.wait_record(event="disconnect", connection=ada.sid)
        assert (record["who"], record["reason"], record["detail"]) == ("api", "api-closed", "enough")


async def test_an_unknown_key(service: MoorageProcess, app: AppServer) -> None:
    text = service.connection_string.replace(service.key, "f" * 32)
    with (
        WebPubSubServiceClient.from_connection_string(text, hub=HUB, retry_total=0) as other,
        pytest.raises(HttpResponseError) as refused,
    ):
        await called(other.send_to_all, '42["hi"]', content_type="text/plain")
    assert refused.value.status_code == 401
    assert service.metric('moorage_refusals_total{door="api",reason="token-signature"}') == 1
