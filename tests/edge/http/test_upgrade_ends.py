"""Sessions that end while their transport upgrade is under way.

The client stops polling once it has `3probe`, and goes on with `5` on the WebSocket. Whatever it has not
fetched by then must reach it there, and then the end.
"""

from __future__ import annotations

import pytest

from tests.support.app_link import AppServer
from tests.support.rawhttp import Polling, clients
from tests.support.rawws import WebSocket
from tests.support.service import MoorageProcess

pytestmark = pytest.mark.repair(12)


@pytest.fixture
async def polling(service: MoorageProcess, hub: str, app: AppServer) -> Polling:
    """A client on long-polling."""
    return await Polling(service.url, clients(hub)).open()


async def test_a_session_that_ends_during_the_upgrade(
    service: MoorageProcess, polling: Polling, app: AppServer
) -> None:
    """The polls have fetched everything, the end included. The WebSocket has nothing to add."""
    async with await WebSocket.open(service.url, polling.upgrade_target) as socket:
        await socket.send("2probe")
        await socket.text()
        await app.send(polling.sid, "1")
        assert await polling.poll() == "6\x1e1"
        await socket.send("5")
        assert (await socket.ended())[1].code == 1000


@pytest.mark.parametrize("polls", [0, 1, 2])
async def test_a_session_that_ends_during_the_upgrade_sends_everything_on_the_websocket(
    service: MoorageProcess, polling: Polling, app: AppServer, polls: int
) -> None:
    packets = [f"42[{number}]" for number in range(30)]
    async with await WebSocket.open(service.url, polling.upgrade_target) as socket:
        await socket.send("2probe")
        await socket.text()
        await app.send(polling.sid, "\x1e".join([*packets, "1"]))
        got: list[str] = []
        for _ in range(polls):
            got += (await polling.poll()).split("\x1e")
        await socket.send("5")
        texts, end = await socket.ended()
        assert got + texts == [*packets, "1"]
        assert end == (1000, "app-closed")
    assert (await app.event("disconnected")).connection == polling.sid


async def test_a_session_that_ends_during_a_failed_upgrade_sends_everything_by_polling(
    service: MoorageProcess, polling: Polling, app: AppServer
) -> None:
    async with await WebSocket.open(service.url, polling.upgrade_target) as socket:
        await socket.send("2probe")
        await socket.text()
        await app.send(polling.sid, '42["last"]\x1e1')
        await polling.send('42["too late"]')
    assert [await polling.poll(), await polling.poll()] == ['42["last"]', "6\x1e1"]


async def test_the_handshake_of_an_upgrade_goes_on_after_the_end_of_the_session(
    service: MoorageProcess, polling: Polling, app: AppServer
) -> None:
    """The end came between the upgrade request and the first packet on the WebSocket."""
    async with await WebSocket.open(service.url, polling.upgrade_target) as socket:
        await app.send(polling.sid, '42["last"]\x1e1')
        await socket.send("2probe")
        await socket.send("5")
        assert await socket.ended() == (["3probe", '42["last"]', "1"], (1000, "app-closed"))
